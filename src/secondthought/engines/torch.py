"""Sampling from any Hugging Face causal LM in this process, on CPU or CUDA.

The keys and values of a context are computed once, shared by all requests that start from it, and carried from one round
to the next: when a reflection follows an attempt, only the words in between are fed. Requests are written together in waves
that fit the cache budget, and finished rows leave their wave.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

import torch

from secondthought.chat import Dialect
from secondthought.engines.cached import CachedWave
from secondthought.engines.decoder import Decoder, Weights
from secondthought.engines.fast import FastWave
from secondthought.engines.forward import decoder_for, logits_at, logprobs_of, longest_context
from secondthought.engines.waves import Job, Wave, waves
from secondthought.engines.writers import Chooser, Writer
from secondthought.files import UserError
from secondthought.scene import Request, Sampled

Precision = Literal["model", "float32", "bfloat16"]
Backend = Literal["torch", "vllm"]
CHOICES: dict[str, tuple[str, ...]] = {"precision": get_args(Precision), "backend": get_args(Backend)}
NARROW = 0.875  # the share of rows still speaking at which the finished ones leave
log = logging.getLogger("secondthought")


@dataclass(frozen=True)
class EngineOptions:
    """How the engine samples. ``fast`` off takes every model through its own modules (see docs/performance.md).

    ``precision`` is that of the copy that samples: ``bfloat16`` is faster where the hardware has it; the loss corrects what it
    differs from the trainer by. ``kv_mb`` caps the keys and values of one wave, ``kept_mb`` those carried to the next round.

    ``backend`` is what samples, ``at`` where: in this process, on actors (``ray:N``) or on servers (URLs, with commas); weights
    go to servers through ``exchange``, a folder that all can read, and nothing that is elsewhere is waited for longer than
    ``timeout`` seconds (:mod:`secondthought.engines.elsewhere`). ``gpu_share`` is the part of a GPU's memory that vLLM takes.
    """

    fast: bool = True
    precision: Precision = "model"
    kv_mb: int = 192
    kept_mb: int = 1024
    backend: Backend = "torch"
    at: str = field(default="", repr=False)  # where it is done is no part of what a run is
    exchange: str = field(default="", repr=False)
    timeout: float = field(default=300.0, repr=False)
    gpu_share: float = field(default=0.45, repr=False)


class TorchEngine:
    """Samples from and scores with one model. ``version`` is stamped on everything sampled."""

    def __init__(self, model: Any, dialect: Dialect, options: EngineOptions | None = None, *, version: int = 0) -> None:
        self.model = model
        self.dialect = dialect
        self.options = options or EngineOptions()
        self.version = version
        self.kv_bytes = self.options.kv_mb << 20
        self.longest = longest_context(model.config.get_text_config())
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

    def sample(self, requests: Sequence[Request]) -> list[Sampled]:
        """One answer for each request, in order; requests with the same beginning share its computation."""
        self._refresh()
        carried, self._kept, self._held_bytes = self._kept, {}, 0
        answers: list[Sampled | None] = [None] * len(requests)
        jobs = [Job.of(request) for request in requests]
        too_long = max((len(job.context) + job.room for job in jobs), default=0)
        if too_long > self.longest:
            raise UserError(
                f"a conversation of {too_long} tokens is longer than the {self.longest} this model reads; lower max_tokens"
            )
        was_training = self.model.training
        self.model.eval()
        try:
            with torch.inference_mode():
                waiting = waves(jobs, self.kv_bytes // self._slot_bytes())
                while waiting:
                    members = waiting.pop(0)
                    try:
                        written = self._write([requests[i] for i in members], [jobs[i] for i in members], carried)
                    except (MemoryError, RuntimeError) as error:
                        if not out_of_memory(error) or len(members) == 1:
                            raise
                        self._halve()
                        half = (len(members) + 1) // 2
                        waiting[:0] = [members[:half], members[half:]]
                        continue
                    for i, sampled in zip(members, written, strict=True):
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
        """Drop carried keys and values, and the fused copy of the weights: they belong to the weights they were made with."""
        self._kept = {}
        self._weights = None

    # --- one wave ----------------------------------------------------------------------------------------------------

    def _write(self, requests: list[Request], jobs: list[Job], carried: dict[tuple[int, ...], Any]) -> list[Sampled]:
        wave = self._wave(jobs, carried)
        alive = list(wave.order)  # which request each row of the wave is of
        writers = [Writer(request, self.dialect) for request in requests]
        chooser = Chooser([writers[i] for i in alive], self.model.device)
        for at in range(max(job.room for job in jobs)):
            tokens_A, logprobs_A = chooser.choose(wave.logits, at)
            for row, (i, token, logprob) in enumerate(zip(alive, tokens_A.tolist(), logprobs_A.tolist(), strict=True)):
                writer = writers[i]
                if writer.stop is None and writer.take(token, logprob):
                    wave.finish(row, jobs[i].context + tuple(writer.tokens[:-1]))
            speaking = [row for row, i in enumerate(alive) if writers[i].stop is None]
            if not speaking:
                break
            if len(speaking) <= NARROW * len(alive):
                rows = wave.narrow(speaking)
                rows_A = torch.tensor(rows, device=self.model.device)
                tokens_A = tokens_A[rows_A]
                chooser.narrow(rows_A)
                alive = [alive[row] for row in rows]
            wave.feed(tokens_A)
        self.fed_tokens += wave.fed_tokens
        if self._held_bytes + wave.bytes <= self.options.kept_mb << 20:
            self._held_bytes += wave.bytes
            self._kept.update(wave.kept())
        return [writer.sampled(self.version) for writer in writers]

    def _wave(self, jobs: list[Job], carried: dict[tuple[int, ...], Any]) -> Wave:
        if self.decoder is None:
            return CachedWave(self.model, jobs, carried)
        if self._weights is None:
            self._weights = self.decoder.weights(getattr(torch, self.options.precision, None))
        return FastWave(self.decoder, self._weights, jobs, carried)

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
        return int(2 * config.num_hidden_layers * heads * width * self.model.dtype.itemsize)

    def _halve(self) -> None:
        self._kept, self._held_bytes = {}, 0
        self.kv_bytes //= 2
        if self.model.device.type == "cuda":
            torch.cuda.empty_cache()
        log.warning("out of memory while sampling: going on with waves of at most %d MB", self.kv_bytes >> 20)


def out_of_memory(error: BaseException) -> bool:
    """Whether an error says that memory ran out (CUDA, or an allocation on the CPU)."""
    return isinstance(error, MemoryError | torch.OutOfMemoryError) or "can't allocate memory" in str(error)
