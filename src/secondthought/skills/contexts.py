"""Contexts that skills are written about: a text file of your own, or a rule book whose rules are planted and known.

A rule book defines a few made-up operators (``a @ b means a times b plus 1``), scattered over paragraphs about nothing. What
its cases want can be computed, so that it is known whether a skill helps.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import NamedTuple, Protocol

from secondthought.errors import UserError
from secondthought.types import seed_of

SYMBOLS = "@#%&~^$!"
SHAPES = {
    "{a} * {b} + {c}": lambda a, b, c: a * b + c,
    "{a} + {b} * {c}": lambda a, b, c: a + b * c,
    "{a} * {c} - {b}": lambda a, b, c: a * c - b,
    "{a} + {b} + {c}": lambda a, b, c: a + b + c,
}
NOISE = (
    "The committee met on a Tuesday and agreed to meet again.",
    "Members are reminded that the reading room closes at six.",
    "Earlier editions of this book had a blue cover.",
    "Nothing in this paragraph changes how anything is computed.",
    "The archive holds letters from several founders, most of them about the weather.",
    "Visitors may leave their coats by the door.",
)
_CASE = re.compile(r"What is ([0-9]+) (\S) ([0-9]+)\?")


class Case(NamedTuple):
    """A question about a context, what would show that an answer is right (``rubrics``), and, where it was drawn by program,
    the answer and which ``kind`` of case it is.
    """

    question: str
    rubrics: tuple[str, ...]
    answer: str | None = None
    kind: str = ""


class Rule(NamedTuple):
    """What an operator does: the name of its shape, and a constant."""

    shape: str
    c: int

    def apply(self, a: int, b: int) -> int:
        """The value of ``a OPERATOR b``."""
        return int(SHAPES[self.shape](a, b, self.c))

    def __str__(self) -> str:
        return self.shape.format(a="a", b="b", c=self.c)


class Context(Protocol):
    """What is read, and cases about it where they can be drawn by program."""

    @property
    def name(self) -> str:
        """A short name in small letters."""
        ...

    @property
    def text(self) -> str:
        """All of it."""
        ...

    @property
    def drawn(self) -> bool:
        """Whether cases are drawn by program; else a challenger has to write them."""
        ...

    def case(self, rng: Random, weights: Mapping[str, float]) -> Case:
        """A case drawn by program, kinds with a higher weight (of 1 unless given) more often."""
        ...


@dataclass(frozen=True)
class TextFile:
    """A text of your own. Raises UserError for a file that is not there, is empty or is no text."""

    path: Path

    def __post_init__(self) -> None:
        if not self.path.is_file():
            raise UserError(f"there is no file {self.path}")
        if not self.text.strip():
            raise UserError(f"{self.path} is empty: there is nothing to learn from")

    @property
    def name(self) -> str:
        """The name of the file."""
        return re.sub(r"[^a-z0-9]+", "-", self.path.stem.lower()).strip("-") or "context"

    @property
    def text(self) -> str:
        """What the file holds."""
        try:
            return self.path.read_text(encoding="utf-8")
        except UnicodeDecodeError as error:
            raise UserError(f"{self.path} is no text in UTF-8: {error.reason} at byte {error.start}") from error

    @property
    def drawn(self) -> bool:
        """False: a challenger writes the cases."""
        return False

    def case(self, rng: Random, weights: Mapping[str, float]) -> Case:
        """Raises NotImplementedError: nobody knows the rules of a text of your own."""
        raise NotImplementedError


@dataclass(frozen=True)
class RuleBook:
    """A rule book with so many planted operators; the same one for the same ``seed``.

    >>> book = RuleBook(seed=1, operators=2)
    >>> case = book.case(Random(0), {})
    >>> book.solve(case.question) == case.answer
    True
    """

    seed: int = 0
    operators: int = 6
    paragraphs: int = 24

    @property
    def name(self) -> str:
        """``rule-book-SEED``."""
        return f"rule-book-{self.seed}"

    @property
    def rules(self) -> dict[str, Rule]:
        """What every operator does."""
        rng = Random(seed_of("rule book", self.seed))
        return {s: Rule(rng.choice(list(SHAPES)), rng.randint(2, 9)) for s in SYMBOLS[: self.operators]}

    @property
    def text(self) -> str:
        """The rules, each in a paragraph of its own, between others."""
        rng = Random(seed_of("rule book text", self.seed))
        rules = [f"By resolution {rng.randint(100, 999)}, a {s} b is computed as {rule}." for s, rule in self.rules.items()]
        filler = [" ".join(rng.sample(NOISE, 3)) for _ in range(self.paragraphs - len(rules))]
        paragraphs = [*rules, *filler]
        rng.shuffle(paragraphs)
        return "\n\n".join(paragraphs)

    @property
    def drawn(self) -> bool:
        """True."""
        return True

    def case(self, rng: Random, weights: Mapping[str, float]) -> Case:
        """One use of an operator."""
        symbols = list(self.rules)
        symbol = rng.choices(symbols, [weights.get(s, 1.0) for s in symbols])[0]
        a, b = rng.randint(2, 20), rng.randint(2, 20)
        answer = str(self.rules[symbol].apply(a, b))
        return Case(f"What is {a} {symbol} {b}?", (f"the answer is {answer}",), answer, symbol)

    def solve(self, question: str) -> str | None:
        """The right answer to a case; None for a question that is none."""
        found = _CASE.search(question)
        if found is None or found[2] not in self.rules:
            return None
        return str(self.rules[found[2]].apply(int(found[1]), int(found[3])))


def context_of(place: str) -> Context:
    """``rule-book[:SEED]``, or a text file. Raises UserError for what is neither."""
    name, _, seed = place.partition(":")
    if name == "rule-book" and not Path(place).is_file():
        if seed and not seed.isdecimal():
            raise UserError(f"{place}: write rule-book or rule-book:SEED, a whole number")
        return RuleBook(int(seed or 0))
    return TextFile(Path(place))
