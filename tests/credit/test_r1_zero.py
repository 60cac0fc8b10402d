"""R1-Zero's reward and its two advantages: who is paid, and the length bias that Dr. GRPO takes away."""

from __future__ import annotations

import math
from statistics import fmean, stdev

import pytest

from secondthought.credit.r1_zero import dr_grpo, grpo, reward
from secondthought.learners.loss import scale_of
from secondthought.learners.rows import compile_rows
from secondthought.types import Episode, Group, Segment, Signals, Task, Verdict

TASK = Task.of("use 3 5 2 make 17", answer="17", family="sums")
RIGHT, WRONG, NOTHING = Verdict(1.0, "17"), Verdict(0.0, "13"), Verdict(0.0, None)


def group(*found: Verdict, tokens: int = 3, stop: str = "end") -> Group:
    def episode(i: int, verdict: Verdict) -> Episode:
        said = (
            Segment("prompt", "task", "user", "?", (7, 8)),
            Segment("attempt", "policy", "assistant", "x", (5,) * tokens, (-0.5,) * tokens, stop=stop),  # type: ignore[arg-type]
        )
        return Episode(TASK, (i,), said, {"attempt": verdict})

    return tuple(episode(i, verdict) for i, verdict in enumerate(found))


def advantages(signals: list[Signals]) -> list[float]:
    found = [one["attempt"].policy if "attempt" in one else 0.0 for one in signals]
    return [value for value in found if isinstance(value, float)]


def test_rewards_are_0_for_nothing_a_tenth_for_the_form_and_1() -> None:
    assert [reward(e) for e in group(RIGHT, WRONG, NOTHING)] == [1.0, 0.1, 0.0]
    assert [reward(e, form=0.0) for e in group(RIGHT, WRONG, NOTHING)] == [1.0, 0.0, 0.0]
    assert [reward(e) for e in group(RIGHT, WRONG, stop="length")] == [0.0, 0.0]  # cut off
    assert math.isnan(reward(group(Verdict(math.nan))[0]))


def test_grpo_divides_by_the_unbiased_deviation_and_dr_grpo_does_not() -> None:
    some, rewards = group(RIGHT, WRONG, NOTHING, NOTHING), [1.0, 0.1, 0.0, 0.0]
    assert advantages(dr_grpo(some)) == pytest.approx([r - fmean(rewards) for r in rewards])
    assert advantages(grpo(some)) == pytest.approx([(r - fmean(rewards)) / (stdev(rewards) + 1e-8) for r in rewards])


def test_the_centred_advantage_is_leave_one_out_times_g_minus_1_over_g() -> None:
    rewards = [1.0, 0.1, 0.0, 0.0]
    rloo = [r - (sum(rewards) - r) / 3 for r in rewards]
    assert advantages(dr_grpo(group(RIGHT, WRONG, NOTHING, NOTHING))) == pytest.approx([a * 3 / 4 for a in rloo])


@pytest.mark.parametrize("credit", [grpo, dr_grpo])
@pytest.mark.parametrize("one", [RIGHT, WRONG, NOTHING])
def test_a_group_that_earns_the_same_teaches_nothing(credit: object, one: Verdict) -> None:
    assert callable(credit)
    assert credit(group(*[one] * 8)) == [{}] * 8


def test_ungraded_responses_are_no_part_of_it() -> None:
    found = grpo(group(RIGHT, Verdict(math.nan), NOTHING))
    assert found[1] == {}
    assert advantages(found)[0] == -advantages(found)[2]


def test_the_reference_pulls_every_response_where_it_is_wanted() -> None:
    assert [one["attempt"].kl for one in grpo(group(RIGHT, RIGHT), kl=1.0)] == [1.0, 1.0]


def test_a_long_wrong_response_is_punished_less_per_token_under_grpo_only() -> None:
    """The length bias: the same advantage, a quarter of the weight on each of four times as many tokens."""
    short, long = group(RIGHT, NOTHING, tokens=4), group(RIGHT, NOTHING, tokens=16)
    weight = {}
    for normalization in ("grpo", "dr_grpo"):
        for name, some in (("short", short), ("long", long)):
            rows = compile_rows([some], [dr_grpo(some)])
            scale = scale_of(rows.rows, normalization, 64)
            targets = [t for row in rows.rows for t in row.targets if t.policy < 0]
            share = targets[0].share if normalization == "grpo" else 1.0
            weight[normalization, name] = targets[0].policy * share / scale.policy
    assert weight["grpo", "long"] == pytest.approx(weight["grpo", "short"] / 4)
    assert weight["dr_grpo", "long"] == pytest.approx(weight["dr_grpo", "short"])
