"""Countdown problems with a chain that reaches the target and one that does not.

Two kinds of miss: ``strategy`` goes the wrong way with sound arithmetic, ``slip`` takes a right way and miscalculates at the
end so that another number comes out. Slips name the right operations, so recovering from one is easier than solving; the
strategies are the honest test.
"""

from __future__ import annotations

from random import Random
from typing import cast

from secondthought.items.arithmetic import first_difference
from secondthought.items.base import Item, Items, OnProgress, silent
from secondthought.items.templates import TERSE, Reading
from secondthought.tasks.arithmetic import spelled
from secondthought.tasks.base import Split, drawn_split
from secondthought.tasks.countdown import FAMILY, Chain, Countdown, chains, grade, last_chain, solutions
from secondthought.tasks.expressions import Wrong
from secondthought.types import Task, seed_of


def items(n: int, split: Split = "test", *, kinds: tuple[str, ...] = ("strategy", "slip"), seed: int = 0) -> Items:
    """``n`` different problems of the nano game, asked as its corpus asks for a check, the kinds taking turns."""
    found, game, seen, index = Items(), Countdown(split), set(), 0
    rng = Random(seed_of("countdown misses", split, seed))
    while len(found.found) < n:
        task = game[index]
        index += 1
        if task.key in seen:
            continue
        seen.add(task.key)
        fields = cast(dict[str, object], task.answer)
        numbers, target = tuple(sorted(cast(list[int], fields["nums"]))), cast(int, fields["target"])
        right = rng.choice(solutions(numbers, game.targets[1])[target])
        kind = kinds[len(found.found) % len(kinds)]
        wrong = strategy(rng, numbers, target, game.targets[1]) if kind == "strategy" else slip(rng, right, target)
        if wrong is None:
            found.not_made["every way leads to the target"] += 1
            continue
        found.add(
            Item(
                f"countdown-{split}-{index - 1}", f"check {task.prompt[0].content}", task.answer, spelled(right),
                spelled(wrong), str(wrong[-1].result), FAMILY, kind, "drawn", first_difference(right, wrong),
            )
        )  # fmt: skip
    return found


def strategy(rng: Random, numbers: tuple[int, ...], target: int, largest: int) -> Chain | None:
    """A sound chain over all the numbers that ends at another number; None if there is none."""
    others = [chain for chain in chains(numbers, largest) if chain[-1].result != target]
    return rng.choice(others) if others else None


def slip(rng: Random, right: Chain, target: int) -> Chain:
    """The solution with its last result miscalculated."""
    off = rng.choice([d for d in (-10, -2, -1, 1, 2, 10) if target + d >= 0])
    return (*right[:-1], right[-1]._replace(result=target + off))


def item_set(place: str, n: int | None, seed: int, on_progress: OnProgress = silent) -> Items:
    """``countdown[:SPLIT]``, drawn (500 by default)."""
    return items(n or 500, drawn_split(FAMILY, place), seed=seed)


def _read(text: str) -> str | None:
    try:
        return last_chain(text)
    except Wrong:
        return None


def _right(item: Item, answer: str) -> bool:
    return grade(Task("", (), item.gold, FAMILY), answer).score == 1


READINGS = {"clean": Reading("{question}", "{question}", _read, _right, TERSE, "", 32)}
"""How the family is asked and read; see :mod:`secondthought.items.templates`."""
