"""Arithmetic problems with a right chain and a flawed one.

:func:`edits` makes six of the seven kinds of flawed version of "Rethinking Reflection in Pre-Training" (arXiv 2504.04022): each
is executed to its end, so the only sign of the error is that the chain does not do what was asked.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from random import Random

from secondthought.items.base import Item, Items, OnProgress, silent
from secondthought.items.templates import TERSE, Reading
from secondthought.tasks.arithmetic import FAMILY, LARGEST, Operation, Problem, answer_in, draw, execute, operation, spelled
from secondthought.tasks.base import Split, drawn_split
from secondthought.tasks.countdown import Chain, Step
from secondthought.types import seed_of

EDITS = ("B1", "M1", "M2", "M3", "E1", "E2")
"""Another start value; the first operation changed, followed by something extraneous, or left out; the last operation changed,
or followed by something extraneous. (The seventh edit, E3, leaves out the last operation. Here that would be a chain that is
merely not finished, and finishing it is no reflection.)"""


def first_difference(right: Chain, wrong: Chain) -> int:
    """The first step that differs, or where the shorter one ends."""
    return next((i for i, (a, b) in enumerate(zip(right, wrong, strict=False)) if a != b), min(len(right), len(wrong)))


def edits(problem: Problem, rng: Random) -> Iterator[tuple[str, Chain]]:
    """The flawed versions that stay in range and end somewhere else, each with its name; at most one of each kind."""
    right = execute(problem)
    for kind in EDITS:
        for _ in range(8):
            wrong = execute(edited(problem, kind, rng))
            if wrong and right and wrong[-1].result != right[-1].result:
                yield kind, wrong
                break


def edited(problem: Problem, kind: str, rng: Random) -> Problem:
    """Another problem: what somebody solves who misread this one."""
    operations = list(problem.operations)
    at = 0 if kind[0] in "BM" else len(operations) - 1
    if kind == "B1":
        return Problem(rng.randint(1, 9), problem.operations)
    if kind[1] == "1":
        other = rng.choice([op for op in "+-*" if op != operations[at].op])
        operations[at] = Operation(other, operations[at].number)
    elif kind[1] == "2":
        operations.insert(at + 1, operation(rng))
    else:
        del operations[at]
    return Problem(problem.start, tuple(operations))


def slip(chain: Chain, rng: Random) -> Chain | None:
    """The chain with one wrong result, carried on from there; None if that leaves the range or changes nothing."""
    at = rng.randrange(len(chain))
    result = chain[at].result + rng.choice((-10, -2, -1, 1, 2, 10))
    if not 0 <= result <= LARGEST:
        return None
    rest = execute(Problem(result, tuple(Operation(s.op, s.right) for s in chain[at + 1 :])))
    if rest is None or (rest or (Step(0, "", 0, result),))[-1].result == chain[-1].result:
        return None
    return (*chain[:at], chain[at]._replace(result=result), *rest)


def items(n: int, split: Split = "test", *, seed: int = 0) -> Items:
    """``n`` different problems, each with one flawed version; the edits take turns as far as they fit."""
    found, seen = Items(), set()
    rng = Random(seed_of("chains items", split, seed))
    while len(found.found) < n:
        problem = draw(rng, split)
        options = dict(edits(problem, rng))
        if problem in seen or not options:
            continue
        seen.add(problem)
        kind = next(k for k in rng.sample(EDITS, len(EDITS)) if k in options)
        right, wrong = execute(problem) or (), options[kind]
        found.add(
            Item(
                f"arithmetic-{split}-{seed}-{len(found.found)}", str(problem), right[-1].result, spelled(right), spelled(wrong),
                str(wrong[-1].result), FAMILY, kind, "drawn", first_difference(right, wrong),
            )
        )  # fmt: skip
    return found


def item_set(place: str, n: int | None, seed: int, on_progress: OnProgress = silent) -> Items:
    """``arithmetic[:SPLIT]``, drawn (500 by default)."""
    return items(n or 500, drawn_split(FAMILY, place), seed=seed)


def _candidate(text: str) -> str | None:
    """The last result in an unfinished chain."""
    found = re.findall(r"= ([0-9]+)", text)
    return str(found[-1]) if found else None


READINGS = {
    "clean": Reading(
        "{question}", "{question}", answer_in, lambda item, answer: answer == str(item.gold), TERSE, "", 40,
        candidate=_candidate, statement=r"(?<!\s)\s*, done\b",
    )
}  # fmt: skip
"""How the family is asked and read; see :mod:`secondthought.items.templates`."""
