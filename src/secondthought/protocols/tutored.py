"""Fail, read what a tutor says about the failure in place of one's own reflection, and then get it right."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from secondthought.protocols.base import Draft, Grade, given
from secondthought.protocols.reflect_retry import Prompts
from secondthought.types import Group, Segment, Task

Tutor = Callable[[Task, str], str]
"""What a tutor says about a wrong answer to a task; "" if there is nothing to say."""


class Recorded(Protocol):
    """Recorded attempts of the initial model (:class:`secondthought.training.failures.FailedTasks`)."""

    def __call__(self, task: Task) -> tuple[Segment, ...]:
        """The one that failed."""
        ...

    def solved(self, task: Task) -> Segment | None:
        """One at the same problem that did not, if there is one."""
        ...


async def tutored(task: Task, n: int, *, grade: Grade, prompts: Prompts, tutor: Tutor, failed: Recorded) -> Group:
    """What a good reflection and a good retry look like, in one episode, to be imitated; nothing is sampled.

    The segments are those of :func:`secondthought.protocols.reflect_retry.reflect_retry`. ``attempt`` is a recorded failure,
    ``reflection`` is the tutor's (author ``intervention``), and ``retry`` is a recorded attempt at the same problem that was
    right: the model's own, so that no gold answer is ever shown. Where the model never solved the problem the episode ends with
    the reflection. There is one thing to be said, so ``n`` changes nothing.
    """
    draft = Draft(task)
    draft.replay(*failed(task))
    wrong = draft.segments[-1].text
    attempt = grade(task, wrong)
    said = tutor(task, wrong)
    if not said:
        return (draft.close(attempt=attempt),)
    draft.write("ask_reflection", prompts.reflection)
    draft.write("reflection", said, role="assistant", author="intervention", end=True)
    right = failed.solved(task)
    if right is None:
        return (draft.close(attempt=attempt),)
    draft.write("ask_retry", prompts.retry_of(task))
    draft.replay(given(right, "retry"))
    return (draft.close(attempt=attempt, retry=grade(task, right.text)),)
