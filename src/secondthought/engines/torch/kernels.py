"""Steps of a transformer layer whose gradients are written by hand.

Each is plain PyTorch and gives what autograd gives, with fewer passes over memory: on a CPU the layers of a small model spend
as long on these element-wise passes as on matrix products.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import gelu, silu

from secondthought.engines.torch import native

NEVER = -1e30  # added to a score that must not count; finite, so that a padding row stays a number

# Mypy sees no types in torch.autograd.Function; its three methods are typed by hand.
_Function: Any = torch.autograd.Function


def normed(x_NM: Tensor, eps: float) -> Tensor:
    """Root-mean-square norm without gain (Zhang and Sennrich 2019): ``x / sqrt(mean(x^2) + eps)``, computed in float32."""
    if not torch.is_grad_enabled():
        return _norm(x_NM, eps, half=True)[0]
    found: Tensor = _Norm.apply(x_NM, eps)
    return found


def _norm(x_NM: Tensor, eps: float, *, half: bool = False) -> tuple[Tensor, Tensor]:
    if native.fits(x_NM, half=half):
        return native.norm(x_NM, eps)
    wide_NM = x_NM.float()
    scale_N1 = torch.linalg.vector_norm(wide_NM, dim=-1, keepdim=True).square_().div_(x_NM.shape[-1]).add_(eps).rsqrt_()
    return (wide_NM * scale_N1).to(x_NM.dtype), scale_N1.to(x_NM.dtype)


class _Norm(_Function):  # type: ignore[misc]
    @staticmethod
    def forward(ctx: Any, x_NM: Tensor, eps: float) -> Tensor:
        y_NM, scale = _norm(x_NM, eps)
        ctx.save_for_backward(y_NM, scale)
        return y_NM

    @staticmethod
    def backward(ctx: Any, grad_NM: Tensor) -> tuple[Tensor, None]:
        y_NM, scale = ctx.saved_tensors
        if scale.dim() == 1:  # what the compiled step keeps
            return native.norm_back(grad_NM.contiguous(), y_NM, scale), None
        along_N1 = (grad_NM * y_NM).mean(-1, keepdim=True, dtype=torch.float32).to(y_NM.dtype)
        return torch.addcmul(grad_NM, y_NM, along_N1, value=-1).mul_(scale), None


def gated(both_NI: Tensor, activation: str) -> Tensor:
    """``act(gate) * up`` of a gated MLP (Shazeer 2020), from one tensor that holds gate and up side by side."""
    if activation != "silu":
        gate_NI, up_NI = both_NI.chunk(2, dim=-1)
        return gelu(gate_NI, approximate="tanh") * up_NI
    if not torch.is_grad_enabled():
        return _swiglu(both_NI, half=True)
    found: Tensor = _Swiglu.apply(both_NI)
    return found


def _swiglu(both_NI: Tensor, *, half: bool = False) -> Tensor:
    if native.fits(both_NI, half=half) and both_NI.shape[1] % (2 * native.lanes()) == 0:
        return native.swiglu(both_NI)
    gate_NI, up_NI = both_NI.chunk(2, dim=-1)
    return silu(gate_NI).mul_(up_NI)


class _Swiglu(_Function):  # type: ignore[misc]
    @staticmethod
    def forward(ctx: Any, both_NI: Tensor) -> Tensor:
        ctx.save_for_backward(both_NI)
        return _swiglu(both_NI)

    @staticmethod
    def backward(ctx: Any, grad_NI: Tensor) -> Tensor:
        (both_NI,) = ctx.saved_tensors
        if native.fits(both_NI) and both_NI.shape[1] % (2 * native.lanes()) == 0:
            return native.swiglu_back(grad_NI.contiguous(), both_NI)
        gate_NI, up_NI = both_NI.chunk(2, dim=-1)
        found_NI = torch.empty_like(both_NI)
        to_gate_NI, to_up_NI = found_NI.chunk(2, dim=-1)
        torch.mul(grad_NI, silu(gate_NI), out=to_up_NI)
        torch.ops.aten.silu_backward.grad_input(grad_NI * up_NI, gate_NI, grad_input=to_gate_NI)
        return found_NI


def logprobs(logits_NV: Tensor, tokens_N: Tensor, temperature: float = 1.0) -> Tensor:
    """Log-probability of each row's token at a temperature, ``(N,)`` in float32: two passes over the logits, and one back."""
    if native.fits(logits_NV, half=True) and logits_NV.shape[1] % native.lanes() == 0 and len(logits_NV):
        found: Tensor = _Logprobs.apply(logits_NV, tokens_N, temperature)
        return found
    wide_NV = logits_NV.to(torch.promote_types(logits_NV.dtype, torch.float32))
    scaled_NV = wide_NV if temperature == 1 else wide_NV / temperature
    return scaled_NV.gather(1, tokens_N[:, None])[:, 0] - scaled_NV.logsumexp(1)


