"""The nouns of the house: what is asked, what was written, what it was worth, and what was learned from it.

Every other room uses these types. They are frozen, hold no behaviour beyond looking at themselves, and each
fact has exactly one field.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, NamedTuple, Protocol, TypeVar, runtime_checkable

Json = None | bool | int | float | str | Sequence["Json"] | Mapping[str, "Json"]
Role = Literal["system", "user", "assistant"]
Author = Literal["task", "policy", "judge", "intervention"]
Stop = Literal["end", "string", "length", "nothing"]
"""Why a segment ended: an end token, a stop string, the token limit; ``nothing``: the server gave no answer (never graded)."""


class Message(NamedTuple):
    """One turn of a conversation, before any chat template has touched it.

    >>> Message("user", "2 + 2?").role
    'user'
    """

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

    ``tools`` are the JSON schemas of functions that may be called; how they are shown is the model's renderer's affair.

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

    ``UNGRADED`` has a score of nan: the episode is kept and counted, and left out of every mean. It is never 0. ``stated`` is
    False where the text does not say that this is its answer (its last number, for want of anything better): such an answer
    does not count in a text that the token limit cut off (:data:`CUT_OFF`).

    >>> Verdict(1.0, "4", "right").score
    1.0
    """

    score: float
    answer: str | None = None
    why: str = ""
    stated: bool = field(default=True, compare=False, repr=False)

    @property
    def graded(self) -> bool:
        """Whether anyone could say what this was worth."""
        return not math.isnan(self.score)


UNGRADED = Verdict(math.nan, None, "ungraded")
CUT_OFF = Verdict(0.0, None, "no answer: cut off at the token limit")


@runtime_checkable
class TaskSet(Protocol):
    """Indexable tasks with a grader. Seeded; its splits share no problem.

    >>> from secondthought.tasks.countdown import Countdown
    >>> tasks: TaskSet = Countdown("train")
    >>> tasks.grade(tasks[0], "no idea").score
    0.0
    """

    def __len__(self) -> int:
        """How many tasks there are."""
        ...

    def __getitem__(self, index: int, /) -> Task:
        """The task at ``index``; the same one every time."""
        ...

    def grade(self, task: Task, text: str) -> Verdict:
        """The worth of ``text`` as an answer to ``task``; pure, and never raises on what a model wrote."""
        ...


class Step(NamedTuple):
    """What an environment answers to an action: what is seen next, what the action earned, and whether all is over.

    >>> Step("you are at the door").done
    False
    """

    observation: str
    reward: float = 0.0
    done: bool = False


class Play(Protocol):
    """One run through an environment, from its beginning to its end. One that holds something (a session, a thread) may have
    ``close()``, which is called when nobody plays on.
    """

    def step(self, action: str, /) -> Step:
        """Do what the model wrote. Whatever it wrote is an action; a bad one may earn nothing, and never raises."""
        ...


@runtime_checkable
class Environment(TaskSet, Protocol):
    """Tasks that are played turn by turn. A task's prompt ends with the first observation; the reward of a play is the sum of
    its steps' rewards, within 0 and 1, where 1 means solved. ``grade`` is the worth of a play of one action.

    >>> from secondthought.tasks.frozen_lake import FrozenLake
    >>> lakes: Environment = FrozenLake("train")
    >>> lakes.reset(lakes[0]).step("look around").done
    False
    """

    @property
    def turns(self) -> int:
        """The most actions in a play. One that is not over by then ends there, with what it has earned."""
        ...

    def reset(self, task: Task, /) -> Play:
        """A new play of a task; it begins with the same observation every time."""
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


THOUGHTS = "_thoughts"
"""What the name of a segment ends with that holds what a model thought before the segment without it: ``attempt_thoughts``."""


