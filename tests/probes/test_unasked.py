"""Unasked reflection on graded problems: scripted subjects whose behaviour, lengths and accuracy are known."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from random import Random
from typing import cast

import pytest

from secondthought.engines.base import Request
from secondthought.engines.scripted import Scripted, bytes_renderer
from secondthought.errors import UserError
from secondthought.probes.unasked import Unasked
from secondthought.runs.progress import Silence
from secondthought.tasks.announced import Announced
from secondthought.tasks.countdown import Chain, chains, solutions
from secondthought.types import Report, Task

TASKS = Announced("test")


def nano(write: Callable[[Request], str]) -> Scripted:
    """A script that is asked as nano models are."""
    return Scripted(write, renderer=replace(bytes_renderer(), style="terse"))


def spelled(chain: Chain) -> str:
    return " , ".join(map(str, chain))


def ways(task: Task) -> tuple[str, str]:
    """A chain that reaches the target and one that does not."""
    fields = cast(dict[str, object], task.answer)
    numbers, target = tuple(sorted(cast(list[int], fields["nums"]))), cast(int, fields["target"])
    return spelled(solutions(numbers, 99)[target][0]), spelled(next(c for c in chains(numbers, 99) if c[-1].result != target))


SAYS: dict[str, Callable[[str, str], str]] = {
    "confirms": lambda right, wrong: f"{right} , wait , {right} , done",
    "fixes": lambda right, wrong: f"{wrong} , wait , {right} , done",
    "breaks": lambda right, wrong: f"{right} , wait , {wrong} , done",
    "stays wrong": lambda right, wrong: f"{wrong} , wait , {wrong} , done",
    "repeats": lambda right, wrong: f"{right} , wait , {right}",
    "begins": lambda right, wrong: f"wait , {right} , done",
}


def reported(say: Callable[[str, str, Random], str], n: int = 40, samples: int = 8) -> Report:
    def write(request: Request) -> str:
        return say(*ways(request.task), Random(request.seed))

    return (probe := Unasked(tasks=TASKS, n=n, samples=samples)).report(probe.measure(nano(write), Silence()))


@pytest.mark.parametrize("kind", SAYS)
def test_each_behaviour_is_kept_apart(kind: str) -> None:
    found = reported(lambda right, wrong, _: SAYS[kind](right, wrong))
    assert found.figures[f"behaviour/{kind}"].value == 1
    assert found.arm("reflects").estimate.value == 1
    assert found.arm("right").estimate.value == float(kind in ("confirms", "fixes", "begins"))
    assert found.arm("answered").estimate.value == float(kind != "repeats")


def test_planted_rates_and_the_difference_within_problem_are_found() -> None:
    """Half of the responses reflect; those are right in 60 %, the others in 30 %."""

    def say(right: str, wrong: str, rng: Random) -> str:
        if rng.random() < 0.5:
            return f"{wrong} , wait , {right if rng.random() < 0.6 else wrong} , done"
        return f"{right if rng.random() < 0.3 else wrong} , done"

    found = reported(say, n=400)
    assert found.arm("reflects").estimate.value == pytest.approx(0.5, abs=0.02)
    assert found.arm("reflecting").estimate.value == pytest.approx(0.6, abs=0.03)
    assert found.effect("within_question").estimate.value == pytest.approx(0.3, abs=0.03)
    assert found.verdict == "supported"


def test_an_idle_wait_is_no_effect() -> None:
    def say(right: str, wrong: str, rng: Random) -> str:
        chain = right if rng.random() < 0.4 else wrong
        return f"{chain} , wait , {chain} , done" if rng.random() < 0.5 else f"{chain} , done"

    found = reported(say, n=400)
    assert abs(found.effect("within_question").estimate.value) < 0.03
    assert found.verdict != "supported"


def test_lengths_are_those_of_what_was_earned() -> None:
    """Right ones are short, those without an answer long: a better mix shortens the mean and nothing else."""

    def say(share: float) -> Callable[[str, str, Random], str]:
        return lambda right, wrong, rng: f"{right} , done" if rng.random() < share else " , then , ".join([wrong] * 4)

    few, many = reported(say(0.2)), reported(say(0.8))
    for name in ("length/right", "length/no answer"):
        assert few.figures[name].value == pytest.approx(many.figures[name].value, rel=0.01)
    assert few.figures["length/all"].value > many.figures["length/all"].value + 10
    assert few.figures["length/wrong"].n == 0


def test_a_detector_that_does_not_exist_is_one_sentence() -> None:
    with pytest.raises(UserError, match="nobody"):
        Unasked(tasks=TASKS, n=2, detector="nobody").measure(Scripted(lambda request: "done"), Silence())
