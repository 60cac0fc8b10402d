"""The loss: three streams, each with its own denominator; blind to every algorithm.

    L = L_policy + kl_scale * L_kl + L_imitate

    policy    -min(rho A, clip(rho, 1 - e, 1 + e) A) * w        rho = pi / pi_old      (PPO, arXiv 1707.06347)
    kl        exp(d) - d - 1,  d = logp_ref - logp                                     (k3; Schulman 2020)
    imitate   -logp

``w = min(pi_old / pi_sampler, cap)`` corrects what the trainer's numbers and the sampler's differ by (truncated importance
sampling). The policy stream is averaged as ``grpo`` (tokens within a segment, then segments; arXiv 2402.03300), ``token`` (over
all paid tokens; DAPO, arXiv 2503.14476) or ``dr_grpo`` (a constant length for every segment; arXiv 2503.20783).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from secondthought.learners.optim import Normalization
from secondthought.learners.rows import Row


@dataclass(frozen=True, slots=True)
class Scale:
    """What each stream is divided by, counted over the WHOLE batch, so that micro-batches add up exactly."""

    policy: float
    kl: float
    imitate: float


def scale_of(
    rows: Sequence[Row],
    normalization: Normalization,
    length: int,
    total: Callable[[Sequence[float]], Sequence[float]] = tuple,
) -> Scale:
    """Denominators: paid segments (``grpo``), paid tokens (``token``) or paid segments times ``length`` (``dr_grpo``).

    Only what is paid counts, so passing attempts and silent groups do not shrink the step. ``total`` adds the counts of other
    processes.
    """
    targets = [(r, t) for r, row in enumerate(rows) for t in row.targets]
    tokens = sum(1 for _, t in targets if t.policy)
    segments = len({(r, t.segment) for r, t in targets if t.policy})
    policy = {"grpo": segments, "token": tokens, "dr_grpo": segments * length}[normalization]
    counts = total((policy, sum(1 for _, t in targets if t.kl), sum(1 for _, t in targets if t.imitate)))
    return Scale(*(max(count, 1) for count in counts))


@dataclass(frozen=True, slots=True)
class Batch:
    """What the loss must know of the N trained tokens of a micro-batch, in the order of their rows."""

    targets_N: Tensor
    sampler_N: Tensor
    policy_N: Tensor
    kl_N: Tensor
    imitate_N: Tensor
    share_N: Tensor


def tensors(rows: Sequence[Row], device: torch.device | str = "cpu") -> Batch:
    """The trained tokens of some rows as tensors."""
    targets = [t for row in rows for t in row.targets]

    def column(values: list[float]) -> Tensor:
        return torch.tensor(values, dtype=torch.float32, device=device)

    return Batch(
        torch.tensor([t.token for t in targets], dtype=torch.long, device=device),
        column([t.sampler for t in targets]),
        column([t.policy for t in targets]),
        column([t.kl for t in targets]),
        column([t.imitate for t in targets]),
        column([t.share for t in targets]),
    )


def seen_before(rows: Sequence[Row]) -> Tensor:
    """``(N, L)``: the tokens of each trained token's context; shorter contexts name their first token again."""
    contexts: list[list[int]] = []
    for row in rows:
        paths: list[list[int]] = []
        for token, parent in zip(row.tokens, row.parents, strict=True):
            paths.append([*(paths[parent] if parent >= 0 else ()), token])
        contexts += [paths[target.at] for target in row.targets]
    longest = max(map(len, contexts), default=0)
    return torch.tensor([[*context, *[context[0]] * (longest - len(context))] for context in contexts], dtype=torch.long)


@dataclass(frozen=True, slots=True)
class Terms:
    """The loss to differentiate, and detached sums for the record."""

    loss: Tensor
    stats: dict[str, float]


def loss_of(
    batch: Batch,
    logp_N: Tensor,
    old_N: Tensor,
    reference_N: Tensor | None,
    scale: Scale,
    *,
    normalization: Normalization = "grpo",
    clip: float = 0.2,
    kl_scale: float = 1.0,
    cap: float = 2.0,
) -> Terms:
    """The loss of one micro-batch; sum it over micro-batches for the loss of the batch.

    ``logp_N`` carries the gradient; ``old_N`` are the trainer's log-probs before the first update on this batch;
    ``reference_N`` may be None where nothing has a kl weight.
    """
    ratio_N = torch.exp(logp_N - old_N)
    gap_N = old_N - batch.sampler_N
    weight_N = torch.exp(gap_N).clamp(max=cap)
    surrogate_N = torch.minimum(ratio_N * batch.policy_N, ratio_N.clamp(1 - clip, 1 + clip) * batch.policy_N)
    each_N = batch.share_N if normalization == "grpo" else torch.ones_like(batch.share_N)
    policy = -(surrogate_N * weight_N * each_N).sum() / scale.policy
    imitate = -(logp_N * batch.imitate_N).sum() / scale.imitate
    kl = torch.zeros((), device=logp_N.device)
    if reference_N is not None:
        d_N = reference_N - logp_N
        kl = (torch.expm1(d_N) - d_N).mul(batch.kl_N).sum() / scale.kl
    paid_N = batch.policy_N != 0
    clipped_N = paid_N & ((ratio_N - 1).abs() > clip)
    stats = {
        "loss/policy": policy.item(),
        "loss/kl": kl.item(),
        "loss/imitate": imitate.item(),
        "tokens/paid": float(paid_N.sum()),
        "clip/count": float(clipped_N.sum()),
        "gap/sum": float(gap_N[paid_N].abs().sum()),
        "gap/max": float(gap_N[paid_N].abs().max()) if bool(paid_N.any()) else 0.0,
    }
    return Terms(policy + kl_scale * kl + imitate, stats)
