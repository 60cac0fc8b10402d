"""The probe of digits on scripted subjects whose skill is known: lengths, habits, somebody who cannot be read."""

from __future__ import annotations

from random import Random

import pytest

from secondthought.engines.base import Request
from secondthought.engines.scripted import Scripted
from secondthought.errors import UserError
from secondthought.probes.digits import Digits, reach
from secondthought.runs.progress import Silence
from secondthought.tasks.addition import Addition, kind_of, said, simplified, sum_of
from secondthought.types import Report


def measured(reply: object, n: int = 600, **more: object) -> Report:
    probe = Digits(tasks=Addition("test", longest=6), n=n, **more)  # type: ignore[arg-type]
    return probe.report(probe.measure(Scripted(reply), Silence()))  # type: ignore[arg-type]


def adds_up_to(digits: int, slip: float = 0.0) -> object:
    """Adds so many digits at once and takes a digit off any number; now and then a simplification slips."""

    def reply(request: Request) -> str:
        task, whole = request.task, sum_of(request.task)
        rng = Random(request.seed)
        if kind_of(task) == "slow":
            step = simplified(whole)
            return said(task, step._replace(digit=(step.digit + 1) % 10) if rng.random() < slip else step)
        return said(task, whole.total if whole.digits <= digits else (whole.total + rng.randrange(1, 99)) % 10**whole.digits)

    return reply


def test_lengths_are_found() -> None:
    report = measured(adds_up_to(3))
    assert report.figures["reach"].value == 3
    assert report.arm("slow").estimate.value == 1
    assert report.verdict == "supported"
    table = {row[0]: row[1] for row in report.tables[0].rows}
    assert [getattr(table[d], "value", None) for d in (3, 4)] == [1.0, 0.0]


def test_slips_are_counted() -> None:
    report = measured(adds_up_to(6, slip=0.3), n=2000)
    assert report.arm("slow").estimate.value == pytest.approx(0.7, abs=0.03)
    assert report.arm("fast").estimate.value == 1
    assert report.verdict == "refuted"  # it adds at once better than it simplifies


def test_a_shared_habit_agrees_and_is_wrong() -> None:
    def habit(request: Request) -> str:
        return said(request.task, sum_of(request.task).total + 1) if kind_of(request.task) == "fast" else "?"

    report = measured(habit, n=60)
    assert report.arm("agreement").estimate.value == 1
    assert report.arm("fast").estimate.value == 0
    assert report.figures["reach"].value == 0
    order = measured(lambda r: said(r.task, sum_of(r.task).total + (sum_of(r.task).a > sum_of(r.task).b)), n=60)
    assert order.arm("agreement").estimate.value < 0.1


def test_what_cannot_be_read_agrees_with_nothing() -> None:
    report = measured(lambda request: "no idea", n=40)
    assert report.arm("agreement").estimate.value == 0
    assert report.arm("slow").estimate.value == 0


def test_other_tasks_are_refused() -> None:
    with pytest.raises(UserError, match="asks for sums, not countdown"):
        Digits(tasks="countdown", n=2).measure(Scripted(lambda request: "4"), Silence())


def test_reach() -> None:
    assert reach([1, 2, 2, 3], [1, 1, 0, 1], 0.95) == 1
    assert reach([1, 2, 2, 3], [1, 1, 0, 1], 0.5) == 3
    assert reach([2, 3], [0, 1], 0.9) == 1
