"""Sampling from any Hugging Face causal LM in this process, on CPU or CUDA.

The keys and values of a context are computed once, shared by all requests that start from it, and carried from one round
to the next: when a reflection follows an attempt, only the words in between are fed. Rows of a batch have their own lengths
(a token's slot in the cache *is* its position), and finished rows leave the batch.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from transformers import Cache

from secondthought.chat import Dialect
from secondthought.engines.forward import logits_at, logprobs_of, longest_context
from secondthought.files import UserError
from secondthought.scene import Request, Sampled
from secondthought.types import Stop


class Store(Cache):  # type: ignore[misc]
    """Keys and values of some rows, preallocated; the slot of a token is its position in its own row.

    ``slots_BQ`` says where the tokens of the coming forward pass go, ``used`` how many slots attention may look at.
    """

    def __init__(self, capacity: int) -> None:
        super().__init__(layers=[])
        self.capacity = capacity
        self.held: list[tuple[Tensor, Tensor]] = []
        self.slots_BQ = torch.empty(0, 0, dtype=torch.long)
        self.used = 0

    @property
    def bytes(self) -> int:
        """Memory held."""
        return sum(k.nbytes + v.nbytes for k, v in self.held)

    def update(self, key_states: Tensor, value_states: Tensor, layer_idx: int, *_: Any, **__: Any) -> tuple[Tensor, Tensor]:
        """Write the new tokens of one layer (``B H Q D``) and return everything attention may see."""
        while len(self.held) <= layer_idx:
            rows, heads, _q, width = key_states.shape
            blank = (rows, heads, self.capacity)
            self.held.append((key_states.new_zeros(*blank, width), value_states.new_zeros(*blank, value_states.shape[3])))
        rows_B1 = torch.arange(len(self.slots_BQ), device=self.slots_BQ.device)[:, None]
        for store, new in zip(self.held[layer_idx], (key_states, value_states), strict=True):
            store[rows_B1, :, self.slots_BQ] = new.transpose(1, 2)
        keys, values = self.held[layer_idx]
        return keys[:, :, : self.used], values[:, :, : self.used]

    def take(self, rows: Tensor, capacity: int) -> Store:
        """A new store with these rows (a row may be taken more than once)."""
        taken = Store(capacity)
        for keys, values in self.held:
            pair = []
            for old in (keys, values):
                new = old.new_zeros(len(rows), old.shape[1], capacity, old.shape[3])
                used = min(self.used, capacity)
                new[:, :, :used] = old[:, :, :used].index_select(0, rows)
                pair.append(new)
            taken.held.append((pair[0], pair[1]))
        taken.used = self.used
        return taken

    def copy_from(self, other: Store, theirs: list[int], ours: list[int], rows: int) -> None:
        """Fill rows ``ours`` of this store with rows ``theirs`` of another."""
        span = min(other.used, self.capacity)
        while len(self.held) < len(other.held):
            keys, values = other.held[len(self.held)]
            blank = (rows, keys.shape[1], self.capacity)
            self.held.append((keys.new_zeros(*blank, keys.shape[3]), values.new_zeros(*blank, values.shape[3])))
        for mine, their in zip(self.held, other.held, strict=True):
            for new, old in zip(mine, their, strict=True):
                new[ours, :, :span] = old[theirs, :, :span]

    def get_seq_length(self, layer_idx: int = 0) -> int:
        """Unused: positions are always given explicitly."""
        return self.used


@dataclass(frozen=True, slots=True)
class _Kept:
    """Where the keys and values of a finished row are: ``length`` tokens of ``store[row]``."""

    store: Store
    row: int
    length: int


class TorchEngine:
    """Samples from and scores with one model. ``version`` is stamped on everything sampled.

    ``kv_bytes`` caps the keys and values of one batch, ``kept_bytes`` those carried over to the next round.
    """

    def __init__(
        self, model: Any, dialect: Dialect, *, version: int = 0, kv_bytes: int = 192 << 20, kept_bytes: int = 1 << 30
    ) -> None:
        self.model = model
        self.dialect = dialect
        self.version = version
        self.kv_bytes = kv_bytes
        self.kept_bytes = kept_bytes
        self.longest = longest_context(model.config.get_text_config())
        self.fed_tokens = 0
        self._kept: dict[tuple[int, ...], _Kept] = {}
        self._kept_sizes: dict[int, int] = {}

    def sample(self, requests: Sequence[Request]) -> list[Sampled]:
        """One answer for each request, in order; requests with the same context share its computation."""
        carried, self._kept, self._kept_sizes = self._kept, {}, {}
        answers: list[Sampled | None] = [None] * len(requests)
        was_training = self.model.training
        self.model.eval()
        contexts = [request.tokens for request in requests]
        try:
            with torch.inference_mode():
                for wave in self._waves(requests, contexts):
                    members, told = [requests[i] for i in wave], [contexts[i] for i in wave]
                    for i, sampled in zip(wave, self._sample_wave(members, told, carried), strict=True):
                        answers[i] = sampled
        finally:
            self.model.train(was_training)
        return [answer for answer in answers if answer is not None]

    def score(
        self, contexts: Sequence[Sequence[int]], continuations: Sequence[Sequence[int]], temperature: float = 1.0
    ) -> list[tuple[float, ...]]:
        """Teacher-forced log-probabilities (nats) of each continuation after its context, which must not be empty."""
        device, results = self.model.device, []
        was_training = self.model.training
        self.model.eval()
        try:
            with torch.inference_mode():
                for context, continuation in zip(contexts, continuations, strict=True):
                    ids = [*context, *continuation]
                    length = len(ids)
                    ids_BT = torch.tensor([ids], device=device)
                    positions_BT = torch.arange(length, device=device)[None]
                    mask_B1TT = torch.ones(1, 1, length, length, dtype=torch.bool, device=device).tril()
                    where_N = torch.arange(len(context) - 1, length - 1, device=device)
                    logits_NV = logits_at(self.model, ids_BT, positions_BT, mask_B1TT, where_N)
                    targets_N = torch.tensor(list(continuation), dtype=torch.long, device=device)
                    results.append(tuple(logprobs_of(logits_NV, targets_N, temperature).tolist()))
        finally:
            self.model.train(was_training)
        return results

    def forget(self) -> None:
        """Drop carried keys and values; they belong to the weights they were computed with."""
        self._kept, self._kept_sizes = {}, {}

    # --- one wave ----------------------------------------------------------------------------------------------------

    def _waves(self, requests: Sequence[Request], contexts: list[tuple[int, ...]]) -> list[list[int]]:
        """Requests of like length together, as many as the cache budget holds."""
        config = self.model.config.get_text_config()
        heads = getattr(config, "num_key_value_heads", None) or config.num_attention_heads
        width = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
        slot_bytes = 2 * config.num_hidden_layers * heads * width * self.model.dtype.itemsize
        waves: list[list[int]] = []
        longest = 0
        for i in sorted(range(len(requests)), key=lambda i: len(contexts[i])):
            longest = max(longest, len(contexts[i]) + requests[i].sampling.max_tokens)
            if not waves or (len(waves[-1]) + 1) * longest * slot_bytes > self.kv_bytes:
                waves.append([])
                longest = len(contexts[i]) + requests[i].sampling.max_tokens
            waves[-1].append(i)
        return waves

    def _sample_wave(
        self, requests: list[Request], contexts: list[tuple[int, ...]], carried: dict[tuple[int, ...], _Kept]
    ) -> list[Sampled]:
        distinct = list(dict.fromkeys(contexts))
        number = {context: u for u, context in enumerate(distinct)}
        budget = max(request.sampling.max_tokens for request in requests)
        capacity = max(map(len, distinct)) + budget
        if capacity > self.longest:
            raise UserError(
                f"a conversation of {capacity} tokens is longer than the {self.longest} this model reads; lower max_tokens"
            )
        store, logits_UV = self._prefill(distinct, _boundaries(requests), carried, capacity)
        rows = torch.tensor([number[context] for context in contexts], device=self.model.device)
        logits_BV = logits_UV.index_select(0, rows)
        if len(distinct) < len(contexts):
            store = store.take(rows, capacity)

        writers = [_Writer(request, self.dialect) for request in requests]
        alive = list(range(len(requests)))  # which writer each row of the store belongs to
        lengths_B = torch.tensor([len(context) for context in contexts], device=self.model.device)
        while True:
            tokens_B, logprobs_B = _choose(logits_BV, [writers[i] for i in alive])
            for row, (i, token, logprob) in enumerate(zip(alive, tokens_B.tolist(), logprobs_B.tolist(), strict=True)):
                writer = writers[i]
                if writer.stop is None and writer.take(token, logprob):
                    self._keep(contexts[i] + tuple(writer.tokens[:-1]), store, row)
            open_rows = [row for row, i in enumerate(alive) if writers[i].stop is None]
            if not open_rows:
                break
            if len(open_rows) <= 0.75 * len(alive):
                index = torch.tensor(open_rows, device=self.model.device)
                store, tokens_B, lengths_B = store.take(index, capacity), tokens_B[index], lengths_B[index]
                alive = [alive[row] for row in open_rows]
            # A finished row that has not left yet writes its last token again and again into its own next slot.
            logits_BV = self._forward(store, tokens_B[:, None], lengths_B[:, None], torch.zeros_like(lengths_B))
            lengths_B = lengths_B + torch.tensor([writers[i].stop is None for i in alive], device=self.model.device)
        return [writer.sampled(self.version) for writer in writers]

    def _prefill(
        self,
        contexts: list[tuple[int, ...]],
        boundaries: dict[tuple[int, ...], list[int]],
        carried: dict[tuple[int, ...], _Kept],
        capacity: int,
    ) -> tuple[Store, Tensor]:
        """Feed each context once, as far as it is not carried over; its store and the logits after its last token."""
        device = self.model.device
        known = [_longest_known(context, boundaries[context], carried) for context in contexts]
        store = Store(capacity)
        sources: dict[int, list[int]] = {}
        for row, kept in enumerate(known):
            if kept is not None:
                sources.setdefault(id(kept.store), []).append(row)
        for rows in sources.values():
            found = [kept for row in rows if (kept := known[row]) is not None]
            store.copy_from(found[0].store, [kept.row for kept in found], rows, len(contexts))
        starts = [kept.length if kept else 0 for kept in known]
        fresh = [context[start:] for context, start in zip(contexts, starts, strict=True)]
        width = max(map(len, fresh))
        ids_BQ = torch.tensor([[*new, *[0] * (width - len(new))] for new in fresh], device=device)
        positions_BQ = torch.tensor(starts, device=device)[:, None] + torch.arange(width, device=device)
        # Padding goes to the very last slot, which is overwritten before any row may look at it.
        positions_BQ = positions_BQ.clamp(max=capacity - 1)
        last_B = torch.tensor([len(new) - 1 for new in fresh], device=device)
        return store, self._forward(store, ids_BQ, positions_BQ, last_B)

    def _forward(self, store: Store, ids_BQ: Tensor, positions_BQ: Tensor, last_B: Tensor) -> Tensor:
        """Logits after token ``last_B`` of each row, the new tokens' keys and values going into ``store``."""
        rows, width = ids_BQ.shape
        self.fed_tokens += rows * width
        store.slots_BQ = positions_BQ
        store.used = max(store.used, int(positions_BQ.max()) + 1)
        slots_T = torch.arange(store.used, device=ids_BQ.device)
        mask_B1QT = (slots_T <= positions_BQ[:, :, None])[:, None]
        where_B = torch.arange(rows, device=ids_BQ.device) * width + last_B
        return logits_at(self.model, ids_BQ, positions_BQ, mask_B1QT, where_B, store)

    def _keep(self, fed: tuple[int, ...], store: Store, row: int) -> None:
        if id(store) not in self._kept_sizes and sum(self._kept_sizes.values()) + store.bytes > self.kept_bytes:
            return
        self._kept_sizes.setdefault(id(store), store.bytes)
        self._kept[fed] = _Kept(store, row, len(fed))


