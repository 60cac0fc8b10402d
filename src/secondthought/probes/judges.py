"""A language model that is asked about a text, over any engine: ``judge:MODEL`` (a folder or hub name), ``judge:URL#MODEL``."""

from __future__ import annotations

from collections.abc import Sequence

from secondthought.engines.base import Engine, Sampling
from secondthought.errors import UserError
from secondthought.protocols.base import Draft
from secondthought.rollouts import drive
from secondthought.types import Message, Task

PREFIX = "judge:"


def judge_of(name: str) -> Engine:
    """The engine of a judge by its name. Raises UserError for a name that is none, and for a model that cannot be loaded."""
    from secondthought.engines.factory import engine_for
    from secondthought.engines.remote.openai import endpoint, is_endpoint

    place = name.removeprefix(PREFIX)
    if not name.startswith(PREFIX) or not place:
        raise UserError(f"{name!r} names no judge; write judge:MODEL or judge:URL#MODEL")
    return endpoint(place, chat=True) if is_endpoint(place) else engine_for(place)


def judgements(judge: Engine, questions: Sequence[str], *, max_tokens: int = 8) -> list[str]:
    """What the judge says to each question, greedily, all in one call of the engine."""

    async def ask(question: str) -> str:
        task = Task.of((Message("user", question),), answer=None, family="judgement")
        return await Draft(task).sample("judgement", author="judge")

    return drive([ask(question) for question in questions], judge, Sampling(temperature=0.0, max_tokens=max_tokens))


def yes_or_no(answer: str) -> bool | None:
    """What a judge's words mean.

    >>> yes_or_no(" Yes."), yes_or_no("**No**, it restates"), yes_or_no("maybe")
    (True, False, None)
    """
    words = answer.strip().strip("*\"'. ").lower()
    return True if words.startswith("yes") else False if words.startswith("no") else None


def shortened(text: str, longest: int = 3000) -> str:
    """The text, cut in the middle where it is longer than so many characters.

    >>> shortened("abcdefgh", 4)
    'ab [...] gh'
    """
    half = longest // 2
    return text if len(text) <= longest else f"{text[:half]} [...] {text[-half:]}"
