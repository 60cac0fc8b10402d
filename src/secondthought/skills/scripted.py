"""Players whose skill is known: all five roles by program on a rule book, for tests and for calibrating the method.

The reasoner solves a case if its notes hold the rule that the case needs (in ``uses`` of all cases) and guesses otherwise; the
proposer looks up the rule of a failed case; the generator appends it and, where the budget is spent, forgets the oldest entry.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from random import Random
from typing import Literal, cast

from secondthought.engines.base import Request
from secondthought.engines.scripted import Scripted
from secondthought.skills.contexts import RuleBook
from secondthought.types import Json

Notes = Literal["true", "wrong", "idle"]
_ENTRY = re.compile(r"^- a (\S) b is (.+)$", re.MULTILINE)


@dataclass(frozen=True)
class Player:
    """``write(request)`` plays the role that a request asks for.

    uses     how often the reasoner follows a note that fits
    luck     how often it solves a case without one
    notes    what the proposer writes: the true rule of a failed case, wrong ones for all, or idle words that fit no case
    slip     how often the generator leaves out all other entries while it writes
    """

    book: RuleBook
    uses: float = 0.95
    luck: float = 0.05
    notes: Notes = "true"
    slip: float = 0.0

    def engine(self) -> Scripted:
        """The engine that plays so."""
        return Scripted(self.write)

    def write(self, request: Request) -> str:
        """The words of a role."""
        about = cast(Mapping[str, Json], request.task.answer)
        rng, role = Random(request.seed), str(about["role"])
        if role == "reasoner":
            return self.reason(str(about["skill"]), str(about["question"]), rng)
        if role == "proposer":
            return self.propose(cast(list[str], about["questions"])[0], rng)
        return self.generate(str(about["skill"]), str(about["proposal"]), int(cast(int, about["budget"])), rng)

    def reason(self, skill: str, question: str, rng: Random) -> str:
        """Follow a note that fits, or guess."""
        _, _, a, symbol, b = question.rstrip("?").split()
        known = dict(_ENTRY.findall(skill))
        right = self.book.solve(question)
        if symbol in known and rng.random() < self.uses:
            return f"Answer: {_value(known[symbol], int(a), int(b))}"
        return f"Answer: {right if rng.random() < self.luck else rng.randint(1000, 9999)}"

    def propose(self, question: str, rng: Random) -> str:
        """What to add, from the first case that failed."""
        symbol = question.split()[3]
        if self.notes == "idle":
            return f"- members close the reading room at {rng.randint(1, 12)}"
        if self.notes == "wrong":
            return "\n".join(f"- a {s} b is {rule._replace(c=rule.c + 1)}" for s, rule in self.book.rules.items())
        return f"- a {symbol} b is {self.book.rules[symbol]}"

    def generate(self, skill: str, proposal: str, budget: int, rng: Random) -> str:
        """The notes with the new entries; the oldest entries give way."""
        written = {line.split()[2] for line in proposal.splitlines()}
        kept = [line for line in skill.splitlines() if line.strip() and line.split()[2] not in written]
        lines = [*([] if rng.random() < self.slip else kept), *proposal.splitlines()]
        while len(" ".join(lines).replace("-", " ").split()) > budget and len(lines) > 1:
            lines.pop(0)
        return "\n".join(lines)


def _value(rule: str, a: int, b: int) -> int:
    """What a rule as notes spell it comes to: sums and products of a, b and numbers, from left to right by precedence."""
    total, sign = 0, 1
    for part in re.split(r" ([+-]) ", f"{rule}"):
        if part in "+-":
            sign = 1 if part == "+" else -1
            continue
        product = 1
        for factor in part.split(" * "):
            product *= {"a": a, "b": b}.get(factor, int(factor) if factor.isdecimal() else 0)
        total, sign = total + sign * product, 1
    return total
