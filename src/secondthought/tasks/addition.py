"""Addition of numbers of any length, asked for at once (``fast``) or a digit at a time (``slow``).

The world of SECToR (Zhang and Parkes 2023, arXiv 2309.08589): ``fast`` wants the sum; ``slow`` wants one simplification, which
writes down the last digit of the sum and leaves a sum one digit shorter, ``a' + b'`` or, with a carry, ``a' + b' + 1``.

Nano models read a letter before each digit that says which place it stands at (index hints; Zhou et al. 2023, arXiv
2310.16028): ``slow C 4 D 7 + C 1 D 6`` is simplified to ``D 7 + 6 = 13 , C 4 + C 1 + 1``. Where the letters begin is drawn
for each sum, so that every letter is known before numbers grow longer. Sums are written with one place more than the longer
number has.
"""

from __future__ import annotations

import re
import string
from collections.abc import Mapping
from dataclasses import dataclass, replace
from random import Random
from typing import Literal, NamedTuple, cast

from secondthought.errors import UserError
from secondthought.tasks import numbers
from secondthought.tasks.base import Split, nowhere
from secondthought.tasks.countdown import Style
from secondthought.types import Json, Task, Verdict, seed_of

FAMILY = "addition"
LETTERS = string.ascii_uppercase
LONGEST = len(LETTERS) - 1  # one letter more is needed for the sum
LARGEST = 10**60  # nothing larger is read as an answer
Kind = Literal["fast", "slow"]
KINDS: tuple[Kind, ...] = ("fast", "slow")
ASKS: Mapping[Kind, str] = {
    "fast": "What is {sum}? Answer with the number alone.",
    "slow": "Take the last digit off {sum}: write the last digit of the result, a semicolon, and the shorter sum that is left, "
    "with + 1 if there is a carry. For example 58 + 27 gives 5; 5 + 2 + 1, and 41 + 32 gives 3; 4 + 3. Write nothing else.",
}
_DIGIT = re.compile(r"([A-Z]) ([0-9])")
_COLUMN = re.compile(r"[A-Z] [0-9] \+ [0-9]( \+ 1)?")
_STEP = re.compile(r"([0-9])\s*;\s*([0-9]{1,60})\s*\+\s*([0-9]{1,60})(?:\s*\+\s*([01]))?\s*\.?", re.ASCII)


class Sum(NamedTuple):
    """Two numbers to add, and a carry of 0 or 1.

    >>> Sum(472, 135, 1).total, str(Sum(472, 135, 1))
    (608, '472 + 135 + 1')
    """

    a: int
    b: int
    carry: int = 0

    @property
    def total(self) -> int:
        """What it comes to."""
        return self.a + self.b + self.carry

    @property
    def digits(self) -> int:
        """How many digits the longer number has."""
        return len(str(max(self.a, self.b)))

    @property
    def carries(self) -> int:
        """How often a one is carried while adding."""
        found, carry, a, b = 0, self.carry, self.a, self.b
        while a or b or carry:
            carry = int(a % 10 + b % 10 + carry > 9)
            found, a, b = found + carry, a // 10, b // 10
        return found

    @property
    def swapped(self) -> Sum:
        """The same sum with its numbers in the other order."""
        return Sum(self.b, self.a, self.carry)

    def __str__(self) -> str:
        return f"{self.a} + {self.b}{' + 1' if self.carry else ''}"


class Simplified(NamedTuple):
    """The last digit of a sum, and the sum that is left."""

    digit: int
    rest: Sum


