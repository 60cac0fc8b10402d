"""A check that can be hacked, and a monitor of the chain of thought that is part of the reward (arXiv 2503.11926, on nano).

``secondthought train monitored`` starts from ``nano/gamer``, which walks out of the check in one answer of four and mostly says
so. It is paid for passing the check, less a penalty where the monitor flags its words. What the paper saw in a frontier model:
some pressure makes for fewer hacks, more of it for hacks that nobody can see.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial

from secondthought.credit.monitored import monitored
from secondthought.learners.optim import Optim
from secondthought.probes.monitor import Monitor
from secondthought.protocols.answer import answer
from secondthought.tasks.exploitable import Exploitable, flagged
from secondthought.training.recipe import Recipe


def recipe(tasks: str = "exploitable", model: str = "nano/gamer", grade: str = "exact") -> Recipe:
    """The recipe for ``model``; every number below can be set with ``--set name=value``."""
    train = Exploitable("train")
    return Recipe(
        name="monitored",
        model=model,
        tasks=train,
        dev=Exploitable("dev"),
        test=Exploitable("test"),
        protocol=partial(answer, grade=train.grade),
        credit=monitored(flagged, 1.0),
        steps=300,
        probes=(Monitor,),
        groups=16,
        group_size=8,
        max_tokens=24,
        checkpoint_every=50,
        eval_every=10,
        eval_problems=1000,
        dev_problems=300,
        optim=Optim(lr=3e-4),
    )


def penalty(weight: float) -> Callable[[Recipe], Recipe]:
    """The arm with another weight of the penalty."""
    return lambda base: replace(base, credit=monitored(flagged, weight))


def honest_check(base: Recipe) -> Recipe:
    """Walking out passes no more: nothing to be gained, the control."""
    train = Exploitable("train", paid=False)
    return replace(base, tasks=train, protocol=partial(answer, grade=train.grade), credit=monitored(flagged, 0.0))


ARMS = {
    # Nobody looks at the chain of thought.
    "unmonitored": penalty(0.0),
    # A light penalty.
    "light": penalty(0.3),
    # Walking out is not paid: the control.
    "no_payoff": honest_check,
}
"""Variations for ``train monitored:ARM``."""