class _Logprobs(_Function):  # type: ignore[misc]
    @staticmethod
    def forward(ctx: Any, logits_NV: Tensor, tokens_N: Tensor, temperature: float) -> Tensor:
        sums_N = native.logsumexp(logits_NV, temperature)
        ctx.save_for_backward(logits_NV, sums_N, tokens_N)
        ctx.temperature = temperature
        return logits_NV.gather(1, tokens_N[:, None])[:, 0].float() / temperature - sums_N

    @staticmethod
    def backward(ctx: Any, grad_N: Tensor) -> tuple[Tensor, None, None]:
        logits_NV, sums_N, tokens_N = ctx.saved_tensors
        return native.logprob_back(grad_N.contiguous(), logits_NV, sums_N, tokens_N, ctx.temperature), None, None


def turned(heads_NHD: Tensor, turns_N1C: Tensor) -> Tensor:
    """Rotary position embedding (Su et al. 2021): neighbouring numbers of a head, as complex ones, turned by their position."""
    pairs = torch.view_as_complex(heads_NHD.float().reshape(*heads_NHD.shape[:-1], -1, 2))
    return torch.view_as_real(pairs * turns_N1C).flatten(-2).to(heads_NHD.dtype)


def lay_out(flat_ND: Tensor, places: Tensor, back: Tensor, shapes: Sequence[tuple[int, ...]]) -> tuple[Tensor, ...]:
    """Heads of tokens at their padded places, cut into tensors of these shapes; the gradient of a padding place is dropped."""
    found: tuple[Tensor, ...] = _LayOut.apply(flat_ND, places, back, shapes)
    return found


class _LayOut(_Function):  # type: ignore[misc]
    @staticmethod
    def forward(ctx: Any, flat_ND: Tensor, places: Tensor, back: Tensor, shapes: Sequence[tuple[int, ...]]) -> Any:
        ctx.save_for_backward(back)
        padded = torch.split(flat_ND.index_select(0, places), [prod(shape[:-1]) for shape in shapes])
        return tuple(part.view(shape) for part, shape in zip(padded, shapes, strict=True))

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        (back,) = ctx.saved_tensors
        joined = torch.cat([grad.reshape(-1, grad.shape[-1]) for grad in grads])
        return joined.index_select(0, back), None, None, None


def unlay(padded: Tensor, places: Tensor) -> Tensor:
    """The way back: the heads that stand at these places."""
    found: Tensor = _Unlay.apply(padded, places)
    return found


class _Unlay(_Function):  # type: ignore[misc]
    @staticmethod
    def forward(ctx: Any, padded: Tensor, places: Tensor) -> Tensor:
        ctx.save_for_backward(places)
        ctx.size = padded.shape
        return padded.index_select(0, places)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        (places,) = ctx.saved_tensors
        return grad.new_zeros(ctx.size).index_copy_(0, places, grad), None


