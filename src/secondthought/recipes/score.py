"""SCoRe (Kumar et al. 2024, arXiv 2409.12917): learn to correct oneself when nobody says whether one was wrong.

``secondthought train score`` on Countdown with a nano model takes minutes; ``--model HF_MODEL --tasks SPEC`` asks in sentences,
with the paper's hyperparameters for mathematics (``--set lora=16`` for adapters). Two stages: first the second attempt is paid
while the first is held where it was, then both are, with a bonus for progress.

What is ours: rewards have their batch mean subtracted; the steps of the stages (the paper gives their sum); a nano model learns
at 3e-4. Measured afterwards is the checkpoint with the highest training reward of the second attempt, as in the paper;
``--set best_by=self_correction/attempt_2`` chooses by held-out dev problems instead, ``--set best_by=`` the last one.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial

from secondthought.credit.base import Credit
from secondthought.credit.imitation import imitation
from secondthought.credit.score import first_only, stage_one, stage_two
from secondthought.items.load import tasks_of
from secondthought.learners.optim import Optim
from secondthought.models.names import style_of
from secondthought.probes.self_correction import SelfCorrection
from secondthought.protocols.self_correction import request_for, self_correction
from secondthought.training.attempts import Attempts
from secondthought.training.corrections import Corrections
from secondthought.training.recipe import Recipe, Stage

ITERATIONS = 3  # of STaR


def recipe(tasks: str = "countdown", model: str = "nano/countdown", grade: str = "exact") -> Recipe:
    """The recipe for ``tasks`` and ``model``; every number below can be set with ``--set name=value``."""
    style = style_of(model)
    nano = style == "terse"
    train = tasks_of(tasks, style=style, grade=grade, split="train")
    request = request_for(style)
    turns = partial(self_correction, grade=train.grade, request=request)
    return Recipe(
        name="score",
        model=model,
        tasks=train,
        dev=tasks_of(tasks, style=style, grade=grade, split="dev"),
        test=tasks_of(tasks, style=style, grade=grade, split="test"),
        stages=(
            Stage("stage_one", 80 if nano else 1500, turns, stage_one(beta2=1.0 if nano else 0.1)),
            Stage("stage_two", 120 if nano else 1500, turns, stage_two()),
        ),
        probes=(partial(SelfCorrection, request=request),),
        groups=64 if nano else 128,
        group_size=4,
        max_tokens=32 if nano else 512,
        checkpoint_every=20 if nano else 100,
        eval_every=20 if nano else 100,
        best_by="reward/attempt_2",
        optim=Optim(lr=3e-4) if nano else Optim(lr=5e-6, warmup=0.03),
    )


def in_one(base: Recipe, credit: Credit) -> Recipe:
    """The same steps in one stage with another credit."""
    (first, *_) = base.stages
    return replace(base, stages=(replace(first, name="one_stage", steps=base.total_steps, credit=credit),))


def imitated(base: Recipe, source: str, *, keep_right: bool = False, times: int = 1) -> tuple[Stage, ...]:
    """Stages that imitate recorded corrections, collected anew by the model of the moment at the beginning of each."""
    request = request_for(style_of(base.model))
    collect = Corrections("own" if source == "star" else "pairs", keep_right, request=request)
    (first, *_) = base.stages
    stage = replace(
        first, steps=base.total_steps // (2 * times), credit=partial(imitation, segments=("attempt_2",)), collect=collect
    )
    return tuple(replace(stage, name=f"{source}_{i + 1}") for i in range(times))


def offline(base: Recipe, source: str, *, keep_right: bool = False, times: int = 1) -> Recipe:
    """Nothing but imitation. Imitation has no reward to choose a checkpoint by, so the last one is measured."""
    return replace(base, stages=imitated(base, source, keep_right=keep_right, times=times), best_by="")


def untrained(base: Recipe) -> Recipe:
    """No steps: what is measured is the model as it is."""
    return replace(base, stages=tuple(replace(stage, steps=0) for stage in base.stages))


ARMS = {
    # The model as it is.
    "base": untrained,
    # Feedback on one's own solution first, by prompt alone (arXiv 2303.17651).
    "self_refine": lambda base: replace(
        untrained(base), probes=(partial(SelfCorrection, request=request_for(style_of(base.model), refine=True)),)
    ),
    # Imitate one's own wrong-to-right traces, collected three times (STaR, D); with right-to-right ones (D+).
    "star": lambda base: offline(base, "star", times=ITERATIONS),
    "star_plus": lambda base: offline(base, "star", keep_right=True, times=ITERATIONS),
    # Imitate a right attempt behind a wrong one, paired at random (Pair-SFT, D); with right-to-right pairs (D+).
    "pair_sft": lambda base: offline(base, "pairs"),
    "pair_sft_plus": lambda base: offline(base, "pairs", keep_right=True),
    # Reinforcement learning over two turns, neither staged nor shaped; and over the first turn alone.
    "multi_turn": lambda base: in_one(base, stage_two(alpha=0.0)),
    "single_turn": lambda base: replace(in_one(base, first_only()), best_by="reward/attempt_1"),
    # What each part of SCoRe is good for.
    "no_stage_one": lambda base: in_one(base, stage_two()),
    "no_bonus": lambda base: replace(base, stages=(base.stages[0], replace(base.stages[1], credit=stage_two(alpha=0.0)))),
    "star_in_stage_two": lambda base: replace(base, stages=(base.stages[0], *imitated(base, "star"))),
    # The first attempt gets 0.8 of what the second earned: failing first can pay.
    "gamma": lambda base: replace(
        base, stages=(base.stages[0], replace(base.stages[1], credit=stage_two(alpha=1.0, gamma=0.8)))
    ),
    # Half of the second turns follow first attempts of the base model.
    "fixed_first": lambda base: replace(base, collect=Attempts(share=0.5)),
}
"""Variations for ``train score:ARM``."""
