"""A protocol is a script: how one task becomes a group of episodes, in plain imperative Python.

``await draft.sample("name")`` is the only way to speak, ``draft.write(...)`` the only way to put words in,
``draft.fork(i)`` shares the prefix and ``gather(...)`` runs tellings side by side. :func:`drive` runs any number of scripts
together and collects every request that waits into ONE engine call a round, so that batching is exact and no author of a
protocol thinks about it. Seeds come from (seed, task key, path, segment), never from the order of arrival: an episode is the
same alone, together or reversed.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Coroutine, Generator, Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

from secondthought.types import Author, Episode, Role, Segment, Stop, Task, Verdict, seed_of

Script = Coroutine[Any, Any, Any]


@dataclass(frozen=True, slots=True)
class Sampling:
    """How to sample one segment. Temperature 0 is greedy; ``stop`` strings end a segment and are left out of its text."""

    temperature: float = 1.0
    top_p: float = 1.0
    max_tokens: int = 64
    stop: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Request:
    """One segment to be sampled: everything said so far (rendered to tokens), and the seed of this segment alone."""

    name: str
    task: Task
    path: tuple[int, ...]
    segments: tuple[Segment, ...]
    seed: int
    sampling: Sampling = field(default_factory=Sampling)

    @property
    def tokens(self) -> tuple[int, ...]:
        """The whole context as token ids."""
        return tuple(token for segment in self.segments for token in segment.tokens)


@dataclass(frozen=True, slots=True)
class Sampled:
    """What an engine answers: the ids it sampled (stop token included) with their log-probabilities in nats."""

    tokens: tuple[int, ...]
    logprobs: tuple[float, ...]
    text: str
    stop: Stop
    version: int


class Renderer(Protocol):
    """Gives token ids to the segments that were written rather than sampled."""

    @property
    def note(self) -> str:
        """What a reader of its conversations should know; may be empty."""
        ...

    def render(self, task: Task, segments: Sequence[Segment]) -> tuple[Segment, ...]:
        """The same segments, every one with its tokens."""
        ...


class Engine(Protocol):
    """Whatever can speak: a model in this process, a server, or a function."""

    @property
    def dialect(self) -> Renderer:
        """How this engine's model renders turns into tokens."""
        ...

    def sample(self, requests: Sequence[Request]) -> list[Sampled]:
        """One answer for each request, in order; each depends on its own context and seed only."""
        ...


class Draft:
    """A telling in progress. Fork it to tell on in several ways; close it to get an :class:`Episode`."""

    __slots__ = ("_segments", "path", "task")

    def __init__(self, task: Task, path: tuple[int, ...] = ()) -> None:
        self.task = task
        self.path = path
        role: Role = task.prompt[-1].role
        self._segments = [Segment("prompt", "task", role, "\n".join(m.content for m in task.prompt))]

    @property
    def segments(self) -> tuple[Segment, ...]:
        """What has been said so far."""
        return tuple(self._segments)

    def write(self, name: str, text: str, *, role: Role = "user", author: Author = "task", end: bool = False) -> None:
        """Put words in. An assistant's words are a prefill that the next sample continues, or a whole turn with ``end``.

        Raises ValueError for two user turns in a row, and for assistant words after a turn that is over.
        """
        last = self._segments[-1]
        if role != "assistant" and last.role != "assistant":
            raise ValueError(f"{name!r} follows {last.name!r}: two user turns in a row; write them as one")
        self._check_open(name, role)
        self._segments.append(Segment(name, author, role, text, stop="end" if end else None))

    def replay(self, *segments: Segment) -> None:
        """Append recorded segments exactly as they were: same tokens, log-probabilities, author and version."""
        self._segments.extend(segments)

    def sample(self, name: str, *, author: Author = "policy", sampling: Sampling | None = None) -> Ask:
        """Let the model speak: ``text = await draft.sample("attempt")``. ``sampling`` overrides the rollout's."""
        self._check_open(name, "assistant")
        return Ask(self, name, author, sampling)

    def fork(self, index: int) -> Draft:
        """Another telling that shares everything said so far; ``index`` becomes part of its path, hence of its seeds."""
        branch = Draft(self.task, (*self.path, index))
        branch._segments = list(self._segments)
        return branch

    def close(self, **verdicts: Verdict) -> Episode:
        """The finished telling with the verdicts on its named segments."""
        return Episode(self.task, self.path, self.segments, verdicts)

    def _check_open(self, name: str, role: Role) -> None:
        last = self._segments[-1]
        if role == "assistant" and last.role == "assistant" and last.stop in ("end", "string"):
            raise ValueError(f"{name!r} cannot continue {last.name!r}: that turn is over; write a user turn first")


@dataclass(frozen=True, slots=True)
class Ask:
    """The awaitable that :meth:`Draft.sample` returns; its result is the text that was sampled."""

    draft: Draft
    name: str
    author: Author
    sampling: Sampling | None

    def __await__(self) -> Generator[Ask, str, str]:
        return (yield self)


@dataclass(frozen=True, slots=True)
class Gather:
    """The awaitable that :func:`gather` returns; its result is a tuple of the scripts' results, in order."""

    scripts: tuple[Script, ...]

    def __await__(self) -> Generator[Gather, tuple[Any, ...], tuple[Any, ...]]:
        return (yield self)


def gather(*scripts: Script) -> Gather:
    """Scripts side by side: awaiting it gives the tuple of what they return, in order."""
    return Gather(scripts)


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
                for (thread, ask), sampled in zip(waiting, engine.sample(requests), strict=True):
                    ask.draft.replay(_segment(ask, sampled))
                    ready.append((thread, sampled.text))
                waiting = []
    finally:
        for thread in living:
            thread.script.close()
    return [_rendered(outcome, engine) for outcome in outcomes]


def _request(ask: Ask, engine: Engine, default: Sampling, seed: int) -> Request:
    draft = ask.draft
    draft._segments[:] = engine.dialect.render(draft.task, draft.segments)
    own_seed = seed_of(seed, draft.task.key, draft.path, ask.name, len(draft.segments))
    return Request(ask.name, draft.task, draft.path, draft.segments, own_seed, ask.sampling or default)


def _segment(ask: Ask, sampled: Sampled) -> Segment:
    return Segment(
        ask.name, ask.author, "assistant", sampled.text, sampled.tokens, sampled.logprobs, sampled.version, sampled.stop
    )


def _rendered(outcome: Any, engine: Engine) -> Any:
    """Episodes may end in written segments; those get their tokens here."""
    if isinstance(outcome, tuple):
        return tuple(_rendered(part, engine) for part in outcome)
    if isinstance(outcome, Episode):
        return replace(outcome, segments=engine.dialect.render(outcome.task, outcome.segments))
    return outcome
