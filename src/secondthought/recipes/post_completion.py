"""Post-Completion Learning (Fei et al. 2025, arXiv 2507.20252): evaluate one's answers behind their end, in training only.

``secondthought train post_completion`` on Countdown with a nano model takes minutes. A start teaches the form of an evaluation,
drawn at random so that it means nothing, behind the model's own answers; then answers are paid for being right and evaluations
for being true. ``--model HF_MODEL --tasks SPEC`` does the same in words (``--set lora=16`` for adapters). Whoever generates
stops at the end token, so that an answer costs what it did before.

What is ours: the end token that the model has is the terminator (the paper adds one); rewards and weights, which the paper's
text does not give; one predicted reward, for being right. The arm ``taught`` starts from true evaluations, as the paper's
supervised track does.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

from secondthought.credit import post_completion as pay
from secondthought.credit.answer import answer as paid_answer
from secondthought.credit.base import Credit
from secondthought.credit.imitation import imitation
from secondthought.items.load import tasks_of
from secondthought.learners.optim import Optim
from secondthought.models.names import style_of
from secondthought.probes.self_evaluation import SelfEvaluation
from secondthought.protocols.answer import answer
from secondthought.protocols.post_completion import post_completion, read_reward
from secondthought.training.evaluations import Evaluations
from secondthought.training.recipe import Recipe, Stage


def recipe(tasks: str = "countdown", model: str = "nano/countdown", grade: str = "exact") -> Recipe:
    """The recipe for ``tasks`` and ``model``; every number below can be set with ``--set name=value``."""
    style = style_of(model)
    nano = style == "terse"
    train = tasks_of(tasks, style=style, grade=grade, split="train")
    plain = partial(answer, grade=train.grade)
    start = Stage("start", 150, plain, partial(imitation, segments=("attempt", "evaluation")), collect=Evaluations())
    reward = Stage("reward", 200, partial(post_completion, grade=train.grade, read=read_reward), pay.post_completion())
    return Recipe(
        name="post_completion",
        model=model,
        tasks=train,
        dev=tasks_of(tasks, style=style, grade=grade, split="dev"),
        test=tasks_of(tasks, style=style, grade=grade, split="test"),
        stages=(start, reward),
        probes=(SelfEvaluation,),
        groups=16,
        group_size=8,
        max_tokens=32 if nano else 512,
        checkpoint_every=50,
        eval_every=25,
        eval_problems=2000,
        dev_problems=256,
        optim=Optim(lr=3e-4) if nano else Optim(lr=1e-6, warmup=0.05, kl=0.0),
    )


def credited(credit: Credit) -> Callable[[Recipe], Recipe]:
    """The arm whose rewards are others."""
    return lambda base: replace(base, stages=(base.stages[0], replace(base.stages[1], credit=credit)))


def answers_only(base: Recipe) -> Recipe:
    """Plain reinforcement learning: nothing behind the end, neither taught nor sampled."""
    (_, reward) = base.stages
    return replace(base, stages=(replace(reward, protocol=partial(answer, grade=base.tasks.grade), credit=paid_answer),))


def taught(base: Recipe) -> Recipe:
    """A start from true evaluations of its own answers."""
    (start, reward) = base.stages
    collect: Any = start.collect
    return replace(base, stages=(replace(start, collect=replace(collect, true=True)), reward))


ARMS = {
    # Plain reinforcement learning on the answer.
    "answers_only": answers_only,
    # Nobody pays what stands behind the end: the control.
    "untrained": credited(pay.post_completion(evaluation=0.0)),
    # Evaluations held against other problems' answers: the placebo. Any evaluation that can be read.
    "shuffled": credited(pay.post_completion(shuffled=True)),
    "form": credited(pay.post_completion(form=True)),
    # Evaluations are compared with those of the same problem alone, each worth the same: the commoner word wins.
    "per_problem": credited(pay.post_completion(balanced=False)),
    # Both segments get the sum, after the paper's description.
    "summed": credited(pay.post_completion(summed=True)),
    "taught": taught,
}
"""Variations for ``train post_completion:ARM``."""
