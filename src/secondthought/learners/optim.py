"""How a learner learns: the options of the optimiser and of the loss. No torch is needed to read or to set them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

Normalization = Literal["grpo", "dr_grpo", "token"]
Schedule = Literal["constant", "linear", "cosine"]
Autocast = Literal["off", "bfloat16"]
Weights = Literal["float32", "bfloat16"]
Load = Literal["plain", "4bit", "8bit"]
ADAPTER_LR = 1e-4  # what adapters are usually trained with (arXiv 2106.09685: 2e-4), far above what suits a whole model
CHOICES: dict[str, tuple[str, ...]] = {
    "schedule": get_args(Schedule), "normalization": get_args(Normalization), "autocast": get_args(Autocast),
    "weights": get_args(Weights), "load": get_args(Load),
}  # fmt: skip


@dataclass(frozen=True)
class Optim:
    """How the learner learns. ``kl`` scales every kl weight that a credit gives; ``dr_grpo_length`` is the constant of Dr.
    GRPO.

    ``micro_batch_tokens`` is the size of a micro-batch after padding (0: what suits the device); it changes memory and speed,
    never the gradient. ``importance_cap`` truncates the importance weight between sampler and trainer. ``updates`` is the
    number of steps taken on one batch. ``autocast`` computes matrix products of the forward and backward pass in bfloat16;
    weights stay as they are.

    ``warmup`` is a number of steps, or below 1 a share of them.

    ``lora`` is the rank of adapters that learn instead of the model (0: the model learns), scaled by ``lora_alpha`` / rank (0:
    by 2). ``weights`` is how the model is held: bfloat16 only makes sense for what does not learn. ``load`` holds its matrices
    in four or eight bits beside the adapters (QLoRA; :mod:`secondthought.models.quantised`). ``recompute`` trades time for
    memory: layers are computed again in the backward pass. ``shard`` splits what learns between the processes of a world
    (:mod:`secondthought.learners.sharded`); otherwise each holds all of it.

    >>> Optim(lr=1e-6, kl=0.001, lora=16).normalization
    'grpo'
    """

    lr: float = 3e-4
    schedule: Schedule = "constant"
    warmup: float = 10
    betas: tuple[float, float] = (0.9, 0.98)
    weight_decay: float = 0.0
    max_grad_norm: float = 1.0
    normalization: Normalization = "grpo"
    dr_grpo_length: int = 32
    clip: float = 0.2
    kl: float = 1.0
    importance_cap: float = 2.0
    updates: int = 1
    micro_batch_tokens: int = 0
    autocast: Autocast = "off"
    lora: int = 0
    lora_alpha: int = 0
    weights: Weights = "float32"
    load: Load = "plain"
    recompute: bool = False
    shard: bool = False
