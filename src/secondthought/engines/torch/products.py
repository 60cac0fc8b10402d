"""Products with weights, ``x @ w.T``, by the faster of the two libraries that PyTorch brings for them.

On a CPU PyTorch multiplies float32 through MKL, which on AMD's machines reaches less than half of what oneDNN does
(docs/performance.md has figures), and either packs the weights anew for every call. So float32 goes through oneDNN here,
forwards and backwards, and weights that are read over and over without a change, as in sampling, are packed once. Which way is
taken depends on nothing that is measured, so the same seed gives the same numbers. ``SECONDTHOUGHT_ONEDNN=0`` leaves everything
to PyTorch.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import linear

ROWS = 128  # for which weights are packed; the layout serves fewer and more as well

# Mypy sees no types in torch.autograd.Function; its methods are typed by hand.
_Function: Any = torch.autograd.Function


@dataclass(frozen=True, slots=True)
class Packed:
    """A weight ``(O, I)`` in the layout that oneDNN wants it in; no gradient flows into it."""

    data: Tensor
    shape: tuple[int, int]
    dtype: torch.dtype


@dataclass(frozen=True, slots=True)
class Adapted:
    """A frozen weight ``(O, I)`` with low-rank adapters beside it (LoRA, arXiv 2106.09685): ``w + up @ down``, never summed, so
    that no gradient of the whole is ever made. ``down`` is ``(R, I)``, ``up`` ``(O, R)``.
    """

    whole: Tensor
    down: Tensor
    up: Tensor


Matrix = Tensor | Packed | Adapted


@lru_cache(maxsize=1)
def available() -> bool:
    """Whether PyTorch has oneDNN's products, and nobody asked to leave them alone."""
    if os.environ.get("SECONDTHOUGHT_ONEDNN", "1") == "0":
        return False
    try:
        x_NI, w_OI = torch.arange(6.0).view(2, 3), torch.arange(12.0).view(4, 3)
        found = _ops()._linear_pointwise(x_NI, _ops()._reorder_linear_weight(w_OI, 2), None, "none", [], "")
        return bool(torch.equal(found, x_NI @ w_OI.T))
    except (AttributeError, RuntimeError):  # they are no public part of PyTorch
        return False


def packed(w_OI: Tensor) -> Matrix:
    """A weight for many products, packed where that is faster; as it is where it is not."""
    if w_OI.device.type != "cpu" or w_OI.dtype not in (torch.float32, torch.bfloat16) or not available():
        return w_OI
    out, into = w_OI.shape
    return Packed(_ops()._reorder_linear_weight(w_OI.detach(), ROWS), (out, into), w_OI.dtype)


def product(x_NI: Tensor, w: Matrix, bias_O: Tensor | None = None) -> Tensor:
    """``x @ w.T + bias``, ``(N, O)``; gradients flow into what is not packed.

    >>> product(torch.tensor([[1.0, 2.0]]), torch.tensor([[3.0, 4.0]])).tolist()
    [[11.0]]
    """
    if isinstance(w, Packed):
        found: Tensor = _ops()._linear_pointwise(x_NI, w.data, bias_O, "none", [], "")
        return found
    if isinstance(w, Adapted):
        return product(x_NI, w.whole, bias_O) + product(product(x_NI, w.down), w.up)
    if not _taken(x_NI, w):
        return linear(x_NI, w, bias_O)
    if not torch.is_grad_enabled():
        return _product(x_NI, w, bias_O)
    whole: Tensor = _Product.apply(x_NI, w)
    return whole if bias_O is None else whole + bias_O


def added(x_NO: Tensor, inner_NI: Tensor, w: Matrix, bias_O: Tensor | None = None) -> Tensor:
    """``x + inner @ w.T + bias``, in one pass where that can be had."""
    if isinstance(w, Packed):
        found: Tensor = _ops()._linear_pointwise.binary(inner_NI, x_NO, w.data, bias_O, "add")
        return found
    if isinstance(w, Adapted) or torch.is_autocast_enabled(x_NO.device.type) or _taken(inner_NI, w):
        return x_NO + product(inner_NI, w, bias_O)
    summed = torch.addmm(x_NO, inner_NI, w.t())
    return summed if bias_O is None else summed + bias_O


def _taken(x_NI: Tensor, w_OI: Tensor) -> bool:
    """Whether a product that is not packed goes through oneDNN."""
    plain = x_NI.dtype == w_OI.dtype == torch.float32 and x_NI.device.type == "cpu" and x_NI.dim() == 2 and len(x_NI) > 0
    return plain and not torch.is_autocast_enabled("cpu") and available()


def _product(x_NI: Tensor, w_OI: Tensor, bias_O: Tensor | None = None) -> Tensor:
    found: Tensor = _ops()._linear_pointwise(x_NI, w_OI, bias_O, "none", [], "")
    return found


class _Product(_Function):  # type: ignore[misc]
    @staticmethod
    def forward(ctx: Any, x_NI: Tensor, w_OI: Tensor) -> Tensor:
        ctx.save_for_backward(x_NI, w_OI)
        return _product(x_NI, w_OI)

    @staticmethod
    def backward(ctx: Any, grad_NO: Tensor) -> tuple[Tensor | None, Tensor | None]:
        x_NI, w_OI = ctx.saved_tensors
        to_x, to_w = ctx.needs_input_grad
        return (
            _product(grad_NO, w_OI.t()) if to_x else None,
            _product(grad_NO.t(), x_NI.t()) if to_w else None,
        )


def _ops() -> Any:
    return torch.ops.mkldnn
