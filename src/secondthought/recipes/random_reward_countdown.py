"""The negative control: rewards drawn by lot. Nothing may be learned."""

from dataclasses import replace

from secondthought.credit.reflect_retry import anchored, random_reward
from secondthought.recipes.rrr_countdown import recipe as rrr_countdown
from secondthought.train import Recipe


def recipe(model: str = "nano/countdown") -> Recipe:
    """As rrr_countdown, but for who is paid."""
    return replace(rrr_countdown(model), name="random_reward_countdown", credit=anchored(random_reward, "retry", weight=1.0))