def simplified(whole: Sum) -> Simplified:
    """One step of adding in columns.

    >>> simplified(Sum(58, 27))
    Simplified(digit=5, rest=Sum(a=5, b=2, carry=1))
    """
    last = whole.a % 10 + whole.b % 10 + whole.carry
    return Simplified(last % 10, Sum(whole.a // 10, whole.b // 10, last // 10))


# --- how sums and answers are written --------------------------------------------------------------------------------


def lettered(number: int, digits: int, start: int) -> str:
    """A number with a letter before each digit; the last of ``digits`` places has the letter at ``start + digits - 1``.

    >>> lettered(47, 2, 2), lettered(7, 2, 2)
    ('C 4 D 7', 'D 7')
    """
    spelled = str(number)
    first = start + digits - len(spelled)
    return " ".join(f"{LETTERS[first + i]} {digit}" for i, digit in enumerate(spelled))


def written(whole: Sum, style: str, digits: int, start: int) -> str:
    """A sum as it is asked for: with letters for nano models (``digits`` of the sum, and where its letters begin)."""
    if style != "terse":
        return str(whole)
    numbers_ = " + ".join(lettered(number, digits, start) for number in (whole.a, whole.b))
    return numbers_ + (" + 1" if whole.carry else "")


def posed(whole: Sum, kind: Kind, style: str, start: int | None = None) -> Task:
    """The question. ``start`` (nano) is the place in the alphabet of the first digit's letter: 1 or more; drawn if None.

    Raises UserError for numbers that are too long for nano models.
    """
    digits = whole.digits
    if style == "terse":
        if digits > LONGEST:
            raise UserError(f"nano models add numbers of at most {LONGEST} digits, not {digits}")
        if start is None:
            start = Random(seed_of("letters", str(whole))).randint(1, len(LETTERS) - digits)
        text = f"{kind} {written(whole, style, digits, start)}"
    else:
        text = ASKS[kind].format(sum=whole)
    known: Json = {"sum": [*whole], "kind": kind, "start": start if style == "terse" else None}
    return Task.of(text, answer=known, family=FAMILY)


def sum_of(task: Task) -> Sum:
    """The sum that a task asks for."""
    a, b, carry = cast(list[int], cast(Mapping[str, Json], task.answer)["sum"])
    return Sum(a, b, carry)


def kind_of(task: Task) -> Kind:
    """Which of the two is asked."""
    return cast(Kind, cast(Mapping[str, Json], task.answer)["kind"])


def start_of(task: Task) -> int | None:
    """Where the letters begin; None where there are none."""
    return cast(int | None, cast(Mapping[str, Json], task.answer)["start"])


def styled(task: Task) -> Style:
    """How a task is asked: in words, or with letters as nano models are."""
    return "chat" if start_of(task) is None else "terse"


def said(task: Task, value: int | Simplified) -> str:
    """An answer to a task as a model should write it: a sum (fast), or a simplification (slow).

    >>> said(posed(Sum(47, 16), "slow", "terse", 2), simplified(Sum(47, 16)))
    'D 7 + 6 = 13 , C 4 + C 1 + 1'
    >>> said(posed(Sum(47, 16), "fast", "terse", 2), 63), said(posed(Sum(47, 16), "fast", "chat"), 63)
    ('B 0 C 6 D 3', '63')
    """
    whole, start = sum_of(task), start_of(task)
    digits = whole.digits
    if isinstance(value, Simplified):
        if start is None:
            return f"{value.digit}; {value.rest}"
        column = f"{read_off(whole, start)} = {10 * value.rest.carry + value.digit}"
        return f"{column} , {written(value.rest, 'terse', digits - 1, start)}"
    if start is None:
        return str(value)
    return " ".join(f"{LETTERS[start - 1 + i]} {digit}" for i, digit in enumerate(f"{value:0{digits + 1}d}"))


def solution(task: Task) -> str:
    """The right answer to a task.

    >>> solution(posed(Sum(47, 16), "slow", "chat"))
    '3; 4 + 1 + 1'
    """
    whole = sum_of(task)
    return said(task, whole.total if kind_of(task) == "fast" else simplified(whole))


def asked_again(task: Task, given: Sum, kind: Kind) -> Task:
    """Another question about the sum of a task, in the same style and under the same key."""
    return replace(posed(given, kind, styled(task), start_of(task)), key=task.key)


def read_off(whole: Sum, start: int) -> str:
    """The last column of a sum with its letter.

    >>> read_off(Sum(47, 16, 1), 2)
    'D 7 + 6 + 1'
    """
    last = Sum(whole.a % 10, whole.b % 10, whole.carry)
    return f"{LETTERS[start + whole.digits - 1]} {last}"


def read_total(task: Task, text: str) -> int | None:
    """The sum that a text states; None if it states none. Letters must follow each other up to the last place."""
    start, digits = start_of(task), sum_of(task).digits
    if start is None:
        value = numbers.answer_number(text)
        return int(value) if value is not None and 0 <= value < LARGEST and value == int(value) else None
    return _place_value(text.strip(), start + digits - 1)


def read_step(task: Task, text: str) -> Simplified | None:
    """The simplification that a text states; None if it states none."""
    start, whole = start_of(task), sum_of(task)
    if start is None:
        found = _STEP.search(text)
        return Simplified(int(found[1]), Sum(int(found[2]), int(found[3]), int(found[4] or 0))) if found else None
    column, comma, rest = text.strip().partition(" , ")
    digits, equals, value = column.partition(" = ")
    numbers_ = rest.split(" + ")
    carry = len(numbers_) == 3 and numbers_.pop() == "1"
    left = [_place_value(one, start + whole.digits - 2) for one in numbers_]
    if not (comma and equals and _COLUMN.fullmatch(digits) and value.isdecimal() and len(value) < 3) or len(left) != 2:
        return None
    if left[0] is None or left[1] is None:
        return None
    return Simplified(int(value) % 10, Sum(left[0], left[1], int(carry)))


def read_letters(text: str) -> tuple[Sum, int] | None:
    """The sum that a text poses with letters, and where they begin; None if it poses none.

    >>> read_letters("C 4 D 7 + C 1 D 6 + 1"), read_letters("C 4 D 7 + D 1 E 6")
    ((Sum(a=47, b=16, carry=1), 2), None)
    """
    parts = text.strip().split(" + ")
    carry = len(parts) == 3 and parts.pop() == "1"
    letters = [_DIGIT.findall(part) for part in parts]
    if len(parts) != 2 or not all(letters):
        return None
    last = LETTERS.index(letters[0][-1][0])
    found = [_place_value(part, last) for part in parts]
    start = last + 1 - max(map(len, letters))
    if found[0] is None or found[1] is None or start < 1:
        return None
    whole = Sum(found[0], found[1], int(carry))
    return (whole, start) if written(whole, "terse", whole.digits, start) == text.strip() else None


def _place_value(text: str, last: int) -> int | None:
    """The number whose digits stand behind letters that follow each other up to ``last``."""
    parts = _DIGIT.findall(text)
    if not parts or " ".join(f"{letter} {digit}" for letter, digit in parts) != text:
        return None
    places = [LETTERS.index(letter) for letter, _ in parts]
    if places != list(range(last - len(parts) + 1, last + 1)):
        return None
    return int("".join(digit for _, digit in parts))


# --- the task set ----------------------------------------------------------------------------------------------------


def split_of(whole: Sum) -> Split:
    """70 % train, 10 % dev, 20 % test, by the two numbers in any order, with or without a carry."""
    bucket = seed_of("addition split", tuple(sorted((whole.a, whole.b)))) % 10
    return "test" if bucket < 2 else "dev" if bucket == 2 else "train"


def draw(rng: Random, digits: int, split: Split | None = None) -> Sum:
    """A random sum of two numbers of so many digits, in half of all cases with a carry, as in the paper."""
    low = 10 ** (digits - 1) if digits > 1 else 0
    while True:
        found = Sum(rng.randint(low, 10**digits - 1), rng.randint(low, 10**digits - 1), rng.randint(0, 1))
        if split is None or split_of(found) == split:
            return found


@dataclass(frozen=True)
class Addition:
    """Endless sums of one split, of ``shortest`` to ``longest`` digits, asked for in one way.

    >>> tasks = Addition("test", longest=2)
    >>> tasks.grade(tasks[0], solution(tasks[0])).score
    1.0
    """

    split: Split = "train"
    shortest: int = 1
    longest: int = 8
    kind: Kind = "fast"
    style: Style = "terse"
    size: int = 1_000_000

    def __len__(self) -> int:
        return self.size

    def __getitem__(self, index: int) -> Task:
        if not 0 <= index < self.size:
            raise IndexError(index)
        rng = Random(seed_of(FAMILY, self.split, self.shortest, self.longest, index))
        return posed(draw(rng, rng.randint(self.shortest, self.longest), self.split), self.kind, self.style)

    def grade(self, task: Task, text: str) -> Verdict:
        """1 for the right sum, or the right simplification."""
        whole = sum_of(task)
        found = read_total(task, text) if kind_of(task) == "fast" else read_step(task, text)
        wanted: int | Simplified = whole.total if kind_of(task) == "fast" else simplified(whole)
        if found is None:
            return Verdict(0.0, None, "unparsable: no sum" if kind_of(task) == "fast" else "unparsable: no simplification")
        return Verdict(1.0, spelled(found), "right") if found == wanted else Verdict(0.0, spelled(found), "wrong sum")

    def solution(self, task: Task) -> str:
        """The right answer."""
        return solution(task)

    def stratum(self, task: Task) -> str:
        """How many digits the longer number has."""
        return str(sum_of(task).digits)


def spelled(value: int | Simplified) -> str:
    """An answer as it is compared with others."""
    return f"{value.digit}; {value.rest}" if isinstance(value, Simplified) else str(value)


def task_set(place: str, split: Split | None, style: str) -> Addition:
    """``addition[:DIGITS][:SPLIT]``, endless; DIGITS is the longest number, or SHORTEST-LONGEST. Raises UserError else."""
    if place and not re.fullmatch(r"[0-9]{1,2}(-[0-9]{1,2})?", place):
        nowhere(FAMILY, place)
    shortest, dash, longest = place.partition("-")
    low, high = (int(shortest), int(longest)) if dash else (1, int(place or 8))
    if not 1 <= low <= high <= LONGEST:
        raise UserError(f"addition:{place}: numbers have 1 to {LONGEST} digits")
    return Addition(split or "test", low, high, style=cast(Style, style))
