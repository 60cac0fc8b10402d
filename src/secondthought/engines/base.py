"""What an engine is: whatever answers requests for text, and how deep into the model it lets one look.

An engine of one's own needs two members, ``renderer`` and ``sample``. Everything else here is what shipped engines offer beyond
that: access levels, weights that a learner publishes, and the options that all of them understand.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from enum import IntEnum
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, Protocol, cast, get_args

from secondthought.errors import UserError
from secondthought.types import Segment, Stop, Task

if TYPE_CHECKING:
    from torch import Tensor

Precision = Literal["auto", "model", "float32", "bfloat16"]
Shape = Literal["recipe", "model"]
Thinking = Literal["template", "on", "off"]
CHOICES: dict[str, tuple[str, ...]] = {
    "precision": get_args(Precision),
    "sampling": get_args(Shape),
    "thinking": get_args(Thinking),
}


@dataclass(frozen=True, slots=True)
class Sampling:
    """How to sample one segment. Temperature 0 is greedy; ``stop`` strings end a segment and are left out of its text.

    ``repetition_penalty`` (arXiv 1909.05858) makes the tokens that stand in the context less likely; then come the temperature,
    ``top_k`` (0: all), ``top_p`` (arXiv 1904.09751) and ``min_p`` (arXiv 2407.01082), in this order, as in transformers.

    >>> Sampling(temperature=0.7, max_tokens=128).top_p
    1.0
    """

    temperature: float = 1.0
    top_p: float = 1.0
    max_tokens: int = 64
    stop: tuple[str, ...] = ()
    top_k: int = 0
    min_p: float = 0.0
    repetition_penalty: float = 1.0

    @property
    def truncated(self) -> bool:
        """Whether some tokens cannot be drawn at all."""
        return self.temperature > 0 and (self.top_p < 1 or self.top_k > 0 or self.min_p > 0)


@dataclass(frozen=True, slots=True)
class Request:
    """One segment to be sampled: the conversation so far (rendered to tokens), and the seed of this segment alone.

    >>> Request("attempt", Task.of("2 + 2?", answer="4", family="sums"), (0,), (), seed=1).tokens
    ()
    """

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
    """What an engine answers: the ids it sampled (stop token included) with their log-probabilities in nats, which are those of
    the distribution that was drawn from: penalised, at the temperature, truncated. Of a greedy answer, those at temperature 1.

    >>> Sampled((52, 256), (0.0, 0.0), "4", stop="end", version=0).text
    '4'
    """

    tokens: tuple[int, ...]
    logprobs: tuple[float, ...]
    text: str
    stop: Stop
    version: int


class Renderer(Protocol):
    """How a model writes conversations: token ids for the segments that were written rather than sampled.

    ``style`` is the wording a task should choose (``chat`` or ``terse``), ``raw`` whether there are no turns at all, ``note``
    what a reader should know, ``unknown`` the id that stands for what the model cannot write, if it has one.
    """

    @property
    def style(self) -> str: ...  # noqa: D102
    @property
    def raw(self) -> bool: ...  # noqa: D102
    @property
    def note(self) -> str: ...  # noqa: D102
    @property
    def unknown(self) -> int | None: ...  # noqa: D102
    @property
    def encode(self) -> Callable[[str], list[int]]: ...  # noqa: D102
    @property
    def decode(self) -> Callable[[Sequence[int]], str]: ...  # noqa: D102

    def render(self, task: Task, segments: Sequence[Segment]) -> tuple[Segment, ...]:
        """The same segments, every one with its tokens."""
        ...


class Engine(Protocol):
    """Whatever can be sampled from: a model in this process, a server, or a function.

    >>> from secondthought.engines.scripted import Scripted
    >>> engine: Engine = Scripted(lambda request: "hello")
    >>> access_of(engine).name
    'SAMPLE'
    """

    @property
    def renderer(self) -> Renderer:
        """How this engine's model renders turns into tokens."""
        ...

    def sample(self, requests: Sequence[Request]) -> list[Sampled]:
        """One answer for each request, in order; each depends on its own context and seed only."""
        ...


# --- access ----------------------------------------------------------------------------------------------------------


