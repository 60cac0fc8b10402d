"""From tasks to groups: a protocol, run for every task at once."""

from __future__ import annotations

from collections.abc import Coroutine, Iterable
from typing import Any, Protocol

from secondthought.scene import Engine, Sampling, drive
from secondthought.types import Group, Task


class BoundProtocol(Protocol):
    """What a protocol is once its options are bound: a task and a group size make a script that returns a group."""

    def __call__(self, task: Task, n: int, /) -> Coroutine[Any, Any, Group]:
        """The script for one task."""
        ...


def rollout(
    protocol: BoundProtocol,
    tasks: Iterable[Task],
    n: int,
    engine: Engine,
    sampling: Sampling | None = None,
    *,
    seed: int = 0,
) -> list[Group]:
    """One group for each task, in order. The same tasks, seed and weights give the same episodes, however batched."""
    groups: list[Group] = drive((protocol(task, n) for task in tasks), engine, sampling, seed=seed)
    return groups
