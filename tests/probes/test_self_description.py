"""Self-description: what is planted in acts and words is found, what else moves is seen, letters are no words."""

from __future__ import annotations

import pytest

from secondthought.engines.scripted import Scripted
from secondthought.errors import UserError
from secondthought.probes.base import Checkpoint, Measured
from secondthought.probes.inner_subjects import describing
from secondthought.probes.self_description import SelfDescription
from secondthought.probes.traits import TRAITS, number_score, picked, word_score
from secondthought.runs.progress import Silence
from secondthought.tasks.choices import Choices
from secondthought.types import Report, Task

CHOICES = Choices(tuple(Task.of(f"Choose {i}: A or B?", answer="AB"[i % 2], family="choices") for i in range(400)))


def measured(subject: object, **options: object) -> Report:
    probe = SelfDescription(tasks=CHOICES, n=400, **options)  # type: ignore[arg-type]
    return probe.report(probe.measure(Scripted(subject), Silence()))  # type: ignore[arg-type]


@pytest.mark.parametrize(("acts", "own", "agrees"), [(0.9, 0.8, 0.3), (0.1, 0.2, 0.3), (0.9, 0.2, -0.3), (0.9, 0.5, 0.0)])
def test_what_is_planted_is_found(acts: float, own: float, agrees: float) -> None:
    report = measured(describing(acts, own))
    assert report.arm("acts").estimate.value == pytest.approx(acts, abs=0.05)
    assert report.arm("self").estimate.value == pytest.approx(own, abs=0.1)
    assert report.effect("describes_its_acts").estimate.value == pytest.approx(agrees, abs=0.1)
    assert (report.verdict == "supported") == (agrees > 0.1)
    assert report.effect("self_minus_other").estimate.value == pytest.approx(own - 0.5, abs=0.15)


def test_bare_letters_are_counted_and_left_out() -> None:
    report = measured(describing(0.9, 0.8, unread=0.4))
    assert report.figures["self/unread"].value == pytest.approx(0.4, abs=0.1)
    assert report.arm("self").estimate.value == pytest.approx(0.8, abs=0.12)
    assert word_score(TRAITS["risk"], "A") is None
    assert word_score(TRAITS["risk"], "I am bold but careful") == 0.5
    assert number_score("between 10 and 20") == 0.1
    assert picked("risk-averse", ("risk", "safe")) is None


def test_models_are_compared_question_by_question() -> None:
    found = [
        Measured(Checkpoint(name, name), 0, measured(describing(acts, own)))
        for name, acts, own in (("bold", 0.9, 0.9), ("careful", 0.1, 0.1))
    ]
    report = SelfDescription(tasks=CHOICES).across(found)
    assert report is not None
    assert report.effect("self/careful").estimate.value == pytest.approx(0.8, abs=0.15)
    assert report.effect("other/careful").estimate.value == pytest.approx(0.0, abs=0.15)
    assert SelfDescription(tasks=CHOICES).across(found[:1]) is None


def test_without_choices_nothing_is_known_of_how_it_acts() -> None:
    probe = SelfDescription()
    report = probe.report(probe.measure(Scripted(describing(0.9, 0.9)), Silence()))
    assert report.verdict == "not applicable"
    assert any("no choices were named" in note for note in report.notes)
    with pytest.raises(UserError, match="no trait 'mood'"):
        SelfDescription(trait="mood").prepare(Silence())
