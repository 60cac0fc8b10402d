"""Confidences in tags and in tenths; the authors' own reading of 500 outputs."""

from __future__ import annotations

import json

import pytest
from tests.published import published

from secondthought.tasks.confidence import if_well_formed, in_tags, in_tags_if_well_formed, in_tenths, well_formed
from secondthought.tasks.lots import COUNTS, Lots, chance, shown
from secondthought.types import Task, Verdict

WHOLE = "<think>a</think> <answer>4</answer>\n<analysis>b</analysis><confidence>{}</confidence>"


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("<confidence>0.7</confidence>", 0.7), ("<confidence> 1 </confidence>", 1.0), ("<confidence>85%</confidence>", 0.85),
        ("<confidence>50.</confidence>", 0.5), ("<confidence>100</confidence>", 1.0), ("<confidence>1%</confidence>", 0.01),
        ("<confidence>0.2</confidence> no, <confidence>0.4</confidence>", 0.4), ("<confidence>about .5</confidence>", 0.5),
        ("<confidence>500</confidence>", None), ("<confidence>high</confidence>", None), ("0.7", None), ("<confidence>0.7", None),
    ],
)  # fmt: skip
def test_confidences_in_tags(text: str, value: float | None) -> None:
    assert in_tags(text) == value


@pytest.mark.parametrize(("number", "good"), [("0.5", True), ("1", True), ("1.0", True), (".5", True), ("0", True), ("1.1", False), ("50", False), ("high", False), ("-0.1", False)])  # fmt: skip
def test_the_form_that_is_paid(number: str, good: bool) -> None:
    text = WHOLE.format(number)
    assert well_formed(text) is good
    assert (in_tags_if_well_formed(text) is not None) is good
    grade = if_well_formed(lambda task, text: Verdict(1.0))
    assert grade(Task.of("?", answer="4", family="sums"), text).score == float(good)
    assert not well_formed(text + " and more")
    assert not well_formed(text.replace("<analysis>", ""))


def test_tenths() -> None:
    assert [in_tenths(text) for text in ("0", "10", "7", "11", "-", "3 4", "100")] == [0.0, 1.0, 0.7, None, None, 0.4, None]


def test_the_authors_read_their_models_as_we_do() -> None:
    rows = [json.loads(line) for line in (published("rlcr") / "math-500.outputs.jsonl").read_text().splitlines()]
    assert len(rows) == 500
    assert [in_tags(row["output"]) for row in rows] == [row["confidence"] for row in rows]
    # Eight outputs ran out of tokens and had a confidence forced from them: read by both, in the form of neither.
    assert sum(well_formed(row["output"]) for row in rows) == 492


def test_lots_are_as_likely_as_they_say() -> None:
    tasks = Lots("train")
    right: dict[int, list[float]] = {count: [] for count in COUNTS}
    for i in range(4000):
        task = tasks[i]
        numbers = shown(task)
        assert len(set(numbers)) == len(numbers)
        assert chance(task) == 1 / len(numbers)
        right[len(numbers)].append(tasks.grade(task, numbers[0]).score)
        assert tasks.grade(task, tasks.solution(task)).why != "none of the numbers"
    for count, scores in right.items():
        assert sum(scores) / len(scores) == pytest.approx(1 / count, abs=0.05)
    splits = [{tuple(sorted(shown(Lots(split)[i]))) for i in range(500)} for split in ("train", "dev", "test")]
    assert not splits[0] & splits[1]
    assert not splits[2] & (splits[0] | splits[1])
