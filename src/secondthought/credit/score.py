"""Who is paid for correcting oneself: SCoRe's two stages, and what they are compared with.

SCoRe (Kumar et al. 2024, arXiv 2409.12917, equations 3 and 4), with rewards r1 and r2 of the two attempts:

    stage I     attempt_2 gets r2;                           KL: beta2 on attempt_1, beta1 on attempt_2
    stage II    attempt_1 gets r1, attempt_2 gets r2 + alpha (r2 - r1);    KL: beta1 on both

Each attempt is paid for what it earned itself (gamma = 0): a return summed over both would reward failing on purpose first. The
paper states no baseline; rewards between -alpha and 1 + alpha need one, so the mean over the batch is subtracted for each
attempt, and nothing is divided by a spread. The paper does not say how KL is aggregated either; here its weight is of the mean
per token, times ``optim.kl``. First attempts that nobody sampled here (replayed ones) are not paid.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial
from statistics import fmean

from secondthought.credit.base import BatchCredit, Step, scores
from secondthought.types import Episode, Group, Signal, Signals

ATTEMPTS = ("attempt_1", "attempt_2")


def stage_one(beta1: float = 0.01, beta2: float = 0.1) -> BatchCredit:
    """Stage I: learn to correct while the first attempt stays what it was.

    >>> stage_one(beta2=0.25).pay.keywords["beta2"]
    0.25
    """
    return BatchCredit(partial(_stage_one, beta1=beta1, beta2=beta2))


def stage_two(beta1: float = 0.01, alpha: float = 10.0, gamma: float = 0.0) -> BatchCredit:
    """Stage II: both attempts, and a bonus for progress from one to the other. ``gamma`` of what the second attempt earned goes
    to the first as well (the paper: 0). With ``alpha`` 0 this is plain reinforcement learning over two turns.

    >>> stage_two(alpha=0).pay.keywords["gamma"]
    0.0
    """
    return BatchCredit(partial(_stage_two, beta1=beta1, alpha=alpha, gamma=gamma))


def first_only(beta1: float = 0.01) -> BatchCredit:
    """Reinforcement learning over one turn: the first attempt is paid, the second is not.

    >>> first_only().pay.keywords
    {'beta1': 0.01}
    """
    return BatchCredit(partial(_first_only, beta1=beta1))


def shaped(one: float, two: float, alpha: float) -> float:
    """``r2 + alpha (r2 - r1)``: with alpha 10, wrong then right earns 11, right twice 1, wrong twice 0, right then wrong -10.

    >>> [shaped(one, two, 10) for one, two in ((0, 1), (1, 1), (0, 0), (1, 0))]
    [11, 1, 0, -10]
    """
    return two + alpha * (two - one)


def _stage_one(groups: Sequence[Group], step: Step, *, beta1: float, beta2: float) -> list[list[Signals]]:
    return _paid(groups, lambda one, two: (0.0, two), (beta1 + beta2, beta1), pay_first=False)


def _stage_two(groups: Sequence[Group], step: Step, *, beta1: float, alpha: float, gamma: float) -> list[list[Signals]]:
    def earned(one: float, two: float) -> tuple[float, float]:
        return one + gamma * shaped(one, two, alpha), shaped(one, two, alpha)

    return _paid(groups, earned, (beta1, beta1))


def _first_only(groups: Sequence[Group], step: Step, *, beta1: float) -> list[list[Signals]]:
    return _paid(groups, lambda one, two: (one, 0.0), (beta1, 0.0))


def _paid(
    groups: Sequence[Group], earned: Callable[[float, float], tuple[float, float]], pull: tuple[float, float],
    *, pay_first: bool = True,
) -> list[list[Signals]]:  # fmt: skip
    """Each attempt its own reward less the batch's mean of that attempt, and its pull towards the reference."""
    pairs = [list(zip(*(scores(group, name) for name in ATTEMPTS), strict=True)) for group in groups]
    rewards = [[earned(one, two) for one, two in pair] for pair in pairs]
    known = [r for one in rewards for r in one if not any(map(math.isnan, r))]
    means = [fmean(r[i] for r in known) if known else 0.0 for i in (0, 1)]

    def signal(episode: Episode, i: int, reward: float) -> Signal:
        sampled = episode[ATTEMPTS[i]].logprobs is not None
        paid = sampled and not math.isnan(reward) and (i == 1 or pay_first)
        return Signal(policy=reward - means[i] if paid else 0.0, kl=pull[i] if sampled else 0.0)

    return [
        [
            {name: signal(episode, i, r[i]) for i, name in enumerate(ATTEMPTS) if name in episode}
            for episode, r in zip(group, one, strict=True)
        ]
        for group, one in zip(groups, rewards, strict=True)
    ]