class _Writer:
    """One segment being sampled: its uniform random numbers, its tokens, and why it stopped."""

    def __init__(self, request: Request, dialect: Dialect) -> None:
        self.sampling = request.sampling
        self.dialect = dialect
        self.stops = (*request.sampling.stop, *dialect.stop)
        self.uniforms = np.random.Generator(np.random.Philox(request.seed)).random(request.sampling.max_tokens)
        self.tokens: list[int] = []
        self.logprobs: list[float] = []
        self.stop: Stop | None = None

    @property
    def uniform(self) -> float:
        """The random number that decides the next token."""
        return float(self.uniforms[min(len(self.tokens), len(self.uniforms) - 1)])

    def take(self, token: int, logprob: float) -> bool:
        """Append a token; whether the segment is finished with it."""
        self.tokens.append(token)
        self.logprobs.append(logprob)
        if token in self.dialect.ends:
            self.stop = "end"
        elif self.stops and self._cut(self.dialect.decode(self.tokens[-24:])) is not None:
            self.stop = "string"
        elif len(self.tokens) >= self.sampling.max_tokens:
            self.stop = "length"
        return self.stop is not None

    def sampled(self, version: int) -> Sampled:
        """The finished segment."""
        text = self.dialect.text_of(self.tokens)
        if self.stop == "string":
            text = text[: self._cut(text)]
        return Sampled(tuple(self.tokens), tuple(self.logprobs), text, self.stop or "length", version)

    def _cut(self, text: str) -> int | None:
        found = [at for stop in self.stops if (at := text.find(stop)) >= 0]
        return min(found) if found else None


