"""Reflect, Retry, Reward on Countdown (Bensal et al. 2025, arXiv 2505.24726).

With the shipped nano model this is the main job of the project, in minutes on a laptop. With ``--model`` and the name of an
instruct model, the same recipe asks in words, plays the published game and takes the paper's hyperparameters (group size,
temperature and token limit are not published; those are ours).

We depart from the paper in two places. A reflection that spells a full solution earns nothing (``unleaked``), because otherwise
the policy learns to solve the task inside its reflection; the recipe ``leaky_countdown`` is the paper to the letter. And the
unpaid retry is pulled towards the base model (``anchored``), because small models forget to obey their own reflections.
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
    nano = style == "terse"
    game = Countdown if nano else chat
    train = game("train")
    prompts = prompts_for(style)
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
        steps=200 if nano else 1750,
        groups=24 if nano else 32,
        group_size=12 if nano else 8,
        max_tokens=32 if nano else 512,
        optim=Optim(lr=3e-4, kl=3.0) if nano else Optim(lr=5e-7, warmup=52, schedule="cosine", kl=0.001),
    )
