"""The learner: one gradient step on a batch of rows, blind to the algorithm that paid them."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor

from secondthought.distributed.world import World
from secondthought.engines.base import Engine, EngineOptions, Replica, Sampling
from secondthought.engines.decoding import Decoding
from secondthought.engines.torch.decoder import Decoder
from secondthought.engines.torch.engine import TorchEngine
from secondthought.engines.torch.forward import Head, logprobs_in_chunks
from secondthought.errors import UserError
from secondthought.learners import adapters
from secondthought.learners.dense import DenseReader
from secondthought.learners.loss import Batch, loss_of, scale_of, seen_before, tensors
from secondthought.learners.optim import ADAPTER_LR, Optim
from secondthought.learners.rows import Row, Rows, pack
from secondthought.learners.trees import TreeReader
from secondthought.models.chat import TemplateRenderer
from secondthought.models.hub import load, renderer_for
from secondthought.models.names import resolve
from secondthought.models.quantised import note
from secondthought.models.weights import plain_weights, read_state, take, unsound
from secondthought.types import seed_of

# What suits a device: on a CPU the activations of a micro-batch should fit its cache, a GPU wants to be filled.
MICRO_BATCH = {"cpu": 2048, "cuda": 16_384}
FUSED = 4 << 30  # bytes of memory that the fused copies of the fast forward pass, and their gradients, are worth


LEAST, LEAST_ADAPTED = 2e-5, 2e-4  # how far all steps together may move a weight at least; weights are about 0.02
LARGEST_GAP = 1.0  # nats a token between sampler and trainer, on average: no rounding and no single step does that
SUMS = ("loss/policy", "loss/kl", "loss/imitate", "tokens/paid", "clip/count", "gap/sum", "gap/max")


def whole(norm: Any) -> float:
    """A norm as a number; where gradients are split, that of all parts."""
    return float(norm.full_tensor() if hasattr(norm, "full_tensor") else norm)


def gradient_of(parameter: Any) -> Tensor:
    """The gradient of a parameter; nothing, as zeros, where it got none."""
    if parameter.grad is None:
        parameter.grad = torch.zeros_like(parameter)
    found: Tensor = parameter.grad
    return found


def rate(optim: Optim, step: int, steps: int) -> float:
    """The learning rate of a step (from 0): linear warm-up, then the schedule down to zero at ``steps``."""
    warmup = round(optim.warmup * steps) if optim.warmup < 1 else optim.warmup
    if step < warmup:
        return optim.lr * (step + 1) / warmup
    gone = (step - warmup) / max(1, steps - warmup)
    shape = {"constant": 1.0, "linear": 1 - gone, "cosine": 0.5 * (1 + math.cos(math.pi * gone))}
    return optim.lr * shape[optim.schedule]


def too_little(optim: Optim, steps: int) -> str | None:
    """A sentence where all steps together can hardly move a weight: AdamW moves each by at most the learning rate."""
    most = sum(rate(optim, step, steps) for step in range(steps))
    least = LEAST_ADAPTED if optim.lora else LEAST
    if most >= least:
        return None
    return (
        f"{steps} steps of lr {optim.lr:g} move no weight by more than {most:.1g}, which changes next to nothing; "
        f"try --set lr={ADAPTER_LR if optim.lora else 10 * optim.lr:g} or more steps"
    )


class Reader(Protocol):
    """A forward pass over tree rows: they are collated out first, then read for the hidden state at every trained token."""

    def collate(self, rows: Sequence[Row]) -> Any:
        """A micro-batch as tensors."""
        ...

    def forward(self, collated: Any) -> tuple[Tensor, Head]:
        """``(N, M)``, in the order of the rows' targets, and what makes logits of them."""
        ...


