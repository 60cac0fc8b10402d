"""Unasked reflection: scripted subjects that confirm, fix, break or go nowhere are kept apart."""

from __future__ import annotations

import zlib
from collections.abc import Callable

import pytest

from secondthought.engines.base import Request
from secondthought.engines.scripted import Scripted
from secondthought.items.arithmetic import items
from secondthought.items.base import Item, Items
from secondthought.items.templates import reading_of
from secondthought.probes.superficial import Superficial, behaviour, numbers, reflects, report, score
from secondthought.runs.progress import Silence
from secondthought.types import Group

ITEMS = items(60).found
BY_PATH = {zlib.crc32(item.id.encode()) >> 1: item for item in ITEMS}
SAYS: dict[str, Callable[[Item], str]] = {
    "confirms": lambda i: f"{i.clean} , wait , right , done {i.gold}",
    "fixes": lambda i: f"{i.flawed} , wait , wrong , {i.clean} , done {i.gold}",
    "breaks": lambda i: f"{i.clean} , wait , wrong , {i.flawed} , done {i.wrong}",
    "repeats": lambda i: f"{i.clean} , wait , wrong , wait , wrong",
    "stays wrong": lambda i: f"{i.flawed} , wait , right , done {i.wrong}",
    "begins": lambda i: f"wait , right , done {i.gold}",
}


def groups_by(say: Callable[[Item, int], str], samples: int = 4) -> list[Group]:
    def write(request: Request) -> str:
        return say(BY_PATH[request.path[0]], request.path[1])

    probe = Superficial(tasks=Items(ITEMS), temperatures=(0.5,), samples=samples)
    return probe.measure(Scripted(write), Silence())


@pytest.mark.parametrize("kind", SAYS)
def test_each_behaviour_is_kept_apart_from_the_others(kind: str) -> None:
    found = numbers(groups_by(lambda item, k: SAYS[kind](item)))
    assert found[f"behaviour/{kind}"].value == 1
    assert found["reflection_rate"].value == 1
    assert found["superficial"].value == (0 if kind in ("confirms", "fixes", "begins") else 1)
    assert found["consistency"].value == 1 or kind == "repeats"


def test_keyword_and_detector_must_agree() -> None:
    found = numbers(groups_by(lambda item, k: f"wait , done {item.gold}"))
    assert (found["keyword_rate"].value, found["detector_rate"].value, found["reflection_rate"].value) == (1, 0, 0)


def test_hard_questions_do_not_count_against_reflection() -> None:
    """Reflection helps on every question, but is shown mostly on hard ones: across questions it looks harmful."""
    hard = {item.id for item in ITEMS[::3]}

    def say(item: Item, k: int) -> str:
        reflects = k < (7 if item.id in hard else 1)
        right = k < 2 if item.id in hard else k < 7
        return SAYS["confirms" if right else "stays wrong"](item) if reflects else f"done {item.gold if right else item.wrong}"

    found = groups_by(say, samples=8)
    yes, no = ([score(e) for group in found for e in group if reflects(e) is kind] for kind in (True, False))
    assert sum(yes) / len(yes) < sum(no) / len(no) - 0.3
    assert report(found).effect("within_question").estimate.value == pytest.approx((2 / 7 + 2 / 7) / 3, abs=0.02)
    assert report(found, 0.05).verdict == "supported"


def test_real_words_are_read_too() -> None:
    item = Item("1", "How many?", "12", "", "It is 10.", "10", "gsm8k")
    reading = reading_of("gsm8k", "clean")
    text = "So 5 * 2 = 10. Wait, that's not right. 6 * 2 = 12. The answer is 12."
    assert behaviour(item, reading, text, text.index("that's")) == "fixes"
