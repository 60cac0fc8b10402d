"""SCoRe's two stages: what each attempt is paid, and that nothing else is."""

from __future__ import annotations

import math
from collections.abc import Sequence

import pytest

from secondthought.credit.base import BatchCredit, Step, paid
from secondthought.credit.score import first_only, shaped, stage_one, stage_two
from secondthought.types import Episode, Group, Segment, Signals, Task, Verdict

TASK = Task.of("2 + 2?", answer="4", family="sums")
STEP = Step(0, 1)


def group(*pairs: tuple[float, float], replayed: Sequence[int] = ()) -> Group:
    def episode(i: int, one: float, two: float) -> Episode:
        first = Segment("attempt_1", "policy", "assistant", "3", (51,), None if i in replayed else (0.0,))
        asked = Segment("ask_correction", "task", "user", "check")
        second = Segment("attempt_2", "policy", "assistant", "4", (52,), (0.0,))
        prompt = Segment("prompt", "task", "user", "2 + 2?")
        return Episode(TASK, (i,), (prompt, first, asked, second), {"attempt_1": Verdict(one), "attempt_2": Verdict(two)})

    return tuple(episode(i, one, two) for i, (one, two) in enumerate(pairs))


def pay(credit: BatchCredit, groups: Sequence[Group]) -> list[Signals]:
    return [signals for one in paid(credit, groups, STEP) for signals in one]


def policies(signals: Sequence[Signals], name: str) -> list[float]:
    found = [one[name].policy for one in signals]
    assert all(isinstance(value, float) for value in found)
    return [float(value) for value in found if not isinstance(value, tuple)]


ALL_FOUR = [group((0, 1), (1, 1)), group((0, 0), (1, 0))]  # wrong then right, right twice, wrong twice, right then wrong


def test_the_papers_rewards() -> None:
    assert [shaped(one, two, 10) for one, two in ((0, 1), (1, 1), (0, 0), (1, 0))] == [11, 1, 0, -10]


def test_stage_one_pays_the_second_attempt_and_holds_the_first() -> None:
    signals = pay(stage_one(beta1=0.01, beta2=0.25), ALL_FOUR)
    assert policies(signals, "attempt_2") == [0.5, 0.5, -0.5, -0.5]
    assert policies(signals, "attempt_1") == [0, 0, 0, 0]
    assert [one["attempt_1"].kl for one in signals] == pytest.approx([0.26] * 4)  # beta2, and the small default pull
    assert [one["attempt_2"].kl for one in signals] == [0.01] * 4


def test_stage_two_pays_each_attempt_for_itself_over_the_batch() -> None:
    signals = pay(stage_two(alpha=10), ALL_FOUR)
    assert policies(signals, "attempt_1") == [-0.5, 0.5, -0.5, 0.5]
    assert policies(signals, "attempt_2") == [10.5, 0.5, -0.5, -10.5]  # less the mean of 11, 1, 0 and -10
    assert {signal.kl for one in signals for signal in one.values()} == {0.01}
    assert {name for one in signals for name in one} == {"attempt_1", "attempt_2"}


def test_gamma_gives_the_first_attempt_a_share_of_the_second() -> None:
    signals = pay(stage_two(alpha=1, gamma=0.8), ALL_FOUR)
    earned = [0 + 0.8 * 2, 1 + 0.8 * 1, 0 + 0.8 * 0, 1 + 0.8 * -1]
    assert policies(signals, "attempt_1") == pytest.approx([r - sum(earned) / 4 for r in earned])
    assert earned[0] > earned[3]  # failing first pays better than being right and spoiling it


def test_without_a_bonus_both_attempts_are_merely_right_or_wrong() -> None:
    signals = pay(stage_two(alpha=0), ALL_FOUR)
    assert policies(signals, "attempt_2") == [0.5, 0.5, -0.5, -0.5]


def test_over_one_turn_only_the_first_attempt_is_paid() -> None:
    signals = pay(first_only(), ALL_FOUR)
    assert policies(signals, "attempt_1") == [-0.5, 0.5, -0.5, 0.5]
    assert [(one["attempt_2"].policy, one["attempt_2"].kl) for one in signals] == [(0, 0)] * 4


def test_replayed_first_attempts_are_neither_paid_nor_pulled() -> None:
    signals = pay(stage_two(), [group((0, 1), (1, 1), replayed=[0])])
    assert (signals[0]["attempt_1"].policy, signals[0]["attempt_1"].kl) == (0, 0)
    assert signals[0]["attempt_2"].policy == 5.0  # 11 less the mean of 11 and 1


def test_what_nobody_could_grade_is_no_part_of_the_baseline() -> None:
    signals = pay(stage_two(alpha=10), [group((0, 1), (1, 1), (math.nan, 1))])
    assert policies(signals, "attempt_2") == [5.0, -5.0, 0.0]
