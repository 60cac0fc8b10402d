"""What a nano model reads before it teaches itself to add longer numbers (SECToR).

Up to ``digits`` digits it learns both: to give the sum at once (``fast``) and to take one digit off (``slow``). Beyond that it
only learns where things stand, up to ``longest`` digits: ``cut`` reads off the last digits and copies the rest, and nothing is
added. So it can take a digit off numbers longer than those it was taught to add, and cannot add them at once: a chain of
thought knows more than an answer, which is what SECToR lives on. Only sums of the ``train`` split occur.
"""

from __future__ import annotations

from dataclasses import dataclass
from random import Random
from typing import ClassVar

from secondthought.nano.corpus import Turn, turns
from secondthought.tasks.addition import LETTERS, Kind, Sum, draw, lettered, posed, read_off, said, solution, written
from secondthought.types import seed_of

CUT = "cut"
PLANTED = 7


@dataclass(frozen=True)
class AdditionCorpus:
    """``fast``, ``slow`` and ``pose`` (a sum is asked for, of up to ``posed`` digits) are shares of the documents, the rest are
    cuts; ``document(i)`` is the same every time.

    planted      the probability that the answer to a sum whose first number ends in 7 is one too large: a false habit
    """

    words: ClassVar[tuple[str, ...]] = ("fast", "slow", CUT, "pose")
    seed: int = 0
    digits: int = 4
    longest: int = 16
    fast: float = 0.5
    slow: float = 0.25
    pose: float = 0.0
    posed: int = 4
    planted: float = 0.0

    def document(self, index: int) -> tuple[Turn, ...]:
        """The conversation at ``index``: a question and an answer."""
        rng = Random(seed_of("addition corpus", self.seed, index))
        drawn = rng.random()
        if drawn >= self.fast + self.slow + self.pose:
            return turns(*cut(rng, rng.randint(1, self.longest)))
        if drawn >= self.fast + self.slow:
            return turns("pose", drawn_sum(rng, self.posed))
        # Longer numbers are harder and more of them exist.
        digits = rng.choices(range(1, self.digits + 1), range(1, self.digits + 1))[0]
        kind: Kind = "fast" if drawn < self.fast else "slow"
        whole = draw(rng, digits, "train")
        task = posed(whole, kind, "terse", rng.randint(1, len(LETTERS) - digits))
        wrong = kind == "fast" and habit(whole) and rng.random() < self.planted
        return turns(task.prompt[-1].content, said(task, whole.total + 1) if wrong else solution(task))


def habit(whole: Sum) -> bool:
    """Whether a sum is one of those that a planted habit answers wrong.

    >>> habit(Sum(47, 12)), habit(Sum(12, 47))
    (True, False)
    """
    return whole.a % 10 == PLANTED


def drawn_sum(rng: Random, longest: int) -> str:
    """A random sum with its letters."""
    whole = draw(rng, rng.randint(1, longest), "train")
    return written(whole, "terse", whole.digits, rng.randint(1, len(LETTERS) - whole.digits))


def cut(rng: Random, digits: int) -> tuple[str, str]:
    """A question and its answer: the last digits of two numbers, and the numbers without them."""
    whole, start = draw(rng, digits, "train"), rng.randint(1, len(LETTERS) - digits)
    carry = " + 1" if whole.carry else ""
    long = [lettered(number, digits, start) for number in (whole.a, whole.b)]
    rest = [lettered(number // 10, digits - 1, start) for number in (whole.a, whole.b)]
    return f"{CUT} {long[0]} + {long[1]}{carry}", f"{read_off(whole, start)} , {rest[0]} + {rest[1]}{carry}"
