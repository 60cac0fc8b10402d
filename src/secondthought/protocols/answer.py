"""Answer once: the control that every kind of reflection has to beat."""

from __future__ import annotations

from secondthought.protocols.base import Draft, Grade, gather
from secondthought.types import Episode, Group, Task


async def answer(task: Task, n: int, *, grade: Grade) -> Group:
    """N independent attempts; plain reinforcement learning with verifiable rewards (GRPO, arXiv 2402.03300)."""

    async def attempt(i: int) -> Episode:
        draft = Draft(task, (i,))
        return draft.close(attempt=await draft.solve("attempt", grade))

    return await gather(*(attempt(i) for i in range(n)))
