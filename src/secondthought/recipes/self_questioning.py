"""Self-Questioning Language Models (Chen et al. 2025, arXiv 2508.03682): pose questions, and learn from what one agrees on.

``secondthought train self_questioning`` starts from ``nano/asker``, which half knows how to add and can pose sums
(:mod:`secondthought.nano.addition_corpus`). In each step it poses questions and answers each several times; the solver is paid
for the commonest answer, the proposer, every fifth step, for questions that are neither unanimous nor hopeless. Nobody sees a
label. ``--model HF_MODEL`` asks in words, with the paper's hyperparameters (``--set lora=16`` for adapters);
``--tasks FILE.jsonl --grade number`` measures on frozen problems of your own.

What is ours: eight questions of eight answers (the authors have four of four, which says little about how hard a question is);
questions of the test and dev splits are refused; a nano model learns at 1e-4 and is measured at the temperature at which it
answers. The watch logs agreement beside truth on frozen
problems; ``--set watch.action=back`` ends training at an alarm and goes back.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

from secondthought.credit.base import BatchCredit
from secondthought.credit.self_questioning import self_questioning as paid
from secondthought.items.load import tasks_of
from secondthought.learners.optim import Optim
from secondthought.models.names import style_of
from secondthought.probes.answer import Answer
from secondthought.probes.base import Probe
from secondthought.protocols.self_questioning import self_questioning
from secondthought.tasks.addition import Addition
from secondthought.tasks.topics import Topics, drawn
from secondthought.training.recipe import Recipe
from secondthought.training.watch import Watch
from secondthought.types import TaskSet

DIGITS = 4


def recipe(tasks: str = f"addition:{DIGITS}", model: str = "nano/asker", grade: str = "number") -> Recipe:
    """The recipe that is measured on ``tasks`` and ``model``; every number below can be set with ``--set name=value``."""
    style = style_of(model)
    nano = style == "terse"
    topics = Topics(style, DIGITS)
    truth = Addition(style="terse" if nano else "chat")
    turns = partial(self_questioning, read=topics.read, grade=truth.grade, answers=8)
    return Recipe(
        name="self_questioning",
        model=model,
        tasks=topics,
        dev=tasks_of(tasks, style=style, grade=grade, split="dev"),
        test=tasks_of(tasks, style=style, grade=grade, split="test"),
        protocol=turns,
        credit=paid(kl=0.0 if nano else 1.0),
        steps=200,
        probes=(Answer,) if nano else (greedy,),
        watch=Watch("reward/agreement", "answer/first"),
        groups=16 if nano else 8,
        group_size=8,
        temperature=1.0,
        max_tokens=32 if nano else 256,
        checkpoint_every=50,
        eval_every=20,
        eval_problems=2000,
        dev_problems=500,
        optim=Optim(lr=1e-4) if nano else Optim(lr=1e-6, kl=0.001),
    )


def greedy(*, tasks: TaskSet, n: int, temperature: float, max_tokens: int, seed: int, controls: bool) -> Probe:
    """What is measured of chat models: the likeliest answer, as in the paper."""
    return Answer(tasks=tasks, n=n, temperature=0.0, max_tokens=max_tokens, seed=seed, controls=controls)


def credited(**changed: Any) -> Callable[[Recipe], Recipe]:
    """The arm that pays in another way: options of the credit."""

    def arm(base: Recipe) -> Recipe:
        pay: Any = base.credit.pay if isinstance(base.credit, BatchCredit) else base.credit
        return replace(base, credit=BatchCredit(partial(pay, **changed)))

    return arm


def posed_by(base: Recipe, **changed: Any) -> Recipe:
    """The same with options of the protocol."""
    protocol: Any = base.protocol
    return replace(base, protocol=partial(protocol, **changed))


def static(base: Recipe) -> Recipe:
    """Questions drawn at random by program."""
    topics: Any = base.tasks
    return posed_by(base, given=partial(drawn, topics))


ARMS = {
    # The solver is paid for what is true: a bound.
    "oracle": credited(solver="truth"),
    # Questions drawn by program; the proposer as it was.
    "static": static,
    "frozen": credited(every=0),
    # The solver is paid for any answer that can be read; for agreeing with one of its answers, drawn at random.
    "format_only": credited(solver="form"),
    "random_vote": lambda base: posed_by(base, vote="random"),
    # The proposer is updated in every step, in every tenth; and paid where no two answers agree, too.
    "every_1": credited(every=1),
    "every_10": credited(every=10),
    "low_0": credited(low=0),
}
"""Variations for ``train self_questioning:ARM``."""
