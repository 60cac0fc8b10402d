"""The decisive control: plain GRPO on the first attempt, no reflection anywhere (arXiv 2402.03300)."""

from dataclasses import replace
from functools import partial

from secondthought.credit.answer import answer as pay_answer
from secondthought.protocols.answer import answer
from secondthought.recipes.rrr_countdown import recipe as rrr_countdown
from secondthought.train import Recipe


def recipe(model: str = "nano/countdown") -> Recipe:
    """As rrr_countdown, but the same problems are simply answered and the answers paid."""
    base = rrr_countdown(model)
    protocol = partial(answer, grade=base.tasks.grade)
    return replace(base, name="answer_countdown", protocol=protocol, credit=pay_answer)
