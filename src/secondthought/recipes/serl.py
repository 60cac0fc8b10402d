"""SERL (Ou et al. 2025, arXiv 2511.07922): answer, judge one's own answers in pairs, and learn from both.

``secondthought train serl`` starts from ``nano/rivals``, a weak player of Countdown and a weak judge of pairs of answers
(:mod:`secondthought.nano.rivals_corpus`); what makes an answer better is how close it comes to the target, which no reward
looks at. ``--model HF_MODEL --tasks SPEC`` asks in words, with the paper's hyperparameters (``--set lora=16`` for adapters).

What is ours: a nano model learns at 3e-4 and from K = 4 judgements at temperature 1; the steps. The watch holds how often
both orders of a pair get the same winner against how often that is the better one, on frozen problems.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

from secondthought.credit.base import BatchCredit
from secondthought.credit.serl import serl
from secondthought.items.load import tasks_of
from secondthought.learners.optim import Optim
from secondthought.models.names import style_of
from secondthought.probes.judge import JudgeProbe
from secondthought.protocols.self_examining import self_examining
from secondthought.tasks.rivals import quality_of, read_choice, rivals
from secondthought.training.recipe import Recipe
from secondthought.training.watch import Watch


def recipe(tasks: str = "countdown", model: str = "nano/rivals", grade: str = "exact") -> Recipe:
    """The recipe for ``tasks`` and ``model``; every number below can be set with ``--set name=value``."""
    style = style_of(model)
    nano = style == "terse"
    train = tasks_of(tasks, style=style, grade=grade, split="train")
    turns = partial(
        self_examining, grade=train.grade, quality=quality_of(train), pose=partial(rivals, style=style), choice=read_choice,
        judgements=4,
    )  # fmt: skip
    return Recipe(
        name="serl",
        model=model,
        tasks=train,
        dev=tasks_of(tasks, style=style, grade=grade, split="dev"),
        test=tasks_of(tasks, style=style, grade=grade, split="test"),
        protocol=turns,
        credit=serl(),
        steps=100,
        probes=(JudgeProbe,),
        watch=Watch("judge/consistent", "judge/accuracy"),
        groups=16 if nano else 8,
        group_size=4,
        temperature=1.0 if nano else 0.9,
        max_tokens=32 if nano else 1024,
        checkpoint_every=50,
        eval_every=20,
        eval_problems=1000,
        dev_problems=200,
        optim=Optim(lr=3e-4, kl=0.0, normalization="token") if nano
        else Optim(lr=1e-6, warmup=0.05, schedule="cosine", kl=0.0, normalization="token"),
    )  # fmt: skip


def paid(**changed: Any) -> Callable[[Recipe], Recipe]:
    """The arm that pays in another way: options of the credit."""

    def arm(base: Recipe) -> Recipe:
        pay: Any = base.credit.pay if isinstance(base.credit, BatchCredit) else base.credit
        return replace(base, credit=BatchCredit(partial(pay, **changed)))

    return arm


def unswapped(base: Recipe) -> Recipe:
    """Every pair in one order only."""
    protocol: Any = base.protocol
    return replace(base, protocol=partial(protocol, swapped=False))


ARMS = {
    # Both losses with the same weight throughout, as the paper writes it.
    "const": paid(schedule="const"),
    # The judge stays as it is.
    "actor_only": paid(schedule="const", judge=0.0),
    # No control of the length of responses.
    "any_length": paid(controlled=False),
    # Every pair in one order: a bias towards the first goes straight into the rewards.
    "one_order": unswapped,
    # The winner is the response of higher hidden quality: a bound.
    "oracle": paid(oracle=True),
    # The judgements of another problem: the same agreement, about nothing.
    "placebo": paid(placebo=True),
    # A judge that knows nothing to begin with. Only for nano models.
    "blind": lambda base: replace(base, model="nano/rivals-blind") if style_of(base.model) == "terse" else base,
}
"""Variations for ``train serl:ARM``."""
