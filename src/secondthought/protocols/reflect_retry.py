"""Fail once, reflect, and try again with the reflection in sight."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from secondthought.protocols.base import Draft, Grade, gather
from secondthought.types import Episode, Group, Task


@dataclass(frozen=True)
class Prompts:
    """What the model is asked between its turns; part of the method, so bound to the protocol of a recipe. ``{question}`` in
    ``retry`` stands for the last words of the task's prompt.

    ``generic`` is no prompt: it is the constant reflection that a control puts in place of the model's own.
    """

    reflection: str
    retry: str
    generic: str = "think harder"

    def retry_of(self, task: Task) -> str:
        """How a retry at ``task`` is asked for.

        >>> Prompts("What was wrong?", "Again: {question}").retry_of(Task.of("2 + 2?", answer="4", family="sums"))
        'Again: 2 + 2?'
        """
        return self.retry.replace("{question}", task.prompt[-1].content)


CHAT = Prompts(
    reflection=(
        "Your answer was wrong. Before you try again, reflect in a few sentences: what went wrong, and what should you do "
        "differently? Do not give the answer yet."
    ),
    retry="Now use your reflection and answer the original question again.",
    generic="I made a mistake. I should be more careful and check each step.",
)
CALLS = Prompts(
    reflection="That call was wrong. In one sentence: which part of it was wrong, and why? Write no call.",
    retry=(
        "With this in mind, here is the request again:\n{question}\n"
        'Write only the function call, as JSON with "name" and "arguments".'
    ),
    generic="I made a mistake. I should be more careful and check each argument.",
)
"""For function calling by small models, which otherwise answer the request for a reflection instead of calling again."""
TERSE = Prompts(reflection="wrong . reflect", retry="retry")
"""The prompts of the nano family's corpus."""


def prompts_for(style: str) -> Prompts:
    """The wording for a renderer's style: words for chat models, two tokens for nano."""
    return TERSE if style == "terse" else CHAT


async def reflect_retry(
    task: Task,
    n: int,
    *,
    grade: Grade,
    prompts: Prompts,
    failed: Callable[[Task], Episode] | None = None,
) -> Group:
    """Fail once, reflect n ways, retry each (Reflect, Retry, Reward; arXiv 2505.24726).

    Segments: ``attempt``, ``ask_reflection``, ``reflection``, ``ask_retry``, ``retry``; verdicts ``attempt`` and ``retry``.
    A solved first attempt is a group of one and costs nothing further. With ``failed`` (the paper's offline set) a
    recorded attempt of the initial model is replayed, token for token, instead of sampling a new one.
    """
    first = Draft(task)
    if failed is not None:
        recorded = failed(task)
        first.replay(*recorded.segments[1:])
        attempt = recorded.verdicts["attempt"]
    else:
        attempt = await first.solve("attempt", grade)
    if attempt.score == 1 or first.refused:
        return (first.close(attempt=attempt),)

    async def branch(i: int) -> Episode:
        draft = first.fork(i)
        draft.write("ask_reflection", prompts.reflection)
        await draft.sample("reflection")
        draft.write("ask_retry", prompts.retry_of(task))
        return draft.close(attempt=attempt, retry=await draft.solve("retry", grade))

    return await gather(*(branch(i) for i in range(n)))
