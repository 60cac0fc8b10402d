"""The probe of self-evaluation on scripted subjects: one that knows, one that guesses, one that always says right."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from random import Random

import pytest

from secondthought.engines.base import Request, Sampled
from secondthought.engines.scripted import Scripted
from secondthought.probes.self_evaluation import SelfEvaluation, sureness
from secondthought.runs.progress import Silence
from secondthought.tasks.dataset import TaskList
from secondthought.tasks.grade import exact
from secondthought.types import Report, Task

TASKS = TaskList(tuple(Task.of(f"{i} + {i} =", answer=str(2 * i), family="sums") for i in range(600)), exact)


@dataclass
class Sure(Scripted):
    """Whose words have a probability: ``sure(request)``."""

    sure: Callable[[Request], float] = field(default=lambda request: 1.0)

    def sample(self, requests: Sequence[Request]) -> list[Sampled]:
        """As scripted, with these log-probabilities."""
        found = super().sample(requests)
        return [replace(s, logprobs=(math.log(self.sure(r)),) * len(s.tokens)) for s, r in zip(found, requests, strict=True)]


def right(request: Request) -> bool:
    return int(request.task.key, 16) % 10 < 6


def measured(says: Callable[[Request], str], sure: Callable[[Request], float] = lambda r: 0.9) -> Report:
    def write(request: Request) -> str:
        return says(request) if request.name == "evaluation" else str(request.task.answer) if right(request) else "-1"

    probe = SelfEvaluation(tasks=TASKS, n=600)
    return probe.report(probe.measure(Sure(write, sure=sure), Silence()))


def test_one_that_knows() -> None:
    report = measured(lambda r: "right" if right(r) else "wrong")
    assert report.effect("auroc").estimate.value == 1
    assert report.figures["auroc_of_another"].value == pytest.approx(0.5, abs=0.06)
    assert report.arm("agrees").estimate.value == 1
    assert report.arm("same").estimate.value == 1
    assert report.verdict == "supported"


def test_one_that_guesses() -> None:
    report = measured(lambda r: Random(r.seed).choice(("right", "wrong")))
    assert report.effect("auroc").estimate.value == pytest.approx(0.5, abs=0.05)
    assert report.verdict != "supported"


def test_one_that_always_says_right_knows_nothing() -> None:
    report = measured(lambda r: "right")
    assert report.effect("auroc").estimate.value == 0.5
    assert report.arm("agrees").estimate.value == pytest.approx(0.6, abs=0.05)  # the base rate, and no more


def test_how_sure_it_is_counts() -> None:
    report = measured(lambda r: "right", lambda r: 0.9 if right(r) else 0.6)
    assert report.effect("auroc").estimate.value == 1


def test_nothing_that_can_be_read() -> None:
    report = measured(lambda r: "hm")
    assert report.verdict == "not applicable"
    assert report.arm("evaluated").estimate.value == 0


def test_sureness_is_of_right() -> None:
    from secondthought.types import Episode, Segment, Verdict

    said = Segment("evaluation", "policy", "assistant", "wrong", (1,), (math.log(0.8),))
    episode = Episode(TASKS[0], (0,), (said,), {"evaluation": Verdict(0.0)})
    assert sureness(episode) == pytest.approx(0.2)
