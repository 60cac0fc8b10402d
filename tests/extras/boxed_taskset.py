"""A taskset for ``verifiers`` that cannot be played here: it needs a container."""

from __future__ import annotations

from collections.abc import Iterator

import verifiers.v1 as vf

__all__ = ["BoxedTaskset"]


class BoxedTask(vf.Task[vf.TaskData, vf.State, vf.TaskConfig]):
    NEEDS_CONTAINER = True


class BoxedTaskset(vf.Taskset[BoxedTask, vf.TasksetConfig]):
    def load(self) -> Iterator[BoxedTask]:
        yield BoxedTask(vf.TaskData(prompt="Mend this repository."), self.config.task)
