"""Countdown: make a target from 3 or 4 numbers, each used exactly once, with + - * and /.

Two styles of the same game. ``chat`` asks as TinyZero does and reads the last ``<answer>``; ``terse`` is the language of
the nano models, where an answer is a chain of steps: ``3 * 5 = 15 , 15 + 2 = 17``. Arithmetic is exact (rationals), the
parser is our own (model text is never evaluated), and a split is a property of the *sorted number multiset*, so that no
training problem shares its numbers with a test problem, whatever the size, order or target.
"""

from __future__ import annotations

import math
import operator
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from itertools import combinations
from random import Random
from typing import Literal, NamedTuple, cast

import numpy as np
from numpy.typing import NDArray

from secondthought.models.thoughts import without_thoughts
from secondthought.tasks.base import Split, nowhere
from secondthought.tasks.countdown_leaks import degree
from secondthought.tasks.expressions import Wrong, evaluate, plain_signs
from secondthought.tasks.numbers import tagged
from secondthought.types import Json, Message, Task, Verdict, seed_of

Style = Literal["chat", "terse"]
FAMILY = "countdown"
MOST_SEARCHED = 5 * 10**8  # combinations of rows and expressions: two seconds of a core (270 million a second were measured)
LONGEST_ANSWER = 400
"""Characters; nobody needs more for four numbers, and nothing longer is parsed."""


class Step(NamedTuple):
    """One line of arithmetic: ``left op right = result``."""

    left: int
    op: str
    right: int
    result: int

    def __str__(self) -> str:
        return f"{self.left} {self.op} {self.right} = {self.result}"


Chain = tuple[Step, ...]


def split_of(numbers: tuple[int, ...] | list[int]) -> Split:
    """The split a problem belongs to: 70 % train, 10 % dev, 20 % test, by its sorted numbers alone.

    >>> split_of([3, 5, 2]) == split_of([5, 2, 3])
    True
    """
    bucket = seed_of("countdown split", tuple(sorted(numbers))) % 10
    return "test" if bucket < 2 else "dev" if bucket == 2 else "train"


