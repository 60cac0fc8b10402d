"""A question with an answer that is given, to be imitated."""

from __future__ import annotations

from collections.abc import Callable

from secondthought.protocols.base import Draft, Grade, show
from secondthought.types import Group, Segment, Task


async def shown(task: Task, n: int, *, grade: Grade, record: Callable[[Task], Segment | str]) -> Group:
    """The recorded answer to a task as its ``attempt``; nothing is sampled and ``n`` changes nothing.

    The verdict is what the answer is truly worth: where answers are a model's own labels it counts how many are right, and
    whoever learns from them must not look at it.
    """
    draft = Draft(task)
    return (draft.close(attempt=grade(task, show(draft, "attempt", record(task)))),)
