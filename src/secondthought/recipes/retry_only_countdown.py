"""The arm that pays the retry for itself: Countdown with the credit on the retry alone."""

from dataclasses import replace

from secondthought.credit.reflect_retry import retry_only
from secondthought.recipes.rrr_countdown import recipe as rrr_countdown
from secondthought.train import Recipe


def recipe(model: str = "nano/countdown") -> Recipe:
    """As rrr_countdown, but for who is paid."""
    return replace(rrr_countdown(model), name="retry_only_countdown", credit=retry_only)
