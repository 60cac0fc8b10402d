"""Reflect, Retry, Reward on function calling: the world of tools, or APIGen/xLAM and BFCL rows with ``--tasks FILE``."""

from dataclasses import replace

from secondthought.recipes.rrr import ARMS
from secondthought.recipes.rrr import recipe as rrr
from secondthought.training.recipe import Recipe

__all__ = ["ARMS", "recipe"]


def recipe(tasks: str = "tool_world", model: str = "nano/duo-1m") -> Recipe:
    """The recipe for ``model``: a nano model that knows the tools' language, or any instruct model."""
    return replace(rrr(tasks, model), name="rrr_function_calling")
