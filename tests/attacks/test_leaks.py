"""How much a reflection gives away, on two hundred written by hand (reflections.txt), and however far in it stands."""

from __future__ import annotations

import ast
from collections import Counter
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
from tests.attacks.readers import CALLS

from secondthought.tasks import countdown, function_calling
from secondthought.tasks.answer_leaks import answer_in_text
from secondthought.types import Task

FILE = Path(__file__).with_name("reflections.txt")
DEGREES = ("full", "first step", "hint", "none")


def leak_for(heading: str) -> partial[str]:
    """How the leak of a heading's task is read."""
    kind, _, rest = heading.partition(" ")
    if kind == "countdown":
        numbers, _, target = rest.partition(" = ")
        return partial(countdown.leak, countdown.problem(tuple(map(int, numbers.split())), int(target), "chat"))
    if kind == "calls":
        return partial(function_calling.leak, CALLS)
    answer = ast.literal_eval(rest) if rest in ("None", "True") else rest
    return partial(answer_in_text, Task.of("?", answer=answer, family="own"))


def written() -> Iterator[tuple[str, str, str]]:
    """Heading, degree and text of every reflection."""
    heading, found = "", list[tuple[str, str, str]]()
    for line in FILE.read_text(encoding="utf-8").splitlines():
        degree, _, text = line.partition(": ")
        if line.startswith("## "):
            heading = line.removeprefix("## ")
        elif degree in DEGREES:
            found.append((heading, degree, text))
        elif line.startswith(" "):  # the line before goes on
            found[-1] = (*found[-1][:2], f"{found[-1][2]}\n{line}")
    return iter(found)


def test_two_hundred_reflections_are_read_as_a_person_reads_them() -> None:
    wrong, seen = list[str](), Counter[str]()
    for heading, degree, text in written():
        seen[degree] += 1
        if (found := leak_for(heading)(text)) != degree:
            wrong.append(f"{heading} | {found} for {degree} | {text}")
    assert seen.total() >= 200
    print("\n".join(wrong))
    assert not wrong


@pytest.mark.parametrize("heading", ["countdown 3 5 2 = 17", "number 42", "word Lima", "calls"])
@pytest.mark.parametrize("before", ["so it is . " * 2000, "(" * 500, "2) 4 + 1 = 5 \n" * 300, "[x] " * 190])
def test_a_leak_is_found_wherever_it_stands(heading: str, before: str) -> None:
    text = {"countdown": "3*5=15, 15+2=17", "number": "it is 42", "word": "Lima", "calls": 'add(a=1, b="x")'}[
        heading.split()[0]
    ]
    leak = leak_for(heading)
    assert leak(before) != "full"
    assert leak(before + text) == "full"
