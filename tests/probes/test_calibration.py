"""Confidence that says something is found; a constant, however well calibrated, is not taken for it."""

from __future__ import annotations

import math
from collections.abc import Callable
from random import Random
from statistics import fmean

import pytest

from secondthought.engines.base import Request
from secondthought.engines.scripted import Scripted
from secondthought.probes import calibration_scores as fit
from secondthought.probes.calibration import Calibration
from secondthought.runs.progress import Silence
from secondthought.tasks.base import chosen
from secondthought.tasks.lots import Lots, chance, shown
from secondthought.tasks.numbers import tagged
from secondthought.types import Report, Task, Verdict

N = 2000
CHANCES = [chance(task) for task in chosen(Lots("test"), N, 0)]
RATE = fmean(CHANCES)  # how often a guess is right


def subject(confidence: Callable[[float, Random], str]) -> Callable[[Request], str]:
    """Guesses one of the numbers, and states what ``confidence`` makes of its true chance."""

    def write(request: Request) -> str:
        rng = Random(request.seed)
        guess = rng.choice(shown(request.task))
        if "<confidence>" in request.task.prompt[-1].content:
            said = confidence(chance(request.task), rng)
            return f"<think>-</think><answer>{guess}</answer><analysis>-</analysis><confidence>{said}</confidence>"
        return guess

    return write


class Tagged(Lots):
    """The same lots, answered in tags."""

    def grade(self, task: Task, text: str) -> Verdict:
        return super().grade(task, tagged(text) or "")


def measured(confidence: Callable[[float, Random], str], samples: int = 1) -> Report:
    probe = Calibration(tasks=Tagged("test"), n=N // samples, samples=samples, max_tokens=300)
    return probe.report(probe.measure(Scripted(subject(confidence)), Silence()))


def value(report: Report, name: str) -> float:
    return report.figures[name].value


def test_one_who_knows_its_chances() -> None:
    report = measured(lambda p, rng: f"{p}")
    assert report.verdict == "supported"
    assert value(report, "verbal/ece") < 0.04
    assert value(report, "verbal/brier") == pytest.approx(fmean(p * (1 - p) for p in CHANCES), abs=0.015)
    assert value(report, "accuracy") == pytest.approx(RATE, abs=0.03)
    assert value(report, "verbal/auroc") > 0.65
    assert value(report, "verbal/resolution") == pytest.approx(fmean((p - RATE) ** 2 for p in CHANCES), abs=0.01)


def test_a_constant_is_calibrated_and_says_nothing() -> None:
    report = measured(lambda p, rng: f"{RATE:.3f}")
    assert report.verdict != "supported"
    assert value(report, "verbal/ece") < 0.04
    assert value(report, "verbal/auroc") == 0.5
    assert abs(value(report, "verbal_skill")) < 0.01
    sure = measured(lambda p, rng: "0.9")
    assert sure.verdict == "refuted"
    assert value(sure, "verbal/ece") == pytest.approx(0.9 - RATE, abs=0.03)


def test_one_who_states_nothing_is_not_judged() -> None:
    report = measured(lambda p, rng: "hm")
    assert "verbal/ece" not in report.figures
    assert report.verdict == "not applicable"


def test_stated_confidence_decides_a_vote() -> None:
    def knowing(request: Request) -> str:
        rng = Random(request.seed)
        right = rng.random() < 0.4
        guess = request.task.answer if right else rng.choice(shown(request.task))
        said = "0.9" if right else "0.1"
        return f"<think>-</think><answer>{guess}</answer><analysis>-</analysis><confidence>{said}</confidence>"

    probe = Calibration(tasks=Tagged("test"), n=400, samples=5, max_tokens=300)
    report = probe.report(probe.measure(Scripted(knowing), Silence()))
    assert value(report, "vote_gain") > 0.05
    assert report.figures["vote_gain"].low > 0
    assert value(report, "agreement/auroc") > 0.5


def test_each_score_against_its_definition() -> None:
    rng = Random(0)
    q = [rng.choice([0.05, 0.35, 0.65, 0.95]) for _ in range(5000)]
    c = [float(rng.random() < p) for p in q]
    parts = fit.decomposition(q, c)
    assert parts["reliability"] - parts["resolution"] + parts["uncertainty"] == pytest.approx(fit.brier(q, c))
    assert fit.ece(q, c) < 0.03
    assert fit.mass_ece(q, c) < 0.03
    assert fit.ece([0.3, 0.3], [1, 0]) == pytest.approx(0.2)  # the bin [0.3, 0.4), not the one before
    assert fit.ece([1.0, 1.0], [1, 1]) == 0
    assert math.isnan(fit.auroc([0.5], [1]))
    pairs = sum((a > b) + (a == b) / 2 for a, x in zip(q[:300], c[:300], strict=True) if x for b, y in zip(q[:300], c[:300], strict=True) if not y)  # fmt: skip
    ones = sum(c[:300])
    assert fit.auroc(q[:300], c[:300]) == pytest.approx(pairs / (ones * (300 - ones)))
