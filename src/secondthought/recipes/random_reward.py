"""The negative control: rewards drawn by lot. Nothing may be learned."""

from dataclasses import replace

from secondthought.credit.reflect_retry import anchored, random_reward
from secondthought.recipes.rrr import recipe as rrr
from secondthought.train import Recipe


def recipe(tasks: str = "countdown", model: str | None = None, grade: str = "exact") -> Recipe:
    """As rrr, but for who is paid."""
    return replace(rrr(tasks, model, grade), name="random_reward", credit=anchored(random_reward, "retry", weight=1.0))
