"""Begin the model's answer with a chain of thought and a trigger, and let it go on ("Rethinking Reflection in Pre-Training",
arXiv 2504.04022; Self-Correction Bench, arXiv 2507.02778).

The same script works on another's reasoning (situational reflection) and on the model's own (self-reflection).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from secondthought.engines.base import Sampling
from secondthought.protocols.base import Draft
from secondthought.types import Episode, Segment, Task, Verdict


async def prefilled_chain(
    task: Task, path: tuple[int, ...], *,
    chain: Segment | None, trigger: Segment | None, grade: Callable[[str], Verdict], sampling: Sampling | None = None,
    times: int = 1, reopen: Callable[[Segment], Segment] = lambda segment: replace(segment, stop=None),
    request: Segment | None = None,
) -> Episode:  # fmt: skip
    """The episode ``prompt, chain, trigger, rest``. With ``times`` > 1 the trigger comes again, and ``rest_2, rest_3`` follow.

    ``chain`` and ``trigger`` may be None: without both, the model simply solves the task. Every rest has its verdict.
    ``reopen`` gives a rest without what ended it, so that it can be gone on from. Raises ValueError if there is no trigger to
    come again.

    A ``request`` for the final answer, as a user's turn or as words put into the model's mouth, comes last: the verdict on
    ``rest`` is then about ``final``, what is said to it.
    """
    if times > 1 and trigger is None:
        raise ValueError("a second time needs a trigger")
    draft = Draft(task, path)
    draft.replay(*(part for part in (chain, trigger) if part is not None))
    verdicts = {"rest": grade(await draft.sample("rest", sampling=sampling))}
    for number in range(2, times + 1):
        *before, last = draft.segments
        draft = Draft(task, path)
        draft.replay(*before[1:], reopen(last), replace(trigger or last, name=f"trigger_{number}"))
        verdicts[f"rest_{number}"] = grade(await draft.sample(f"rest_{number}", sampling=sampling))
    if request is not None:
        *before, last = draft.segments
        open_turn = request.role == "assistant"
        draft = Draft(task, path)
        draft.replay(*before[1:], reopen(last) if open_turn else last, request)
        final = grade(await draft.sample("final", sampling=sampling))
        return draft.close(**verdicts, final=final)
    return draft.close(**verdicts)


def prefill(name: str, text: str, tokens: tuple[int, ...] = ()) -> Segment:
    """Text that the experimenter writes as the beginning of the model's own turn."""
    return Segment(name, "intervention", "assistant", text, tokens)
