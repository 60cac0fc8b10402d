"""An engine that only counts: what a measurement would ask of a model, before anything is asked."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

import numpy as np

from secondthought.engines.base import Access, Change, Predicted, Renderer, Request, Sampled


@dataclass(frozen=True)
class Cost:
    """Calls that sample, tokens that are read, and tokens that are written in answers as long as they may be."""

    calls: int = 0
    read: int = 0
    written: int = 0

    def __add__(self, other: Cost) -> Cost:
        return Cost(self.calls + other.calls, self.read + other.read, self.written + other.written)


class Counting:
    """Answers every request with ``text``, ``again`` and ``text`` ..., as long as it may be, and adds up what that would have
    cost: a model that reasons at length, so that controls with as many tokens are counted in full.

    >>> from secondthought.engines.scripted import bytes_renderer
    >>> from secondthought.protocols.base import Draft
    >>> from secondthought.rollouts import drive
    >>> from secondthought.types import Task
    >>> async def greet(task):
    ...     return await Draft(task).sample("greeting")
    >>> engine = Counting(bytes_renderer(), "hello, hello, hello", ". ")
    >>> drive([greet(Task.of("Say hello.", answer=None, family="doc"))], engine), engine.cost.calls, engine.cost.written
    (['hello, hello, hello. hello, hello, hello. hello, hello, hello'], 1, 64)
    """

    def __init__(
        self, renderer: Renderer, text: str, again: str = "\n", *, access: Access = Access.SAMPLE, continues: bool = True
    ) -> None:  # fmt: skip
        self.renderer, self.text, self.again, self.access, self.continues = renderer, text, again, access, continues
        self.cost = Cost()

    def sample(self, requests: Sequence[Request]) -> list[Sampled]:
        """The text for each request."""
        self.cost += Cost(
            len(requests), sum(len(one.tokens) for one in requests), sum(one.sampling.max_tokens for one in requests)
        )
        return [self._answer(one.sampling.max_tokens) for one in requests]

    def _answer(self, longest: int) -> Sampled:
        first, more = (len(self.renderer.encode(text)) for text in (self.text, f"{self.again}{self.text}"))
        text = self.again.join([self.text] * (1 + max(0, longest - first) // more))
        tokens = tuple(self.renderer.encode(text))
        return Sampled(tokens, (0.0,) * len(tokens), text, "end", 0)

    def score(
        self, contexts: Sequence[Sequence[int]], continuations: Sequence[Sequence[int]], temperature: float = 1.0
    ) -> list[tuple[float, ...]]:
        """Zeros; the tokens are read."""
        read = sum(map(len, contexts)) + sum(map(len, continuations))
        self.cost += Cost(0, read, 0)
        return [(0.0,) * len(one) for one in continuations]

    def predicted(
        self, contexts: Sequence[Sequence[int]], continuations: Sequence[Sequence[int]], temperature: float = 1.0
    ) -> list[Predicted]:
        """Zeros; the tokens are read."""
        return [Predicted(one, one) for one in self.score(contexts, continuations, temperature)]

    layers = 2

    def hidden(self, contexts: Sequence[Sequence[int]], layers: Sequence[int]) -> list[Any]:
        """Zeros of one width; the tokens are read."""
        self.cost += Cost(0, sum(map(len, contexts)), 0)
        return [np.zeros((len(layers), len(one), 1), np.float32) for one in contexts]

    def steer(self, layer: int, change: Change) -> AbstractContextManager[None]:
        """Nothing."""
        return nullcontext()
