"""Sampling from any Hugging Face causal LM in this process, on CPU or CUDA.

The keys and values of a context are computed once, shared by all requests that start from it, and carried from one round
to the next: when a reflection follows an attempt, only the words in between are fed. Requests are written together in batches
that fit the cache budget, and finished rows leave their batch.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch

from secondthought.engines.base import Access, Change, EngineOptions, Predicted, Request, Sampled, Sampling
from secondthought.engines.torch.batches import PendingRow, SamplingBatch, batches_of
from secondthought.engines.torch.decoder import Decoder, Weights
from secondthought.engines.torch.forward import decoder_for, logits_at, logits_only_at, logprobs_of, longest_context, window_of
from secondthought.engines.torch.hf_batch import HfBatch
from secondthought.engines.torch.memory import give_back_freed_memory
from secondthought.engines.torch.packed import Packed, side_by_side
from secondthought.engines.torch.prefix_batch import PrefixBatch
from secondthought.engines.torch.sampler import RowSampler, TokenChooser
from secondthought.engines.torch.steering import blocks_of, steered
from secondthought.engines.torch.tuning import tuned
from secondthought.errors import UserError
from secondthought.models.chat import TemplateRenderer

NARROW = 0.875  # the share of rows still unfinished at which the finished ones leave
log = logging.getLogger("secondthought")


class TorchEngine:
    """Samples from and scores with one model. ``version`` is stamped on everything sampled."""

    access = Access.INTERVENE

    def __init__(
        self, model: Any, renderer: TemplateRenderer, options: EngineOptions | None = None, *, version: int = 0
    ) -> None:
        give_back_freed_memory()
        self.model = model
        self.renderer = renderer
        asked, saved_in = options or EngineOptions(), getattr(model, "saved_in", "float32")
        self.options = tuned(asked, model.config, saved_in=saved_in, device=model.device.type)
        self.version = version
        self.kv_bytes = self.options.kv_mb << 20
        self.longest = longest_context(model.config.get_text_config())
        self.window = window_of(model.config.get_text_config())
        self.fed_tokens = 0
        self.decoder: Decoder | None = decoder_for(model) if self.options.fast else None
        if self.decoder is None and self.options.precision != "model":
            log.warning(
                "engine.precision=%s needs the fast path: sampling in the model's own precision", self.options.precision
            )
        self._weights: Weights | None = None
        self._stamp = -1
        self._kept: dict[tuple[int, ...], Any] = {}
        self._held_bytes = 0
        self._steered = 0

    @property
    def layers(self) -> int:
        """Blocks, each with a place in front of it to read at and to steer at."""
        return len(blocks_of(self.model))

    def sample(self, requests: Sequence[Request]) -> list[Sampled]:
        """One answer for each request, in order; requests with the same beginning share its computation."""
        answers = dict(self.as_completed(requests))
        return [answers[i] for i in range(len(requests))]

    def as_completed(self, requests: Sequence[Request]) -> Iterator[tuple[int, Sampled]]:
        """The answers of each batch with the numbers of their requests, when the batch is done.

        Raises UserError for a conversation that is longer than the model reads.
        """
        self._refresh()
        carried, self._kept, self._held_bytes = self._kept, {}, 0
        pending = [PendingRow.of(request) for request in requests]
        too_long = max((len(row.context) + row.room for row in pending), default=0)
        if too_long > self.longest:
            raise UserError(
                f"a conversation of {too_long} tokens is longer than the {self.longest} this model reads; lower max_tokens"
            )
        # The fast path looks at everything, and knows nothing of what is changed inside.
        decoder = self.decoder if too_long <= self.window and not self._steered else None
        carried = {} if decoder is None and self.decoder is not None else carried
        waiting = batches_of(pending, self.kv_bytes // self._slot_bytes())
        while waiting:
            members = waiting.pop(0)
            try:
                sampled_rows = self._sample_batch(
                    decoder, [requests[i] for i in members], [pending[i] for i in members], carried
                )
            except (MemoryError, RuntimeError) as error:
                if not out_of_memory(error) or len(members) == 1:
                    raise
                self._halve()
                half = (len(members) + 1) // 2
                waiting[:0] = [members[:half], members[half:]]
                continue
            yield from zip(members, sampled_rows, strict=True)

    def score(
        self, contexts: Sequence[Sequence[int]], continuations: Sequence[Sequence[int]], temperature: float = 1.0
    ) -> list[tuple[float, ...]]:
        """Teacher-forced log-probabilities (nats) of each continuation after its context, which must not be empty.

        Continuations of one context, one after the other, are read in one pass, side by side behind it.
        """
        device, results = self.model.device, list[tuple[float, ...]]()
        was_training = self.model.training
        self.model.eval()
        try:
            with torch.inference_mode():
                for context, together in side_by_side(contexts, continuations, self.longest):
                    packed = Packed.of(context, together, device)
                    logits_NV = logits_at(self.model, packed.ids_1T, packed.positions_1T, packed.mask_11TT, packed.where_N)
                    targets_N = torch.tensor([t for one in together for t in one], dtype=torch.long, device=device)
                    flat = logprobs_of(logits_NV, targets_N, Sampling(temperature)).tolist()
                    for one in together:
                        results.append(tuple(flat[: len(one)]))
                        flat = flat[len(one) :]
        finally:
            self.model.train(was_training)
        return results

    def predicted(
        self, contexts: Sequence[Sequence[int]], continuations: Sequence[Sequence[int]], temperature: float = 1.0
    ) -> list[Predicted]:
        """As :meth:`score`, with the entropy (nats) of each distribution at this temperature."""
        device, found, was_training = self.model.device, list[Predicted](), self.model.training
        self.model.eval()
        try:
            with torch.inference_mode():
                for context, continuation in zip(contexts, continuations, strict=True):
                    ids_BT = torch.tensor([[*context, *continuation]], device=device)
                    length = ids_BT.shape[1]
                    mask_B1TT = torch.ones(1, 1, length, length, dtype=torch.bool, device=device).tril()
                    where_N = torch.arange(len(context) - 1, length - 1, device=device)
                    positions_BT = torch.arange(length, device=device)[None]
                    logits_NV = logits_at(self.model, ids_BT, positions_BT, mask_B1TT, where_N) / temperature
                    logprobs_NV = logits_NV.log_softmax(1)
                    # A logit of minus infinity is a token that cannot come: it adds nothing.
                    entropies_N = -(logprobs_NV.exp() * logprobs_NV.clamp(min=-1e30)).sum(1)
                    said_N = logprobs_NV.gather(1, ids_BT[0, len(context) :, None])[:, 0]
                    found.append(Predicted(tuple(said_N.tolist()), tuple(entropies_N.tolist())))
        finally:
            self.model.train(was_training)
        return found

    @contextmanager
    def steer(self, layer: int, change: Change) -> Iterator[None]:
        """Inside the block ``change(stream_BTM, positions_BT)`` takes the place of the residual stream after ``layer``.

        The model then goes through its own modules, and nothing that was computed inside or outside is carried over. Raises
        UserError for a layer that is not there.
        """
        with steered(self.model, layer, change):
            self.forget()
            self._steered += 1
            try:
                yield
            finally:
                self._steered -= 1
                self.forget()

    def hidden(self, contexts: Sequence[Sequence[int]], layers: Sequence[int]) -> list[Any]:
        """The residual stream after each of ``layers`` (0: the embedding; -1: the last one, behind its norm), in one reading:
        ``(L, T, M)``, float32, for each context.
        """
        device, was_training, found = self.model.device, self.model.training, []
        self.model.eval()
        try:
            with torch.inference_mode(), logits_only_at(self.model, torch.tensor([0], device=device)):  # nobody looks at them
                for context in contexts:
                    read = self.model(torch.tensor([list(context)], device=device), output_hidden_states=True, use_cache=False)
                    found.append(torch.stack([read.hidden_states[one][0].float().cpu() for one in layers]).numpy())
        finally:
            self.model.train(was_training)
        return found

    def forget(self) -> None:
        """Drop carried keys and values, and the fused copy of the weights: they belong to the weights they were made with."""
        self._kept = {}
        self._weights = None

    # --- one batch ----------------------------------------------------------------------------------------------------

    def _sample_batch(
        self, decoder: Decoder | None, requests: list[Request], pending: list[PendingRow], carried: dict[tuple[int, ...], Any]
    ) -> list[Sampled]:
        was_training = self.model.training
        self.model.eval()
        try:
            with torch.inference_mode():
                return self._written(self._batch(decoder, pending, carried), requests, pending, keep=decoder is self.decoder)
        finally:
            self.model.train(was_training)

    def _written(
        self, batch: SamplingBatch, requests: list[Request], pending: list[PendingRow], *, keep: bool
    ) -> list[Sampled]:
        """What a batch writes, token by token; with ``keep`` its keys and values are carried to the next round."""
        alive = list(batch.order)  # which request each row of the batch is of
        samplers = [RowSampler(request, self.renderer) for request in requests]
        contexts = [pending[i].context for i in alive]
        chooser = TokenChooser([samplers[i] for i in alive], contexts, batch.logits.shape[1], self.model.device)
        for at in range(max(row.room for row in pending)):
            tokens_A, logprobs_A = chooser.choose(batch.logits, at)
            for row, (i, token, logprob) in enumerate(zip(alive, tokens_A.tolist(), logprobs_A.tolist(), strict=True)):
                sampler = samplers[i]
                if sampler.stop is None and sampler.take(token, logprob):
                    batch.finish(row, pending[i].context + tuple(sampler.tokens[:-1]))
            unfinished = [row for row, i in enumerate(alive) if samplers[i].stop is None]
            if not unfinished:
                break
            if len(unfinished) <= NARROW * len(alive):
                rows = batch.narrow(unfinished)
                rows_A = torch.tensor(rows, device=self.model.device)
                tokens_A = tokens_A[rows_A]
                chooser.narrow(rows_A)
                alive = [alive[row] for row in rows]
            batch.feed(tokens_A)
        self.fed_tokens += batch.fed_tokens
        if keep and self._held_bytes + batch.bytes <= self.options.kept_mb << 20:
            self._held_bytes += batch.bytes
            self._kept.update(batch.kept())
        return [sampler.sampled(self.version) for sampler in samplers]

    def _batch(self, decoder: Decoder | None, pending: list[PendingRow], carried: dict[tuple[int, ...], Any]) -> SamplingBatch:
        if decoder is None:
            return HfBatch(self.model, pending, carried)
        if self._weights is None:
            self._weights = decoder.fixed(getattr(torch, self.options.precision, None))
        return PrefixBatch(decoder, self._weights, pending, carried, self._kept_in())

    def _refresh(self) -> None:
        """Forget what belongs to older weights, if somebody changed them."""
        stamp = sum(p._version for p in self.model.parameters() if not p.is_inference())
        if stamp != self._stamp:
            self.forget()
            self._stamp = stamp

    def _slot_bytes(self) -> int:
        """Memory for the keys and values of one token."""
        config = self.model.config.get_text_config()
        heads = getattr(config, "num_key_value_heads", None) or config.num_attention_heads
        width = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
        return int(2 * config.num_hidden_layers * heads * width * self._kept_in().itemsize)

    def _kept_in(self) -> torch.dtype:
        """The precision of keys and values."""
        sampled: torch.dtype = getattr(torch, self.options.precision, None) or self.model.dtype
        return sampled if self.options.kv_precision == "model" else torch.bfloat16

    def _halve(self) -> None:
        self._kept, self._held_bytes = {}, 0
        self.kv_bytes //= 2
        if self.model.device.type == "cuda":
            torch.cuda.empty_cache()
        log.warning("out of memory while sampling: going on with batches of at most %d MB", self.kv_bytes >> 20)


def out_of_memory(error: BaseException) -> bool:
    """Whether an error says that memory ran out (CUDA, or an allocation on the CPU)."""
    return isinstance(error, MemoryError | torch.OutOfMemoryError) or "can't allocate memory" in str(error)