class Access(IntEnum):
    """How deep into a model one may look; each level includes those before it.

    >>> Access.SAMPLE < Access.LOGITS < Access.HIDDEN < Access.INTERVENE < Access.TRAIN
    True
    """

    SAMPLE = 1
    LOGITS = 2
    HIDDEN = 3
    INTERVENE = 4
    TRAIN = 5


NEEDS = {
    Access.SAMPLE: "sampling", Access.LOGITS: "log-probabilities of given text", Access.HIDDEN: "hidden states",
    Access.INTERVENE: "changing hidden states", Access.TRAIN: "training the model",
}  # fmt: skip


class Predicted(NamedTuple):
    """What a model expected of each token of a text: the log-probability of the token that stands there, and the entropy of
    the whole distribution that it was one of, in nats.
    """

    logprobs: tuple[float, ...]
    entropies: tuple[float, ...]


class LogitsEngine(Engine, Protocol):
    """An engine at level LOGITS."""

    def score(
        self, contexts: Sequence[Sequence[int]], continuations: Sequence[Sequence[int]], temperature: float = 1.0
    ) -> list[tuple[float, ...]]:
        """Log-probabilities (nats) of each token of each continuation after its context, teacher-forced."""
        ...

    def predicted(
        self, contexts: Sequence[Sequence[int]], continuations: Sequence[Sequence[int]], temperature: float = 1.0
    ) -> list[Predicted]:
        """As :meth:`score`, with the entropy of each distribution."""
        ...


class HiddenEngine(LogitsEngine, Protocol):
    """An engine at level HIDDEN. ``layers`` is how many places there are to read at and steer at: 0 to ``layers - 1``."""

    @property
    def layers(self) -> int: ...  # noqa: D102

    def hidden(self, contexts: Sequence[Sequence[int]], layers: Sequence[int]) -> list[Any]:
        """The residual stream after each of ``layers`` (0: the embedding; -1: the last one, behind its norm), an ``(L, T, M)``
        array of float32 for each context of T tokens.
        """
        ...


Change = Callable[[Any, Any], Any]
"""What takes the place of a residual stream: a function of it ``(B, T, M)`` and of the positions of its tokens ``(B, T)``."""


class InterveneEngine(HiddenEngine, Protocol):
    """An engine at level INTERVENE."""

    def steer(self, layer: int, change: Change) -> AbstractContextManager[None]:
        """Inside the block ``change`` maps the residual stream after ``layer``, whether one samples, scores or reads; outside
        nothing is changed, however the block ended. Blocks may be nested.
        """
        ...


def access_of(engine: Engine) -> Access:
    """The access level that an engine offers; one that does not say offers SAMPLE."""
    return Access(getattr(engine, "access", Access.SAMPLE))


def continues(engine: Engine) -> bool:
    """Whether an engine can go on from words put into the model's mouth; one that does not say can."""
    return bool(getattr(engine, "continues", True))


