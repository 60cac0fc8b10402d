"""Answer, be asked to look again, and answer a second time; nobody says whether the first answer was right."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from secondthought.protocols.base import Draft, Grade, gather, given, show
from secondthought.types import Episode, Group, Segment, Task


@dataclass(frozen=True)
class Request:
    """How a second attempt is asked for, without a word on whether the first was right. With ``feedback`` the model is first
    asked for feedback on its own solution (Self-Refine, arXiv 2303.17651).
    """

    correction: str
    feedback: str = ""


CHAT = Request(
    "There might be an error in the solution above because of lack of understanding of the question. Please correct the error, "
    "if any, and rewrite the solution."
)
CHAT_REFINE = Request(
    "Now solve the problem again, using your feedback. Write the whole solution.",
    feedback="Look at the solution above step by step and give feedback: which steps are right, and which are not?",
)
TERSE = Request("retry")
TERSE_REFINE = Request("retry", feedback="reflect")
"""Nano's words. Its corpus has ``retry`` behind reflections on failures only; here it follows every attempt, right or wrong."""


def request_for(style: str, *, refine: bool = False) -> Request:
    """The wording for a renderer's style: words for chat models, one token for nano."""
    if refine:
        return TERSE_REFINE if style == "terse" else CHAT_REFINE
    return TERSE if style == "terse" else CHAT


async def self_correction(
    task: Task, n: int, *, grade: Grade, request: Request, first: Callable[[Task], Episode] | None = None, fixed: int = 0,
) -> Group:  # fmt: skip
    """Two attempts in one conversation, ``n`` times over (SCoRe; arXiv 2409.12917, section 3).

    Segments: ``attempt_1``, ``ask_correction``, ``attempt_2`` (with feedback ``ask_feedback`` and ``feedback`` before the
    request); verdicts of both attempts. The second turn is asked for in every episode, right or wrong: no oracle decides who
    may try again. The last ``fixed`` of the ``n`` episodes begin with an attempt that ``first`` has recorded (of the base
    model, say), replayed token for token as an intervention.
    """

    async def episode(i: int) -> Episode:
        draft = Draft(task, (i,))
        if first is not None and i >= n - fixed:
            recorded = first(task)
            draft.replay(*(shown_again(segment) for segment in recorded.segments[1:]))
            one = recorded.verdicts["attempt"]
        else:
            one = await draft.solve("attempt_1", grade)
        if draft.refused:
            return draft.close(attempt_1=one)
        if request.feedback:
            draft.write("ask_feedback", request.feedback)
            await draft.sample("feedback")
        draft.write("ask_correction", request.correction)
        return draft.close(attempt_1=one, attempt_2=await draft.solve("attempt_2", grade))

    return await gather(*(episode(i) for i in range(n)))


def shown_again(segment: Segment) -> Segment:
    """A segment of a recorded attempt as one of a first attempt: put in, not written by the policy."""
    name = segment.name.replace("attempt", "attempt_1", 1)
    return replace(segment, name=name) if segment.author == "task" else given(segment, name)


async def corrected(
    task: Task, n: int, *, grade: Grade, request: Request, pair: Callable[[Task], tuple[Segment, Segment]]
) -> Group:
    """Two recorded attempts at one problem in one conversation, to be imitated; nothing is sampled (Pair-SFT and STaR,
    arXiv 2409.12917, section 4). The segments are those of :func:`self_correction`, and ``n`` changes nothing.
    """
    draft = Draft(task)
    one, two = pair(task)
    show(draft, "attempt_1", one)
    draft.write("ask_correction", request.correction)
    show(draft, "attempt_2", two)
    return (draft.close(attempt_1=grade(task, one.text), attempt_2=grade(task, two.text)),)
