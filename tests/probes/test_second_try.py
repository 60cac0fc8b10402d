"""The instrument is calibrated: it finds a planted effect and does not find an absent one, on subjects of known truth."""

from __future__ import annotations

import re
from collections.abc import Callable
from random import Random

import pytest

from secondthought.engines.scripted import Scripted
from secondthought.probes.second_try import SWAPS, Setting, distinct, measure, report, summary, transplant
from secondthought.protocols.reflect_retry import TERSE
from secondthought.scene import Request, Sampling
from secondthought.types import Episode, Estimate, Task, Verdict


class Secrets:
    """Each task wants its own secret word, which cannot be guessed from the prompt."""

    def __len__(self) -> int:
        return 600

    def __getitem__(self, index: int) -> Task:
        return Task.of(f"secret {index}", answer=f"w{index}", family="secrets")

    def grade(self, task: Task, text: str) -> Verdict:
        return Verdict(float(text == task.answer), text, "")


SETTING = Setting(Secrets(), TERSE, Sampling(), "terse")
PROBLEMS = distinct(SETTING.tasks, 600)


def chance(request: Request, p: float) -> bool:
    return Random(request.seed).random() < p


def reader(request: Request) -> str:
    """Retries by its reflection; writes the secret into half of its reflections; knows nothing at first."""
    told = "".join(s.text for s in request.segments if s.name == "reflection")
    if request.name == "reflection":
        return f"try {request.task.answer}" if chance(request, 0.5) else "try harder"
    if request.name == "retry" and (found := re.search(r"w\d+", told)):
        return found[0]
    return "?"


def gambler(request: Request) -> str:
    """Right one time in five whatever it is told; its reflections say nothing."""
    return str(request.task.answer) if request.name != "reflection" and chance(request, 0.2) else "hm hm"


def figures(speak: Callable[[Request], str]) -> dict[str, Estimate]:
    return summary(measure(Scripted(speak), PROBLEMS, SETTING))


def test_a_planted_effect_is_found() -> None:
    found = figures(reader)
    assert found["first"].value == 0
    assert found["retry_after_failure"].low < 0.5 < found["retry_after_failure"].high
    assert found["second"].value == found["retry_after_failure"].value
    for arm in ("resample", *SWAPS):
        assert found[f"own_minus_{arm}"].low > 0.4
    assert found["donor"].value == 0


def test_the_claim_is_decided_by_the_tokens() -> None:
    assert report(measure(Scripted(reader), PROBLEMS, SETTING)).verdict == "supported"
    # A gambler wins as often by gambling; for the tokens of a reflection it may gamble once more.
    found = report(measure(Scripted(gambler), PROBLEMS, SETTING))
    assert found.verdict in ("refuted", "undecided")
    assert found.effect.high < 0.06
    assert len(found.episodes) == 5 * found.arms["own"].n


def test_an_absent_effect_is_not_found() -> None:
    found = figures(gambler)
    assert found["first"].low < 0.2 < found["first"].high
    for arm in SWAPS:
        assert found[f"own_minus_{arm}"].low < 0 < found[f"own_minus_{arm}"].high
    assert found["second"].low < 0.2 + 0.8 * 0.2 < found["second"].high


def test_resampling_has_the_same_tokens_and_not_more() -> None:
    cases = measure(Scripted(gambler), PROBLEMS[:100], SETTING)
    for case in cases:
        if case.failed:
            budget = len(case.own["reflection"].tokens) + len(case.own["retry"].tokens)
            assert case.arms["resample"].path[0] * len(case.own["retry"].tokens) <= budget


def test_nobody_gets_their_own_reflection_as_a_donors() -> None:
    cases = [case for case in measure(Scripted(reader), PROBLEMS[:50], SETTING) if case.failed]
    for case in cases:
        donor = case.arms["donor"]["reflection"]
        assert donor.author == "intervention"
        assert donor.logprobs is None
        assert str(case.task.answer) not in donor.text
    given = sorted(case.arms["donor"]["reflection"].text for case in cases)
    assert given == sorted(case.own["reflection"].text for case in cases)


def test_a_lone_failure_has_no_donor() -> None:
    cases = measure(Scripted(reader), PROBLEMS[:1], SETTING)
    assert cases[0].failed
    assert set(cases[0].arms) == {"generic", "empty", "resample"}
    assert summary(cases)["donor"].n == 0


def test_swaps_stand_exactly_where_the_own_reflection_stood() -> None:
    for case in measure(Scripted(reader), PROBLEMS[:10], SETTING):
        for arm in SWAPS:
            names = [s.name for s in case.arms[arm].segments]
            assert names == [s.name for s in case.own.segments]
            assert case.arms[arm]["attempt"] == case.own["attempt"]


def test_leaks_are_counted_and_the_result_without_them_is_given() -> None:
    found = figures(reader)
    assert found["leak_rate"].value == pytest.approx(found["retry_after_failure"].value)
    assert found["second_without_leaks"].value == 0
    assert found["retry_given/full"].value == 1


def test_a_transplant_says_where_the_gain_sits() -> None:
    def dull(request: Request) -> str:
        return "nothing" if request.name == "reflection" else reader(request)

    failures: list[Episode] = [case.own for case in measure(Scripted(dull), PROBLEMS[:200], SETTING)]
    found = transplant({"base": Scripted(dull), "trained": Scripted(reader)}, failures, SETTING)
    rate = {(a, b): sum(scores) / len(scores) for a, row in found.items() for b, scores in row.items()}
    assert rate["base", "base"] == rate["base", "trained"] == 0
    assert rate["trained", "base"] == rate["trained", "trained"] == pytest.approx(0.5, abs=0.12)


def test_when_nothing_fails_there_is_nothing_to_reflect_on() -> None:
    found = summary(measure(Scripted(lambda request: str(request.task.answer)), PROBLEMS[:20], SETTING))
    assert found["second"].value == 1
    assert found["retry_after_failure"].n == 0
