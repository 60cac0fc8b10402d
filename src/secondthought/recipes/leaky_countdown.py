"""The paper to the letter: a reflection may spell the whole solution and is paid for it all the same."""

from dataclasses import replace

from secondthought.credit.reflect_retry import anchored, reflection_only
from secondthought.recipes.rrr_countdown import recipe as rrr_countdown
from secondthought.train import Recipe


def recipe(model: str = "nano/countdown") -> Recipe:
    """As rrr_countdown, without the rule that a leaked solution earns nothing."""
    return replace(rrr_countdown(model), name="leaky_countdown", credit=anchored(reflection_only, "retry", weight=1.0))