class TorchLearner:
    """Fine-tuning of one Hugging Face causal LM in this process with AdamW: all of it, or low-rank adapters.

    The reference is a frozen copy of the model as it was loaded, made only when something is pulled towards it; with adapters
    it is the model without them. The model stays in evaluation mode (no dropout), so that trainer and sampler agree and
    nothing here is random but the first adapters, which are drawn from ``seed``.
    """

    def __init__(
        self,
        name: str,
        optim: Optim,
        *,
        steps: int,
        temperature: float = 1.0,
        engine: EngineOptions | None = None,
        seed: int = 0,
        world: World | None = None,
    ) -> None:
        self.world = world or World()
        self.weight = 1.0  # of each process's loss
        if optim.weights != "float32" and not optim.lora:
            raise UserError("weights=bfloat16 rounds small updates away; set lora too, or autocast=bfloat16 instead")
        self.name = name
        self.optim = optim
        self.steps = steps
        self.temperature = temperature
        if optim.load != "plain" and not optim.lora:
            raise UserError(f"load={optim.load} holds matrices that cannot learn; set lora too, to learn beside them")
        self.model, self.tokenizer = load(name, dtype=getattr(torch, optim.weights), bits=optim.load)
        self.renderer: TemplateRenderer = renderer_for(
            self.model, self.tokenizer, thinking=engine.thinking if engine is not None else "template"
        )
        self.step_count = 0
        self.adapters: Any = None
        if optim.lora:
            torch.manual_seed(seed_of("adapters", seed))
            self.adapters = adapters.attach(self.model, resolve(name), optim.lora, optim.lora_alpha)
        self.trained = [p for p in self.model.parameters() if p.requires_grad]
        self.optimizer = torch.optim.AdamW(self.trained, optim.lr, optim.betas, weight_decay=optim.weight_decay, fused=True)
        self.engine = TorchEngine(self.model, self.renderer, engine)
        self.decoding = Decoding.chosen(self.engine.options, self.model.generation_config)
        if self.decoding.temperature == 0:
            raise UserError(f"sampling=model: {name} is sampled greedily (do_sample is false): all attempts would be the same")
        self.reader = self._reader_of(self.model)
        self.reference: Reader | None = None
        self.replica: Replica | None = None
        self._published = -1  # the version that the replica has

    @property
    def sampler(self) -> Engine:
        """What samples with the weights that were last published: the model itself, or its replica."""
        return self.decoding.on(self.replica or self.engine)

    def publish(self) -> Engine:
        """An engine with the present weights, stamped with their version.

        Raises UserError if they cannot be brought to where the engine is.
        """
        self.engine.version = self.step_count
        self.engine.forget()
        if self.replica is not None and self._published != self.step_count:
            self.replica.publish(plain_weights(self.model), self.model.config, self.step_count)
            self._published = self.step_count
        return self.sampler

    def step(self, rows: Rows, lr_scale: float = 1.0) -> dict[str, float]:
        """Learn from a batch at ``lr_scale`` times the learning rate; the figures of the step. An empty batch changes nothing
        but the step count.
        """
        began = time.perf_counter()
        stats: dict[str, float] = {"learner/lr": lr_scale * rate(self.optim, self.step_count, self.steps)}
        for group in self.optimizer.param_groups:
            group["lr"] = stats["learner/lr"]
        if self.world.total([len(rows)])[0]:
            stats.update(self._update(rows))
        self.step_count += 1
        stats["learner/seconds"] = time.perf_counter() - began
        return stats

    def _update(self, rows: Rows) -> dict[str, float]:
        optim, world = self.optim, self.world
        scale = scale_of(rows.rows, optim.normalization, optim.dr_grpo_length, world.total)
        parts = self._parts(rows)
        batches = [tensors(part, self.model.device) for part in parts]
        anchored = bool(optim.kl) and world.most(any(bool(batch.kl_N.any()) for batch in batches)) > 0
        references = [
            self._reference_logprobs(part, batch) if anchored else None for part, batch in zip(parts, batches, strict=True)
        ]
        olds: list[Tensor | None] = [None] * len(batches)
        sums = dict.fromkeys(SUMS, 0.0)
        for _ in range(optim.updates):
            for i, (part, batch) in enumerate(zip(parts, batches, strict=True)):
                logp_N = self.logprobs(part, batch)
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
                    cap=optim.importance_cap,
                )
                (terms.loss * self.weight).backward()  # type: ignore[no-untyped-call]
                for key, value in terms.stats.items():
                    sums[key] = max(sums[key], value) if key == "gap/max" else sums[key] + value
            self._check_gap(sums)
            self._add_up()
            norm = whole(torch.nn.utils.clip_grad_norm_(self.trained, optim.max_grad_norm))
            self._check_finite(norm, sums)
            self.optimizer.step()
            self.optimizer.zero_grad(set_to_none=True)
        largest, fed = world.most(sums["gap/max"]), sum(len(row.tokens) for row in rows.rows)
        *totals, fed_tokens = world.total([*sums.values(), fed])
        sums = dict(zip(sums, totals, strict=True))
        paid = max(sums["tokens/paid"], 1.0)
        return {
            "loss/policy": sums["loss/policy"] / optim.updates,
            "loss/kl": sums["loss/kl"] / optim.updates,
            "loss/imitate": sums["loss/imitate"] / optim.updates,
            "learner/grad_norm": norm,
            "learner/paid_tokens": sums["tokens/paid"] / optim.updates,
            "learner/fed_tokens": fed_tokens,
            "learner/clipped": sums["clip/count"] / paid,
            "sampler_gap/mean": sums["gap/sum"] / paid,
            "sampler_gap/max": largest,
        }

    def _parts(self, rows: Rows) -> list[tuple[Row, ...]]:
        """Micro-batches."""
        return pack(rows, budget=self.optim.micro_batch_tokens or MICRO_BATCH.get(self.model.device.type, 16_384))

    def _check_gap(self, sums: dict[str, float]) -> None:
        """Raise UserError, before anything is learned, if the replica is plainly another model."""
        if self.replica is None:
            return
        gap, paid = self.world.total([sums["gap/sum"], sums["tokens/paid"]])
        if gap > LARGEST_GAP * paid:
            raise UserError(
                f"what the replica sampled differs from the trainer by {gap / paid:.1f} nats a token: "
                "is another model there, or did the weights not arrive?"
            )

    def _check_finite(self, norm: float, sums: dict[str, float]) -> None:
        """Raise UserError, before anything is learned, from a loss or a gradient that is not finite."""
        if not math.isfinite(norm):
            losses = ", ".join(f"{name} {value:.3g}" for name, value in sums.items() if name.startswith("loss/"))
            raise UserError(
                f"step {self.step_count + 1}: the gradient is not finite (norm {norm}; {losses}), so nothing was learned; "
                "a lower lr or kl, or weights=float32, may help; --resume goes on from the last checkpoint"
            )

    def _add_up(self) -> None:
        """Gradients become the sum over the world."""
        self.world.add([gradient_of(parameter) for parameter in self.trained])

    def logprobs(self, rows: Sequence[Row], batch: Batch, reader: Reader | None = None) -> Tensor:
        """Log-probabilities ``(N,)`` of the trained tokens in the distribution that they were drawn from."""
        chosen = reader or self.reader
        sampling = self.decoding.of(Sampling(temperature=self.temperature))
        seen_NL = seen_before(rows).to(self.model.device) if sampling.repetition_penalty != 1 else None
        with torch.autocast(self.model.device.type, torch.bfloat16, enabled=self.optim.autocast == "bfloat16"):
            hidden_NM, head = chosen.forward(chosen.collate(rows))
            words = self.model.config.get_text_config().vocab_size
            return logprobs_in_chunks(hidden_NM, head, batch.targets_N, words, sampling, seen_NL=seen_NL)

    def _reference_logprobs(self, rows: Sequence[Row], batch: Batch) -> Tensor:
        if self.adapters is not None:
            with torch.no_grad(), adapters.off(self.adapters):
                return self.logprobs(rows, batch)
        if self.reference is None:
            # Loaded again rather than copied: after a resume the model is no longer what it was.
            self.reference = self._frozen()
        with torch.no_grad():
            return self.logprobs(rows, batch, self.reference)

    def _frozen(self) -> Reader:
        """The model as it was."""
        return self._reader_of(load(self.name)[0].to(self.model.device).requires_grad_(False).eval())

    def _reader_of(self, model: Any) -> Reader:
        """The fast forward pass where the engine takes it too and its fused copies fit; else the model's own."""
        copies = 1 if self.optim.lora else 2  # what is frozen has no gradient
        small = copies * sum(p.nbytes for p in model.parameters()) <= FUSED
        slides = self.engine.window < self.engine.longest
        if self.engine.decoder is None or self.engine.decoder.cap is not None or slides or not small:
            return DenseReader(model, recompute=self.optim.recompute)
        decoder = Decoder(model)
        decoder.recompute = self.optim.recompute
        return TreeReader(decoder)

    def close(self) -> None:
        """Give back the replica."""
        if self.replica is not None:
            self.replica.close()

    def gather(self) -> None:
        """Before :meth:`save`, in every process: bring together what is spread over a world. Here nothing is."""

    def save(self, folder: Path) -> None:
        """Write ``model/`` in Hugging Face (or peft's) layout and ``trainer/`` with everything a bit-exact resume needs."""
        if (name := unsound(self.model.named_parameters())) is not None:
            raise UserError(f"after step {self.step_count} {name} holds numbers that are not finite: it is not saved")
        if self.adapters is None:
            self.model.save_pretrained(folder / "model")
        else:
            adapters.save(self.adapters, folder / "model", self.name, self.step_count)
            note(folder / "model", self.optim.load)
        self.tokenizer.save_pretrained(folder / "model")
        (folder / "trainer").mkdir()
        state = {"optimizer": self._optimizer_state(), "step": self.step_count}
        torch.save(state, folder / "trainer" / "state.pt")

    def _optimizer_state(self) -> Any:
        return self.optimizer.state_dict()

    def restore(self, folder: Path) -> None:
        """Continue from what :meth:`save` wrote. Raises UserError if it was another model, or is damaged."""
        state = read_state(folder / "trainer" / "state.pt")
        if self.adapters is not None:
            adapters.restore(self.adapters, folder / "model")
        else:
            take(self.model, folder / "model" / "model.safetensors")
        self.optimizer.load_state_dict(state["optimizer"])
        self.step_count = state["step"]
