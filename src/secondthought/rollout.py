"""From tasks to groups: a protocol, run for every task at once."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
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


class Ahead:
    """Groups that are told in a thread of their own, while something else is done (one step off-policy; arXiv 2410.18252).

    >>> with Ahead() as ahead:
    ...     ahead.take()
    ...     ahead.begin(lambda: ["told"])
    ...     ahead.take()
    ['told']
    """

    def __init__(self) -> None:
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="ahead")
        self._begun: Future[list[Group]] | None = None

    def __enter__(self) -> Ahead:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._pool.shutdown(wait=True, cancel_futures=True)

    def begin(self, tell: Callable[[], list[Group]]) -> None:
        """Start telling."""
        self._begun = self._pool.submit(tell)

    def take(self) -> list[Group] | None:
        """What was begun, once it is told; None if nothing was. Raises what the telling raised."""
        begun, self._begun = self._begun, None
        return begun.result() if begun is not None else None
