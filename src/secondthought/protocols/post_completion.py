"""Answer, and go on behind the end of the answer with an evaluation of it that no reader ever sees."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from typing import NamedTuple

from secondthought.protocols.base import Draft, Grade, gather, show
from secondthought.types import Episode, Group, Segment, Task, Verdict

WORDS = {"right": 1.0, "wrong": 0.0}
_SCORE = re.compile(r"acc:\s*([01])\b")


async def post_completion(task: Task, n: int, *, grade: Grade, read: Callable[[str], float | None]) -> Group:
    """Answer ``n`` times, each with an evaluation behind it (Post-Completion Learning; arXiv 2507.20252).

    The token that ends the answer is the terminator: whoever generates stops there, as always, so that the evaluation costs
    nothing (the paper puts a new token in its place). Segments: ``attempt`` with that token, and ``evaluation`` behind it.
    Verdicts: ``attempt``, and ``evaluation``, whose score is the reward that the model predicts for itself (1 or 0), and
    ungraded where there is none. An answer that the token limit cut off has no end, and no evaluation.
    """

    async def episode(i: int) -> Episode:
        draft = Draft(task, (i,))
        attempt = await draft.solve("attempt", grade)
        if draft.refused or draft.segments[-1].stop == "length":
            return draft.close(attempt=attempt)
        return draft.close(attempt=attempt, evaluation=predicted(read(await draft.sample("evaluation", beyond_end=True))))

    return await gather(*(episode(i) for i in range(n)))


def predicted(reward: float | None) -> Verdict:
    """A predicted reward as a finding."""
    return Verdict(math.nan, None, "no evaluation") if reward is None else Verdict(reward, f"{reward:g}")


def spelled(reward: float, style: str) -> str:
    """How an evaluation is written: one word by nano models, otherwise the reward.

    >>> spelled(1.0, "terse"), spelled(0.0, "chat")
    ('right', 'acc: 0')
    """
    return next(word for word, value in WORDS.items() if value == reward) if style == "terse" else f"acc: {reward:.0f}"


def read_reward(text: str) -> float | None:
    """The reward that an evaluation predicts.

    >>> read_reward("wrong"), read_reward("All steps hold. acc: 1"), read_reward("maybe")
    (0.0, 1.0, None)
    """
    found = _SCORE.search(text)
    return float(found[1]) if found else WORDS.get(text.strip())


class Evaluated(NamedTuple):
    """A recorded answer and what is said behind it."""

    answer: Segment
    evaluation: str


async def shown_evaluation(task: Task, n: int, *, grade: Grade, record: Callable[[Task], Evaluated]) -> Group:
    """A recorded answer with an evaluation behind it, to be imitated; nothing is sampled and ``n`` changes nothing."""
    draft = Draft(task)
    answer, said = record(task)
    attempt = grade(task, show(draft, "attempt", answer))
    draft.write("evaluation", said, role="assistant", author="intervention", end=True, beyond_end=True)
    return (draft.close(attempt=attempt),)
