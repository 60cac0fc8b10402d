"""RLCR (Damani et al. 2025, arXiv 2507.16806): be paid for being right and for knowing how likely that is.

``secondthought train rlcr`` draws lots with a nano model: one, two, five or ten numbers are shown and one of them is right,
so the best confidence is known exactly. A start teaches it to guess and to state a confidence at random; then answer and
confidence are paid together: the answer the whole reward, the confidence its own part of it (``joint`` pays both the whole, as
the paper does, which needs far more samples a step). In the stage ``reward`` a little is paid for trying other confidences,
which keeps them a little from the best ones; in the stage ``settle`` no longer.
``--tasks countdown`` does the same where being right is a skill. ``--model HF_MODEL --tasks SPEC`` asks for the paper's four
tags in one turn, without a start, with the paper's hyperparameters (``--set lora=16`` for adapters).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

from secondthought.credit import rlcr as pay
from secondthought.credit.base import Credit
from secondthought.credit.imitation import imitation
from secondthought.items.load import tasks_of
from secondthought.learners.optim import Optim
from secondthought.models.names import style_of
from secondthought.probes.calibration import Calibration
from secondthought.protocols.answer import answer
from secondthought.protocols.confident import asked_for, confident
from secondthought.tasks.confidence import if_well_formed, in_tags_if_well_formed, in_tenths
from secondthought.training.confidences import Confidences
from secondthought.training.recipe import Recipe, Stage

EXPLORE = 0.04  # what keeps the confidences of nano models open; see credit/rlcr.py


def recipe(tasks: str = "lots", model: str = "nano/countdown", grade: str = "exact") -> Recipe:
    """The recipe for ``tasks`` and ``model``; every number below can be set with ``--set name=value``."""
    style = style_of(model)
    nano = style == "terse"
    train = tasks_of(tasks, style=style, grade=grade, split="train")
    asks = partial(
        confident, grade=train.grade if nano else if_well_formed(train.grade),
        confidence=in_tenths if nano else in_tags_if_well_formed, asked=asked_for(style),
    )  # fmt: skip
    start = Stage(
        "start", 100, partial(answer, grade=train.grade), partial(imitation, segments=("attempt", "confidence")),
        collect=Confidences(solved=tasks.partition(":")[0] == "lots"),
    )  # fmt: skip
    credit = partial(pay.rlcr_split, explore=EXPLORE) if nano else partial(pay.rlcr, explore=0.0)
    reward = Stage("reward", 400 if nano else 300, asks, credit)
    settle = Stage("settle", 100, asks, pay.rlcr_split)
    return Recipe(
        name="rlcr",
        model=model,
        tasks=train,
        dev=tasks_of(tasks, style=style, grade=grade, split="dev"),
        test=tasks_of(tasks, style=style, grade=grade, split="test"),
        stages=(start, reward, settle) if nano else (reward,),
        probes=(Calibration,),
        groups=32,
        group_size=16 if nano else 32,
        temperature=1.0 if nano else 0.7,
        max_tokens=32 if nano else 1536,
        checkpoint_every=50,
        eval_every=25 if nano else 50,
        eval_problems=1000,
        dev_problems=128,
        optim=Optim(lr=3e-4) if nano else Optim(lr=1e-6, warmup=0.05, kl=0.0),
    )


def credited(base: Recipe, credit: Callable[[float], Credit]) -> Recipe:
    """The same with another credit in every stage that pays, made for how much that stage keeps confidences open."""
    return replace(
        base, stages=tuple(s if s.name == "start" else replace(s, credit=credit(explore_of(s))) for s in base.stages)
    )


def paid(base: Recipe, reward: pay.Reward) -> Recipe:
    """The same with another reward."""
    split = len(base.stages) > 1
    return credited(base, lambda explore: partial(pay.rlcr_split if split else pay.rlcr, reward=reward, explore=explore))


def explore_of(stage: Stage) -> float:
    """How much a stage keeps confidences open."""
    return float(getattr(stage.credit, "keywords", {}).get("explore", 0.0))


def collapsed(base: Recipe) -> Recipe:
    """The same from a start that always states nine tenths. Only for models that need a start."""
    (start, *rest) = base.stages
    collect: Any = start.collect
    return replace(base, stages=(replace(start, collect=replace(collect, always=9)), *rest)) if rest else base


ARMS = {
    # Plain verifiable rewards: the answer is paid for being right, the confidence not at all.
    "rlvr": lambda base: credited(base, lambda explore: pay.rlvr),
    # The answer's reward pays the confidence too: it can only follow luck.
    "rlvr_both": lambda base: credited(base, lambda explore: partial(pay.rlcr, reward=pay.right_only, explore=explore)),
    # An unbounded score: being surely wrong can be worth more than being honestly unsure.
    "log_score": lambda base: paid(base, pay.log_reward),
    # Nothing for being right.
    "brier_only": lambda base: paid(base, pay.brier_only),
    # Answer and confidence are both paid the whole reward, as in the paper (the recipe itself, but for nano models).
    "joint": lambda base: credited(base, lambda explore: partial(pay.rlcr, explore=explore)),
    # The same, divided by the spread of each group, which the authors leave out.
    "std": lambda base: credited(base, lambda explore: partial(pay.rlcr_std, explore=explore)),
    # The negative control: confidences held against other answers' outcomes.
    "shuffled": lambda base: credited(base, pay.shuffled),
    # A start that always says nine tenths: nothing to choose from.
    "collapsed": collapsed,
}
"""Variations for ``train rlcr:ARM``."""
