"""Who is paid when a model questions itself: the table of the spec, hand-made groups, and a scripted model of known skill."""

from __future__ import annotations

from functools import partial
from itertools import count
from random import Random

import pytest

from secondthought.credit.base import Step, paid
from secondthought.credit.self_questioning import chance_of_pay, proposer_reward, self_questioning
from secondthought.engines.base import Request
from secondthought.engines.scripted import Scripted
from secondthought.protocols.self_questioning import agreement
from secondthought.protocols.self_questioning import self_questioning as turns
from secondthought.rollouts import rollout
from secondthought.tasks.addition import Addition, read_letters, said, sum_of
from secondthought.tasks.topics import Topics, drawn
from secondthought.types import Group, Signals

TOPICS = Topics()
GRADE = Addition().grade
TABLE = {
    4: {0.1: 0.052, 0.3: 0.340, 0.5: 0.625, 0.7: 0.676, 0.9: 0.340},
    8: {0.1: 0.187, 0.3: 0.745, 0.5: 0.961, 0.7: 0.941, 0.9: 0.570},
}


def test_the_table_of_rewards() -> None:
    for answers, row in TABLE.items():
        for p, wanted in row.items():
            assert chance_of_pay(p, answers) == pytest.approx(wanted, abs=6e-4)
    assert chance_of_pay(0.0, 4) == 0
    assert chance_of_pay(0.0, 4, low=0) == 1
    assert chance_of_pay(1.0, 4) == 0


def solver(p: float, rng: Random, *, same: bool = False) -> Scripted:
    """Poses sums by program, and answers right with probability ``p``; wrong answers all differ (or are all the ``same``)."""

    others = count()

    def reply(request: Request) -> str:
        if request.name == "question":
            return drawn(TOPICS, request.task, rng.randrange(10**6))
        whole = sum_of(request.task)
        if rng.random() < p:
            return said(request.task, whole.total)
        wrong = whole.total + 1 if same else next(others)
        return said(request.task, wrong % 10**whole.digits)

    return Scripted(reply)


def group_of(p: float, seed: int, n: int = 4, answers: int = 4, **more: object) -> Group:
    protocol = partial(turns, read=TOPICS.read, grade=GRADE, answers=answers, **more)  # type: ignore[arg-type]
    (group,) = rollout(protocol, [TOPICS[seed]], n, solver(p, Random(seed)))
    return group


def test_measured_rewards_are_those_of_the_table() -> None:
    for p in (0.3, 0.7):
        groups = [group_of(p, seed, n=8) for seed in range(120)]
        rewards = [
            proposer_reward(round(4 * e.verdicts["common"].score), 4)
            for group in groups
            for e in group
            if "common" in e.verdicts
        ]
        assert sum(rewards) / len(rewards) == pytest.approx(TABLE[4][p], abs=0.06)


def test_agreement() -> None:
    assert agreement(["4", "5", "4"]) == [1.0, 0.0, 1.0]
    assert agreement(["5", "4"]) == [1.0, 0.0]  # the first of equals
    assert agreement([None, None, "4"]) == [0.0, 0.0, 0.0]
    drawn_ones = {tuple(agreement(["4", "5", "4"], "random", seed)) for seed in range(20)}
    assert drawn_ones == {(1.0, 0.0, 1.0), (0.0, 1.0, 0.0)}


def advantage(signals: Signals) -> bool:
    """Whether an answer is made likelier."""
    policy = signals["answer"].policy
    assert isinstance(policy, float)
    return policy > 0


def test_the_solver_is_paid_for_agreement_whatever_is_true() -> None:
    protocol = partial(turns, read=TOPICS.read, grade=GRADE, answers=8)
    (group,) = rollout(protocol, [TOPICS[0]], 2, solver(0.25, Random(5), same=True))
    (signals,) = paid(self_questioning(), [group], Step(0, 10))
    (bound,) = paid(self_questioning(solver="truth"), [group], Step(0, 10))
    wrong_and_paid = 0
    for episode, own, oracle in zip(group, signals, bound, strict=True):
        if episode.arm == "solver" and own:
            assert advantage(own) == (episode.verdicts["agreement"].score == 1)
            assert advantage(oracle) == (episode.verdicts["answer"].score == 1)
            wrong_and_paid += episode.verdicts["answer"].score == 0 and advantage(own)
    assert wrong_and_paid > 0


def test_the_proposer_learns_in_every_fifth_step_only() -> None:
    group = group_of(0.6, 3, n=8)
    for number, wanted in ((0, True), (1, False), (4, False), (5, True)):
        (signals,) = paid(self_questioning(), [group], Step(number, 10))
        assert any("question" in one for one in signals) is wanted
    (never,) = paid(self_questioning(every=0), [group], Step(0, 10))
    assert not any("question" in one for one in never)


def test_what_is_no_question_is_left_out() -> None:
    def reply(request: Request) -> str:
        return "no idea" if request.name == "question" and request.path == (1,) else drawn(TOPICS, request.task, request.path[0]) if request.name == "question" else said(request.task, sum_of(request.task).total)  # fmt: skip

    protocol = partial(turns, read=TOPICS.read, grade=GRADE, answers=3)
    (group,) = rollout(protocol, [TOPICS[0]], 3, Scripted(reply))
    assert [e.verdicts["question"].score for e in group[:3]] == [1, 0, 1]
    assert len([e for e in group if e.arm == "solver"]) == 6
    (signals,) = paid(self_questioning(), [group], Step(0, 10))
    assert signals[1] == {}
    assert all(not one for one in signals)  # unanimous: nothing to learn from


def test_given_questions_are_not_paid() -> None:
    group = group_of(0.5, 7, n=6, given=partial(drawn, TOPICS))
    assert all(read_letters(e["question"].text) for e in group if e.arm == "proposer")
    (signals,) = paid(self_questioning(every=1), [group], Step(0, 10))
    assert not any("question" in one for one in signals)
    assert any("answer" in one for one in signals)


def test_repeated_questions_are_counted() -> None:
    protocol = partial(turns, read=TOPICS.read, grade=GRADE, answers=2)
    (group,) = rollout(
        protocol, [TOPICS[0]], 3,
        Scripted(lambda r: drawn(TOPICS, TOPICS[0], 1) if r.name == "question" else said(r.task, sum_of(r.task).total)),
    )  # fmt: skip
    assert [e.verdicts["new"].score for e in group if e.arm == "proposer"] == [1, 0, 0]
