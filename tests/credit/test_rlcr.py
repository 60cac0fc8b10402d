"""RLCR's rewards: the spec's vectors, what is optimal, and who is paid."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from secondthought.credit.base import BatchCredit, Step, paid
from secondthought.credit.rlcr import (
    brier_only,
    brier_reward,
    log_reward,
    rlcr,
    rlcr_split,
    rlcr_std,
    rlvr,
    shuffled,
)
from secondthought.types import Episode, Group, Segment, Signals, Task, Verdict

TASK = Task.of("2 + 2?", answer="4", family="sums")
GRID = [i / 10 for i in range(11)]


def expected(reward: object, p: float, q: float) -> float:
    assert callable(reward)
    return float(p * reward(1.0, q) + (1 - p) * reward(0.0, q))


def group(*pairs: tuple[float, float]) -> Group:
    def episode(i: int, c: float, q: float) -> Episode:
        said = (
            Segment("prompt", "task", "user", "2 + 2?"), Segment("attempt", "policy", "assistant", "4", (52,), (0.0,)),
            Segment("ask_confidence", "task", "user", "sure ?"), Segment("confidence", "policy", "assistant", "7", (55,), (0.0,)),
        )  # fmt: skip
        return Episode(TASK, (i,), said, {"attempt": Verdict(c), "confidence": Verdict(q)})

    return tuple(episode(i, c, q) for i, (c, q) in enumerate(pairs))


def policy(signals: Signals, name: str) -> float:
    found = signals[name].policy if name in signals else 0.0
    assert isinstance(found, float)
    return found


def test_the_papers_rewards() -> None:
    assert brier_reward(1, 0.9) == pytest.approx(0.99)
    assert brier_reward(0, 0.9) == pytest.approx(-0.81)
    assert brier_reward(0, 0) == brier_reward(1, 0) == 0  # a right answer that is sure to be wrong earns nothing
    assert brier_reward(1, math.nan) == brier_reward(0, math.nan) == -2  # the 0 of the authors' R / 2 + 1


@pytest.mark.parametrize(("p", "value"), [(0.1, 0.01), (0.5, 0.25), (0.8, 0.64)])
def test_the_true_confidence_is_the_best_and_worth_p_squared(p: float, value: float) -> None:
    best = max(GRID, key=lambda q: expected(brier_reward, p, q))
    assert best == p
    assert expected(brier_reward, p, best) == pytest.approx(value)
    assert max(GRID, key=lambda q: expected(brier_only, p, q)) == p


def test_an_unbounded_score_pays_deliberate_errors_below_0648() -> None:
    def honest(p: float) -> float:
        return p + p * math.log(p) + (1 - p) * math.log(1 - p)

    for p in (0.3, 0.6, 0.647):
        assert expected(log_reward, p, p) == pytest.approx(honest(p))
        assert honest(p) < log_reward(0, 0) == pytest.approx(0)
    assert honest(0.649) > 0
    assert all(expected(brier_reward, p, p) > brier_reward(0, 0) for p in (0.1, 0.3, 0.6))  # a bounded one never does


def test_answer_and_confidence_get_the_same_centred_advantage() -> None:
    signals = rlcr(group((1, 0.9), (0, 0.9), (0, 0.0)))
    rewards = [0.99, -0.81, 0.0]
    for one, reward in zip(signals, rewards, strict=True):
        assert policy(one, "attempt") == policy(one, "confidence") == pytest.approx(reward - 0.06)
    assert {name for one in signals for name in one} == {"attempt", "confidence"}
    (a, b) = rlcr_std(group((1, 0.5), (0, 0.5)))
    assert (policy(a, "attempt"), policy(b, "attempt")) == pytest.approx((1.0, -1.0))


def test_plain_rewards_pay_the_answer_alone() -> None:
    signals = rlvr(group((1, 0.1), (0, 0.9)))
    assert [policy(one, "attempt") for one in signals] == [0.5, -0.5]
    assert all("confidence" not in one for one in signals)


def test_the_split_keeps_the_answers_luck_out_of_the_confidence() -> None:
    signals = rlcr_split(group((1, 1.0), (0, 0.0)))
    assert all("confidence" not in one or policy(one, "confidence") == 0 for one in signals)  # both are perfectly calibrated
    (a, b) = rlcr_split(group((1, 0.9), (0, 0.5)))
    assert policy(a, "confidence") == pytest.approx((-0.01 + 0.25) / 2)
    assert policy(a, "attempt") == pytest.approx((0.99 + 0.25) / 2)
    assert policy(b, "confidence") == pytest.approx(-(-0.01 + 0.25) / 2)


def test_only_the_score_and_the_log_score() -> None:
    (a, b) = rlcr(group((1, 0.9), (0, 0.1)), reward=brier_only)
    assert (a, b) == ({}, {})  # being wrong and knowing it is as good as being right and knowing it
    (a, b) = rlcr(group((1, 0.5), (0, 0.5)), reward=log_reward)
    assert policy(a, "attempt") == pytest.approx(0.5)
    (a, b) = rlcr_split(group((1, 0.9), (0, 0.1)), reward=brier_only)
    assert (a, b) == ({}, {})


def test_shuffled_outcomes_are_those_of_the_batch_and_the_same_every_time() -> None:
    credit = shuffled()
    assert isinstance(credit, BatchCredit)
    groups = [group((1, 0.9), (0, 0.9), (1, 0.2)), group((0, 0.1), (0, 0.4), (1, 0.8))]
    one, two = (paid(credit, groups, Step(3, 9)) for _ in range(2))
    assert one == two
    assert one != paid(credit, groups, Step(4, 9))


def test_ungraded_answers_are_neither_paid_nor_part_of_the_baseline() -> None:
    signals = rlcr(group((math.nan, 0.5), (1, 0.9), (0, 0.9)))
    assert signals[0] == {}
    assert policy(signals[1], "attempt") == pytest.approx(0.9)


def test_what_keeps_confidences_open_is_the_gradient_of_their_entropy() -> None:
    """Over all confidences of a distribution, weighted by it, the extra pay is -log p less its mean; the rest stays."""
    said = group((1.0, 0.9), (0.0, 0.1))
    logps = (-2.0, -0.5)
    odd = tuple(
        replace(e, segments=(*e.segments[:-1], replace(e["confidence"], logprobs=(logp,))))
        for e, logp in zip(said, logps, strict=True)
    )
    for credit in (rlcr, rlcr_split, rlcr_std):
        plain, open_ = credit(odd), credit(odd, explore=0.1)
        extra = [policy(b, "confidence") - policy(a, "confidence") for a, b in zip(plain, open_, strict=True)]
        assert extra == pytest.approx([0.1 * 0.75, -0.1 * 0.75])
        assert [policy(a, "attempt") for a in plain] == [policy(b, "attempt") for b in open_]
    longer = tuple(replace(e, segments=(*e.segments[:-1], replace(c, tokens=c.tokens * 5, logprobs=(c.logprobs or ()) * 5)))
                   for e in odd for c in (e["confidence"],))  # fmt: skip
    assert rlcr(longer, explore=0.1) == rlcr(odd, explore=0.1)  # writing more pays nothing
    pay = shuffled(explore=0.1).pay([odd], Step(0, 1))[0]
    base = shuffled().pay([odd], Step(0, 1))[0]
    assert policy(pay[0], "confidence") - policy(base[0], "confidence") == pytest.approx(0.075)


def test_the_control_differs_from_the_recipe_in_the_outcomes_alone() -> None:
    """All answers right: another's outcome is one's own, and both credits pay the same."""
    same = group((1, 0.9), (1, 0.2), (1, 0.5))
    assert shuffled().pay([same], Step(0, 1))[0] == rlcr_split(same)
