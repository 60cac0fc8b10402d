"""What a measurement asks of a model, counted before anything is sampled, and how long that takes on this machine."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from secondthought.engines.base import Access, Engine, Renderer, Request, Sampled
from secondthought.engines.scripted import bytes_renderer
from secondthought.errors import UserError
from secondthought.probes.base import Probe
from secondthought.runs.progress import Silence

TEXT = "The answer is 0."


@dataclass(frozen=True, slots=True)
class Count:
    """At most so many answers and sampled tokens, and as many tokens read as prompts have."""

    answers: int = 0
    written: int = 0
    read: int = 0

    def times(self, factor: float) -> Count:
        """The same so many times over."""
        return Count(round(self.answers * factor), round(self.written * factor), round(self.read * factor))

    def __add__(self, other: Count) -> Count:
        return Count(self.answers + other.answers, self.written + other.written, self.read + other.read)


class Counting(Engine):
    """An engine that is always wrong and always takes all its tokens: whatever follows a failure is counted too."""

    def __init__(self, renderer: Renderer) -> None:
        self._renderer = renderer
        self.count = Count()

    @property
    def renderer(self) -> Renderer:
        """The model's."""
        return self._renderer

    def sample(self, requests: Sequence[Request]) -> list[Sampled]:
        """The same text for each."""
        token = next(iter(self._renderer.encode("0")), 0)
        found = []
        for request in requests:
            most = request.sampling.max_tokens
            self.count += Count(1, most, len(request.tokens))
            found.append(Sampled((token,) * most, (0.0,) * most, TEXT, "end", 0))
        return found


def counted(probe: Probe, renderer: Renderer) -> Count:
    """What a probe asks of a model with this renderer, if every answer is wrong; nothing of one that needs more than texts."""
    if probe.access > Access.SAMPLE:
        return Count()
    engine = Counting(renderer)
    probe.prepare(Silence()).measure(engine, Silence())
    return engine.count


def renderer_called(name: str) -> Renderer:
    """The renderer of a model; one of bytes for a configuration without a tokenizer."""
    from secondthought.models.hub import described

    try:
        return described(name)[1]
    except UserError:
        return bytes_renderer()
