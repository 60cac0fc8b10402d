"""Which of the skills that were written is used: cross-time replay (Ctx2Skill, arXiv 2604.27660), with no skill among them.

    rho_h(i) = (solved of the hard cases + 1) / (hard cases + 1)        rho_e(i) the same of the easy ones
    i* = argmax rho_h(i) rho_e(i)

Candidate 0 is no skill at all (ours): where nothing helps nothing is used. Of equals the earlier one wins.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple

Rule = Literal["product", "sum", "hard"]


class Replayed(NamedTuple):
    """What a candidate solves of the hard and of the easy cases."""

    hard: int
    hards: int
    easy: int
    easies: int

    @property
    def rho_hard(self) -> float:
        """The smoothed share of hard cases that are solved."""
        return (self.hard + 1) / (self.hards + 1)

    @property
    def rho_easy(self) -> float:
        """The smoothed share of easy cases that are solved."""
        return (self.easy + 1) / (self.easies + 1)

    def score(self, rule: Rule = "product") -> float:
        """What a candidate is chosen by.

        >>> Replayed(1, 3, 2, 3).score(), Replayed(0, 0, 0, 0).score()
        (0.375, 1.0)
        """
        if rule == "hard":
            return self.rho_hard
        return self.rho_hard + self.rho_easy if rule == "sum" else self.rho_hard * self.rho_easy


def chosen(replayed: Sequence[Replayed], rule: Rule = "product") -> int:
    """The number of the candidate that is used.

    >>> chosen([Replayed(0, 3, 3, 3), Replayed(2, 3, 3, 3), Replayed(3, 3, 0, 3)])
    1
    """
    scores = [one.score(rule) for one in replayed]
    return scores.index(max(scores))
