"""From tasks to groups: protocol scripts, run together, one engine call a round for everything that waits.

Batching is exact and no author of a protocol thinks about it. Seeds come from (seed, task key, path, segment), never from the
order of arrival: an episode is the same alone, together or reversed.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from types import TracebackType
from typing import Any

from secondthought.engines.base import Engine, Request, Sampled, Sampling
from secondthought.models.chat import spelling
from secondthought.models.thoughts import OPENING, opens_thoughts, thoughts_end
from secondthought.protocols.base import Ask, BoundProtocol, Gather, Script
from secondthought.types import THOUGHTS, Episode, Group, Segment, Task, seed_of


def rollout(
    protocol: BoundProtocol,
    tasks: Iterable[Task],
    n: int,
    engine: Engine,
    sampling: Sampling | None = None,
    *,
    seed: int = 0,
) -> list[Group]:
    """One group for each task, in order. The same tasks, seed and weights give the same episodes, however batched.

    >>> from functools import partial
    >>> from secondthought.engines.scripted import Scripted
    >>> from secondthought.protocols.answer import answer
    >>> from secondthought.tasks.countdown import Countdown
    >>> tasks = Countdown("train")
    >>> groups = rollout(partial(answer, grade=tasks.grade), [tasks[0]], 3, Scripted(lambda request: "no idea"))
    >>> [episode.verdicts["attempt"].score for episode in groups[0]]
    [0.0, 0.0, 0.0]
    """
    groups: list[Group] = drive((protocol(task, n) for task in tasks), engine, sampling, seed=seed)
    return groups


@dataclass(slots=True, eq=False)
class _Thread:
    script: Script
    parent: _Thread | None
    slot: int
    results: list[Any] = field(default_factory=list)
    open_children: int = 0


def drive(scripts: Iterable[Script], engine: Engine, sampling: Sampling | None = None, *, seed: int = 0) -> list[Any]:
    """Run scripts to their end, one engine call a round for everything that waits; their results in order.

    Raises TypeError if a script awaits anything but ``draft.sample`` and ``gather``, and whatever a script raises.

    >>> from secondthought.engines.scripted import Scripted
    >>> from secondthought.protocols.base import Draft
    >>> async def ask(task):
    ...     return await Draft(task).sample("answer")
    >>> drive([ask(Task.of("2 + 2?", answer="4", family="sums"))], Scripted(lambda request: "4"))
    ['4']
    """
    default = sampling or Sampling()
    roots = [_Thread(script, None, i) for i, script in enumerate(scripts)]
    outcomes: list[Any] = [None] * len(roots)
    ready: deque[tuple[_Thread, Any]] = deque((root, None) for root in roots)
    waiting: list[tuple[_Thread, Ask]] = []
    living = set(roots)

    def finish(thread: _Thread, result: Any) -> None:
        living.discard(thread)
        if thread.parent is None:
            outcomes[thread.slot] = result
            return
        parent = thread.parent
        parent.results[thread.slot] = result
        parent.open_children -= 1
        if parent.open_children == 0:
            ready.append((parent, tuple(parent.results)))

    def advance(thread: _Thread, value: Any) -> None:
        try:
            asked = thread.script.send(value)
        except StopIteration as stop:
            finish(thread, stop.value)
            return
        except RuntimeError as error:
            if "no running event loop" in str(error):
                raise TypeError("a protocol awaited asyncio; it may await only draft.sample(...) and gather(...)") from error
            raise
        if isinstance(asked, Ask):
            waiting.append((thread, asked))
        elif isinstance(asked, Gather):
            thread.results = [None] * len(asked.scripts)
            thread.open_children = len(asked.scripts)
            children = [_Thread(script, thread, i) for i, script in enumerate(asked.scripts)]
            living.update(children)
            ready.extend((child, None) for child in children)
            if not children:
                ready.append((thread, ()))
        else:
            raise TypeError(f"a protocol awaited {asked!r}; it may await only draft.sample(...) and gather(...)")

    try:
        while ready or waiting:
            while ready:
                advance(*ready.popleft())
            if waiting:
                # In a fixed order, so that a batch is the same batch however its scripts were ordered.
                waiting.sort(key=lambda item: (item[1].draft.task.key, item[1].draft.path, item[1].name))
                requests = [_request(ask, engine, default, seed) for _, ask in waiting]
                for (thread, ask), request, sampled in zip(waiting, requests, engine.sample(requests), strict=True):
                    parts = _segments(ask, request, sampled, engine)
                    ask.draft.replay(*parts)
                    ready.append((thread, parts[-1].text))
                waiting = []
    finally:
        for thread in living:
            thread.script.close()
    return [_rendered(outcome, engine) for outcome in outcomes]


def _request(ask: Ask, engine: Engine, default: Sampling, seed: int) -> Request:
    draft = ask.draft
    draft.rendered(engine.renderer.render(draft.task, draft.segments))
    own_seed = seed_of(seed, draft.task.key, draft.path, ask.name, len(draft.segments))
    return Request(ask.name, draft.task, draft.path, draft.segments, own_seed, ask.sampling or default)


def _segments(ask: Ask, request: Request, sampled: Sampled, engine: Engine) -> tuple[Segment, ...]:
    """What was sampled; what the model thought before it, where it did, as a segment of its own."""
    whole = Segment(
        ask.name, ask.author, "assistant", sampled.text, sampled.tokens, sampled.logprobs, sampled.version, sampled.stop
    )
    decode = engine.renderer.decode
    opened = sampled.stop == "length" and opens_thoughts(decode(request.segments[-1].tokens[-OPENING:]))
    end = thoughts_end(sampled.text, opened=opened)
    if not end:
        return (whole,)
    low = spelling(decode, sampled.tokens, end)
    thoughts = replace(
        whole, name=f"{ask.name}{THOUGHTS}", text=sampled.text[:end], tokens=sampled.tokens[:low],
        logprobs=sampled.logprobs[:low], stop=None,
    )  # fmt: skip
    return thoughts, replace(whole, text=sampled.text[end:], tokens=sampled.tokens[low:], logprobs=sampled.logprobs[low:])


def _rendered(outcome: Any, engine: Engine) -> Any:
    """Episodes may end in written segments; those get their tokens here."""
    if isinstance(outcome, tuple):
        return tuple(_rendered(part, engine) for part in outcome)
    if isinstance(outcome, Episode):
        return replace(outcome, segments=engine.renderer.render(outcome.task, outcome.segments))
    return outcome


class Ahead:
    """Groups that are sampled in a thread of their own, while something else is done (one step off-policy; arXiv 2410.18252).

    >>> with Ahead() as ahead:
    ...     ahead.take()
    ...     ahead.begin(lambda: ["a group"])
    ...     ahead.take()
    ['a group']
    """

    def __init__(self) -> None:
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="ahead")
        self._begun: Future[list[Group]] | None = None

    def __enter__(self) -> Ahead:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._pool.shutdown(wait=True, cancel_futures=True)

    def begin(self, sample: Callable[[], list[Group]]) -> None:
        """Start sampling."""
        self._begun = self._pool.submit(sample)

    def take(self) -> list[Group] | None:
        """What was begun, once it is sampled; None if nothing was. Raises what the sampling raised."""
        begun, self._begun = self._begun, None
        return begun.result() if begun is not None else None
