"""The arm that pays reflection and retry alike, as a framework with one advantage for each conversation would."""

from dataclasses import replace

from secondthought.credit.reflect_retry import reflection_and_retry
from secondthought.recipes.rrr import recipe as rrr
from secondthought.train import Recipe


def recipe(tasks: str = "countdown", model: str | None = None, grade: str = "exact") -> Recipe:
    """As rrr, but for who is paid."""
    return replace(rrr(tasks, model, grade), name="reflection_and_retry", credit=reflection_and_retry)
