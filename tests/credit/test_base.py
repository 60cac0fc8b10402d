"""Credits over a group, over the whole batch, and by the step; what wraps one keeps its kind."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean

import pytest

from secondthought.credit.answer import answer
from secondthought.credit.base import BatchCredit, Step, by_step, paid, wrapped
from secondthought.credit.reflect_retry import anchored
from secondthought.types import Episode, Group, Segment, Signal, Signals, Task, Verdict

TASK = Task.of("2 + 2?", answer="4", family="sums")


def group(*scores: float) -> Group:
    said = (Segment("prompt", "task", "user", "2 + 2?"), Segment("attempt", "policy", "assistant", "4", (52,), (0.0,)))
    return tuple(Episode(TASK, (i,), said, {"attempt": Verdict(score)}) for i, score in enumerate(scores))


def above_average(groups: Sequence[Group], step: Step) -> list[list[Signals]]:
    mean = fmean(e.verdicts["attempt"].score for g in groups for e in g)
    return [[{"attempt": Signal(policy=e.verdicts["attempt"].score - mean)} for e in g] for g in groups]


def policies(signals: Sequence[Sequence[Signals]]) -> list[list[object]]:
    return [[one["attempt"].policy if "attempt" in one else 0 for one in group] for group in signals]


def test_a_batch_baseline_pays_groups_that_agree() -> None:
    groups = [group(1, 1), group(0, 0)]
    assert policies(paid(answer, groups, Step(0, 1))) == [[0, 0], [0, 0]]  # nothing to compare within a group
    assert policies(paid(BatchCredit(above_average), groups, Step(0, 1))) == [[0.5, 0.5], [-0.5, -0.5]]


def test_a_credit_by_the_step_switches() -> None:
    credit = by_step(lambda step: answer if step.share < 0.5 else BatchCredit(above_average))
    groups = [group(1, 0), group(1, 1)]
    assert policies(paid(credit, groups, Step(0, 4))) == [[1.0, -1.0], [0, 0]]
    assert policies(paid(credit, groups, Step(2, 4))) == [[0.25, -0.75], [0.25, 0.25]]


def test_wrapping_keeps_the_kind_and_the_pay() -> None:
    whole = anchored(BatchCredit(above_average), "attempt", 0.5)
    assert isinstance(whole, BatchCredit)
    signals = paid(whole, [group(1, 1), group(0, 0)], Step(0, 1))
    assert policies(signals) == [[0.5, 0.5], [-0.5, -0.5]]
    one = wrapped(answer, lambda g: g, lambda g, signals: [{} for _ in g])
    assert paid(one, [group(1, 0)], Step(0, 1)) == [[{}, {}]]


def test_too_few_signals_are_refused() -> None:
    with pytest.raises(ValueError, match="one mapping of signals for each episode"):
        paid(lambda g: [{}], [group(1, 0)], Step(0, 1))
    with pytest.raises(ValueError, match="one mapping of signals for each episode"):
        paid(BatchCredit(lambda groups, step: []), [group(1, 0)], Step(0, 1))