class Around:
    """An engine around another one: it renders and scores as that does, and lets one look as deep."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine

    @property
    def access(self) -> Access:
        """That of the engine."""
        return access_of(self.engine)

    @property
    def continues(self) -> bool:
        """As the engine."""
        return continues(self.engine)

    @property
    def renderer(self) -> Renderer:
        """That of the engine."""
        return self.engine.renderer

    def score(self, *texts: Any, **options: Any) -> list[tuple[float, ...]]:
        """As the engine scores: the whole distribution; see :class:`LogitsEngine`."""
        engine: Any = self.engine
        return cast(list[tuple[float, ...]], engine.score(*texts, **options))

    def predicted(self, *texts: Any, **options: Any) -> list[Predicted]:
        """As the engine predicts; see :class:`LogitsEngine`."""
        engine: Any = self.engine
        return cast(list[Predicted], engine.predicted(*texts, **options))

    @property
    def layers(self) -> int:
        """Those of the engine; see :class:`HiddenEngine`."""
        engine: Any = self.engine
        return int(engine.layers)

    def steer(self, layer: int, change: Change) -> AbstractContextManager[None]:
        """As the engine steers; see :class:`InterveneEngine`."""
        engine: Any = self.engine
        return cast(AbstractContextManager[None], engine.steer(layer, change))

    def hidden(self, contexts: Sequence[Sequence[int]], layers: Sequence[int]) -> list[Any]:
        """As the engine reads; see :class:`HiddenEngine`."""
        engine: Any = self.engine
        return cast(list[Any], engine.hidden(contexts, layers))


def require(engine: Engine, access: Access, who: str, model: str) -> None:
    """Raise UserError, in a sentence, if ``engine`` (of ``model``) does not offer what ``who`` needs."""
    offered = access_of(engine)
    if offered < access:
        raise UserError(
            f"{who} needs {NEEDS[access]} (access level {access.name}), and {model} offers {NEEDS[offered]} only "
            f"({offered.name}); "
            + ("use a model in this process" if access <= Access.INTERVENE else "no engine offers that yet")
        )


# --- engines with weights of their own -------------------------------------------------------------------------------


@dataclass(frozen=True)
class EngineOptions:
    """How the engine samples. ``fast`` off takes every model through its own modules (see docs/performance.md).

    ``precision`` is that of the copy that samples: ``auto`` takes bfloat16 for models that were saved in it, where it is
    measured to be faster; the loss corrects what it differs from the trainer by. ``threads`` are those of one process (0: as
    many as are measured to help). ``kv_mb`` caps the keys and values of one batch, ``kept_mb`` those carried to the next round;
    ``kv_precision=bfloat16`` keeps them in half the bytes of float32, and the loss corrects what that changes.

    ``sampling=model`` takes temperature, ``top_p``, ``top_k``, ``min_p`` and ``repetition_penalty`` from the model's own
    generation_config; otherwise the recipe or the probe says the temperature, and the others stand here
    (:mod:`secondthought.engines.decoding`). ``thinking`` is what the chat template gets as ``enable_thinking``; ``template``
    leaves it to the template.

    ``backend`` is what samples: ``torch``, ``vllm``, or an engine of one's own (a .py path or an installed one); ``at`` is
    where: in this process, on actors (``ray:N``) or on servers (URLs, with commas). Weights go to servers through ``exchange``,
    a folder that all can read, and nothing outside this process is waited for longer than ``timeout`` seconds
    (:mod:`secondthought.engines.factory`). ``gpu_share`` is the part of a GPU's memory that vLLM takes.

    >>> EngineOptions(backend="vllm").backend
    'vllm'
    """

    fast: bool = True
    precision: Precision = "auto"
    threads: int = 0
    sampling: Shape = "recipe"
    thinking: Thinking = "template"
    top_p: float = 1.0
    top_k: int = 0
    min_p: float = 0.0
    repetition_penalty: float = 1.0
    kv_precision: Literal["model", "bfloat16"] = "model"
    kv_mb: int = 192
    kept_mb: int = 1024
    backend: str = "torch"
    at: str = field(default="", repr=False)  # where it is done is no part of what a run is
    exchange: str = field(default="", repr=False)
    timeout: float = field(default=300.0, repr=False)
    gpu_share: float = field(default=0.45, repr=False)


class Replica(Engine, Protocol):
    """An engine with weights of its own, to which a learner publishes before each step: a copy, vLLM, servers, actors."""

    def publish(self, weights: Iterable[tuple[str, Tensor]], config: Any, version: int) -> None:
        """Take these weights (named as in a Hugging Face checkpoint); what is sampled from now on bears ``version``."""
        ...

    def close(self) -> None:
        """Give back what was taken."""
        ...


def deal(requests: Sequence[Request], workers: int) -> list[list[int]]:
    """The numbers of the requests that each of ``workers`` gets: all of one task together, since they share a beginning, and
    about as many tokens to sample for each.
    """
    tasks: dict[str, list[int]] = {}
    for i, request in enumerate(requests):
        tasks.setdefault(request.task.key, []).append(i)
    found: list[list[int]] = [[] for _ in range(workers)]
    load = [0] * workers
    for members in sorted(tasks.values(), key=lambda members: -len(members)):
        least = load.index(min(load))
        found[least] += members
        load[least] += sum(requests[i].sampling.max_tokens for i in members)
    return [sorted(share) for share in found]
