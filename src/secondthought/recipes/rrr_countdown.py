"""Reflect, Retry, Reward on Countdown (Bensal et al. 2025, arXiv 2505.24726).

With the shipped nano model this is the main job of the project, in minutes on a laptop. With ``--model`` and the name of an
instruct model, the same recipe asks in words and plays the published game.
"""

from functools import partial

from secondthought.credit.reflect_retry import anchored, reflection_only, unleaked
from secondthought.engines.hub import style_of
from secondthought.learners.torch import Optim
from secondthought.protocols.reflect_retry import prompts_for, reflect_retry
from secondthought.tasks.base import leak_of
from secondthought.tasks.countdown import Countdown, chat
from secondthought.train import Recipe


def recipe(model: str = "nano/countdown") -> Recipe:
    """The recipe for ``model``; every number below can be set with ``--set name=value``."""
    style = style_of(model)
    game = Countdown if style == "terse" else chat
    prompts = prompts_for(style)
    train = game("train")
    return Recipe(
        name="rrr_countdown",
        model=model,
        tasks=train,
        dev=game("dev"),
        test=game("test"),
        protocol=partial(reflect_retry, grade=train.grade, prompts=prompts),
        credit=anchored(unleaked(reflection_only, leak_of(train)), "retry", weight=1.0),
        prompts=prompts,
        style=style,
        steps=200,
        groups=24,
        group_size=12,
        max_tokens=32 if style == "terse" else 512,
        optim=Optim(lr=3e-4, kl=3.0) if style == "terse" else Optim(lr=5e-7, warmup=52, schedule="cosine", kl=0.001),
    )
