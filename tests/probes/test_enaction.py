"""Enaction: a planted ratio of four is found, texts that are easy for everyone are not, and surprise must do something."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from secondthought.engines.factory import torch_engine
from secondthought.engines.scripted import Scripted
from secondthought.errors import UserError
from secondthought.probes.enaction import Enaction, framed, summed
from secondthought.probes.inner_subjects import SURE, UNSURE, writer
from secondthought.probes.ridge import cross_predicted, difference_of_means
from secondthought.runs.progress import Silence
from secondthought.types import Report, Segment, Task

RATIO = math.log(UNSURE / SURE)


def measured(subject: Any, other: Any = "", **options: object) -> Report:
    probe = Enaction(**{"n": 32, "max_tokens": 16, "steered": 0, "other": other, **options})
    return probe.report(probe.measure(subject, Silence()))


def test_who_acts_on_an_intent_is_found() -> None:
    report = measured(writer("a", "acts"), writer("b", "acts"))
    assert report.verdict == "supported"
    assert report.figures["lower_entropy_on_own_text"].value == pytest.approx(RATIO, abs=0.01)
    assert 3.2 <= report.figures["ratio"].value <= 4.8
    assert report.figures["survives_matching"].value == pytest.approx(UNSURE - SURE, abs=0.05)
    assert report.figures["placebo"].value == pytest.approx(0, abs=0.01)
    assert report.arm("own/assistant/model").estimate.value == pytest.approx(SURE, abs=1e-6)


def test_who_has_no_intent_is_not() -> None:
    report = measured(writer("a", "indifferent"), writer("b", "indifferent"))
    assert report.verdict == "refuted"
    assert report.figures["ratio"].value == pytest.approx(1.0)
    assert report.figures["survives_matching"].value == pytest.approx(0.0, abs=1e-9)


def test_a_text_that_is_easy_for_everyone_cancels_in_the_cross() -> None:
    report = measured(writer("a", "easy"), writer("b", "easy"))
    assert report.figures["naive"].value == pytest.approx(RATIO, abs=0.01)
    assert report.figures["lower_entropy_on_own_text"].value == pytest.approx(0.0, abs=1e-9)
    assert report.verdict == "refuted"


def test_the_harness_gives_surprise_equal_to_entropy_on_own_samples() -> None:
    report = measured(writer("a", "acts"), n=300, max_tokens=24)
    assert report.figures["identity"].value == pytest.approx(1.0, abs=0.02)
    wrong = measured(writer("a", "acts"), n=60, max_tokens=40, temperature=0.3)  # not sampled at 1: it must be flagged
    assert any("harness identity" in note for note in wrong.notes)


def test_surprise_that_is_read_and_does_nothing_is_no_effect() -> None:
    report = measured(writer("a", "acts"), n=24, steered=8)
    assert report.figures["surprise/r2"].value > 0.8
    assert report.effect("surprise_steers").estimate.value == pytest.approx(0.0, abs=1e-9)


def test_surprise_that_decides_is_found_and_a_sham_does_less() -> None:
    report = measured(writer("a", "acts", surprised=1.0), n=24, steered=8)
    steers, sham = (report.effect(name).estimate for name in ("surprise_steers", "sham_steers"))
    assert steers.low > 0
    assert steers.value > 2 * abs(sham.value)


def test_one_model_alone_is_crossed_with_nothing() -> None:
    report = measured(writer("a", "acts"))
    assert report.decides == "edited"
    assert any("no other model" in note for note in report.notes)


def test_cells_and_means_are_those_of_the_places() -> None:
    from secondthought.engines.base import Predicted

    found = summed(Predicted((-9.0, -1.0, -2.0, -0.5), (5.0, 1.0, 2.0, 3.0)))
    assert found["H"].score == 2.0  # the first place is nobody's choice
    assert found["S"].score == pytest.approx(3.5 / 3)
    assert sum(v.score for name, v in found.items() if name.startswith("cell.") and name.endswith(".count")) == 3
    assert summed(Predicted((-1.0,), (1.0,))) == {}


def test_a_text_stands_where_the_frame_says() -> None:
    engine, task = torch_engine("nano/countdown"), Task.of("use 3 5 2 make 17", answer=None, family="frames")
    text = Segment("text", "policy", "assistant", "3 * 5 = 15", tuple(engine.renderer.encode("3 * 5 = 15")), (0.0,) * 5)
    read = {frame: framed(engine, task, text, frame, native=True) for frame in ("assistant", "user", "bare")}
    said = {frame: engine.renderer.decode(context) for frame, (context, _) in read.items()}
    assert said == {
        "assistant": "<user> use 3 5 2 make 17 <model>", "user": "<user> use 3 5 2 make 17", "bare": "use 3 5 2 make 17",
    }  # fmt: skip
    assert {body for _, body in read.values()} == {text.tokens}
    stripped = replace(engine.renderer, apply=lambda messages, tools, generate: messages[0].content.replace("*", "x"))
    engine.renderer = stripped  # a template that changes what it is given: nothing is read, rather than something else
    assert framed(engine, task, text, "user", native=True)[1] == ()


def test_a_readout_is_fitted_on_other_requests() -> None:
    rng = np.random.default_rng(0)
    x, owners = rng.standard_normal((400, 6)), [i // 10 for i in range(400)]
    assert np.corrcoef(cross_predicted(x, x[:, 0], owners), x[:, 0])[0, 1] > 0.95
    assert abs(np.corrcoef(cross_predicted(x, rng.standard_normal(400), owners), x[:, 0])[0, 1]) < 0.5
    assert abs(difference_of_means(x, x[:, 2] > 0)[2]) > 0.95
    assert not difference_of_means(x, np.zeros(400, bool)).any()


def test_what_cannot_be_is_refused() -> None:
    with pytest.raises(UserError, match="temperature must be above 0"):
        Enaction(temperature=0.0).prepare(Silence())
    with pytest.raises(UserError, match="needs log-probabilities"):
        measured(writer("a", "acts"), Scripted(lambda request: "hello"))
