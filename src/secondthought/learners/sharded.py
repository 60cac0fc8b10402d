"""A learner whose weights, gradients and optimizer are split between the processes of a world (FSDP2, arXiv 2304.11277).

Each process holds a part of every matrix and borrows the rest, layer by layer, while it computes. To sample, each keeps one
whole copy of the weights, which is brought up to date when a step begins. Low-rank adapters need no sharding to be small: they
are not taken here.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch.distributed.checkpoint.state_dict import (
    StateDictOptions,
    get_model_state_dict,
    get_optimizer_state_dict,
    set_model_state_dict,
    set_optimizer_state_dict,
)
from torch.distributed.fsdp import fully_shard

from secondthought.distributed.world import World
from secondthought.engines.base import Engine
from secondthought.errors import UserError
from secondthought.learners.dense import DenseReader
from secondthought.learners.optim import Optim
from secondthought.learners.rows import Row, Rows
from secondthought.learners.torch import Reader, TorchLearner
from secondthought.models.hub import load
from secondthought.models.weights import read_state, take

WHOLE = StateDictOptions(full_state_dict=True)
NOTHING = Row((0,), (-1,), ())
"""A row that trains nothing, for processes with fewer micro-batches than others: all must take part in every pass."""


class ShardedLearner(TorchLearner):
    """:class:`TorchLearner`, whose other ``settings`` it takes, with what learns split over ``world``. Raises UserError for
    adapters.
    """

    def __init__(self, name: str, optim: Optim, *, world: World, **settings: Any) -> None:
        if optim.lora:
            raise UserError("shard=true and lora do not go together; adapters are small enough without")
        super().__init__(name, optim, world=world, **settings)
        self.model.requires_grad_(False)  # this one is only sampled from
        self.body = sharded(load(name)[0])
        self.trained = list(self.body.parameters())  # before anything is computed: a pass leaves whole matrices behind
        self.reader = self._reader_of(self.body)
        self.body.reshard()
        self.optimizer = torch.optim.AdamW(self.trained, optim.lr, optim.betas, weight_decay=optim.weight_decay, fused=True)
        self.weight = float(world.size)  # gradients are averaged on the way; a step wants their sum
        self._gathered: Any = None

    def publish(self) -> Engine:
        """The whole weights, brought together in every process."""
        whole: dict[str, Any] = get_model_state_dict(self.body, options=WHOLE)
        self.model.load_state_dict(whole, strict=False)
        return super().publish()

    def gather(self) -> None:
        """The whole weights and the whole state of the optimizer."""
        self.publish()
        self._gathered = get_optimizer_state_dict(self.body, self.optimizer, options=WHOLE)

    def restore(self, folder: Path) -> None:
        """Every process reads all and keeps its part."""
        state = read_state(folder / "trainer" / "state.pt")
        take(self.model, folder / "model" / "model.safetensors")
        set_model_state_dict(self.body, self.model.state_dict(), options=WHOLE)
        try:
            set_optimizer_state_dict(self.body, self.optimizer, state["optimizer"], options=WHOLE)
        except (KeyError, RuntimeError, ValueError) as error:
            raise UserError(f"the checkpoint {folder} was not made with shard=true; resume it without") from error
        self.step_count = state["step"]

    def _optimizer_state(self) -> Any:
        return self._gathered

    def _parts(self, rows: Rows) -> list[tuple[Row, ...]]:
        parts = super()._parts(rows)
        return parts + [(NOTHING,)] * (int(self.world.most(len(parts))) - len(parts))

    def _add_up(self) -> None:
        """Done in the backward pass."""

    def _frozen(self) -> Reader:
        return self._reader_of(sharded(load(self.name)[0].requires_grad_(False)))

    def _reader_of(self, model: Any) -> Reader:
        reader = DenseReader(model, recompute=self.optim.recompute and model is not self.model)
        reader.outputs.apart = False  # the output layer is whole only while the model computes
        return reader


def sharded(model: Any) -> Any:
    """The model with each of its layers, and then the rest, split over all processes."""
    kinds = set(model._no_split_modules or ())
    for module in list(model.modules()):
        if type(module).__name__ in kinds:
            fully_shard(module)
    return fully_shard(model.eval())
