"""Fail, read what a tutor says about the failure in place of one's own reflection, and then get it right."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from secondthought.protocols.base import Draft, Grade, show
from secondthought.protocols.reflect_retry import Prompts
from secondthought.types import Episode, Group, Segment, Task, Verdict

Tutor = Callable[[Task, str], str]
"""What a tutor says about a wrong answer to a task; "" if there is nothing to say."""
Exercise = Callable[[Task, str], tuple[str, str] | None]
"""A hint about an answer to a task, and the answer that obeys it; None if there is none to make."""


class Recorded(Protocol):
    """Recorded attempts of the initial model (:class:`secondthought.training.failures.FailedTasks`)."""

    def __call__(self, task: Task) -> Episode:
        """The one that failed."""
        ...

    def solved(self, task: Task) -> Segment | None:
        """One at the same problem that did not, if there is one."""
        ...


async def tutored(
    task: Task, n: int, *, grade: Grade, prompts: Prompts, tutor: Tutor, failed: Recorded, exercise: Exercise | None = None
) -> Group:
    """What a good reflection and a good retry look like, in one episode, to be imitated; nothing is sampled.

    The segments are those of :func:`secondthought.protocols.reflect_retry.reflect_retry`. ``attempt`` is a recorded failure,
    ``reflection`` is the tutor's (author ``intervention``), and ``retry`` is a recorded attempt at the same problem that was
    right: the model's own, so that no gold answer is ever shown. Where the model never solved the problem the episode ends with
    the reflection. There is one thing to be said, so ``n`` changes nothing.

    With an ``exercise`` a second episode follows: ``hint``, which asks for one change whatever it is good for, and as ``retry``
    the same attempt with that change. To be imitated is the retry alone, so that it learns to obey.
    """
    first = Draft(task)
    recorded = failed(task)
    first.replay(*recorded.segments[1:])
    wrong = first.segments[-1].text
    attempt, said = recorded.verdicts["attempt"], tutor(task, wrong)
    made = exercise(task, wrong) if exercise is not None else None
    group = (shown(first.fork(0), said, attempt, grade, prompts, failed),)
    return group if made is None else (*group, obeyed(first.fork(1), *made, attempt, grade, prompts))


def obeyed(draft: Draft, hint: str, retry: str, attempt: Verdict, grade: Grade, prompts: Prompts) -> Episode:
    """A hint and a retry that does as it says."""
    draft.write("ask_reflection", prompts.reflection)
    show(draft, "hint", hint)
    draft.write("ask_retry", prompts.retry_of(draft.task))
    return draft.close(attempt=attempt, retry=grade(draft.task, show(draft, "retry", retry)))


def shown(draft: Draft, said: str, attempt: Verdict, grade: Grade, prompts: Prompts, failed: Recorded) -> Episode:
    """The tutor's reflection on a failure, and a right attempt behind it where there is one."""
    task = draft.task
    if not said:
        return draft.close(attempt=attempt)
    draft.write("ask_reflection", prompts.reflection)
    show(draft, "reflection", said)
    right = failed.solved(task)
    if right is None:
        return draft.close(attempt=attempt)
    draft.write("ask_retry", prompts.retry_of(task))
    return draft.close(attempt=attempt, retry=grade(task, show(draft, "retry", right)))
