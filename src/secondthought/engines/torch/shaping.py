"""The distribution that tokens are drawn from: penalised, at a temperature, truncated. The sampler and the loss share it.

In transformers' order: repetition penalty (arXiv 1909.05858), temperature, top-k, top-p (arXiv 1904.09751), min-p (arXiv
2407.01082). Settings are one number for all rows or ``(N, 1)``.
"""

from __future__ import annotations

import torch
from torch import Tensor

Setting = float | Tensor


def penalised(logits_NV: Tensor, seen_NV: Tensor, penalty: Setting) -> Tensor:
    """Logits of the tokens that were seen, divided by the penalty where positive and multiplied by it where negative."""
    changed_NV = torch.where(logits_NV < 0, logits_NV * penalty, logits_NV / penalty)
    return torch.where(seen_NV, changed_NV, logits_NV)


def truncated(
    scaled_NV: Tensor, *, top_p: Setting = 1.0, top_k: Setting = 0, min_p: Setting = 0.0, keep_N: Tensor | None = None
) -> Tensor:
    """``scaled_NV`` (logits over temperature) with -inf for what cannot be drawn; ``keep_N`` are tokens that always can.

    >>> truncated(torch.tensor([[2.0, 1.0, 0.0]]), top_k=2)
    tensor([[2., 1., -inf]])
    """
    with torch.no_grad():
        sorted_NV, order_NV = scaled_NV.sort(dim=1, descending=True, stable=True)
        rank_V = torch.arange(scaled_NV.shape[1], device=scaled_NV.device)
        limit = torch.as_tensor(top_k, device=scaled_NV.device)
        outside_NV = ((rank_V >= limit) & (limit > 0)).expand(scaled_NV.shape).clone()
        probs_NV = sorted_NV.masked_fill(outside_NV, -torch.inf).double().softmax(1)
        outside_NV |= probs_NV.cumsum(1) - probs_NV >= top_p
        outside_NV |= probs_NV < min_p * probs_NV[:, :1]
        outside_NV[:, 0] = False
        outside_NV = torch.zeros_like(outside_NV).scatter(1, order_NV, outside_NV)
        if keep_N is not None:
            outside_NV.scatter_(1, keep_N[:, None], False)
    return scaled_NV.masked_fill(outside_NV, -torch.inf)
