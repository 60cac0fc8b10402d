"""Arithmetic for nano models: start with a number, do a few operations, and state the result.

The question is ``start with 7 then + 5 then * 2``, the answer ``7 + 5 = 12 , 12 * 2 = 24 , done 24``. Values stay in 0-49, so
that every number is one token. A problem belongs to a split by its content.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from random import Random
from typing import NamedTuple, cast

from secondthought.tasks.base import Split, nowhere
from secondthought.tasks.countdown import Chain, Step
from secondthought.types import Message, Task, Verdict, seed_of

FAMILY = "arithmetic"
LARGEST = 49
_DONE = re.compile(r"\bdone ([0-9]{1,6})\b", re.ASCII)


class Operation(NamedTuple):
    """One instruction: ``+ 5``."""

    op: str
    number: int

    def __str__(self) -> str:
        return f"{self.op} {self.number}"


class Problem(NamedTuple):
    """Where to start and what to do."""

    start: int
    operations: tuple[Operation, ...]

    def __str__(self) -> str:
        return " then ".join([f"start with {self.start}", *map(str, self.operations)])


def execute(problem: Problem) -> Chain | None:
    """The chain of a problem, or None if a value would leave 0-49.

    >>> spelled(execute(Problem(7, (Operation("+", 5), Operation("*", 2)))))
    '7 + 5 = 12 , 12 * 2 = 24'
    """
    value, chain = problem.start, []
    for op, number in problem.operations:
        result = {"+": value + number, "-": value - number, "*": value * number}[op]
        if not 0 <= result <= LARGEST:
            return None
        chain.append(Step(value, op, number, result))
        value = result
    return tuple(chain)


def spelled(chain: Sequence[Step] | None) -> str:
    """A chain in words."""
    return " , ".join(map(str, chain or ()))


def split_of(problem: Problem) -> Split:
    """70 % train, 10 % dev, 20 % test, by content."""
    bucket = seed_of("chains split", str(problem)) % 10
    return "test" if bucket < 2 else "dev" if bucket == 2 else "train"


def draw(rng: Random, split: Split, steps: tuple[int, ...] = (2, 3)) -> Problem:
    """A random problem of a split that stays in range."""
    while True:
        operations = tuple(operation(rng) for _ in range(rng.choice(steps)))
        found = Problem(rng.randint(1, 9), operations)
        if split_of(found) == split and execute(found) is not None:
            return found


def operation(rng: Random) -> Operation:
    """A random instruction."""
    op = rng.choice("+-*")
    return Operation(op, rng.randint(2, 3) if op == "*" else rng.randint(1, 9))


@dataclass(frozen=True)
class Arithmetic:
    """Problems of one split, the same ones every time.

    >>> task = Arithmetic("test")[0]
    >>> Arithmetic().grade(task, f"done {task.answer}").score
    1.0
    """

    split: Split = "test"
    size: int = 1_000_000
    steps: tuple[int, ...] = (2, 3)

    def __len__(self) -> int:
        return self.size

    def problem(self, index: int) -> Problem:
        """The problem at ``index``."""
        if not 0 <= index < self.size:
            raise IndexError(index)
        return draw(Random(seed_of("chains", self.split, index, self.steps)), self.split, self.steps)

    def __getitem__(self, index: int) -> Task:
        return task_of(self.problem(index))

    def grade(self, task: Task, text: str) -> Verdict:
        """1 if the last ``done N`` is right."""
        return grade(task, text)


def task_of(problem: Problem) -> Task:
    """The question; raises ValueError for a problem that leaves 0-49."""
    chain = execute(problem)
    if not chain:
        raise ValueError(f"{problem} leaves 0-{LARGEST}")
    return Task.of((Message("user", str(problem)),), answer=chain[-1].result, family=FAMILY)


def answer_in(text: str) -> str | None:
    """The last ``done N``.

    >>> answer_in("7 + 5 = 13 , wait , wrong , 7 + 5 = 12 , done 12")
    '12'
    """
    found = _DONE.findall(text)
    return str(int(found[-1])) if found else None


def grade(task: Task, text: str) -> Verdict:
    """Right if the last ``done N`` names the right number."""
    found, wanted = answer_in(text), str(cast(int, task.answer))
    if found is None:
        return Verdict(0.0, None, "unparsable: no 'done' with a number")
    return Verdict(1.0, found, "right") if found == wanted else Verdict(0.0, found, f"wrong answer: want {wanted}")


def task_set(place: str, split: Split | None, style: str) -> Arithmetic:
    """``arithmetic[:SPLIT]``, endless. Raises UserError for a place: there is no file to read."""
    nowhere(FAMILY, place)
    return Arithmetic(split or "test")
