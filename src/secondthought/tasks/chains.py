"""Chains of arithmetic for nano models: start somewhere, do a few operations, say where one ends.

The question is ``start with 7 then + 5 then * 2``, the answer ``7 + 5 = 12 , 12 * 2 = 24 , done 24``. Values stay in 0-49, so
that every number is one token. A problem belongs to a split by its content. :func:`edits` makes six of the seven kinds of
flawed version of "Rethinking Reflection in Pre-Training" (arXiv 2504.04022): each is executed to its end, so the only sign of
the error is that the chain does not do what was asked.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from random import Random
from typing import NamedTuple, cast

from secondthought.tasks.countdown import Chain, Split, Step
from secondthought.tasks.items import Item, Items
from secondthought.types import Message, Task, Verdict, seed_of

FAMILY = "chains"
LARGEST = 49
EDITS = ("B1", "M1", "M2", "M3", "E1", "E2")
"""Another start value; the first operation changed, followed by something extraneous, or left out; the last operation changed,
or followed by something extraneous. (The seventh edit, E3, leaves out the last operation. Here that would be a chain that is
merely not finished, and finishing it is no reflection.)"""

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


def first_difference(right: Chain, wrong: Chain) -> int:
    """The first step that differs, or where the shorter one ends."""
    return next((i for i, (a, b) in enumerate(zip(right, wrong, strict=False)) if a != b), min(len(right), len(wrong)))


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


@dataclass(frozen=True)
class Chains:
    """Problems of one split, the same ones every time.

    >>> task = Chains("test")[0]
    >>> Chains().grade(task, f"done {task.answer}").score
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
        return draw(Random(seed_of(FAMILY, self.split, index, self.steps)), self.split, self.steps)

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
                f"chains-{split}-{seed}-{len(found.found)}", str(problem), right[-1].result, spelled(right), spelled(wrong),
                str(wrong[-1].result), FAMILY, kind, "drawn", first_difference(right, wrong),
            )
        )  # fmt: skip
    return found
