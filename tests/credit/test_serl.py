"""SERL: the spec's two vectors, the schedule, and scripted judges whose truth is known."""

from __future__ import annotations

import time
from functools import partial
from random import Random

import pytest

from secondthought.credit.base import Step, paid
from secondthought.credit.serl import Judgement, actor_rewards, judge_rewards, serl
from secondthought.engines.base import Request
from secondthought.engines.scripted import Scripted
from secondthought.protocols.self_examining import ACTOR, JUDGE, self_examining
from secondthought.rollouts import rollout
from secondthought.tasks.countdown import Countdown
from secondthought.tasks.rivals import closeness, read_choice, rivals
from secondthought.types import Group

TASKS = Countdown("train")


def judged(*said: tuple[int, int, int | None]) -> list[Judgement]:
    """(first, second, verdict) as the spec writes them."""
    return [Judgement((min(i, j), max(i, j)), None if verdict is None else (i, j)[verdict - 1]) for i, j, verdict in said]


VECTORS = [
    (
        [10, 10, 10], judged((0, 1, 1), (1, 0, 2), (0, 2, 1), (2, 0, 1), (1, 2, 1), (2, 1, None)), [0.75, 0.25, 0.25],
        [1, 1, 1, -1, 0, -1],
    ),
    (
        [10, 20, 10], judged((0, 1, 2), (1, 0, 1), (0, 2, 1), (2, 0, 2), (1, 2, 1), (2, 1, 2)), [0.5, 0, 0],
        [-1, -1, 1, 1, 0, 0],
    ),
]  # fmt: skip


@pytest.mark.parametrize(("lengths", "said", "actor", "judge"), VECTORS)
def test_vectors(lengths: list[int], said: list[Judgement], actor: list[float], judge: list[float]) -> None:
    assert actor_rewards(lengths, said) == pytest.approx(actor)
    assert judge_rewards(actor_rewards(lengths, said), said) == judge


def test_without_control_of_length_a_long_winner_is_paid() -> None:
    lengths, said, *_ = VECTORS[1]
    assert actor_rewards(lengths, said, controlled=False)[1] == 1.0


def group_of(judge: object, seed: int = 0, n: int = 4, judgements: int = 4, swapped: bool = True) -> Group:
    rng = Random(seed)

    def reply(request: Request) -> str:
        if request.name == "response":
            numbers = request.task.answer["nums"]  # type: ignore[index,call-overload]
            a, b, c = rng.sample(list(numbers), 3)  # type: ignore[arg-type]
            return f"{a} + {b} = {a + b} , {max(a + b, c)} - {min(a + b, c)} = {abs(a + b - c)}"
        return judge(request)  # type: ignore[operator,no-any-return]

    protocol = partial(
        self_examining, grade=TASKS.grade, quality=closeness, pose=partial(rivals, style="terse"), choice=read_choice,
        judgements=judgements, swapped=swapped,
    )  # fmt: skip
    (group,) = rollout(protocol, [TASKS[seed]], n, Scripted(reply))
    return group


def knows(request: Request) -> str:
    """Names the answer that comes closer."""
    text = request.task.prompt[-1].content
    problem, _, pair = text.removeprefix("better ").partition(" first ")
    one, _, other = pair.partition(" second ")
    target = int(problem.split()[-1])
    misses = [abs(int(t.split()[-1]) - target) for t in (one, other)]
    return "1" if misses[0] <= misses[1] else "2"


def test_the_protocol_asks_in_both_orders() -> None:
    group = group_of(lambda request: "1")
    assert [e.path for e in group if e.arm == ACTOR] == [(i,) for i in range(4)]
    judges = [e for e in group if e.arm == JUDGE]
    assert len(judges) == 6 * 4
    chosen = [e.verdicts["judgement"].answer for e in judges if e.path[:2] == (0, 1)]
    assert chosen == ["0", "1", "0", "1"]  # the first one shown, every time
    (signals,) = paid(serl(schedule="const"), [group], Step(0, 10))
    assert not any("response" in s for s in signals)  # a pure bias towards the first cancels out ...
    one_order = group_of(lambda request: "1", swapped=False)
    (signals,) = paid(serl(schedule="const"), [one_order], Step(0, 10))
    assert any("response" in s for s in signals)  # ... and does not where only one order is asked


def test_a_judge_that_knows_pays_the_better_answers() -> None:
    compared = 0
    for seed in range(8):
        group = group_of(knows, seed)
        (signals,) = paid(serl(schedule="const", controlled=False), [group], Step(0, 10))
        (bound,) = paid(serl(schedule="const", controlled=False, oracle=True), [group], Step(0, 10))
        for own, best in zip(signals, bound, strict=True):
            if "response" in own and "response" in best:
                a, b = own["response"].policy, best["response"].policy
                assert isinstance(a, float)
                assert isinstance(b, float)
                assert (a > 0) == (b > 0)
                compared += 1
    assert compared > 10


def test_the_schedule() -> None:
    group = group_of(lambda r: Random(r.seed).choice("12"), 3)

    def weights(step: Step) -> tuple[bool, bool]:
        (signals,) = paid(serl(), [group], step)
        return any("response" in s for s in signals), any("judgement" in s for s in signals)

    assert weights(Step(0, 10)) == (False, True)  # the judge alone in the beginning
    assert weights(Step(5, 10)) == (True, True)
    (half,) = paid(serl(), [group], Step(5, 10))
    (late,) = paid(serl(), [group], Step(9, 10))
    assert half == late
    (still,) = paid(serl(schedule="const", judge=0.0), [group], Step(0, 10))
    assert not any("judgement" in s for s in still)


def test_what_cannot_be_read_is_paid_least() -> None:
    group = group_of(lambda r: "both" if r.path[2] == 0 else "1", 2)
    (signals,) = paid(serl(schedule="const"), [group], Step(0, 10))
    unread = [
        own["judgement"].policy for episode, own in zip(group, signals, strict=True)
        if episode.arm == JUDGE and episode.verdicts["judgement"].answer is None and own
    ]  # fmt: skip
    assert unread
    assert all(isinstance(policy, float) and policy < 0 for policy in unread)


def test_reading_choices_takes_no_time_whatever_is_written() -> None:
    for text in ("\\boxed{" + " " * 100_000, "\\boxed{" * 20_000, " " * 100_000 + "1 2"):
        began = time.process_time()
        assert read_choice(text) is None
        assert time.process_time() - began < 1


def test_the_placebo_pays_by_another_problem() -> None:
    groups = [group_of(knows, seed) for seed in (1, 2)]
    (first, _) = paid(serl(schedule="const", placebo=True), groups, Step(0, 10))
    (own, _) = paid(serl(schedule="const"), groups, Step(0, 10))
    assert first != own
    assert any("response" in s for s in first)
