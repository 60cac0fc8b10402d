"""The learner: one gradient step on a batch of rows, blind to the algorithm that paid them."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

import torch
from torch import Tensor

from secondthought.chat import Dialect
from secondthought.engines.forward import logits_at, logprobs_of
from secondthought.engines.hub import dialect_for, load
from secondthought.engines.torch import TorchEngine
from secondthought.files import UserError
from secondthought.loss import Batch, Normalization, loss_of, scale_of, tensors
from secondthought.rows import Rows, pack

Schedule = Literal["constant", "linear", "cosine"]
CHOICES: dict[str, tuple[str, ...]] = {"schedule": get_args(Schedule), "normalization": get_args(Normalization)}


@dataclass(frozen=True)
class Optim:
    """How the learner learns. ``kl`` scales every kl weight that a credit gives; ``length`` is the constant of Dr. GRPO.

    ``tokens`` is the size of a micro-batch after padding; it changes memory and speed, never the gradient. ``cap`` truncates
    the importance weight between sampler and trainer. ``updates`` is the number of steps taken on one batch.
    """

    lr: float = 3e-4
    schedule: Schedule = "constant"
    warmup: int = 10
    betas: tuple[float, float] = (0.9, 0.98)
    weight_decay: float = 0.0
    max_grad_norm: float = 1.0
    normalization: Normalization = "grpo"
    length: int = 32
    clip: float = 0.2
    kl: float = 1.0
    cap: float = 2.0
    updates: int = 1
    tokens: int = 16_384


def rate(optim: Optim, step: int, steps: int) -> float:
    """The learning rate of a step (from 0): linear warm-up, then the schedule down to zero at ``steps``."""
    if step < optim.warmup:
        return optim.lr * (step + 1) / optim.warmup
    gone = (step - optim.warmup) / max(1, steps - optim.warmup)
    shape = {"constant": 1.0, "linear": 1 - gone, "cosine": 0.5 * (1 + math.cos(math.pi * gone))}
    return optim.lr * shape[optim.schedule]


class TorchLearner:
    """Full fine-tuning of one Hugging Face causal LM in this process with AdamW.

    The reference is a frozen copy of the model as it was loaded, made only when something is pulled towards it. The model stays
    in evaluation mode (no dropout), so that trainer and sampler agree and nothing here is random.
    """

    def __init__(self, name: str, optim: Optim, *, steps: int, temperature: float = 1.0) -> None:
        self.name = name
        self.optim = optim
        self.steps = steps
        self.temperature = temperature
        self.model, self.tokenizer = load(name)
        self.dialect: Dialect = dialect_for(self.model, self.tokenizer)
        self.reference: Any = None
        self.step_count = 0
        self.optimizer = torch.optim.AdamW(self.model.parameters(), optim.lr, optim.betas, weight_decay=optim.weight_decay)
        self._engine = TorchEngine(self.model, self.dialect)

    def publish(self) -> TorchEngine:
        """An engine with the present weights, stamped with their version."""
        self._engine.version = self.step_count
        self._engine.forget()
        return self._engine

    def step(self, rows: Rows) -> dict[str, float]:
        """Learn from a batch; the figures of the step. An empty batch changes nothing but the step count."""
        began = time.perf_counter()
        stats: dict[str, float] = {"learner/lr": rate(self.optim, self.step_count, self.steps)}
        for group in self.optimizer.param_groups:
            group["lr"] = stats["learner/lr"]
        if len(rows):
            stats.update(self._update(rows))
        self.step_count += 1
        stats["learner/seconds"] = time.perf_counter() - began
        return stats

    def _update(self, rows: Rows) -> dict[str, float]:
        optim = self.optim
        scale = scale_of(rows.rows, optim.normalization, optim.length)
        batches = [tensors(part, self.model.device) for part in pack(rows, budget=optim.tokens)]
        references = [self._reference_logprobs(batch) for batch in batches]
        olds: list[Tensor | None] = [None] * len(batches)
        sums: dict[str, float] = {}
        for _ in range(optim.updates):
            for i, batch in enumerate(batches):
                logp_N = self.logprobs(batch)
                olds[i] = old_N = logp_N.detach() if (known := olds[i]) is None else known
                terms = loss_of(
                    batch,
                    logp_N,
                    old_N,
                    references[i],
                    scale,
                    normalization=optim.normalization,
                    clip=optim.clip,
                    kl_scale=optim.kl,
                    cap=optim.cap,
                )
                terms.loss.backward()  # type: ignore[no-untyped-call]
                for key, value in terms.stats.items():
                    sums[key] = max(sums.get(key, 0.0), value) if key == "gap/max" else sums.get(key, 0.0) + value
            norm = torch.nn.utils.clip_grad_norm_(self.model.parameters(), optim.max_grad_norm)
            self.optimizer.step()
            self.optimizer.zero_grad(set_to_none=True)
        paid = max(sums["tokens/paid"], 1.0)
        return {
            "loss/policy": sums["loss/policy"] / optim.updates,
            "loss/kl": sums["loss/kl"] / optim.updates,
            "loss/imitate": sums["loss/imitate"] / optim.updates,
            "learner/grad_norm": float(norm),
            "learner/paid_tokens": sums["tokens/paid"] / optim.updates,
            "learner/fed_tokens": float(sum(len(row.tokens) for row in rows.rows)),
            "learner/clipped": sums["clip/count"] / paid,
            "sampler_gap/mean": sums["gap/sum"] / paid,
            "sampler_gap/max": sums["gap/max"],
        }

    def logprobs(self, batch: Batch, model: Any = None) -> Tensor:
        """Log-probabilities ``(N,)`` of the trained tokens at the temperature they were sampled with."""
        chosen = self.model if model is None else model
        logits_NV = logits_at(chosen, batch.ids_RT, batch.positions_RT, batch.mask_R1TT, batch.where_N)
        return logprobs_of(logits_NV, batch.targets_N, self.temperature)

    def _reference_logprobs(self, batch: Batch) -> Tensor | None:
        if not self.optim.kl or not bool(batch.kl_N.any()):
            return None
        if self.reference is None:
            # Loaded again rather than copied: after a resume the model is no longer what it was.
            self.reference = load(self.name)[0].to(self.model.device).requires_grad_(False).eval()
        with torch.no_grad():
            return self.logprobs(batch, self.reference)

    def save(self, folder: Path) -> None:
        """Write ``model/`` in Hugging Face layout and ``trainer/`` with everything a bit-exact resume needs."""
        self.model.save_pretrained(folder / "model")
        self.tokenizer.save_pretrained(folder / "model")
        (folder / "trainer").mkdir()
        state = {"optimizer": self.optimizer.state_dict(), "step": self.step_count}
        torch.save(state, folder / "trainer" / "state.pt")

    def restore(self, folder: Path) -> None:
        """Continue from what :meth:`save` wrote. Raises UserError if it was another model."""
        from safetensors.torch import load_model

        state = torch.load(folder / "trainer" / "state.pt", weights_only=True)
        try:
            load_model(self.model, folder / "model" / "model.safetensors", device=str(self.model.device))
        except RuntimeError as error:
            raise UserError(f"the checkpoint {folder} is of another model than {self.name}") from error
        self.optimizer.load_state_dict(state["optimizer"])
        self.step_count = state["step"]
