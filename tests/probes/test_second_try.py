"""The instrument is calibrated: it finds a planted effect and does not find an absent one, on subjects of known truth."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from random import Random

import pytest

from secondthought.engines.base import Request, Sampling
from secondthought.engines.scripted import Scripted
from secondthought.probes.base import in_arm
from secondthought.probes.second_try import SWAPS, SecondTry, report
from secondthought.probes.transplant import Transplant
from secondthought.protocols.reflect_retry import TERSE
from secondthought.runs.progress import Silence
from secondthought.types import Estimate, Group, Report, Task, Verdict


class Secrets:
    """Each task wants its own secret word, which cannot be guessed from the prompt."""

    def __len__(self) -> int:
        return 600

    def __getitem__(self, index: int) -> Task:
        return Task.of(f"secret {index}", answer=f"w{index}", family="secrets")

    def grade(self, task: Task, text: str) -> Verdict:
        return Verdict(float(text == task.answer), text, "")


def probe_of(n: int = 600) -> SecondTry:
    return SecondTry(tasks=Secrets(), n=n, prompts=TERSE, max_tokens=64)


def groups_of(write: Callable[[Request], str], n: int = 600) -> list[Group]:
    return probe_of(n).measure(Scripted(write), Silence())


def chance(request: Request, p: float) -> bool:
    return Random(request.seed).random() < p


def reader(request: Request) -> str:
    """Retries by its reflection; writes the secret into half of its reflections; knows nothing at first."""
    text = "".join(s.text for s in request.segments if s.name == "reflection")
    if request.name == "reflection":
        return f"try {request.task.answer}" if chance(request, 0.5) else "try harder"
    if request.name == "retry" and (found := re.search(r"w\d+", text)):
        return found[0]
    return "?"


def gambler(request: Request) -> str:
    """Right one time in five whatever it reads; its reflections say nothing."""
    return str(request.task.answer) if request.name != "reflection" and chance(request, 0.2) else "hm hm"


def figures(write: Callable[[Request], str], n: int = 600) -> Mapping[str, Estimate]:
    return report(groups_of(write, n)).figures


def test_a_planted_effect_is_found() -> None:
    found = figures(reader)
    assert found["first"].value == 0
    assert found["retry_after_failure"].low < 0.5 < found["retry_after_failure"].high
    assert found["second"].value == found["retry_after_failure"].value
    for arm in ("resample", *SWAPS):
        assert found[f"own_minus_{arm}"].low > 0.4
    assert found["donor"].value == 0


def test_the_claim_is_decided_by_the_tokens() -> None:
    assert probe_of().report(groups_of(reader)).verdict == "supported"
    # A gambler wins as often by gambling; for the tokens of a reflection it may gamble once more.
    found = probe_of().report(groups_of(gambler))
    assert found.verdict in ("refuted", "inconclusive")
    assert found.effect(found.decides).estimate.high < 0.06


def test_every_number_has_its_arm_and_its_episodes() -> None:
    groups = groups_of(gambler, 50)
    found = report(groups)
    assert {arm.name for arm in found.arms} >= {
        "first",
        "second",
        "retry_after_failure",
        "donor",
        "generic",
        "empty",
        "resampled",
    }
    for arm in found.arms:
        assert len(arm.scores) == len(found.units) == 50
        assert arm.query.get("arm", "own") in {episode.arm for group in groups for episode in group}
    assert {e.name for e in found.effects} == {f"own_minus_{arm}" for arm in (*SWAPS, "resample")}
    assert "How first tries fail" in [table.title for table in found.tables]


def test_an_absent_effect_is_not_found() -> None:
    found = figures(gambler)
    assert found["first"].low < 0.2 < found["first"].high
    for arm in SWAPS:
        assert found[f"own_minus_{arm}"].low < 0 < found[f"own_minus_{arm}"].high
    assert found["second"].low < 0.2 + 0.8 * 0.2 < found["second"].high


def failed(groups: list[Group]) -> list[Group]:
    return [group for group in groups if "retry" in group[0].verdicts]


def test_resampling_has_the_same_tokens_and_all_of_it_is_kept() -> None:
    for group in failed(groups_of(gambler, 100)):
        own, attempts = group[0], in_arm(group, "resample")
        budget = len(own["reflection"].tokens) + len(own["retry"].tokens)
        assert sum(len(e["attempt"].tokens) for e in attempts[:-1]) < budget
        assert [e.path for e in attempts] == [(i,) for i in range(len(attempts))]
        assert all(e.verdicts["attempt"].score == 0 for e in attempts[:-1])  # the first right one ends it


def test_nobody_gets_their_own_reflection_as_a_donors() -> None:
    groups = failed(groups_of(reader, 50))
    donors = [in_arm(group, "donor")[0] for group in groups]
    for own, donor in zip(groups, donors, strict=True):
        assert donor["reflection"].author == "intervention"
        assert donor["reflection"].logprobs is None
        assert str(own[0].task.answer) not in donor["reflection"].text
    assert sorted(d["reflection"].text for d in donors) == sorted(group[0]["reflection"].text for group in groups)


def test_a_lone_failure_has_no_donor() -> None:
    (group,) = groups_of(reader, 1)
    assert "retry" in group[0].verdicts
    assert {episode.arm for episode in group} == {"own", "generic", "empty", "resample"}
    assert report([group]).arm("donor").estimate.n == 0


def test_swaps_stand_exactly_where_the_own_reflection_stood() -> None:
    for group in groups_of(reader, 10):
        for arm in SWAPS:
            (episode,) = in_arm(group, arm)
            assert [s.name for s in episode.segments] == [s.name for s in group[0].segments]
            assert episode["attempt"] == group[0]["attempt"]


def test_leaks_are_counted_and_the_result_without_them_is_given() -> None:
    found = figures(reader)
    assert found["leak_rate"].value == pytest.approx(found["retry_after_failure"].value)
    assert found["second_without_leaks"].value == 0
    assert found["retry_given/full"].value == 1


def transplanted(base: Callable[[Request], str], trained: Callable[[Request], str]) -> Report:
    before = probe_of(200).measure(Scripted(base), Silence())
    one = Transplant(TERSE)
    groups = one.measure(Scripted(base), Scripted(trained), before, Secrets(), Sampling(), 0, Silence())
    return one.report(groups)


def test_a_transplant_says_where_the_gain_sits() -> None:
    def dull(request: Request) -> str:
        return "nothing" if request.name == "reflection" else reader(request)

    found = transplanted(dull, reader)
    rate = {arm.name: arm.estimate.value for arm in found.arms}
    assert rate["base/base"] == rate["base/trained"] == 0
    assert rate["trained/base"] == rate["trained/trained"] == pytest.approx(0.5, abs=0.12)
    assert found.verdict == "supported"


def test_an_untouched_model_gains_exactly_nothing_by_transplant() -> None:
    found = transplanted(gambler, gambler)
    assert all(effect.estimate.value == 0 for effect in found.effects)


def test_when_nothing_fails_there_is_nothing_to_reflect_on() -> None:
    found = report(groups_of(lambda request: str(request.task.answer), 20))
    assert found.arm("second").estimate.value == 1
    assert found.arm("retry_after_failure").estimate.n == 0
    assert found.verdict == "not applicable"
