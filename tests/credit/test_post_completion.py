"""Post-completion: who is paid, that answers cost nothing more, and that nothing is paid where nobody should be."""

from __future__ import annotations

import math
from functools import partial

import pytest

from secondthought.credit.base import Step, paid
from secondthought.credit.post_completion import agreement, post_completion
from secondthought.engines.base import Request
from secondthought.engines.factory import engine_for
from secondthought.engines.scripted import Scripted
from secondthought.protocols.answer import answer
from secondthought.protocols.post_completion import post_completion as turns
from secondthought.protocols.post_completion import read_reward
from secondthought.rollouts import rollout
from secondthought.tasks.countdown import Countdown
from secondthought.tasks.dataset import TaskList
from secondthought.tasks.grade import exact
from secondthought.types import Group, Task

TASKS = TaskList(tuple(Task.of(f"{i} + {i} =", answer=str(2 * i), family="sums") for i in range(20)), exact)


def groups_of(says: object, problems: int = 1) -> list[Group]:
    """Right in every second answer; ``says(right, request)`` is the evaluation."""

    def reply(request: Request) -> str:
        right = request.path[0] % 2 == 0
        if request.name == "attempt":
            return str(request.task.answer) if right else "-1"
        return says(right, request)  # type: ignore[operator,no-any-return]

    return rollout(partial(turns, grade=TASKS.grade, read=read_reward), [TASKS[i] for i in range(problems)], 4, Scripted(reply))


def signs(group: Group, name: str, **options: object) -> list[int]:
    (signals,) = paid(post_completion(**options), [group], Step(0, 10))  # type: ignore[arg-type]
    found = []
    for one in signals:
        policy = one[name].policy if name in one else 0.0
        assert isinstance(policy, float)
        found.append((policy > 0) - (policy < 0))
    return found


def test_each_segment_has_its_own_reward() -> None:
    (group,) = groups_of(lambda right, request: "right")
    assert signs(group, "attempt") == [1, -1, 1, -1]
    assert signs(group, "evaluation") == signs(group, "evaluation", balanced=False) == [1, -1, 1, -1]
    (honest,) = groups_of(lambda right, request: "right" if right else "wrong")
    assert signs(honest, "evaluation") == [0, 0, 0, 0]  # all are true: nothing to choose from
    assert signs(honest, "attempt") == [1, -1, 1, -1]


def test_the_commoner_word_earns_nothing_in_balance() -> None:
    """Three of four answers are wrong: always saying so earns as much as always saying right, which is nothing."""

    def write(request: Request) -> str:
        right = request.path[0] == 0
        return (str(request.task.answer) if right else "-1") if request.name == "attempt" else "wrong"

    (group,) = rollout(partial(turns, grade=TASKS.grade, read=read_reward), [TASKS[0]], 4, Scripted(write))
    (signals,) = paid(post_completion(), [group], Step(0, 10))
    policies = [one["evaluation"].policy for one in signals]
    assert all(isinstance(p, float) for p in policies)
    assert sum(p for p in policies if isinstance(p, float)) == pytest.approx(0)
    assert signs(group, "evaluation") == [-1, 1, 1, 1]


def test_a_summed_reward_still_prefers_right_answers() -> None:
    (group,) = groups_of(lambda right, request: "wrong")
    assert signs(group, "attempt", summed=True) == [1, -1, 1, -1]  # right and misjudged 1, wrong and known 0.5
    assert signs(group, "evaluation") == [-1, 1, -1, 1]


def test_controls() -> None:
    (group,) = groups_of(lambda right, request: "right" if request.path[0] < 2 else "?")
    assert signs(group, "evaluation", evaluation=0.0) == [0, 0, 0, 0]
    assert signs(group, "evaluation", form=True) == [1, 1, -1, -1]
    many = groups_of(lambda right, request: "right", problems=12)
    own = paid(post_completion(), many, Step(0, 10))
    dealt = paid(post_completion(shuffled=True), many, Step(0, 10))
    assert [[s.get("attempt") for s in g] for g in own] == [[s.get("attempt") for s in g] for g in dealt]
    assert [[s.get("evaluation") for s in g] for g in own] != [[s.get("evaluation") for s in g] for g in dealt]


def test_agreement() -> None:
    assert agreement(math.nan, 1.0) == agreement(1.0, math.nan) == 0
    assert agreement(0.0, 0.0) == 1


@pytest.mark.parametrize(
    ("text", "reward"), [("right", 1.0), ("wrong", 0.0), ("all well. acc: 0", 0.0), ("acc: 2", None), ("", None)]
)
def test_reading(text: str, reward: float | None) -> None:
    assert read_reward(text) == reward


def test_answers_are_the_same_token_by_token() -> None:
    engine, tasks = engine_for("nano/countdown"), Countdown("test")
    problems = [tasks[i] for i in range(12)]
    behind = rollout(partial(turns, grade=tasks.grade, read=read_reward), problems, 2, engine)
    plain = rollout(partial(answer, grade=tasks.grade), problems, 2, engine)
    for one, other in zip(behind, plain, strict=True):
        assert [e["attempt"].tokens for e in one] == [e["attempt"].tokens for e in other]
        assert any("evaluation" in e for e in one)


def test_a_cut_off_answer_has_no_evaluation_and_keeps_its_verdict() -> None:
    from secondthought.engines.base import Sampling

    engine, tasks = engine_for("nano/countdown"), Countdown("test")
    (group,) = rollout(partial(turns, grade=tasks.grade, read=read_reward), [tasks[0]], 2, engine, Sampling(1.0, max_tokens=3))
    assert all("evaluation" not in e and e.verdicts["attempt"].graded for e in group)