def tree_attention(
    q: Tensor, k: Tensor, v: Tensor, k_trunk: Tensor, v_trunk: Tensor, bias: Tensor, remember: bool = True
) -> Tensor:
    """Attention of branches over their trunk and themselves, one softmax over both; the scale is already in the queries.

    Shapes: queries ``(R, K, G, E, S, D)``; own keys and values ``(R, K, G, S, D)``; the trunk's ``(R, K, P, D)``; ``bias``,
    added to the scores, ``(R, 1, 1, 1, S, P+S)``. R rows, K key heads, E query heads for each, G branches, S tokens in a
    branch, P in the trunk, which is read as one matrix product for all its branches. Probabilities are kept for the backward
    pass or, without ``remember``, computed again.
    """
    found: Tensor = _TreeAttention.apply(q, k, v, k_trunk, v_trunk, bias, remember)
    return found


class _TreeAttention(_Function):  # type: ignore[misc]
    @staticmethod
    def forward(ctx: Any, q: Tensor, k: Tensor, v: Tensor, kt: Tensor, vt: Tensor, bias: Tensor, remember: bool) -> Tensor:
        trunk, own = _tree_probs(q, k, kt, bias)
        out = own @ v
        out += (trunk @ vt).view_as(out)
        ctx.save_for_backward(q, k, v, kt, vt, bias, *((trunk, own) if remember else (None, None)))
        return out.view_as(q)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        q, k, v, kt, vt, bias, trunk, own = ctx.saved_tensors
        if trunk is None:
            trunk, own = _tree_probs(q, k, kt, bias)
        q_own, grad_own = q.flatten(3, 4), grad.to(q.dtype).flatten(3, 4)
        q_all, grad_all = q_own.flatten(2, 3), grad_own.flatten(2, 3)
        by_trunk, by_own = _softmax_back(grad_all @ vt.mT, grad_own @ v.mT, trunk, own)
        by_q = by_own @ k
        by_q += (by_trunk @ kt).view_as(by_q)
        return (
            by_q.view_as(q), by_own.mT @ q_own, own.mT @ grad_own, by_trunk.mT @ q_all, trunk.mT @ grad_all, None, None,
        )  # fmt: skip


def _tree_probs(q: Tensor, k: Tensor, kt: Tensor, bias: Tensor) -> tuple[Tensor, Tensor]:
    """What each token of a branch reads of its trunk ``(R, K, G*E*S, P)`` and of its branch ``(R, K, G, E*S, S)``."""
    asks = q.flatten(3, 4)
    trunk, own = asks.flatten(2, 3) @ kt.mT, asks @ k.mT
    if native.fits(own, half=True, ragged=True) and native.fits(trunk, half=True, ragged=True) and trunk.shape[-1]:
        native.tree_softmax(trunk, own, bias.contiguous())
        return trunk, own
    scores = torch.cat([trunk.view(*own.shape[:-1], -1).float(), own.float()], dim=-1)
    scores.view(*q.shape[:-1], -1).add_(bias)
    probs = torch.softmax(scores, dim=-1).to(q.dtype)
    shared = kt.shape[-2]
    return probs[..., :shared].reshape(trunk.shape), probs[..., shared:].contiguous()


def _softmax_back(by_trunk: Tensor, by_own: Tensor, trunk: Tensor, own: Tensor) -> tuple[Tensor, Tensor]:
    """Gradients of the scores, from those of the probabilities."""
    if native.fits(by_own, half=True, ragged=True) and native.fits(by_trunk, half=True, ragged=True) and trunk.shape[-1]:
        native.tree_softmax_back(by_trunk, by_own, trunk, own)
        return by_trunk, by_own
    along = (by_trunk.float() * trunk).sum(-1, keepdim=True).view(*own.shape[:-1], 1) + (by_own.float() * own).sum(
        -1, keepdim=True
    )
    return (trunk * (by_trunk - along.view(*trunk.shape[:-1], 1))).to(own.dtype), (own * (by_own - along)).to(own.dtype)


def capped(scores: Tensor, cap: float) -> Tensor:
    """Soft cap (Gemma 2, arXiv 2408.00118): ``cap * tanh(scores / cap)``."""
    return torch.tanh(scores / cap) * cap
