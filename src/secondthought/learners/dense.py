"""The generic forward pass of a tree row: one dense mask says which token may look at which, for any Hugging Face model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from secondthought.engines.torch.forward import Head, Outputs
from secondthought.learners.rows import Row


@dataclass(frozen=True, slots=True)
class Dense:
    """R rows padded to T tokens: ``mask_R1TT`` is True where a token may look, ``where_N`` (in R*T) predicts trained tokens."""

    ids_RT: Tensor
    positions_RT: Tensor
    mask_R1TT: Tensor
    where_N: Tensor


class DenseReader:
    """Reads rows through a model's own forward pass; with ``recompute`` each layer is computed again in the backward pass."""

    def __init__(self, model: Any, *, recompute: bool = False) -> None:
        self.model = model
        self.outputs = Outputs(model)
        self.layers: list[Any] = []
        if recompute:
            if hasattr(model, "activation_checkpointing_enable"):  # its name from transformers 5.20 on
                model.activation_checkpointing_enable(activation_checkpointing_kwargs={"use_reentrant": False})
            else:
                model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
            self.layers = [module for module in model.modules() if getattr(module, "gradient_checkpointing", None) is True]

    def collate(self, rows: Sequence[Row]) -> Dense:
        """The rows of a micro-batch as tensors."""
        return dense(rows, self.model.device)

    def forward(self, collated: Dense) -> tuple[Tensor, Head]:
        """Hidden states ``(N, M)`` at every position that predicts a trained token, and what makes logits of them."""
        # The library checkpoints layers that are in training mode only. Nothing inside of them is: there is no dropout.
        for layer in self.layers:
            layer.training = torch.is_grad_enabled()
        try:
            return self.outputs.read(collated.ids_RT, collated.positions_RT, collated.mask_R1TT, collated.where_N)
        finally:
            for layer in self.layers:
                layer.training = False


def dense(rows: Sequence[Row], device: torch.device | str = "cpu") -> Dense:
    """Rows side by side. A padding token looks at itself only, so that no row of the softmax is empty."""
    longest = max(len(row.tokens) for row in rows)
    ids_RT = torch.zeros(len(rows), longest, dtype=torch.long)
    positions_RT = torch.zeros(len(rows), longest, dtype=torch.long)
    mask_RTT = torch.eye(longest, dtype=torch.bool).repeat(len(rows), 1, 1)
    for r, row in enumerate(rows):
        length = len(row.tokens)
        ids_RT[r, :length] = torch.tensor(row.tokens)
        positions_RT[r, :length] = torch.tensor(row.positions)
        mask_RTT[r, :length, :length] = _ancestors(row)
    where = [r * longest + t.at for r, row in enumerate(rows) for t in row.targets]
    where_N = torch.tensor(where, dtype=torch.long, device=device)
    return Dense(ids_RT.to(device), positions_RT.to(device), mask_RTT[:, None].to(device), where_N)


def _ancestors(row: Row) -> Tensor:
    """``(T, T)``: True where the second token is the first itself or before it on its path."""
    length = len(row.tokens)
    sees_TT = torch.zeros(length, length, dtype=torch.bool)
    start = 0
    while start < length:
        # A run of consecutive tokens shares the view of the token before it and is causal within itself.
        end = start + 1
        while end < length and row.parents[end] == end - 1:
            end += 1
        if row.parents[start] >= 0:
            sees_TT[start:end] = sees_TT[row.parents[start]]
        sees_TT[start:end, start:end] = torch.ones(end - start, end - start, dtype=torch.bool).tril()
        start = end
    return sees_TT
