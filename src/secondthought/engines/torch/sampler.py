"""What a batch of requests writes: the next token of every row, and when each is finished."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from secondthought.engines.base import Request, Sampled
from secondthought.engines.torch import native
from secondthought.models.chat import TemplateRenderer
from secondthought.types import Stop

LOOK_BACK = 24  # tokens in which a stop string is looked for


class RowSampler:
    """One segment being sampled: its tokens, and why it stopped."""

    __slots__ = ("limit", "logprobs", "renderer", "sampling", "stop", "stops", "tokens", "uniforms")

    def __init__(self, request: Request, renderer: TemplateRenderer) -> None:
        self.sampling = request.sampling
        self.renderer = renderer
        self.limit = request.sampling.max_tokens
        self.stops = (*request.sampling.stop, *renderer.stop)
        self.uniforms = np.random.Generator(np.random.Philox(request.seed)).random(self.limit)
        self.tokens: list[int] = []
        self.logprobs: list[float] = []
        self.stop: Stop | None = None if self.limit else "length"

    def take(self, token: int, logprob: float) -> bool:
        """Append a token; whether the segment is finished with it."""
        self.tokens.append(token)
        self.logprobs.append(logprob)
        if token in self.renderer.ends:
            self.stop = "end"
        elif self.stops and self._cut(self.renderer.decode(self.tokens[-LOOK_BACK:])) is not None:
            self.stop = "string"
        elif len(self.tokens) >= self.limit:
            self.stop = "length"
        return self.stop is not None

    def sampled(self, version: int) -> Sampled:
        """The finished segment."""
        text = self.renderer.text_of(self.tokens)
        if self.stop == "string":
            text = text[: self._cut(text)]
        return Sampled(tuple(self.tokens), tuple(self.logprobs), text, self.stop or "length", version)

    def _cut(self, text: str) -> int | None:
        found = [at for stop in self.stops if (at := text.find(stop)) >= 0]
        return min(found) if found else None


class TokenChooser:
    """Draws the next token of each row, by the inverse of the cumulative distribution at the row's own uniform number.

    One number for each token, fixed by the request's seed: exact, and the same in any batch.
    """

    def __init__(self, samplers: Sequence[RowSampler], device: torch.device | str) -> None:
        longest = max(sampler.limit for sampler in samplers)
        uniforms_TB = np.zeros((longest, len(samplers)))
        for row, sampler in enumerate(samplers):
            uniforms_TB[: sampler.limit, row] = sampler.uniforms
        temperatures = [sampler.sampling.temperature or 1.0 for sampler in samplers]
        top_ps = [sampler.sampling.top_p for sampler in samplers]
        greedy = [sampler.sampling.temperature == 0 for sampler in samplers]
        self.uniforms_TB = torch.from_numpy(uniforms_TB).to(device)
        self.temperature_B1 = torch.tensor(temperatures, device=device)[:, None] if set(temperatures) != {1.0} else None
        self.top_p_B1 = torch.tensor(top_ps, device=device)[:, None] if set(top_ps) != {1.0} else None
        self.greedy_B = torch.tensor(greedy, device=device) if any(greedy) else None

    def narrow(self, rows_A: Tensor) -> None:
        """Only these rows, in this order, from now on."""
        self.uniforms_TB = self.uniforms_TB[:, rows_A]
        self.temperature_B1 = None if self.temperature_B1 is None else self.temperature_B1[rows_A]
        self.top_p_B1 = None if self.top_p_B1 is None else self.top_p_B1[rows_A]
        self.greedy_B = None if self.greedy_B is None else self.greedy_B[rows_A]

    def choose(self, logits_BV: Tensor, at: int) -> tuple[Tensor, Tensor]:
        """Token number ``at`` of each row, and its log-probability at the row's temperature before any nucleus is cut."""
        if self.top_p_B1 is None and self.greedy_B is None and native.fits(logits_BV):
            return native.draw(logits_BV, self.temperature_B1, self.uniforms_TB[at])
        if self.temperature_B1 is not None:
            logits_BV = logits_BV / self.temperature_B1
        logprobs_BV = torch.log_softmax(logits_BV, dim=1)
        probs_BV = logprobs_BV.double().exp_()
        if self.top_p_B1 is not None:
            sorted_BV, order_BV = probs_BV.sort(dim=1, descending=True)
            outside_BV = sorted_BV.cumsum(1) - sorted_BV >= self.top_p_B1
            probs_BV = probs_BV.scatter(1, order_BV, sorted_BV.masked_fill(outside_BV, 0.0))
        cumulative_BV = probs_BV.cumsum_(1)
        threshold_B1 = self.uniforms_TB[at][:, None] * cumulative_BV[:, -1:]
        tokens_B1 = torch.searchsorted(cumulative_BV, threshold_B1, right=True).clamp_(max=logits_BV.shape[1] - 1)
        if self.greedy_B is not None:
            tokens_B1 = torch.where(self.greedy_B[:, None], logits_BV.argmax(1, keepdim=True), tokens_B1)
        return tokens_B1[:, 0], logprobs_BV.gather(1, tokens_B1)[:, 0]
