"""Answer, look for problems in the answer, improve it, and again: intrinsic self-correction (Huang et al. 2024, 2310.01798)."""

from __future__ import annotations

from dataclasses import dataclass

from secondthought.engines.base import Sampling
from secondthought.protocols.base import Draft, Grade
from secondthought.types import Episode


@dataclass(frozen=True)
class Words:
    """How a review and an improved answer are asked for; nothing says whether the answer was right."""

    review: str
    improve: str


CHAT = Words(
    "Go through your previous answer and look for problems in it.",
    "Now take what you found into account and answer the question once more, in the same form as before.",
)
TERSE = Words("reflect", "retry")


async def review(draft: Draft, *, grade: Grade, words: Words, rounds: int, sampling: Sampling | None = None) -> Episode:
    """An attempt in ``draft`` and ``rounds`` rounds of review and improvement, all in one conversation; 1, 3, 5 ... calls.

    Segments ``attempt_0``, then ``ask_review``, ``review_1``, ``ask_improve``, ``attempt_1``, ... with a verdict on each
    attempt. Every answer is reviewed, right or wrong: stopping at a right one would be an oracle.
    """
    verdicts = {"attempt_0": await draft.solve("attempt_0", grade, sampling=sampling)}
    for number in range(1, rounds + 1):
        if draft.refused:
            break
        draft.write("ask_review", words.review)
        await draft.sample(f"review_{number}", sampling=sampling)
        draft.write("ask_improve", words.improve)
        verdicts[f"attempt_{number}"] = await draft.solve(f"attempt_{number}", grade, sampling=sampling)
    return draft.close(**verdicts)
