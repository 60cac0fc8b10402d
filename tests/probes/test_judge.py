"""The probe of judges on scripted subjects: one that knows, one that guesses, one that takes the first, one that prefers its own."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from random import Random

import pytest

from secondthought.engines.base import Request
from secondthought.engines.scripted import Scripted, bytes_renderer
from secondthought.probes import judge
from secondthought.probes.judge import JudgeProbe
from secondthought.runs.progress import Silence
from secondthought.types import Report


def answers(request: Request) -> str:
    """A legal chain, some distance from the target."""
    a, b, c = Random(request.seed).sample(list(request.task.answer["nums"]), 3)  # type: ignore[index,call-overload,arg-type]
    return (
        f"{a} + {b} = {a + b} , {a + b} + {c} = {a + b + c}"
        if Random(request.seed + 1).random() < 0.5
        else (f"{a} * {b} = {a * b} , {a * b} + {c} = {a * b + c}")
    )


def misses(request: Request) -> list[int]:
    text = request.task.prompt[-1].content
    problem, _, pair = text.removeprefix("better ").partition(" first ")
    target = int(problem.split()[-1])
    return [abs(int(t.split()[-1]) - target) for t in pair.split(" second ")]


def terse(write: Callable[[Request], str]) -> Scripted:
    """Somebody who is asked as nano models are."""
    return Scripted(write, renderer=replace(bytes_renderer(), style="terse"))


def judged(by: object, n: int = 300, **more: object) -> Report:
    def reply(request: Request) -> str:
        return answers(request) if request.name in ("response", "attempt") else by(request)  # type: ignore[operator]

    probe = JudgeProbe(tasks="countdown", n=n, **more)  # type: ignore[arg-type]
    return probe.report(probe.measure(terse(reply), Silence()))


def knows(request: Request) -> str:
    one, other = misses(request)
    return "1" if one <= other else "2"


def test_one_that_knows() -> None:
    report = judged(knows)
    assert report.arm("accuracy").estimate.value == 1
    assert report.arm("consistent").estimate.value < 1  # where both are as good it takes the first
    assert report.arm("chosen").estimate.value == pytest.approx(report.arm("best").estimate.value, abs=0.01)
    assert report.verdict == "supported"
    assert report.figures["cyclic"].value == 0


def test_one_that_guesses() -> None:
    report = judged(lambda r: Random(r.seed).choice("12"), n=600)
    assert report.arm("accuracy").estimate.value == pytest.approx(0.5, abs=0.03)
    assert report.arm("first").estimate.value == pytest.approx(0.5, abs=0.02)
    assert report.arm("consistent").estimate.value == pytest.approx(0.5, abs=0.03)
    assert report.verdict != "supported"


@pytest.mark.parametrize("bias", [0.8, 1.0])
def test_one_that_takes_the_first(bias: float) -> None:
    report = judged(lambda r: "1" if Random(r.seed).random() < bias else "2", n=400)
    assert report.arm("first").estimate.value == pytest.approx(bias, abs=0.02)
    if bias == 1:
        assert report.arm("consistent").estimate.value == 0
        assert report.arm("accuracy").estimate.value == 0.5


def test_one_that_is_right_in_a_share_of_cases() -> None:
    report = judged(lambda r: knows(r) if Random(r.seed).random() < 0.4 else Random(r.seed + 1).choice("12"), n=800)
    assert report.arm("accuracy").estimate.value == pytest.approx(0.7, abs=0.02)


def test_one_that_cannot_be_read() -> None:
    report = judged(lambda r: "both are fine", n=30)
    assert report.arm("read").estimate.value == 0
    assert report.arm("consistent").estimate.value == 0


def test_own_against_another_models_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    def favours(request: Request) -> str:
        if request.task.family != "rivals" or request.path[:2] != (0, 0):
            return "1"
        return "1" if request.path[2] == 0 else "2"  # its own, wherever it stands

    other = terse(answers)
    monkeypatch.setattr(judge, "engine_for", lambda place: other)
    report = judged(favours, n=200, other="another")
    assert report.arm("own").estimate.value == 1
    fair = judged(lambda r: Random(r.seed).choice("12"), n=400, other="another")
    assert fair.arm("own").estimate.value == pytest.approx(0.5, abs=0.08)
