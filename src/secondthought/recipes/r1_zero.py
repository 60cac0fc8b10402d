"""R1-Zero (oat-zero, Liu et al. 2025): reinforcement learning from a base model with nothing but a reward for the answer.

``secondthought train r1_zero`` starts from ``nano/zero-5``, a base model of whose documents one in twenty looks back
(:mod:`secondthought.nano.zero_corpus`), and pays 0.1 for an answer that is announced and 1 for a right one. Does reflection
appear, or only grow? ``--model HF_MODEL --tasks countdown`` (or your own) does the same with the paper's hyperparameters
(lr 1e-6, KL 0.001, 128 problems of 8 responses a step, top-p 0.9, 1,024 tokens).

What is ours: readable is what the tasks' grader reads, anywhere in a response; the arms learn without a KL term, and every
gradient is cut to the same small norm, so that they differ in what they pay and not in how far a step goes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial

from secondthought.credit.base import Credit
from secondthought.credit.r1_zero import dr_grpo, grpo
from secondthought.engines.base import EngineOptions
from secondthought.items.load import tasks_of
from secondthought.learners.optim import Normalization, Optim
from secondthought.models.names import style_of
from secondthought.probes.unasked import Unasked
from secondthought.protocols.answer import answer
from secondthought.training.recipe import Recipe


def recipe(tasks: str = "", model: str = "nano/zero-5", grade: str = "exact") -> Recipe:
    """The recipe for ``tasks`` (empty: Countdown, for nano models announced) and ``model``; every number below can be set with
    ``--set name=value``.
    """
    style = style_of(model)
    nano = style == "terse"
    tasks = tasks or ("announced" if nano else "countdown")
    train = tasks_of(tasks, style=style, grade=grade, split="train")
    tokens = 64 if nano else 1024
    return Recipe(
        name="r1_zero",
        model=model,
        tasks=train,
        dev=tasks_of(tasks, style=style, grade=grade, split="dev"),
        test=tasks_of(tasks, style=style, grade=grade, split="test"),
        protocol=partial(answer, grade=train.grade),
        credit=grpo if nano else partial(grpo, kl=1.0),
        steps=200,
        probes=(Unasked,),
        groups=32 if nano else 128,
        group_size=8,
        max_tokens=tokens,
        checkpoint_every=50,
        eval_every=20 if nano else 8,
        eval_problems=500,
        dev_problems=64,
        optim=Optim(lr=3e-4, kl=0.0, max_grad_norm=0.02, dr_grpo_length=tokens) if nano
        else Optim(lr=1e-6, warmup=0, kl=0.001, dr_grpo_length=tokens),
        engine=EngineOptions() if nano else EngineOptions(top_p=0.9),
    )  # fmt: skip


def paid(credit: Credit, normalization: Normalization) -> Callable[[Recipe], Recipe]:
    """The recipe with another advantage and another mean over tokens."""
    return lambda base: replace(base, credit=credit, optim=replace(base.optim, normalization=normalization, kl=0.0))


ARMS = {
    # Neither the standard deviation nor the response's own length: Dr. GRPO.
    "dr_grpo": paid(dr_grpo, "dr_grpo"),
    # Each half of the difference alone.
    "length_only": paid(dr_grpo, "grpo"),
    "std_only": paid(grpo, "dr_grpo"),
    # Averaged over all tokens of the batch (DAPO; what TRL and verl do by default).
    "token": paid(grpo, "token"),
    # Nothing for the form.
    "binary": paid(partial(grpo, form=0.0), "grpo"),
    "dr_grpo_binary": paid(partial(dr_grpo, form=0.0), "dr_grpo"),
}
"""Variations for ``train r1_zero:ARM``."""
