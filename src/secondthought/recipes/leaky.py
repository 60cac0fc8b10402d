"""The paper to the letter: a reflection may spell the whole solution and is paid for it all the same."""

from dataclasses import replace

from secondthought.credit.reflect_retry import anchored, reflection_only
from secondthought.recipes.rrr import recipe as rrr
from secondthought.train import Recipe


def recipe(tasks: str = "countdown", model: str | None = None, grade: str = "exact") -> Recipe:
    """As rrr, without the rule that a leaked solution earns nothing."""
    return replace(rrr(tasks, model, grade), name="leaky", credit=anchored(reflection_only, "retry", weight=1.0))
