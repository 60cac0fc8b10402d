"""The whole method on a table, with exact gradients: it must learn in seconds, and only from the right credit."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import pytest
import torch

from secondthought.credit.base import Credit, Step, paid
from secondthought.credit.reflect_retry import random_reward, reflection_only
from secondthought.credit.score import first_only, stage_one, stage_two
from secondthought.engines.base import Sampling
from secondthought.learners.loss import loss_of, scale_of, tensors
from secondthought.learners.rows import compile_rows
from secondthought.learners.tabular import TabularLearner
from secondthought.protocols.reflect_retry import Prompts, reflect_retry
from secondthought.protocols.self_correction import Request, self_correction
from secondthought.rollouts import rollout
from secondthought.types import Group, Task, Verdict

PROMPTS = Prompts(reflection="?", retry="!")
TASKS = [Task.of(letter, answer=letter, family="echo") for letter in "ab"]
ONE = Sampling(max_tokens=1)


def grade(task: Task, text: str) -> Verdict:
    return Verdict(float(text == task.answer))


class Obedient(dict[tuple[int, ...], Sequence[float]]):
    """A retrier that says what the reflection said: every other context is uniform."""

    def get(self, context: tuple[int, ...], default: object = None) -> Sequence[float]:
        result = bytes(t for t in context if t < 256).decode()
        before, asked, after = result.partition("User: !")
        if not asked or after.count(":") != 1:
            return [0.0, 0.0, 0.0]
        said = before.partition("User: ?")[2].replace("\n\nAssistant:", "")[:1]
        return [4.0 * (said == "a"), 4.0 * (said == "b"), 0.0]


def play(learner: TabularLearner, credit: Credit, steps: int) -> list[Group]:
    protocol = partial(reflect_retry, grade=grade, prompts=PROMPTS)
    groups: list[Group] = []
    for step in range(steps):
        groups = rollout(protocol, TASKS, 16, learner.publish(), ONE, seed=step)
        learner.step(compile_rows(groups, paid(credit, groups, Step(step, steps))))
    return groups


def success(learner: TabularLearner) -> float:
    protocol = partial(reflect_retry, grade=grade, prompts=PROMPTS)
    found = [
        e.verdicts["retry"].score
        for seed in range(30)
        for g in rollout(protocol, TASKS, 8, learner.publish(), ONE, seed=10_000 + seed)
        for e in g
        if "retry" in e.verdicts
    ]
    return sum(found) / len(found)


def test_paying_reflections_teaches_reflection() -> None:
    learner = TabularLearner("ab", lr=2.0, start=Obedient())
    before = success(learner)
    play(learner, reflection_only, 60)
    assert before < 0.45
    assert success(learner) > 0.85


def test_random_reward_teaches_nothing() -> None:
    learner = TabularLearner("ab", lr=0.3, start=Obedient())
    play(learner, random_reward, 40)
    assert success(learner) < 0.55


def turns(learner: TabularLearner, credit: Credit | None, steps: int, seed: int = 0) -> tuple[float, float]:
    """Train both turns for so many steps; the mean scores of the last of them."""
    protocol = partial(self_correction, grade=grade, request=Request("again"))
    groups: list[Group] = []
    for step in range(steps):
        groups = rollout(protocol, TASKS, 16, learner.publish(), ONE, seed=seed + step)
        if credit is not None:
            learner.step(compile_rows(groups, paid(credit, groups, Step(step, steps))))
    found = [tuple(e.verdicts[name].score for name in ("attempt_1", "attempt_2")) for g in groups for e in g]
    return sum(one for one, _ in found) / len(found), sum(two for _, two in found) / len(found)


def test_stage_one_teaches_the_second_attempt_alone() -> None:
    learner = TabularLearner("ab", lr=2.0)
    turns(learner, stage_one(beta1=0, beta2=0), 60)
    first, second = turns(learner, None, 20, seed=1000)
    assert second > 0.85
    assert first < 0.6  # never paid


def test_stage_two_teaches_both_and_one_turn_only_the_first() -> None:
    learner = TabularLearner("ab", lr=1.0)
    turns(learner, stage_two(beta1=0, alpha=2), 80)
    assert min(turns(learner, None, 20, seed=1000)) > 0.85
    learner = TabularLearner("ab", lr=2.0)
    turns(learner, first_only(beta1=0), 60)
    first, second = turns(learner, None, 20, seed=1000)
    assert first > 0.85
    assert second < 0.6


def test_the_exact_gradient_is_the_gradient_of_the_loss() -> None:
    learner = TabularLearner("ab", start=Obedient())
    groups = play(learner, reflection_only, 3)
    rows = compile_rows(groups, [reflection_only(group) for group in groups])
    batch = tensors(rows.rows)
    contexts = [_context(row, t.at) for row in rows.rows for t in row.targets]
    table = {c: torch.tensor(learner.logits(c), requires_grad=True) for c in contexts}
    logp = torch.stack(
        [torch.log_softmax(table[c], 0)[learner.tokens.index(int(a))] for c, a in zip(contexts, batch.targets_N, strict=True)]
    )
    loss_of(batch, logp, logp.detach(), None, scale_of(rows.rows, "grpo", 8)).loss.backward()  # type: ignore[no-untyped-call]
    exact = learner.gradient(rows)
    assert exact.keys() == table.keys()
    for context, slope in exact.items():
        grad = table[context].grad
        assert grad is not None
        assert slope.tolist() == pytest.approx(grad.tolist(), abs=1e-6)


def _context(row: object, at: int) -> tuple[int, ...]:
    from secondthought.learners.tabular import _path

    return _path(row, at)  # type: ignore[arg-type]
