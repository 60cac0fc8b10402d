"""The floor: only the matrix products with weights that a piece of work needs, at the sizes it needs them, and nothing else."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import torch

from secondthought.engines.torch.decoder import Decoder


class Products:
    """Collects matrix products and runs them; inputs are made once for each shape."""

    def __init__(self, model: Any) -> None:
        weights = Decoder(model).weights()
        self.layers = [tuple(w.detach() for w in (b.qkv, b.out, b.gate_up, b.down)) for b in weights.blocks]
        self.head = weights.head.detach()
        self.passes: Counter[tuple[int, int, bool]] = Counter()

    def forward(self, tokens: int, predicted: int, times: int = 1) -> None:
        """A forward pass over ``tokens`` with logits at ``predicted`` of them."""
        self.passes[tokens, predicted, False] += times

    def training(self, tokens: int, predicted: int) -> None:
        """A forward and a backward pass (gradients of inputs and of weights)."""
        self.passes[tokens, predicted, True] += 1

    def decode(self, limits: Sequence[int], context: int, groups: int) -> None:
        """Prompts once for each group, then one token a step for every row that still writes."""
        self.forward(context * groups, groups)
        for at in range(1, max(limits)):
            alive = sum(limit > at for limit in limits)
            self.forward(alive, alive)

    def runner(self) -> Callable[[], None]:
        """A function that does all products once."""
        sizes = {rows for tokens, predicted, _ in self.passes for rows in (tokens, predicted)}
        inputs = {(rows, w.shape[1]): torch.randn(rows, w.shape[1]) for rows in sizes for w in (*self.layers[0], self.head)}
        grads = {(rows, w.shape[0]): torch.randn(rows, w.shape[0]) for rows in sizes for w in (*self.layers[0], self.head)}

        def product(rows: int, weight: torch.Tensor, backward: bool) -> None:
            x = inputs[rows, weight.shape[1]]
            torch.mm(x, weight.t())
            if backward:
                grad = grads[rows, weight.shape[0]]
                torch.mm(grad, weight)
                torch.mm(grad.t(), x)

        def run() -> None:
            with torch.inference_mode():
                for (tokens, predicted, backward), times in self.passes.items():
                    for _ in range(times):
                        for layer in self.layers:
                            for weight in layer:
                                product(tokens, weight, backward)
                        product(predicted, self.head, backward)

        return run
