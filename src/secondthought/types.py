"""The nouns of the house: what is asked, what was said, what it was worth, and what was learned from it.

Every other room speaks in these types. They are frozen, hold no behaviour beyond looking at themselves, and each
fact has exactly one field.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, NamedTuple, Protocol, runtime_checkable

Json = None | bool | int | float | str | Sequence["Json"] | Mapping[str, "Json"]
Role = Literal["system", "user", "assistant"]
Author = Literal["task", "policy", "judge", "intervention"]
Stop = Literal["end", "string", "length"]


class Message(NamedTuple):
    """One turn of a conversation, before any chat template has touched it."""

    role: Role
    content: str


Messages = tuple[Message, ...]


def seed_of(*parts: str | int | tuple[int, ...]) -> int:
    """A 63-bit seed that depends on every part and on nothing else.

    Hashing, not adding: ``Random(seed + i)`` gives neighbouring seeds almost the same data set.

    >>> seed_of("countdown", "test", 0) == seed_of("countdown", "test", 0)
    True
    >>> seed_of("countdown", "test", 0) == seed_of("countdown", "train", 0)
    False
    """
    digest = hashlib.blake2b(json.dumps(parts).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") >> 1


@dataclass(frozen=True, slots=True)
class Task:
    """One question and what its grader needs to know; ``key`` is a hash of the content, hence its identity.

    ``tools`` are the JSON schemas of functions that may be called; how they are shown is the model's dialect's affair.

    >>> Task.of("What is 2 + 2?", answer="4", family="sums").prompt
    (Message(role='user', content='What is 2 + 2?'),)
    """

    key: str
    prompt: Messages
    answer: Json
    family: str
    tools: tuple[Mapping[str, Json], ...] = ()

    @classmethod
    def of(cls, prompt: str | Messages, *, answer: Json, family: str, tools: Sequence[Mapping[str, Json]] = ()) -> Task:
        """A task whose key is the hash of everything in it; a plain string becomes one user turn."""
        turns = (Message("user", prompt),) if isinstance(prompt, str) else prompt
        content = json.dumps([family, turns, answer, *([tools] if tools else [])], sort_keys=True, default=list)
        return cls(hashlib.blake2b(content.encode(), digest_size=8).hexdigest(), turns, answer, family, tuple(tools))


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a grader found: a score (1 is right, 0 is wrong), the answer it read, and why.

    ``UNGRADED`` has a score of nan: the episode is kept and counted, and left out of every mean. It is never 0.
    """

    score: float
    answer: str | None = None
    why: str = ""

    @property
    def graded(self) -> bool:
        """Whether anyone could say what this was worth."""
        return not math.isnan(self.score)


UNGRADED = Verdict(math.nan, None, "ungraded")


@runtime_checkable
class TaskSet(Protocol):
    """Indexable tasks with a grader. Seeded; its splits share no problem."""

    def __len__(self) -> int:
        """How many tasks there are."""
        ...

    def __getitem__(self, index: int, /) -> Task:
        """The task at ``index``; the same one every time."""
        ...

    def grade(self, task: Task, text: str) -> Verdict:
        """The worth of ``text`` as an answer to ``task``; pure, and never raises on what a model wrote."""
        ...


@dataclass(frozen=True, slots=True)
class Segment:
    """A named stretch of a conversation with one author, and the exact token ids that it adds.

    ``tokens`` are what the engine fed or sampled, a sampled stop token included; they are never rebuilt from ``text``.
    ``logprobs`` (nats, one for each token) and ``version`` (of the policy) exist where a policy sampled the segment.

    >>> reflection = Segment("reflection", "policy", "assistant", "start with 3 * 5", (17, 30, 5), (-0.1, -2.3, -0.2))
    >>> len(reflection.tokens) == len(reflection.logprobs)
    True
    """

    name: str
    author: Author
    role: Role
    text: str
    tokens: tuple[int, ...] = ()
    logprobs: tuple[float, ...] | None = None
    version: int | None = None
    stop: Stop | None = None


@dataclass(frozen=True, slots=True)
class Episode:
    """One telling: the segments in order, where it forked off (``path``), and the verdicts on its named segments."""

    task: Task
    path: tuple[int, ...]
    segments: tuple[Segment, ...]
    verdicts: Mapping[str, Verdict] = field(default_factory=dict)

    def __getitem__(self, name: str) -> Segment:
        """The last segment of that name; KeyError lists the names there are."""
        for segment in reversed(self.segments):
            if segment.name == name:
                return segment
        raise KeyError(f"no segment {name!r} in this episode; it has {', '.join(s.name for s in self.segments)}")

    def __contains__(self, name: object) -> bool:
        return any(segment.name == name for segment in self.segments)

    @property
    def sampled_tokens(self) -> int:
        """How many tokens a model wrote in this telling, shared prefixes included."""
        return sum(len(s.tokens) for s in self.segments if s.logprobs is not None)


Group = tuple[Episode, ...]
"""All that one task gave rise to. Prefixes may be shared; a credit says over which part it takes its baseline."""


@dataclass(frozen=True, slots=True)
class Signal:
    """What the learner is told about one segment: three streams, zero meaning silence.

    ``policy`` is an advantage (one number for the segment, or one for each token), ``kl`` the weight of a pull towards
    the reference, ``imitate`` the weight of a plain cross-entropy.
    """

    policy: float | tuple[float, ...] = 0.0
    kl: float = 0.0
    imitate: float = 0.0


Signals = Mapping[str, Signal]
"""The signals of one episode by segment name. A credit returns one for each episode of its group, in order."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """A number with its 95 % interval, the count behind it and its unit.

    >>> str(Estimate(0.412, 0.38, 0.44, 1000, "fraction"))
    '0.412 [0.380, 0.440] n=1000'
    """

    value: float
    low: float
    high: float
    n: int
    unit: str = "fraction"

    def __str__(self) -> str:
        return f"{self.value:.3f} [{self.low:.3f}, {self.high:.3f}] n={self.n}"


@dataclass(frozen=True, slots=True)
class Report:
    """What a probe found: a claim, its arms, the paired effect that decides it, and the episodes behind every number."""

    probe: str
    claim: str
    arms: Mapping[str, Estimate]
    effect: Estimate
    episodes: tuple[Episode, ...]

    @property
    def verdict(self) -> str:
        """``supported`` if the whole interval of the effect is above 0, ``refuted`` if below, else ``undecided``."""
        if self.effect.low > 0:
            return "supported"
        return "refuted" if self.effect.high < 0 else "undecided"
