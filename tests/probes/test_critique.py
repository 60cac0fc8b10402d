"""Verdicts on one's own answers: found where they know something, not where they only know how often one is right."""

from __future__ import annotations

import math
from collections.abc import Callable
from random import Random

import pytest

from secondthought.engines.base import Request
from secondthought.engines.scripted import Scripted
from secondthought.probes.critique import CritiqueProbe
from secondthought.runs.progress import Silence
from secondthought.types import Report, Task, Verdict

N = 2000


class Words:
    """Each task wants its own word."""

    def __len__(self) -> int:
        return N

    def __getitem__(self, index: int) -> Task:
        return Task.of(f"word {index}", answer=f"w{index}", family="words")

    def grade(self, task: Task, text: str) -> Verdict:
        return Verdict(float(text == task.answer), text, "")


def subject(verdict: Callable[[bool, Random], str]) -> Callable[[Request], str]:
    def write(request: Request) -> str:
        rng = Random(request.seed)
        if request.name == "attempt":
            return str(request.task.answer) if rng.random() < 0.3 else "hm"
        return verdict(next(s.text for s in request.segments if s.name == "attempt") == request.task.answer, rng)

    return write


def measured(write: Callable[[Request], str]) -> Report:
    probe = CritiqueProbe(tasks=Words(), n=N, max_tokens=8)
    return probe.report(probe.measure(Scripted(write), Silence()))


@pytest.mark.parametrize(
    ("verdict", "found", "rate", "auroc", "borrowed"),
    [
        (lambda right, rng: "right" if right else "wrong", "supported", 1.0, 1.0, 0.58),
        (lambda right, rng: "right" if right == (rng.random() < 0.9) else "wrong", "supported", 0.9, 0.9, 0.556),
        (lambda right, rng: "wrong", "refuted", 0.7, 0.5, 0.7),  # nothing but the commoner verdict
        (lambda right, rng: "right" if rng.random() < 0.3 else "wrong", "refuted", 0.58, 0.5, 0.58),  # the rate, and no more
        (lambda right, rng: "hm", "refuted", 0.0, math.nan, 0.0),
    ],
)
def test_planted_knowledge(
    verdict: Callable[[bool, Random], str], found: str, rate: float, auroc: float, borrowed: float
) -> None:
    report = measured(subject(verdict))
    assert report.verdict == found
    assert report.figures["verdict"].value == pytest.approx(rate, abs=0.03)
    assert report.figures["auroc"].value == pytest.approx(auroc, abs=0.03, nan_ok=True)
    assert report.figures["commoner"].value == pytest.approx(0.7, abs=0.03)
    assert report.figures["borrowed"].value == pytest.approx(borrowed, abs=0.03)
