"""A policy that is a table, with gradients written out by hand: the whole method on a page, and the judge of the other learner.

For one target with probability vector p = softmax(logits[context]) and token a, every stream of the loss has the gradient

    dL/dlogits = g * (onehot(a) - p),   g = - A w share / scale_policy             (policy, at ratio 1)
                                            + (1 - exp(logp_ref - logp)) kl / scale_kl   (k3)
                                            - imitate / scale_imitate                    (cross-entropy)
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from random import Random

import numpy as np
from numpy.typing import NDArray

from secondthought.engines.base import Request, Sampled
from secondthought.engines.scripted import END, bytes_renderer
from secondthought.learners.loss import scale_of
from secondthought.learners.optim import Normalization
from secondthought.learners.rows import Row, Rows
from secondthought.models.chat import TemplateRenderer
from secondthought.types import Stop

Context = tuple[int, ...]
Logits = NDArray[np.float64]


@dataclass
class TabularLearner:
    """Plain gradient descent on a table from contexts (all earlier bytes) to logits over ``alphabet`` and the end token.

    ``start`` gives logits for contexts never seen before; zeros (a uniform policy) by default.
    """

    alphabet: str
    lr: float = 1.0
    normalization: Normalization = "grpo"
    length: int = 8
    start: Mapping[Context, Sequence[float]] = field(default_factory=dict)
    table: dict[Context, Logits] = field(default_factory=dict)
    step_count: int = 0

    @property
    def tokens(self) -> tuple[int, ...]:
        """The ids the policy can write."""
        return (*self.alphabet.encode(), END)

    def logits(self, context: Context) -> Logits:
        """The row of a context."""
        if context not in self.table:
            self.table[context] = self.initial(context)
        return self.table[context]

    def initial(self, context: Context) -> Logits:
        """What the row was before any step: the reference."""
        return np.array(self.start.get(context, [0.0] * len(self.tokens)))

    def publish(self) -> TabularEngine:
        """An engine that reads this table."""
        return TabularEngine(self, self.step_count)

    def gradient(self, rows: Rows) -> dict[Context, Logits]:
        """The exact gradient of the loss of a batch, by context."""
        scale = scale_of(rows.rows, self.normalization, self.length)
        found: dict[Context, Logits] = {}
        for row in rows.rows:
            for target in row.targets:
                context = _path(row, target.at)
                index = self.tokens.index(target.token)
                logp = _log_softmax(self.logits(context))
                reference = _log_softmax(self.initial(context))[index]
                share = target.share if self.normalization == "grpo" else 1.0
                push = (
                    -target.policy * min(math.exp(logp[index] - target.sampler), 2.0) * share / scale.policy
                    + (1 - math.exp(reference - logp[index])) * target.kl / scale.kl
                    - target.imitate / scale.imitate
                )
                onehot = np.eye(len(self.tokens))[index]
                found[context] = found.get(context, np.zeros(len(self.tokens))) + push * (onehot - np.exp(logp))
        return found

    def step(self, rows: Rows) -> dict[str, float]:
        """One step down the exact gradient."""
        gradient = self.gradient(rows)
        for context, slope in gradient.items():
            self.table[context] = self.logits(context) - self.lr * slope
        self.step_count += 1
        return {"learner/grad_norm": math.sqrt(sum(float(slope @ slope) for slope in gradient.values()))}


@dataclass
class TabularEngine:
    """Samples from a table."""

    learner: TabularLearner
    version: int
    renderer: TemplateRenderer = field(default_factory=bytes_renderer)

    def sample(self, requests: Sequence[Request]) -> list[Sampled]:
        """One answer for each request, by its own seed."""
        return [self._sample(request) for request in requests]

    def _sample(self, request: Request) -> Sampled:
        rng, context = Random(request.seed), request.tokens
        tokens: list[int] = []
        logprobs: list[float] = []
        while len(tokens) < request.sampling.max_tokens and (not tokens or tokens[-1] != END):
            logp = _log_softmax(self.learner.logits((*context, *tokens)))
            index = rng.choices(range(len(logp)), np.exp(logp).tolist())[0]
            tokens.append(self.learner.tokens[index])
            logprobs.append(float(logp[index]))
        stop: Stop = "end" if tokens[-1] == END else "length"
        return Sampled(tuple(tokens), tuple(logprobs), self.renderer.text_of(tokens), stop, self.version)


def _path(row: Row, at: int) -> Context:
    found: list[int] = []
    while at >= 0:
        found.append(row.tokens[at])
        at = row.parents[at]
    return tuple(reversed(found))


def _log_softmax(logits: Logits) -> Logits:
    shifted: Logits = logits - logits.max()
    return shifted - math.log(np.exp(shifted).sum())
