"""What credit functions share: a credit is a pure function from a group to the signals of its episodes, in order.

A credit that needs more than one group, or that changes as training goes on, is a :class:`BatchCredit`: it gets all groups of a
step, from all processes, and which step of its stage this is.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import fmean, pstdev
from typing import NamedTuple, TypeVar, cast

from secondthought.types import THOUGHTS, Episode, Group, Signals

GroupCredit = Callable[[Group], Sequence[Signals]]


class Step(NamedTuple):
    """Which step of a stage this is: ``number`` (from 0) of ``of``.

    >>> Step(25, 100).share
    0.25
    """

    number: int
    of: int

    @property
    def share(self) -> float:
        """How much of the stage is over, from 0 to 1."""
        return self.number / self.of if self.of else 0.0


@dataclass(frozen=True)
class BatchCredit:
    """A credit over the whole batch: ``pay(groups, step)`` returns the signals of every group, in order.

    >>> def above_average(groups, step):
    ...     rewards = [scores(group, "attempt") for group in groups]
    ...     centre = fmean(r for one in rewards for r in one)
    ...     return [[{"attempt": Signal(policy=r - centre)} for r in one] for one in rewards]
    >>> from secondthought.types import Signal
    >>> credit = BatchCredit(above_average)
    """

    pay: Callable[[Sequence[Group], Step], Sequence[Sequence[Signals]]]


Credit = GroupCredit | BatchCredit
C = TypeVar("C", bound=Credit)


def paid(credit: Credit, groups: Sequence[Group], step: Step) -> list[list[Signals]]:
    """The signals of every group of a step. Raises ValueError if a credit returns too few or too many."""
    found = credit.pay(groups, step) if isinstance(credit, BatchCredit) else [credit(group) for group in groups]
    signals = [list(one) for one in found]
    if [len(one) for one in signals] != [len(group) for group in groups]:
        raise ValueError("a credit must return one mapping of signals for each episode of each group")
    return [[with_thoughts(e, s) for e, s in zip(group, one, strict=True)] for group, one in zip(groups, signals, strict=True)]


def with_thoughts(episode: Episode, signals: Signals) -> Signals:
    """The same signals, those of a segment for the thoughts before it too (token by token they are for the segment alone)."""
    thoughts = {
        name + THOUGHTS: signal for name, signal in signals.items()
        if name + THOUGHTS in episode and not isinstance(signal.policy, tuple)
    }  # fmt: skip
    return {**signals, **thoughts} if thoughts else signals


def by_step(make: Callable[[Step], Credit]) -> BatchCredit:
    """A credit that depends on the step: a ramp, a warm-up, a switch.

    >>> from secondthought.credit.answer import answer
    >>> credit = by_step(lambda step: answer if step.share < 0.5 else answer)
    """
    return BatchCredit(lambda groups, step: paid(make(step), groups, step))


def wrapped(credit: C, before: Callable[[Group], Group], after: Callable[[Group, Sequence[Signals]], list[Signals]]) -> C:
    """The same kind of credit, with ``before`` on every group that it sees and ``after`` on the signals that it gives."""
    if isinstance(credit, BatchCredit):
        pay = credit.pay
        whole = BatchCredit(
            lambda groups, step: [
                after(group, signals) for group, signals in zip(groups, pay([before(g) for g in groups], step), strict=True)
            ]
        )
        return cast(C, whole)
    return cast(C, lambda group: after(group, credit(before(group))))


def scores(group: Group, name: str) -> list[float]:
    """The score of the verdict ``name`` in each episode; nan (ungraded) where there is none.

    >>> from secondthought.types import Episode, Task, Verdict
    >>> task = Task.of("2 + 2?", answer="4", family="sums")
    >>> scores([Episode(task, (0,), (), {"retry": Verdict(1.0)}), Episode(task, (1,), (), {})], "retry")
    [1.0, nan]
    """
    return [e.verdicts[name].score if name in e.verdicts else math.nan for e in group]


def normalised(rewards: Sequence[float]) -> list[float]:
    """Normalised advantages ``(r - mean) / std`` (GRPO, arXiv 2402.03300, eq. 3); ungraded ones get 0.

    With fewer than two graded rewards, or all of them equal, there is nothing to compare: every advantage is 0.

    >>> normalised([1, 0, 0, 1])
    [1.0, -1.0, -1.0, 1.0]
    >>> normalised([1.0, 1.0])
    [0.0, 0.0]
    """
    graded = [r for r in rewards if not math.isnan(r)]
    if len(graded) < 2 or (spread := pstdev(graded)) == 0:
        return [0.0] * len(rewards)
    centre = fmean(graded)
    return [0.0 if math.isnan(r) else (r - centre) / spread for r in rewards]