@dataclass(frozen=True, slots=True)
class Episode:
    """One conversation: its segments in order, the ``arm`` (condition) it belongs to, and the verdicts on it.

    ``path`` says where it forked off its group, and decides its seeds. A verdict bears the name of the segment that it is
    about, or of a finding about the whole episode (a leak, an explicit reflection).

    >>> said = (Segment("prompt", "task", "user", "2 + 2?"), Segment("attempt", "policy", "assistant", "4"))
    >>> episode = Episode(Task.of("2 + 2?", answer="4", family="sums"), (0,), said, {"attempt": Verdict(1.0, "4")})
    >>> episode["attempt"].text, "retry" in episode, episode.final
    ('4', False, Verdict(score=1.0, answer='4', why=''))
    """

    task: Task
    path: tuple[int, ...]
    segments: tuple[Segment, ...]
    verdicts: Mapping[str, Verdict] = field(default_factory=dict)
    arm: str = ""

    def __getitem__(self, name: str) -> Segment:
        """The last segment of that name; KeyError lists the names there are."""
        for segment in reversed(self.segments):
            if segment.name == name:
                return segment
        raise KeyError(f"no segment {name!r} in this episode; it has {', '.join(s.name for s in self.segments)}")

    def __contains__(self, name: object) -> bool:
        return any(segment.name == name for segment in self.segments)

    def turns(self, name: str) -> tuple[Segment, ...]:
        """What was sampled under that name, turn by turn and with its thoughts; one segment but in an environment."""
        return tuple(s for s in self.segments if s.name in (name, f"{name}{THOUGHTS}"))

    def verdict_at(self, place: int) -> Verdict | None:
        """The verdict on the segment at ``place``; of several of one name (the turns of a play) it stands at the last."""
        name = self.segments[place].name
        return None if any(s.name == name for s in self.segments[place + 1 :]) else self.verdicts.get(name)

    @property
    def sampled_tokens(self) -> int:
        """How many tokens a model sampled in this episode, shared prefixes included."""
        return sum(len(s.tokens) for s in self.segments if s.logprobs is not None)

    @property
    def graded(self) -> tuple[Verdict, ...]:
        """The verdicts on segments, in the order of the segments; findings about the whole episode are left out."""
        names = dict.fromkeys(segment.name for segment in self.segments)
        return tuple(self.verdicts[name] for name in names if name in self.verdicts)

    @property
    def final(self) -> Verdict | None:
        """The verdict on the last segment that has one."""
        return self.graded[-1] if self.graded else None

    @property
    def outcome(self) -> str:
        """What came of it: ``right`` or ``wrong`` where one segment was graded; where several were, from the first to the last,
        ``stayed right``, ``fixed``, ``broken`` or ``stayed wrong``; ``ungraded`` if nobody could say.
        """
        scores = [verdict.score == 1 for verdict in self.graded if verdict.graded]
        if len(scores) < 2:
            return "ungraded" if not scores else "right" if scores[0] else "wrong"
        ends = (scores[0], scores[-1])
        return {(True, True): "stayed right", (False, True): "fixed", (True, False): "broken"}.get(ends, "stayed wrong")


OUTCOMES = ("fixed", "broken", "stayed right", "stayed wrong", "right", "wrong", "ungraded")
"""What :attr:`Episode.outcome` may be."""

Group = tuple[Episode, ...]
"""All episodes that belong together: what one task gave rise to in a step, or one item in every arm of a probe. Prefixes may be
shared; baselines and paired differences are taken within a group."""


