"""The floor: only the matrix products with weights that a piece of work needs, at the sizes it needs them, and nothing else.

They are done as we do them ourselves (:mod:`secondthought.engines.torch.products`), the fastest way that is known here: packed
once where nothing flows back, through the faster library where something does.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any, cast

import torch
from torch import Tensor

from secondthought.engines.torch.decoder import Decoder
from secondthought.engines.torch.products import packed, product


class Products:
    """Collects matrix products and runs them; inputs are made once for each shape. ``training`` is the precision of that."""

    def __init__(self, model: Any, *, training: torch.dtype | None = None) -> None:
        with torch.no_grad():
            weights = Decoder(model).weights()
        self.layers = [[cast(Tensor, w) for w in (b.qkv, b.out, b.gate_up, b.down)] for b in weights.blocks]
        self.head = cast(Tensor, weights.head)
        self.dtype, self.trained_in = self.head.dtype, training or self.head.dtype
        self.passes: Counter[tuple[int, int]] = Counter()
        self.steps: list[tuple[int, int, bool]] = []

    def forward(self, tokens: int, predicted: int, times: int = 1) -> None:
        """A forward pass over ``tokens`` with logits at ``predicted`` of them."""
        self.passes[tokens, predicted] += times

    def training(self, tokens: int, predicted: int, *, frozen: bool = False) -> None:
        """A forward and a backward pass: gradients of inputs, and of weights unless they are ``frozen`` (adapters)."""
        self.steps.append((tokens, predicted, frozen))

    def decode(self, limits: Sequence[int], context: int, groups: int) -> None:
        """Prompts once for each group, then one token a step for every row that still writes."""
        self.forward(context * groups, groups)
        for at in range(1, max(limits)):
            alive = sum(limit > at for limit in limits)
            self.forward(alive, alive)

    def runner(self) -> Callable[[], None]:
        """A function that does all products once."""
        fixed = [[packed(w) for w in layer] for layer in self.layers] if self.passes else []
        fixed_head = packed(self.head)
        wide = self.head.shape[1]
        trained = [[w.to(self.trained_in) for w in layer] for layer in self.layers] if self.steps else []
        trained_head = self.head.to(self.trained_in)
        widths = [w.shape[1] for w in self.layers[0]]
        made: dict[tuple[int, int, torch.dtype], Tensor] = {}

        def some(rows: int, width: int, dtype: torch.dtype) -> Tensor:
            if (rows, width, dtype) not in made:
                made[rows, width, dtype] = torch.randn(rows, width).to(dtype)
            return made[rows, width, dtype]

        def back(rows: int, w: Tensor, frozen: bool) -> None:
            grad, x = some(rows, w.shape[0], w.dtype), some(rows, w.shape[1], w.dtype)
            product(x, w)
            product(grad, w.t())
            if not frozen:
                product(grad.t(), x.t())

        def run() -> None:
            with torch.inference_mode():
                for (tokens, predicted), times in self.passes.items():
                    for _ in range(times):
                        for layer in fixed:
                            for w, width in zip(layer, widths, strict=True):
                                product(some(tokens, width, self.dtype), w)
                        product(some(predicted, wide, self.dtype), fixed_head)
                for tokens, predicted, frozen in self.steps:
                    for trained_layer in trained:
                        for weight in trained_layer:
                            back(tokens, weight, frozen)
                    back(predicted, trained_head, frozen)

        return run
