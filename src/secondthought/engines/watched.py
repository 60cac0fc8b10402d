"""An engine that shows how far it is: answers and tokens, while a long round of sampling goes on."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, cast

from secondthought.engines.base import Access, Engine, Renderer, Request, Sampled, access_of

Beat = Callable[[int, int, Mapping[str, float]], None]
"""So many answers of so many, and the speed (:meth:`secondthought.runs.progress.Progress.beat`)."""


class Watched:
    """``engine``; ``beat`` hears of each answer."""

    def __init__(self, engine: Engine, beat: Beat) -> None:
        self.engine = engine
        self.beat = beat

    @property
    def access(self) -> Access:
        """That of the engine."""
        return access_of(self.engine)

    @property
    def renderer(self) -> Renderer:
        """That of the engine."""
        return self.engine.renderer

    def score(self, *texts: Any, **options: Any) -> list[tuple[float, ...]]:
        """As the engine scores; see :class:`secondthought.engines.base.LogitsEngine`."""
        engine: Any = self.engine
        return cast(list[tuple[float, ...]], engine.score(*texts, **options))

    def sample(self, requests: Sequence[Request]) -> list[Sampled]:
        """As the engine samples."""
        answers = dict(self.as_completed(requests))
        return [answers[i] for i in range(len(requests))]

    def as_completed(self, requests: Sequence[Request]) -> Iterator[tuple[int, Sampled]]:
        """Each answer with the number of its request, as soon as the engine has it."""
        began, tokens = time.perf_counter(), 0
        one_by_one = getattr(self.engine, "as_completed", None)
        answers = one_by_one(requests) if one_by_one is not None else enumerate(self.engine.sample(requests))
        for done, (at, sampled) in enumerate(answers, 1):
            tokens += len(sampled.tokens)
            speed = {"speed/tokens_per_second": tokens / max(time.perf_counter() - began, 1e-9)}
            self.beat(done, len(requests), speed)
            yield at, sampled