@dataclass(frozen=True, slots=True)
class Signal:
    """What the learner gets for one segment: three streams, zero meaning no signal.

    ``policy`` is an advantage (one number for the segment, or one for each token), ``kl`` the weight of a pull towards
    the reference, ``imitate`` the weight of a plain cross-entropy.

    >>> Signal(policy=1.5), Signal(policy=(0.5, -0.5), kl=1.0)
    (Signal(policy=1.5, kl=0.0, imitate=0.0), Signal(policy=(0.5, -0.5), kl=1.0, imitate=0.0))
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


Finding = Literal["supported", "refuted", "inconclusive", "not applicable"]
"""The one vocabulary of verdicts on claims."""


@dataclass(frozen=True, slots=True)
class Arm:
    """One condition of a report: its estimate, and the ``scores`` behind it, aligned with the report's ``units`` (nan where a
    unit was not measured in this arm). ``query`` finds its episodes (``arm``, ``split``, ...); a ``control`` is shown indented.

    >>> Arm("own", "own reflection", Estimate(0.4, 0.3, 0.5, 100, "fraction"), (1.0, 0.0)).label
    'own reflection'
    """

    name: str
    label: str
    estimate: Estimate
    scores: tuple[float, ...] = ()
    query: Mapping[str, str] = field(default_factory=dict)
    control: bool = False


@dataclass(frozen=True, slots=True)
class Effect:
    """A difference between two arms on the same units.

    >>> Effect("real", "own minus donor", Estimate(0.1, 0.05, 0.15, 100, "difference")).estimate.value
    0.1
    """

    name: str
    label: str
    estimate: Estimate


Cell = str | int | float | Estimate | None


@dataclass(frozen=True, slots=True)
class Table:
    """Rows of words, numbers and estimates under ``columns``; the first cell of a row says what it is.

    >>> Table("Results", ("arm", "%"), (("own", 40.0),)).rows[0]
    ('own', 40.0)
    """

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    note: str = ""


@dataclass(frozen=True, slots=True)
class Curve:
    """A picture over ``x``: lines with intervals, points, or a stack of shares. ``series`` maps labels to ``(x, y)`` pairs.

    ``bars`` stacks horizontally over named rows: x is then the number of the row, whose names are ``ticks``.

    >>> Curve("Accuracy", "%", "steps", {"trained": ((0.0, Estimate(0.2, 0.1, 0.3, 50, "fraction")),)}).title
    'Accuracy'
    """

    title: str
    x: str
    y: str
    series: Mapping[str, tuple[tuple[float, Estimate], ...]]
    kind: Literal["lines", "points", "stack", "bars"] = "lines"
    log_x: bool = False
    log_y: bool = False
    ticks: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Report:
    """What a probe found: a claim and its verdict, arms with paired effects, and every number by name in ``figures``.

    The claim is about the effect called ``decides``, against ``null``, and at least ``minimum`` is asked of it; both were fixed
    before the measurement. ``units`` are what was measured (problems, items), ``clusters`` what is resampled (questions).

    >>> one = Estimate(0.5, 0.4, 0.6, 100)
    >>> report = Report("demo", "it works", "supported", ("because",), (Arm("all", "all of it", one),))
    >>> report.arm("all").estimate.value
    0.5
    """

    probe: str
    claim: str
    verdict: Finding
    reasons: tuple[str, ...] = ()
    arms: tuple[Arm, ...] = ()
    effects: tuple[Effect, ...] = ()
    decides: str = ""
    null: float = 0.0
    minimum: float = 0.0
    figures: Mapping[str, Estimate] = field(default_factory=dict)
    tables: tuple[Table, ...] = ()
    curves: tuple[Curve, ...] = ()
    units: tuple[str, ...] = ()
    clusters: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    def arm(self, name: str) -> Arm:
        """The arm of that name; KeyError lists those there are."""
        return _named(self.arms, name, "arm")

    def effect(self, name: str) -> Effect:
        """The effect of that name; KeyError lists those there are."""
        return _named(self.effects, name, "effect")


N = TypeVar("N", Arm, Effect)


def _named(things: Sequence[N], name: str, kind: str) -> N:
    for thing in things:
        if thing.name == name:
            return thing
    raise KeyError(f"there is no {kind} {name!r} in this report; it has {', '.join(thing.name for thing in things)}")


@dataclass(frozen=True, slots=True)
class Claim:
    """A statement of a paper, and what a reproduction of it found: ``published`` beside ``measured``.

    >>> Claim("size", "larger models do it more", "Table 1", "r = 0.76", None, "not applicable", ("no data",)).verdict
    'not applicable'
    """

    id: str
    text: str
    source: str
    published: str | float | None
    measured: Estimate | None
    verdict: Finding
    reasons: tuple[str, ...] = ()
