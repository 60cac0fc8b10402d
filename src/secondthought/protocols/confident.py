"""An answer, and how sure the model is of it."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import NamedTuple

from secondthought.protocols.base import Draft, Grade, gather, show
from secondthought.types import Episode, Group, Message, Segment, Task, Verdict


@dataclass(frozen=True)
class Asked:
    """How a confidence is asked for: in a turn behind the answer (``request``), or with the question (``system``)."""

    request: str = ""
    system: str = ""


TERSE = Asked(request="sure ?")
"""A nano model says a number of tenths."""
CHAT = Asked(
    system="Think about the problem inside <think> </think>, then write the answer inside <answer> </answer>. Then say inside "
    "<analysis> </analysis> what you are sure of and what not, without solving the problem again. Last, write inside "
    "<confidence> </confidence> a number from 0 to 1: how likely your answer is right. Write nothing else.\n\nPROBLEM: "
)
"""RLCR's four tags in one turn, in our words."""


def asked_for(style: str) -> Asked:
    """The wording for a renderer's style: four tags for chat models, a second turn for nano."""
    return TERSE if style == "terse" else CHAT


async def confident(task: Task, n: int, *, grade: Grade, confidence: Callable[[str], float | None], asked: Asked) -> Group:
    """Answer and state a confidence, ``n`` times over (RLCR; arXiv 2507.16806, section 3).

    Segments: ``attempt`` and, where a turn of its own asks for it, ``ask_confidence`` and ``confidence``. Verdicts: ``attempt``
    (is the answer right) and ``confidence``, whose score is what ``confidence`` reads, from 0 to 1; ungraded if that is None.
    """
    posed = with_system(task, asked.system) if asked.system else task

    async def episode(i: int) -> Episode:
        draft = Draft(posed, (i,))
        attempt = await draft.solve("attempt", grade)
        said = draft.segments[-1].text
        if draft.refused:
            return draft.close(attempt=attempt)
        if asked.request:
            draft.write("ask_confidence", asked.request)
            said = await draft.sample("confidence")
        return draft.close(attempt=attempt, confidence=stated(confidence(said)))

    return await gather(*(episode(i) for i in range(n)))


def stated(confidence: float | None) -> Verdict:
    """A confidence as a finding.

    >>> stated(0.7).answer
    '0.7'
    """
    return Verdict(math.nan, None, "no confidence") if confidence is None else Verdict(confidence, f"{confidence:g}")


def with_system(task: Task, system: str) -> Task:
    """The same task with what is asked for before its last turn; its key stays."""
    *before, last = task.prompt
    return replace(task, prompt=(*before, Message(last.role, system + last.content)))


class Shown(NamedTuple):
    """An answer and the confidence that is stated behind it."""

    answer: Segment | str
    confidence: str


async def shown_confidence(task: Task, n: int, *, grade: Grade, asked: Asked, record: Callable[[Task], Shown]) -> Group:
    """An answer and a stated confidence to be imitated; nothing is sampled. The segments are those of :func:`confident` where a
    turn of its own asks for the confidence; ``n`` changes nothing.
    """
    draft = Draft(task)
    answer, confidence = record(task)
    attempt = grade(task, show(draft, "attempt", answer))
    draft.write("ask_confidence", asked.request)
    show(draft, "confidence", confidence)
    return (draft.close(attempt=attempt),)
