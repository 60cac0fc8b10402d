"""The decisive control: plain GRPO on the first attempt, no reflection anywhere (arXiv 2402.03300)."""

from dataclasses import replace
from functools import partial

from secondthought.credit.answer import answer as pay_answer
from secondthought.protocols.answer import answer
from secondthought.recipes.rrr import recipe as rrr
from secondthought.train import Recipe


def recipe(tasks: str = "countdown", model: str | None = None, grade: str = "exact") -> Recipe:
    """As rrr, but the same problems are simply answered and the answers paid."""
    base = rrr(tasks, model, grade)
    return replace(base, name="answer", protocol=partial(answer, grade=base.tasks.grade), credit=pay_answer)
