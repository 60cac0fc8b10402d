"""An answer, a request to judge it, and a critique: to be imitated, or to be asked for."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from secondthought.protocols.base import Draft, Grade, gather, show
from secondthought.types import Episode, Group, Segment, Task

CHAT = 'Is the solution above right? Explain briefly, and end with "Conclusion: right" or "Conclusion: wrong".'
TERSE = "right ? wrong ?"


def request_for(style: str) -> str:
    """How a critique is asked for: in words for chat models, in words of its corpus for nano."""
    return TERSE if style == "terse" else CHAT


class Critique(NamedTuple):
    """An answer to a task and what a critic says about it. ``answer`` is a segment where a model sampled it, else a text."""

    answer: Segment | str
    critique: str


async def critiqued(task: Task, n: int, *, grade: Grade, request: str, record: Callable[[Task], Critique]) -> Group:
    """A recorded answer and a recorded critique of it in one conversation; nothing is sampled (Critique Fine-Tuning, arXiv
    2501.17703). Segments: ``attempt``, ``ask_critique``, ``critique``; the verdict is on the attempt. ``n`` changes nothing.

    The paper puts question and solution into one user turn. Here the solution stands where the model's own answers stand, so
    that a critique is learned as words about one's own answer, which is what a reflection is. Without a critique (an empty one)
    the conversation ends with the answer, to be imitated as such.
    """
    draft = Draft(task)
    shown, critique = record(task)
    verdict = grade(task, show(draft, "attempt", shown))
    if critique:
        draft.write("ask_critique", request)
        show(draft, "critique", critique)
    return (draft.close(attempt=verdict),)


async def judged(task: Task, n: int, *, grade: Grade, request: str) -> Group:
    """Answer and judge the answer, ``n`` times over: what the model's own critiques are worth. The same segments."""

    async def episode(i: int) -> Episode:
        draft = Draft(task, (i,))
        attempt = await draft.solve("attempt", grade)
        if draft.refused:
            return draft.close(attempt=attempt)
        draft.write("ask_critique", request)
        await draft.sample("critique")
        return draft.close(attempt=attempt)

    return await gather(*(episode(i) for i in range(n)))
