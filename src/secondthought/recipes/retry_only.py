"""The arm that pays the retry for itself, and lets the reflection be."""

from dataclasses import replace

from secondthought.credit.reflect_retry import retry_only
from secondthought.recipes.rrr import recipe as rrr
from secondthought.train import Recipe


def recipe(tasks: str = "countdown", model: str | None = None, grade: str = "exact") -> Recipe:
    """As rrr, but for who is paid."""
    return replace(rrr(tasks, model, grade), name="retry_only", credit=retry_only)
