"""What a batch of requests writes: the next token of every row, and when each is finished."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from secondthought.engines.base import Request, Sampled
from secondthought.engines.torch import native
from secondthought.engines.torch.shaping import penalised, truncated
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

    def __init__(
        self, samplers: Sequence[RowSampler], contexts: Sequence[Sequence[int]], vocabulary: int, device: torch.device | str
    ) -> None:
        longest = max(sampler.limit for sampler in samplers)
        uniforms_TB = np.zeros((longest, len(samplers)))
        for row, sampler in enumerate(samplers):
            uniforms_TB[: sampler.limit, row] = sampler.uniforms
        asked = [sampler.sampling for sampler in samplers]

        def column(values: Sequence[float], usual: float) -> Tensor | None:
            return torch.tensor(values, device=device)[:, None] if set(values) != {usual} else None

        self.uniforms_TB = torch.from_numpy(uniforms_TB).to(device)
        self.by_row: dict[str, Tensor | None] = {
            "temperature": column([one.temperature or 1.0 for one in asked], 1.0),
            "greedy": column([one.temperature == 0 for one in asked], False),
            "penalty": column([one.repetition_penalty for one in asked], 1.0),
            "seen": None,
        }
        if any(one.truncated for one in asked):
            self.by_row |= {name: column([getattr(one, name) for one in asked], -1) for name in ("top_p", "top_k", "min_p")}
        if self.by_row["penalty"] is not None:
            seen_BV = torch.zeros(len(samplers), vocabulary, dtype=torch.bool, device=device)
            for row, context in enumerate(contexts):
                seen_BV[row, list(context)] = True
            self.by_row["seen"] = seen_BV
        self.all_greedy = all(one.temperature == 0 for one in asked)

    def narrow(self, rows_A: Tensor) -> None:
        """Only these rows, in this order, from now on."""
        self.uniforms_TB = self.uniforms_TB[:, rows_A]
        self.by_row = {name: None if column is None else column[rows_A] for name, column in self.by_row.items()}

    def choose(self, logits_BV: Tensor, at: int) -> tuple[Tensor, Tensor]:
        """Token number ``at`` of each row, and its log-probability in the distribution that it was drawn from."""
        temperature_B1, greedy_B1 = self.by_row["temperature"], self.by_row["greedy"]
        seen_BV, penalty_B1 = self.by_row["seen"], self.by_row["penalty"]
        if native.fits(logits_BV):
            ways = {name: way for name, way in self.by_row.items() if name != "greedy"}
            if greedy_B1 is not None:
                heat_B1 = torch.ones(len(logits_BV), 1) if temperature_B1 is None else temperature_B1
                ways["temperature"] = heat_B1.masked_fill(greedy_B1, 0.0)
            tokens_B, logprobs_B = native.choose(logits_BV, self.uniforms_TB[at], **ways)
            if seen_BV is not None:
                seen_BV.scatter_(1, tokens_B[:, None], True)
            return tokens_B, logprobs_B
        if seen_BV is not None and penalty_B1 is not None:
            logits_BV = penalised(logits_BV, seen_BV, penalty_B1)
        if temperature_B1 is not None:
            logits_BV = logits_BV / temperature_B1
        whole_BV = logits_BV
        if self.all_greedy:
            most_B, tokens_B = logits_BV.max(1)
            if seen_BV is not None:
                seen_BV.scatter_(1, tokens_B[:, None], True)
            return tokens_B, most_B - logits_BV.logsumexp(1)
        if (top_p_B1 := self.by_row.get("top_p")) is not None:
            top_k_B1, min_p_B1 = self.by_row["top_k"], self.by_row["min_p"]
            assert top_k_B1 is not None
            assert min_p_B1 is not None
            logits_BV = truncated(logits_BV, top_p=top_p_B1, top_k=top_k_B1, min_p=min_p_B1)
            if greedy_B1 is not None:
                logits_BV = torch.where(greedy_B1, whole_BV, logits_BV)
        logprobs_BV = torch.log_softmax(logits_BV, dim=1)
        cumulative_BV = logprobs_BV.double().exp_().cumsum_(1)
        threshold_B1 = self.uniforms_TB[at][:, None] * cumulative_BV[:, -1:]
        tokens_B1 = torch.searchsorted(cumulative_BV, threshold_B1, right=True).clamp_(max=logits_BV.shape[1] - 1)
        if greedy_B1 is not None:
            tokens_B1 = torch.where(greedy_B1, logits_BV.argmax(1, keepdim=True), tokens_B1)
        if seen_BV is not None:
            seen_BV.scatter_(1, tokens_B1, True)
        return tokens_B1[:, 0], logprobs_BV.gather(1, tokens_B1)[:, 0]