def _boundaries(requests: list[Request]) -> dict[tuple[int, ...], list[int]]:
    """For each context, how much of it may have been fed before: up to the last token of each sampled segment."""
    found: dict[tuple[int, ...], list[int]] = {}
    for request in requests:
        at, lengths = 0, []
        for segment in request.segments:
            at += len(segment.tokens)
            if segment.logprobs is not None:
                lengths.append(at - 1)
        found[request.tokens] = lengths
    return found


def _longest_known(context: tuple[int, ...], lengths: list[int], carried: dict[tuple[int, ...], _Kept]) -> _Kept | None:
    known = (carried.get(context[:length]) for length in reversed(lengths))
    return next((kept for kept in known if kept is not None), None)


def _choose(logits_BV: Tensor, writers: list[_Writer]) -> tuple[Tensor, Tensor]:
    """The next token of each row and its log-probability at the row's temperature, before any nucleus is cut.

    Inverse of the cumulative distribution at one uniform number for each token: exact, and independent of the batch.
    """
    device = logits_BV.device
    temperature_B1 = torch.tensor([w.sampling.temperature or 1.0 for w in writers], device=device)[:, None]
    logprobs_BV = torch.log_softmax(logits_BV / temperature_B1, dim=1)
    probs_BV = logprobs_BV.double().exp()
    if any(w.sampling.top_p < 1 for w in writers):
        top_p_B1 = torch.tensor([w.sampling.top_p for w in writers], device=device)[:, None]
        sorted_BV, order_BV = probs_BV.sort(dim=1, descending=True)
        outside_BV = sorted_BV.cumsum(1) - sorted_BV >= top_p_B1
        probs_BV = probs_BV.scatter(1, order_BV, sorted_BV.masked_fill(outside_BV, 0.0))
    cumulative_BV = probs_BV.cumsum(1)
    uniform_B1 = torch.tensor([w.uniform for w in writers], device=device, dtype=torch.float64)[:, None]
    drawn_B = torch.searchsorted(cumulative_BV, uniform_B1 * cumulative_BV[:, -1:], right=True)[:, 0]
    greedy_B = torch.tensor([w.sampling.temperature == 0 for w in writers], device=device)
    tokens_B = torch.where(greedy_B, logits_BV.argmax(1), drawn_B.clamp(max=logits_BV.shape[1] - 1))
    return tokens_B, logprobs_BV.gather(1, tokens_B[:, None])[:, 0]
