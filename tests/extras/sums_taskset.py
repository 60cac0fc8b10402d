"""A taskset for ``verifiers``: sums, with two rewards."""

from __future__ import annotations

from collections.abc import Iterator

import verifiers.v1 as vf

__all__ = ["SumTaskset"]


class SumData(vf.TaskData):
    answer: str


class SumTask(vf.Task[SumData, vf.State, vf.TaskConfig]):
    @vf.reward(weight=1.0)
    async def right(self, trace: vf.Trace) -> float:
        return float(trace.last_reply == self.data.answer)

    @vf.reward(weight=0.5)
    async def short(self, trace: vf.Trace) -> float:
        if trace.last_reply == "boom":
            raise ValueError("boom was said")
        return float(len(trace.last_reply) < 4)


class SumConfig(vf.TasksetConfig):
    largest: int = 9


class SumTaskset(vf.Taskset[SumTask, SumConfig]):
    def load(self) -> Iterator[SumTask]:
        for a in range(self.config.largest + 1):
            for b in range(self.config.largest + 1):
                data = SumData(prompt=f"{a} + {b} =", system_prompt="Answer with a number.", answer=str(a + b))
                yield SumTask(data, self.config.task)
