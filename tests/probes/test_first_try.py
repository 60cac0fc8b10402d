"""Planted reflections are found: one who always confirms, one who mends half, one who flips at random; and what stopping costs."""

from __future__ import annotations

from collections.abc import Callable
from random import Random

import pytest

from secondthought.engines.base import Request
from secondthought.engines.scripted import Scripted
from secondthought.errors import UserError
from secondthought.probes.first_try import FirstTry, listed
from secondthought.probes.subjects import reflecting
from secondthought.runs.progress import Silence
from secondthought.tasks.multiple_choice import Sums, right_of
from secondthought.types import Report

N = 2000


def measured(write: Callable[[Request], str], n: int = N, **options: object) -> Report:
    probe = FirstTry(tasks=Sums("test"), n=n, **options)  # type: ignore[arg-type]
    return probe.report(probe.measure(Scripted(write), Silence()))


def value(report: Report, name: str) -> float:
    return report.figures[name].value


def test_one_who_always_confirms() -> None:
    report = measured(reflecting(1.0, 0.0, 0.0), controls=False)
    assert report.verdict == "supported"
    assert value(report, "transitions/confirmatory") == 1
    assert report.effect("gain").estimate.value == 0
    assert value(report, "transitions/right to right") == pytest.approx(0.6, abs=0.03)
    assert report.effect("stop_1_cost").estimate.value == 0
    assert value(report, "tokens_saved/1") == pytest.approx(1 - 35 / 164, abs=0.001)
    assert value(report, "candidates") == 3


def test_one_who_mends_half() -> None:
    report = measured(reflecting(1.0, 0.5, 0.0), controls=False)
    assert value(report, "given/wrong to right") == pytest.approx(0.5, abs=0.03)
    assert value(report, "given/right to wrong") == 0
    assert report.effect("gain").estimate.value == pytest.approx(0.4 * 0.75, abs=0.03)
    assert value(report, "transitions/confirmatory") == pytest.approx(1 - (0.4 * 0.5 + 0.2 * 0.5) / 2, abs=0.02)
    assert report.effect("stop_2_cost").estimate.value == pytest.approx(-0.1, abs=0.02)
    assert [estimate.value for _, estimate in report.curves[1].series["right so far"]] == pytest.approx(
        [0.6, 0.8, 0.9], abs=0.03
    )


def test_one_who_flips_at_random() -> None:
    report = measured(reflecting(0.25, 0.25, 0.75, first=0.25), controls=False)
    assert report.verdict == "refuted"
    assert value(report, "transitions/confirmatory") == pytest.approx(0.25 * 0.25 + 0.75 * 0.75 * 0.25, abs=0.02)
    assert abs(report.effect("beyond_shuffled").estimate.value) < 0.03
    assert abs(report.effect("gain").estimate.value) < 0.04


@pytest.mark.parametrize("thinking", [False, True])
def test_thoughts_are_read_where_a_model_marks_them(thinking: bool) -> None:
    report = measured(reflecting(1.0, 0.0, 0.0, thinking=thinking), n=200, controls=False)
    assert value(report, "candidates") == 3
    assert value(report, "transitions/confirmatory") == 1


def test_voting_over_fresh_first_answers_for_the_same_tokens() -> None:
    """Reflecting confirms and gains nothing; for its tokens two more first answers can be had, and a vote gains."""
    report = measured(reflecting(1.0, 0.0, 0.0), n=600)
    assert report.arm("vote").estimate.value > report.arm("final").estimate.value + 0.02
    assert report.effect("final_minus_vote").estimate.high < 0
    mended = measured(reflecting(1.0, 0.9, 0.0), n=600)
    assert mended.effect("final_minus_vote").estimate.low > 0


def test_stopping_behind_an_answer_beats_stopping_anywhere() -> None:
    def write(request: Request) -> str:
        task, rng = request.task, Random(request.seed)
        long = "I add the numbers.\n" * rng.randint(1, 12)
        return (
            f"{long}The answer is {right_of(task)}.\n"
            + "I look again.\n" * rng.randint(1, 12)
            + f"The answer is {right_of(task)}."
        )

    report = measured(write, n=400, controls=False)
    assert report.effect("stop_1_cost").estimate.value == 0
    assert report.effect("stop_1_minus_random").estimate.low > 0.2


def test_a_chain_without_candidates_reflects_nothing() -> None:
    report = measured(lambda request: "hm", n=20, controls=False)
    assert report.verdict == "not applicable"
    assert value(report, "no_candidate") == 1
    assert "no reflection" in report.notes[0]
    one = measured(lambda request: "The answer is A.", n=20)
    assert one.verdict == "not applicable"
    assert report.arm("final").estimate.value == report.arm("first").estimate.value


def test_a_judge_finds_candidates_and_its_failures_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    def judge(request: Request) -> str:
        text = request.task.prompt[0].content
        lines = [line for line in text.partition("Chain of thought:\n")[2].split("\n") if "answer is" in line]
        if "1: I add the numbers." not in text or len(lines) == 3:
            return "I cannot say."
        return str([[int(line.partition(":")[0]), line[-2]] for line in lines]).replace("'", '"')

    monkeypatch.setattr("secondthought.probes.judges.judge_of", lambda name: Scripted(judge))
    report = measured(reflecting(1.0, 0.5, 0.0, looks=1), n=200, controls=False, extractor="judge:somebody")
    assert value(report, "given/wrong to right") == pytest.approx(0.5, abs=0.1)
    lost = measured(reflecting(1.0, 0.5, 0.0), n=50, controls=False, extractor="judge:somebody")
    assert lost.notes[0].startswith("50 chains are left out")
    assert listed("[]", "x") == []
    assert listed("nothing", "x") is None
    assert listed('[[1, "a"]] or rather [[2, "b"], [9, "c"]]', "x\ny") == [(2, 3, "b")]


def test_bad_input_is_one_sentence() -> None:
    with pytest.raises(UserError, match="names no judge"):
        measured(reflecting(1, 0, 0), n=2, extractor="somebody")


def test_a_subject_may_be_asked_more_than_once() -> None:
    report = measured(reflecting(1.0, 0.5, 0.0), n=100, samples=3, controls=False)
    assert report.arm("final").estimate.n == 300
    assert len(set(report.units)) == 300
    assert len(set(report.clusters)) == 100