def steps(left: int, right: int, largest: int) -> Iterator[Step]:
    """Every step on two numbers whose result is a whole number in [0, largest]."""
    high, low = max(left, right), min(left, right)
    candidates = [Step(left, "+", right, left + right), Step(high, "-", low, high - low)]
    candidates.append(Step(left, "*", right, left * right))
    if low and high % low == 0:
        candidates.append(Step(high, "/", low, high // low))
    return (step for step in candidates if 0 <= step.result <= largest)


def chains(numbers: tuple[int, ...], largest: int) -> Iterator[Chain]:
    """Every way to combine all the numbers, intermediate results whole and in [0, largest]."""
    if len(numbers) == 1:
        yield ()
        return
    for i, j in combinations(range(len(numbers)), 2):
        rest = tuple(n for k, n in enumerate(numbers) if k not in (i, j))
        for step in steps(numbers[i], numbers[j], largest):
            for tail in chains((*rest, step.result), largest):
                yield (step, *tail)


@lru_cache(maxsize=20_000)
def solutions(numbers: tuple[int, ...], largest: int) -> dict[int, tuple[Chain, ...]]:
    """All chains by the target they reach; ``numbers`` must be sorted (the cache is keyed by them)."""
    by_target: dict[int, list[Chain]] = {}
    for chain in chains(numbers, largest):
        by_target.setdefault(chain[-1].result, []).append(chain)
    return {target: tuple(dict.fromkeys(found)) for target, found in by_target.items() if target > 0}


COMBINED = (
    operator.add, operator.mul, operator.sub, lambda a, b: b - a, operator.truediv, lambda a, b: b / a,
)  # fmt: skip


def reachable(numbers: Sequence[Sequence[int]], targets: Sequence[int]) -> list[bool]:
    """Whether each target can be made of its numbers (all lists equally long), fractions on the way allowed.

    Up to five numbers of at most three digits are searched through, in the first half a billion combinations of rows and
    expressions (128,000 rows of four numbers); what is beyond counts as reachable, unseen.

    >>> reachable([[8, 3, 8, 3], [1, 1, 1, 1]], [24, 17])
    [True, False]
    """
    numbers_NK, targets_N = np.array(numbers, float), np.array(targets, float)
    wanted = numbers_NK.max(axis=1) < 1000
    leaves = math.prod(6 * math.comb(k, 2) for k in range(2, numbers_NK.shape[1] + 1))
    if numbers_NK.shape[1] > 5:
        return [True] * len(targets_N)
    missing = np.flatnonzero(wanted)[: MOST_SEARCHED // leaves]

    def search(columns: list[NDArray[np.float64]], rows: NDArray[np.intp]) -> NDArray[np.intp]:
        """Which of these rows are still missing."""
        if len(columns) == 1:
            left: NDArray[np.intp] = rows[~(np.abs(columns[0] - targets_N[rows]) < 1e-3)]
            return left
        for i, j in combinations(range(len(columns)), 2):
            rest, a, b = [c for k, c in enumerate(columns) if k not in (i, j)], columns[i], columns[j]
            for combined in COMBINED:
                left = search([*rest, combined(a, b)], rows)
                if len(left) < len(rows):
                    kept = np.isin(rows, left)
                    rows, columns, rest, a, b = left, [c[kept] for c in columns], [c[kept] for c in rest], a[kept], b[kept]
                if not len(rows):
                    return rows
        return rows

    with np.errstate(all="ignore"):
        missing = search(list(numbers_NK[missing].T), missing)
    absent = set(missing.tolist())
    return [row not in absent for row in range(len(targets_N))]


CHAT_PROMPT = (
    "Using the numbers {numbers}, create an equation that equals {target}. You can use basic arithmetic operations "
    "(+, -, *, /) and each number must be used exactly once. Think it through, then give the final expression in "
    "<answer> </answer> tags, for example <answer> (1 + 2) / 3 </answer>."
)


def problem(numbers: tuple[int, ...], target: int, style: Style) -> Task:
    """The task of making ``target`` from ``numbers``.

    >>> problem((3, 5, 2), 17, "terse").prompt[0].content
    'use 3 5 2 make 17'
    """
    if style == "terse":
        text = f"use {' '.join(map(str, numbers))} make {target}"
    else:
        text = CHAT_PROMPT.format(numbers=list(numbers), target=target)
    answer: Json = {"nums": list(numbers), "target": target, "style": style}
    return Task.of((Message("user", text),), answer=answer, family=FAMILY)


@dataclass(frozen=True)
class Countdown:
    """Countdown problems of one split, solvable by construction and endless: ``self[i]`` is drawn from a hashed seed.

    The defaults are the nano game (3 numbers of 1-20, targets and intermediate results up to 99); :func:`chat` is the
    published one. A problem always shows its numbers in the same order, so equal problems have equal keys.

    >>> task = Countdown("test")[0]
    >>> split_of(task.answer["nums"])
    'test'
    """

    split: Split = "train"
    size: int = 1_000_000
    counts: tuple[int, ...] = (3,)
    low: int = 1
    high: int = 20
    targets: tuple[int, int] = (1, 99)
    style: Style = "terse"

    def __len__(self) -> int:
        return self.size

    def __getitem__(self, index: int) -> Task:
        if not 0 <= index < self.size:
            raise IndexError(index)
        rng = Random(seed_of(FAMILY, self.split, index, self.low, self.high, self.counts))
        while True:
            numbers = tuple(sorted(rng.randint(self.low, self.high) for _ in range(rng.choice(self.counts))))
            if split_of(numbers) != self.split:
                continue
            reachable = sorted(t for t in self._solutions(numbers) if self.targets[0] <= t <= self.targets[1])
            if reachable:
                break
        target = rng.choice(reachable)
        shown = list(numbers)
        Random(seed_of("order", numbers, target)).shuffle(shown)
        return problem(tuple(shown), target, self.style)

    def _solutions(self, numbers: tuple[int, ...]) -> dict[int, tuple[Chain, ...]]:
        return solutions(numbers, max(self.targets[1], self.high))

    def grade(self, task: Task, text: str) -> Verdict:
        """1 if the answer in ``text`` uses every number once and reaches the target; see :func:`grade`."""
        return grade(task, text)

    def canonical(self, task: Task, text: str) -> str:
        """The answer in ``text`` as it is compared with others: without a plan before it, sums and products in one order."""
        answer = grade(task, text).answer
        return text.strip() if answer is None else canonical(answer)

    def leak(self, task: Task, text: str) -> str:
        """How much of a solution a reflection gives away; see :func:`leak`."""
        return leak(task, text)


def chat(split: Split = "train") -> Countdown:
    """The published game: 3 or 4 numbers of 1-99, targets 10-100, asked in words."""
    return Countdown(split, counts=(3, 4), high=99, targets=(10, 100), style="chat")


def task_set(place: str, split: Split | None, style: str) -> Countdown:
    """``countdown[:SPLIT]``: the nano game where ``style`` is terse, else the published one; endless."""
    nowhere(FAMILY, place)
    return Countdown(split or "test") if style == "terse" else chat(split or "test")


# --- grading ---------------------------------------------------------------------------------------------------------

STEP = re.compile(r"([0-9]{1,6}) ([-+*/]) ([0-9]{1,6}) = ([0-9]{1,6})", re.ASCII)


def grade(task: Task, text: str) -> Verdict:
    """Score an answer by exact arithmetic.

    Chat style reads the last ``<answer>`` only; terse style reads the last run of steps. ``why`` begins with one of the
    error classes ``unparsable``, ``invalid number``, ``missing number``, ``wrong arithmetic``, ``missed target``.

    >>> grade(problem((3, 5, 2), 17, "terse"), "start with 3 * 5 , 3 * 5 = 15 , 15 + 2 = 17").score
    1.0
    >>> grade(problem((3, 5, 2), 17, "chat"), "<answer> 3 * 5 - 2 </answer>").why
    'missed target: got 13, want 17'
    """
    fields = cast(dict[str, object], task.answer)
    numbers, target = cast(list[int], fields["nums"]), cast(int, fields["target"])
    answer: str | None = None
    try:
        if fields["style"] == "terse":
            answer = last_chain(text)
            value, used = run_chain(answer, Counter(numbers))
        else:
            answer = last_answer(text)
            value, used = evaluate(worked_out(answer))
        check_numbers(used, Counter(numbers))
        if value != target:
            raise Wrong(f"missed target: got {value}, want {target}")
    except Wrong as wrong:
        return Verdict(0.0, answer, str(wrong))
    return Verdict(1.0, answer, "right")


def canonical(answer: str) -> str:
    """A chain or an expression without spaces, in each step of a chain the smaller of exchangeable numbers first.

    >>> canonical("8 * 3 = 24 , 24 - 5 = 19"), canonical("(1 + 2) / 3")
    ('3*8=24,24-5=19', '(1+2)/3')
    """

    def ordered(match: re.Match[str]) -> str:
        left, op, right, result = match.groups()
        if op in "+*" and int(left) > int(right):
            left, right = right, left
        return f"{left}{op}{right}={result}"

    return re.sub(r"\s+", "", STEP.sub(ordered, answer))


def check_numbers(used: Counter[int], given: Counter[int]) -> None:
    """Raise :class:`Wrong` unless exactly the given numbers were used, each as often as given."""
    if extra := sorted((used - given).elements()):
        raise Wrong(f"invalid number: {extra[0]} is not given, or used too often")
    if missing := sorted((given - used).elements()):
        raise Wrong(f"missing number: {missing[0]} is not used")


def last_answer(text: str) -> str:
    """What stands in the last ``<answer>``; raises :class:`Wrong` if there is none or it cannot be an expression."""
    answer = tagged(without_thoughts(text))
    if answer is None:
        raise Wrong("unparsable: no <answer> </answer>")
    if len(answer) > LONGEST_ANSWER:
        raise Wrong(f"unparsable: an answer of {len(answer)} characters")
    return answer


def worked_out(answer: str) -> str:
    """The expression of an answer in plain signs; what it is said to equal must be its value (``= 17``).

    Raises :class:`Wrong` where it is not, or where more than one thing is said to be equal.

    >>> worked_out("`3 × 5 + 2 = 17`")
    '3 * 5 + 2'
    """
    expression, equals, said = plain_signs(answer).strip().removesuffix(".").partition("=")
    if equals:
        value, _ = evaluate(expression)
        if not re.fullmatch(r"\s*-?[0-9]{1,12}\s*", said):
            raise Wrong(f"unparsable: {said[:12]!r} behind =")
        if value != int(said):
            raise Wrong(f"wrong arithmetic: {expression.strip()} is {value}, not {said.strip()}")
    return expression.strip()


def last_chain(text: str) -> str:
    """The last unbroken run of steps in a terse answer; a plan or a ``wait`` before it does not count.

    >>> last_chain("3 + 5 = 8 , wait , 3 * 5 = 15 , 15 + 2 = 17")
    '3 * 5 = 15 , 15 + 2 = 17'
    """
    clauses = [clause.strip() for clause in text[-LONGEST_ANSWER:].split(",")]
    run: list[str] = []
    for clause in reversed(clauses):
        if STEP.fullmatch(clause) is None:
            break
        run.insert(0, clause)
    if not run:
        raise Wrong("unparsable: no chain of steps at the end")
    return " , ".join(run)


def read_chain(text: str) -> Chain:
    """The steps of a chain that :func:`last_chain` returned.

    >>> read_chain("3 * 5 = 15 , 15 + 2 = 17")[1]
    Step(left=15, op='+', right=2, result=17)
    """
    found = (STEP.fullmatch(clause) for clause in text.split(" , "))
    return tuple(Step(int(m[1]), m[2], int(m[3]), int(m[4])) for m in found if m)


def run_chain(text: str, given: Counter[int]) -> tuple[Fraction, Counter[int]]:
    """The last result of a chain and which of the given numbers it used; every step is checked."""
    pool: Counter[int] = Counter(given)
    used: Counter[int] = Counter()
    made: Counter[int] = Counter()
    result = Fraction(0)
    for step in read_chain(text):
        for operand in (step.left, step.right):
            if made[operand]:
                made[operand] -= 1
            elif pool[operand]:
                pool[operand] -= 1
                used[operand] += 1
            else:
                raise Wrong(f"invalid number: {operand} is not given, or used too often")
        value, _ = evaluate(f"{step.left} {step.op} {step.right}")
        if value != step.result:
            raise Wrong(f"wrong arithmetic: {step.left} {step.op} {step.right} is {value}, not {step.result}")
        made[step.result] += 1
        result = value
    if sum(made.values()) != 1:
        raise Wrong("missing number: an intermediate result is not used")
    return result, used


def leak(task: Task, text: str) -> str:
    """How much a reflection gives away: a degree of :func:`secondthought.tasks.countdown_leaks.degree`.

    >>> leak(problem((3, 5, 2), 17, "terse"), "too low by 4 , start with 3 * 5")
    'first step'
    """
    fields = cast(dict[str, object], task.answer)
    if grade(task, text).score == 1:
        return "full"
    return degree(text, cast(list[int], fields["nums"]), cast(int, fields["target"]))
