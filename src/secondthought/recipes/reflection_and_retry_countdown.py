"""The arm that pays reflection and retry alike, as a framework with one advantage for each conversation would."""

from dataclasses import replace

from secondthought.credit.reflect_retry import reflection_and_retry
from secondthought.recipes.rrr_countdown import recipe as rrr_countdown
from secondthought.train import Recipe


def recipe(model: str = "nano/countdown") -> Recipe:
    """As rrr_countdown, but for who is paid."""
    return replace(rrr_countdown(model), name="reflection_and_retry_countdown", credit=reflection_and_retry)
