"""A protocol is a script: how one task becomes a group of episodes, in plain imperative Python.

``await draft.sample("name")`` is the only way for the model to write, ``draft.write(...)`` the only way to write for it;
``await draft.solve("name", grade)`` lets it answer and grades that, ``draft.fork(i)`` shares the
prefix and ``gather(...)`` runs several scripts side by side. :func:`secondthought.rollouts.drive`
runs any number of scripts together and collects every request that waits into one engine call a round.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Generator
from dataclasses import dataclass, replace
from typing import Any, Protocol

from secondthought.engines.base import Sampling
from secondthought.types import CUT_OFF, UNGRADED, Author, Environment, Episode, Group, Play, Role, Segment, Task, Verdict

Script = Coroutine[Any, Any, Any]
Grade = Callable[[Task, str], Verdict]
"""What a text is worth as an answer to a task; ``TaskSet.grade`` is one."""
OBSERVATION = "_observation"
"""What the name of a segment ends with that an environment answered to the segment without it."""


class BoundProtocol(Protocol):
    """What a protocol is once its options are bound: a task and a group size make a script that returns a group."""

    def __call__(self, task: Task, n: int, /) -> Coroutine[Any, Any, Group]:
        """The script for one task."""
        ...


class Draft:
    """An episode in progress. Fork it to continue in several ways; close it to get an :class:`Episode`.

    ``arm`` names the condition that the episode belongs to, ``path`` where it forked off (which decides its seeds).

    >>> draft = Draft(Task.of("2 + 2?", answer="4", family="sums"), arm="control")
    >>> draft.write("hint", "Think.", role="assistant", author="intervention")
    >>> draft.close().arm, [segment.name for segment in draft.segments]
    ('control', ['prompt', 'hint'])
    """

    __slots__ = ("_segments", "_unread", "arm", "path", "task")

    def __init__(self, task: Task, path: tuple[int, ...] = (), *, arm: str = "") -> None:
        self.task = task
        self.path = path
        self.arm = arm
        role: Role = task.prompt[-1].role
        self._segments = [Segment("prompt", "task", role, "\n".join(m.content for m in task.prompt))]
        self._unread = ""

    @property
    def segments(self) -> tuple[Segment, ...]:
        """The conversation so far."""
        return tuple(self._segments)

    @property
    def refused(self) -> bool:
        """Whether a server gave no answer to what was asked last: nothing can be said of it, and nothing built on it."""
        return self._segments[-1].stop == "nothing"

    def write(
        self, name: str, text: str, *, role: Role = "user", author: Author = "task", end: bool = False, beyond_end: bool = False
    ) -> None:
        """Append given text. An assistant's text is a prefill that the next sample continues, or a whole turn with ``end``.

        Raises ValueError for two user turns in a row, and for assistant text after a turn that is over (unless ``beyond_end``).
        """
        last = self._segments[-1]
        if role != "assistant" and last.role != "assistant":
            raise ValueError(f"{name!r} follows {last.name!r}: two user turns in a row; write them as one")
        if not beyond_end:
            self._check_open(name, role)
        if role != "assistant":
            text, self._unread = f"{self._unread}\n{text}" if self._unread else text, ""
        self._segments.append(Segment(name, author, role, text, stop="end" if end else None))

    def replay(self, *segments: Segment) -> None:
        """Append recorded segments exactly as they were: same tokens, log-probabilities, author and version."""
        self._segments.extend(segments)

    def rendered(self, segments: tuple[Segment, ...]) -> None:
        """Take the same segments with their tokens; :func:`secondthought.rollouts.drive` calls this before it samples."""
        self._segments[:] = segments

    def sample(
        self, name: str, *, author: Author = "policy", sampling: Sampling | None = None, beyond_end: bool = False
    ) -> Ask:
        """Let the model write: ``text = await draft.sample("attempt")``. ``sampling`` overrides the rollout's. With
        ``beyond_end`` it goes on behind the token that ended its turn, where nobody reads any more.
        """
        if not beyond_end:
            self._check_open(name, "assistant")
        return Ask(self, name, author, sampling)

    async def solve(
        self, name: str, grade: Grade, *, sampling: Sampling | None = None, tokens: int | None = None
    ) -> Verdict:  # fmt: skip
        """Let the model answer, and grade the answer: one turn, or, where ``grade`` is that of an :class:`Environment`, a play,
        turn after turn, until it is over. All turns bear ``name``; what is observed between them is ``name_observation``,
        and what is observed at the end stands before what is written next. ``tokens`` caps what all turns may take together
        (it needs ``sampling``).

        A play that is not over after the environment's ``turns`` (or ``tokens``) is worth what it has earned so far, and is
        never left out: a policy that decides itself when an episode ends could otherwise choose what it is judged by.
        """
        played = getattr(grade, "__self__", None)
        if not isinstance(played, Environment):
            return grade(self.task, await self.sample(name, sampling=_capped(sampling, tokens)))
        play = played.reset(self.task)
        try:
            return await self._play(name, play, played.turns, sampling, tokens)
        finally:
            if close := getattr(play, "close", None):
                close()

    async def _play(self, name: str, play: Play, most: int, sampling: Sampling | None, tokens: int | None) -> Verdict:
        earned, turns, spent, begun = 0.0, 0, 0, len(self._segments)
        while True:
            action = await self.sample(name, sampling=_capped(sampling, None if tokens is None else tokens - spent))
            if self.refused:
                return UNGRADED
            step = play.step(action)
            earned, turns = earned + step.reward, turns + 1
            spent = sum(len(s.tokens) for s in self._segments[begun:] if s.author != "task")
            if step.done or turns == most or (tokens is not None and spent >= tokens):
                break
            self.write(f"{name}{OBSERVATION}", step.observation)
        self._unread = step.observation
        score = min(1.0, max(0.0, earned))
        ended = "over" if step.done else "not over"
        return Verdict(score, action.strip(), f"{'solved' if score == 1 else ended}: reward {earned:g} in {turns} turns")

    def fork(self, index: int, *, arm: str | None = None) -> Draft:
        """Another draft that shares everything so far; ``index`` becomes part of its path, hence of its seeds."""
        branch = Draft(self.task, (*self.path, index), arm=self.arm if arm is None else arm)
        branch._segments, branch._unread = list(self._segments), self._unread
        return branch

    def close(self, **verdicts: Verdict) -> Episode:
        """The finished episode with its verdicts, by the names of the segments they are about (or of what was found).

        What a server refused to answer stays ungraded, and a text that the token limit cut off before it stated an answer has
        none.
        """
        stops = {segment.name: segment.stop for segment in self._segments}
        known = dict(verdicts)
        for name, verdict in verdicts.items():
            if stops.get(name) == "nothing":
                known[name] = UNGRADED
            elif stops.get(name) == "length" and not verdict.stated:
                known[name] = CUT_OFF
        return Episode(self.task, self.path, self.segments, known, self.arm)

    def _check_open(self, name: str, role: Role) -> None:
        last = self._segments[-1]
        if role == "assistant" and last.role == "assistant" and last.stop in ("end", "string"):
            raise ValueError(f"{name!r} cannot continue {last.name!r}: that turn is over; write a user turn first")


def _capped(sampling: Sampling | None, tokens: int | None) -> Sampling | None:
    return replace(sampling, max_tokens=min(tokens, sampling.max_tokens)) if sampling and tokens is not None else sampling


def show(draft: Draft, name: str, what: Segment | str) -> str:
    """Put a turn into the model's mouth, as it was sampled (a segment) or as a text; what stands there."""
    if isinstance(what, Segment):
        draft.replay(given(what, name))
    else:
        draft.write(name, what, role="assistant", author="intervention", end=True)
    return draft.segments[-1].text


def given(segment: Segment, name: str = "") -> Segment:
    """The same tokens as an intervention, under another ``name`` if one is given: put in, not written by the policy.

    >>> given(Segment("retry", "policy", "assistant", "4", logprobs=(-0.1,)), "attempt").author
    'intervention'
    """
    return replace(segment, name=name or segment.name, author="intervention", logprobs=None, version=None)


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
    """Scripts side by side: awaiting it gives the tuple of what they return, in order.

    >>> gather().scripts
    ()
    """
    return Gather(scripts)
