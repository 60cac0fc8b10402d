"""Reflect, Retry, Reward on Countdown; the main job of the project. All of it stands in the recipe ``rrr``, its arms
included.
"""

from dataclasses import replace

from secondthought.recipes.rrr import ARMS
from secondthought.recipes.rrr import recipe as rrr
from secondthought.training.recipe import Recipe

__all__ = ["ARMS", "recipe"]


def recipe(model: str = "nano/countdown") -> Recipe:
    """The recipe for ``model``: a nano model, or any instruct model."""
    return replace(rrr("countdown", model), name="rrr_countdown")
