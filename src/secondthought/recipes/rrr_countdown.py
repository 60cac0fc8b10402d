"""Reflect, Retry, Reward on Countdown; the main job of the project. All of it stands in the recipe ``rrr``."""

from dataclasses import replace

from secondthought.recipes.rrr import recipe as rrr
from secondthought.train import Recipe


def recipe(model: str = "nano/countdown") -> Recipe:
    """The recipe for ``model``: a nano model, or any instruct model."""
    return replace(rrr("countdown", model), name="rrr_countdown")
