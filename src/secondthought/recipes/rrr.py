"""Reflect, Retry, Reward on your own tasks: ``secondthought train rrr --model PATH --tasks FILE.jsonl --grade exact``."""

from dataclasses import replace
from functools import partial

from secondthought.credit.reflect_retry import anchored, reflection_only, unleaked
from secondthought.engines.hub import style_of
from secondthought.protocols.reflect_retry import prompts_for, reflect_retry
from secondthought.recipes.rrr_countdown import recipe as rrr_countdown
from secondthought.tasks.base import leak_of, tasks_of
from secondthought.train import Recipe


def recipe(tasks: str, model: str = "nano/countdown", grade: str = "exact") -> Recipe:
    """The recipe for rows of ``prompt`` and ``answer``; they are split into train, dev and test by their prompts."""
    style = style_of(model)
    train = tasks_of(tasks, style=style, grade=grade, split="train")
    return replace(
        rrr_countdown(model),
        name="rrr",
        tasks=train,
        dev=tasks_of(tasks, style=style, grade=grade, split="dev"),
        test=tasks_of(tasks, style=style, grade=grade, split="test"),
        protocol=partial(reflect_retry, grade=train.grade, prompts=prompts_for(style)),
        credit=anchored(unleaked(reflection_only, leak_of(train)), "retry", weight=1.0),
    )
