"""Plain answers: accuracy, pass@k and self-consistency of scripted subjects are what was planted."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from secondthought import Request, Scripted, Silence, Task, Verdict, seed_of
from secondthought.probes.answer import Answer
from secondthought.types import UNGRADED


@dataclass(frozen=True)
class Sums:
    split: str = "test"
    ungraded: bool = False

    def __len__(self) -> int:
        return 2000

    def __getitem__(self, index: int) -> Task:
        return Task.of(f"{index} + 1?", answer=str(index + 1), family="sums")

    def grade(self, task: Task, text: str) -> Verdict:
        if self.ungraded and seed_of(task.key) % 2:
            return UNGRADED
        if not text:
            return Verdict(0.0, None, "unparsable: nothing there")
        return Verdict(float(text == task.answer), text, "right" if text == task.answer else "wrong sum")


def subject(rights: tuple[bool, ...], wrong: str = "7000") -> Scripted:
    """Right in the samples of these places."""

    def write(request: Request) -> str:
        return str(request.task.answer) if rights[request.path[-1]] else wrong

    return Scripted(write)


@pytest.mark.parametrize(
    ("rights", "wrong", "first", "best", "commonest"),
    [
        ((True, True, False), "7000", 2 / 3, 1.0, 1.0),
        ((False, True, False), "7000", 1 / 3, 1.0, 0.0),
        ((False, True, False), "", 1 / 3, 1.0, 1.0),  # what has no answer does not vote
        ((False, False, False), "", 0.0, 0.0, 0.0),
    ],
)
def test_planted_accuracy_is_found(rights: tuple[bool, ...], wrong: str, first: float, best: float, commonest: float) -> None:
    probe = Answer(tasks=Sums(), n=200, samples=3)
    report = probe.report(probe.measure(subject(rights, wrong), Silence()))
    assert report.arm("first").estimate.value == pytest.approx(first)
    assert report.arm("any").estimate.value == best
    assert report.arm("commonest").estimate.value == commonest
    assert report.arm("cut").estimate.value == 0


def test_ungraded_answers_are_left_out() -> None:
    probe = Answer(tasks=Sums(ungraded=True), n=200, samples=2)
    report = probe.report(probe.measure(subject((True, False)), Silence()))
    assert report.arm("first").estimate.value == 0.5
    assert 60 < report.arm("first").estimate.n < 140


def test_errors_are_counted_by_class() -> None:
    probe = Answer(tasks=Sums(), n=100)
    report = probe.report(probe.measure(subject((False,), ""), Silence()))
    assert report.tables[0].rows == (("unparsable", "100.0"),)


def test_right_answers_in_texts_that_were_graded_as_wrong_are_hinted_at() -> None:
    from secondthought.engines.scripted import Scripted
    from secondthought.probes.answer import Answer
    from secondthought.report import terminal
    from secondthought.runs.progress import Silence
    from secondthought.runs.reports import report_json
    from secondthought.tasks.dataset import from_rows

    tasks = from_rows([{"question": f"{i} + 1?", "answer": str(i + 1)} for i in range(6)], "sums.jsonl")  # graded as exact text
    probe = Answer(tasks=tasks, n=6)
    report = probe.report(probe.measure(Scripted(lambda request: f"It is {request.task.answer}."), Silence()))
    (note,) = report.notes
    assert note.startswith("in 6 of 6 answers graded as wrong the wanted answer stands in the text")
    model = {"checkpoint": {"name": "m"}, "report": report_json(report)}
    assert "is this the --grade you want?" in " ".join(
        terminal.probe({"models": [model], "run": "r", "probe": "answer", "across": None, "notes": []}).split()
    )
    wrong = probe.report(probe.measure(Scripted(lambda request: "no idea"), Silence()))
    assert wrong.notes == ()
