"""Temperature: who reads the text is no better than others, who knows more is, and the ceiling is that of the simulation."""

from __future__ import annotations

import math

import pytest

from secondthought.engines.scripted import Scripted
from secondthought.errors import UserError
from secondthought.probes.inner_subjects import aware, thermometer
from secondthought.probes.temperature import Temperature, said_in
from secondthought.probes.temperature_report import accuracy, ranked
from secondthought.runs.progress import Silence
from secondthought.types import Report


def measured(subject: object, **options: object) -> Report:
    probe = Temperature(**{"n": 90, "max_tokens": 8, **options})  # type: ignore[arg-type]
    return probe.report(probe.measure(subject, Silence()))  # type: ignore[arg-type]


@pytest.mark.parametrize(("tokens", "ceiling"), [(3, 0.91), (10, 1.0)])
def test_the_ideal_observer_reaches_the_simulated_ceiling(tokens: int, ceiling: float) -> None:
    """0.5 against 1.5, logits with a spread of 2: the share of texts that are called right (spec, by simulation)."""
    report = measured(thermometer("text"), n=180, max_tokens=tokens)
    assert report.figures["ceiling/accuracy"].value == pytest.approx(ceiling, abs=0.06)
    assert report.figures["own/accuracy"].value == report.figures["ceiling/accuracy"].value


def test_who_reads_its_text_is_lightweight_and_not_privileged() -> None:
    report = measured(thermometer("text"))
    assert report.verdict == "refuted"
    assert report.figures["self_advantage"].value == 0
    assert report.arm("own").estimate.value > 0.95
    assert "lightweight" in report.notes[0]


def test_who_reads_the_style_is_confounded() -> None:
    report = measured(thermometer("style"))
    assert report.effect("style_effect").estimate.low > 0.5
    assert report.effect("own_above_chance").estimate.low < 0 < report.effect("own_above_chance").estimate.high
    assert "confounded" in report.notes[0]


def test_who_says_the_same_of_all_is_at_chance() -> None:
    report = measured(thermometer("nothing"))
    assert report.arm("own").estimate.value == 0.5
    assert report.figures["own/auroc"].value == 0.5
    always = accuracy("own", [(1.0, 2.0), (3.0, 0.5)], ["a", "b"])
    assert always.value == 0.5  # who always says HIGH is right half the time, whatever the scores
    assert accuracy("surprisal", [(1.0, 3.0), (2.0, 4.0)], ["a", "b"]).value == 1.0
    assert "none" in report.notes[0]


def test_who_knows_more_than_the_text_shows_is_privileged() -> None:
    report = measured(Scripted(aware), one_response=True)
    assert report.verdict == "supported"
    assert "privileged" in report.notes[0]
    assert report.figures["self_advantage"].value == pytest.approx(0.5, abs=0.12)
    assert report.effect("follows_state").estimate.value == 0.5  # behind the other's text it still knows


def test_reports_that_say_neither_are_counted_and_left_out() -> None:
    def mute(request: object) -> str:
        return "a text" if request.name == "text" else "I cannot know."  # type: ignore[attr-defined]

    report = measured(Scripted(mute), n=12)
    assert report.verdict == "not applicable"
    assert "no report of its own could be read" in report.notes
    assert math.isnan(said_in("").score)
    assert said_in("<think>LOW, no, HIGH</think>It is LOW.").score == -1
    assert ranked((1.0, 1.0)) == 0.5


def test_another_model_reads_the_same_texts() -> None:
    report = measured(thermometer("nothing"), other=thermometer("text"))
    assert report.arm("across").estimate.value > 0.95
    assert report.effect("own_minus_across").estimate.value == pytest.approx(-0.5, abs=0.05)


@pytest.mark.parametrize(("low", "high"), [(1.0, 1.0), (0.0, 1.0), (1.5, 0.5)])
def test_two_temperatures_are_wanted(low: float, high: float) -> None:
    with pytest.raises(UserError, match="low must be above 0 and below high"):
        Temperature(low=low, high=high).prepare(Silence())
