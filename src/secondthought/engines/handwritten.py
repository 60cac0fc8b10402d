"""A model whose next-token distribution, and whose hidden states, are written by hand: for calibrating what looks inside.

A token is a word. :class:`Handwritten` samples, scores, shows its hidden states and can be steered, so that probes which need
log-probabilities or more are tried on subjects of known truth, as :mod:`secondthought.engines.scripted` is for text.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from random import Random
from typing import Any

import numpy as np
from numpy.typing import NDArray

from secondthought.engines.base import Access, Change, Predicted, Request, Sampled, Sampling
from secondthought.models.chat import TemplateRenderer, plain
from secondthought.types import Stop

Logits = NDArray[np.float64]
END = 0


class Handwritten:
    """``logits(words, state)`` gives a number for each of ``vocabulary`` and, first, for the end of the turn, after the words
    that were read; ``state`` is the last row of ``hidden(words)``, ``(T, M)``, as it is after steering (None without).

    >>> engine = Handwritten(["yes", "no"], lambda words, state: [-9.0, 2.0, 0.0])
    >>> round(math.exp(engine.score([engine.renderer.encode("well ?")], [engine.renderer.encode("yes")])[0][0]), 2)
    0.88
    """

    access = Access.INTERVENE
    layers = 2

    def __init__(
        self, vocabulary: Sequence[str], logits: Callable[[list[str], Any], Sequence[float]],
        hidden: Callable[[list[str]], Any] | None = None, *, style: str = "chat",
    ) -> None:  # fmt: skip
        self.words = ["<end>", *vocabulary]
        self._known = {word: i for i, word in enumerate(self.words)}
        self.size, self._logits, self._hidden = len(self.words), logits, hidden
        self._changes: list[tuple[int, Change]] = []
        self.renderer = TemplateRenderer(apply=plain, encode=self._encode, decode=self._decode, ends={END: ""}, style=style)

    def sample(self, requests: Sequence[Request]) -> list[Sampled]:
        """Drawn word by word from what is written, by the seed of each request."""
        return [self._drawn(list(request.tokens), Random(request.seed), request.sampling) for request in requests]

    def score(
        self, contexts: Sequence[Sequence[int]], continuations: Sequence[Sequence[int]], temperature: float = 1.0
    ) -> list[tuple[float, ...]]:
        """Log-probabilities as they are written; those of words outside the vocabulary are minus infinity."""
        return [one.logprobs for one in self.predicted(contexts, continuations, temperature)]

    def predicted(
        self, contexts: Sequence[Sequence[int]], continuations: Sequence[Sequence[int]], temperature: float = 1.0
    ) -> list[Predicted]:
        """Log-probabilities and entropies as they are written."""
        found = []
        for context, continuation in zip(contexts, continuations, strict=True):
            logprobs, entropies = list[float](), list[float]()
            for i, token in enumerate(continuation):
                row_V = self.logprobs([*context, *continuation[:i]], temperature)
                logprobs.append(float(row_V[token]) if token < self.size else -math.inf)
                entropies.append(float(-(np.exp(row_V) * row_V).sum()))
            found.append(Predicted(tuple(logprobs), tuple(entropies)))
        return found

    def hidden(self, contexts: Sequence[Sequence[int]], layers: Sequence[int]) -> list[Any]:
        """The states ``(L, T, M)`` of each context, changed by what steers at or before each of ``layers``."""
        count = self.layers + 1
        return [np.stack([self._states(list(context), layer % count) for layer in layers]) for context in contexts]

    @contextmanager
    def steer(self, layer: int, change: Change) -> Iterator[None]:
        """Inside the block states are changed."""
        self._changes.append((layer, change))
        try:
            yield
        finally:
            self._changes.pop()

    def logprobs(self, tokens: list[int], temperature: float = 1.0) -> Logits:
        """The next word's log-probabilities (nats)."""
        state = None if self._hidden is None else self._states(tokens, self.layers)[-1]
        row_V = np.asarray(self._logits([self.words[t] for t in tokens], state), dtype=float) / temperature
        row_V = row_V - row_V.max()
        return np.asarray(np.maximum(row_V - math.log(float(np.exp(row_V).sum())), -1e4))

    def _states(self, tokens: list[int], layer: int) -> Any:
        if self._hidden is None:
            return np.zeros((len(tokens), 1), np.float32)
        states_TM = np.asarray(self._hidden([self.words[t] for t in tokens]), dtype=np.float32)
        if self._changes:
            import torch

            stream_1TM = torch.from_numpy(states_TM)[None]
            for place, change in self._changes:
                if place <= layer:
                    stream_1TM = change(stream_1TM, torch.arange(len(tokens))[None])
            states_TM = stream_1TM[0].numpy()
        return states_TM

    def _drawn(self, tokens: list[int], rng: Random, sampling: Sampling) -> Sampled:
        begin, logprobs, stop = len(tokens), list[float](), "length"
        while len(logprobs) < sampling.max_tokens:
            row_V = self.logprobs(tokens, sampling.temperature or 1.0)
            chance = np.exp(row_V)
            drawn = int(row_V.argmax()) if not sampling.temperature else rng.choices(range(self.size), chance.tolist())[0]
            tokens.append(drawn)
            logprobs.append(float(row_V[drawn]))
            if drawn == END:
                stop = "end"
                break
        said: Stop = "end" if stop == "end" else "length"
        return Sampled(tuple(tokens[begin:]), tuple(logprobs), self.renderer.text_of(tokens[begin:]), said, 0)

    def _encode(self, text: str) -> list[int]:
        found = []
        for word in text.split():
            if word not in self._known:
                self._known[word] = len(self.words)
                self.words.append(word)
            found.append(self._known[word])
        return found

    def _decode(self, tokens: Sequence[int]) -> str:
        return " ".join(self.words[t] for t in tokens if t != END)
