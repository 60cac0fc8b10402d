"""An engine that shows how far it is: answers and tokens, while a long round of sampling goes on."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence

from secondthought.engines.base import Around, Engine, Request, Sampled

Beat = Callable[[int, int, Mapping[str, float]], None]
"""So many answers of so many, and the speed (:meth:`secondthought.runs.progress.Progress.beat`)."""


class Watched(Around):
    """``engine``; ``beat`` hears of each answer."""

    def __init__(self, engine: Engine, beat: Beat) -> None:
        super().__init__(engine)
        self.beat = beat

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
