"""Put a chain of thought and a trigger into a model's mouth, and let it go on ("Rethinking Reflection in Pre-Training",
arXiv 2504.04022; Self-Correction Bench, arXiv 2507.02778).

The same words work on another's reasoning (situational reflection) and on the model's own (self-reflection).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from secondthought.scene import Draft, Sampling
from secondthought.types import Episode, Segment, Task, Verdict

Grade = Callable[[str], Verdict]


async def second_thoughts(
    task: Task, path: tuple[int, ...], *,
    chain: Segment | None, trigger: Segment | None, grade: Grade, times: int = 1, sampling: Sampling | None = None,
) -> Episode:  # fmt: skip
    """The episode ``prompt, chain, trigger, rest``; with ``times`` > 1 the trigger comes again and ``rest_2, rest_3, ...``
    follow.

    ``chain`` and ``trigger`` may be None: without both, the model simply solves the task. Every rest has its verdict.
    Raises ValueError if no trigger is there to come again.
    """
    if times > 1 and trigger is None:
        raise ValueError("a second time needs a trigger")
    draft = Draft(task, path)
    draft.replay(*(part for part in (chain, trigger) if part is not None))
    verdicts = {"rest": grade(await draft.sample("rest", sampling=sampling))}
    for number in range(2, times + 1):
        told = draft.segments
        again = replace(trigger or told[-1], name=f"trigger_{number}")
        draft = Draft(task, path)
        draft.replay(*told[1:-1], unfinished(told[-1]), again)
        verdicts[f"rest_{number}"] = grade(await draft.sample(f"rest_{number}", sampling=sampling))
    return draft.close(**verdicts)


def put_in(name: str, text: str, tokens: tuple[int, ...] = ()) -> Segment:
    """Words that the experimenter puts into the model's mouth."""
    return Segment(name, "intervention", "assistant", text, tokens)


def unfinished(segment: Segment, keep: int | None = None) -> Segment:
    """The same segment as if the model had not stopped there: its first ``keep`` tokens, or all but its end token."""
    length = keep if keep is not None else len(segment.tokens) - (segment.stop == "end" and len(segment.tokens) > 0)
    logprobs = segment.logprobs[:length] if segment.logprobs is not None else None
    return replace(segment, tokens=segment.tokens[:length], logprobs=logprobs, stop=None)
