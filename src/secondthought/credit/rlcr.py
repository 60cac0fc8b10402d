"""Who is paid for answer and confidence together: RLCR, and what it is compared with.

RLCR (Damani et al. 2025, arXiv 2507.16806, equation 2), with c = 1 for a right answer and the stated confidence q:

    R = c - (q - c)^2,        A_i = R_i - mean(R)      over the n episodes of one problem, not divided by their spread

An answer that is right with probability p earns p - p (1 - q)^2 - (1 - p) q^2, which is highest at q = p, where it is p^2: so
the best answer and the true confidence are best together. Without a stated confidence R is -2, the 0 of the authors' code
(whose reward is R / 2 + 1).

``explore`` (ours; 0 in the paper) adds ``-explore (log p - mean log p)`` to what a confidence earns, log p being the mean over
its tokens of the log-probability that they were sampled with: the score-function gradient of ``explore`` times its entropy a
token (summed over tokens instead, writing many of them would pay). A small model that settles on one number of tenths never
tries its neighbours again.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial
from random import Random
from statistics import fmean, pstdev

from secondthought.credit.base import BatchCredit, Step, scores
from secondthought.types import Episode, Group, Signal, Signals, seed_of

Reward = Callable[[float, float], float]
MALFORMED = -2.0
DUST = 1e-12  # what rounding leaves of an advantage of 0
LEAST = 1e-4  # a confidence of 0 or 1 is taken for this or one minus this where a logarithm would be infinite


def brier_reward(c: float, q: float) -> float:
    """``c - (q - c)^2``; -2 without a confidence.

    >>> [round(brier_reward(c, 0.9), 2) for c in (1, 0)], brier_reward(1, math.nan)
    ([0.99, -0.81], -2.0)
    """
    return MALFORMED if math.isnan(q) else c - (q - c) ** 2


def log_reward(c: float, q: float) -> float:
    """``c + c ln q + (1 - c) ln(1 - q)``: an unbounded score. A true confidence p is worth p + p ln p + (1 - p) ln(1 - p), less
    than 0 below p = 0.648: there a deliberate error with confidence 0, worth 0, is better than the best answer.

    >>> honest = [p + p * math.log(p) + (1 - p) * math.log(1 - p) for p in (0.64, 0.66)]
    >>> honest[0] < log_reward(0, 0) < honest[1]
    True
    """
    if math.isnan(q):
        return MALFORMED + math.log(LEAST)
    likely = min(max(q if c else 1 - q, LEAST), 1.0)
    return c + math.log(likely)


def brier_only(c: float, q: float) -> float:
    """``-(q - c)^2``: nothing for being right, so that knowing oneself wrong is as good as being right."""
    return MALFORMED if math.isnan(q) else -((q - c) ** 2)


def right_only(c: float, q: float) -> float:
    """``c``: a plain verifiable reward, whatever the confidence."""
    return c


def rlcr(group: Group, *, reward: Reward = brier_reward, explore: float = 0.0) -> list[Signals]:
    """Pay answer and confidence for what both earned together."""
    return explored(group, paid(group, [reward(*pair) for pair in outcomes(group)]), explore)


def rlcr_split(group: Group, *, reward: Reward = brier_reward, explore: float = 0.0) -> list[Signals]:
    """The answer is paid R as above, the confidence its own part alone: R less what a sure and true confidence would have
    earned, ``-(q - c)^2``, less the group's mean of that. The luck of the answer is then no noise in what the confidence learns
    (ours). Only where the confidence is a turn of its own.
    """
    whole = paid(group, [reward(c, q) for c, q in outcomes(group)])
    own = paid(group, [reward(c, q) - reward(c, c) for c, q in outcomes(group)])
    return explored(group, _parted(whole, own), explore)


def rlcr_std(group: Group, *, explore: float = 0.0) -> list[Signals]:
    """The same, divided by the spread of the group's rewards (which the authors leave out)."""
    rewards = [brier_reward(*pair) for pair in outcomes(group)]
    known = [r for r in rewards if not math.isnan(r)]
    spread = pstdev(known) if len(known) > 1 else 0.0
    return explored(group, paid(group, [r / spread if spread else 0.0 for r in rewards]), explore)


def rlvr(group: Group) -> list[Signals]:
    """Pay the answer for being right; what is said about it afterwards stays as it is (where it is a turn of its own)."""
    return [
        {name: signal for name, signal in one.items() if name == "attempt"}
        for one in paid(group, [c for c, _ in outcomes(group)])
    ]


def shuffled(explore: float = 0.0) -> BatchCredit:
    """RLCR whose confidence is held against another episode's outcome, and, where it is a turn of its own, paid for that alone:
    the negative control.
    """
    return BatchCredit(partial(_shuffled, explore=explore))


def _shuffled(groups: Sequence[Group], step: Step, *, explore: float) -> list[list[Signals]]:
    pairs = [outcomes(group) for group in groups]
    others = [c for pair in pairs for c, _ in pair]
    Random(seed_of("shuffled outcomes", step.number, *(group[0].task.key for group in groups))).shuffle(others)
    dealt = iter(others)
    found = []
    for group, pair in zip(groups, pairs, strict=True):
        own = [MALFORMED if math.isnan(q) else -((q - next(dealt)) ** 2) for _, q in pair]
        whole = [value if math.isnan(q) else c + value for value, (c, q) in zip(own, pair, strict=True)]
        found.append(explored(group, _parted(paid(group, whole), paid(group, own)), explore))
    return found


def outcomes(group: Group) -> list[tuple[float, float]]:
    """For each episode whether it is right and what confidence it states (nan: none)."""
    return list(zip(scores(group, "attempt"), scores(group, "confidence"), strict=True))


def paid(group: Group, rewards: Sequence[float]) -> list[Signals]:
    """Every sampled segment of an episode its reward less the group's mean; ungraded ones get nothing."""
    known = [r for r in rewards if not math.isnan(r)]
    centre = fmean(known) if known else 0.0
    return [_signals(episode, reward - centre) for episode, reward in zip(group, rewards, strict=True)]


def _signals(episode: Episode, advantage: float) -> Signals:
    if math.isnan(advantage) or abs(advantage) < DUST:
        return {}
    return {s.name: Signal(policy=advantage) for s in episode.segments if s.logprobs is not None}


def _parted(whole: Sequence[Signals], own: Sequence[Signals]) -> list[Signals]:
    """``whole`` for everything but a confidence that is a turn of its own, which gets ``own``."""
    return [
        {name: s for name, s in a.items() if name != "confidence"} | {name: s for name, s in b.items() if name == "confidence"}
        for a, b in zip(whole, own, strict=True)
    ]


def explored(group: Group, signals: Sequence[Signals], explore: float) -> list[Signals]:
    """The same signals with what keeps up the entropy of the confidences (where they are a turn of their own)."""
    if not explore:
        return list(signals)
    sampled = [e["confidence"].logprobs if "confidence" in e else None for e in group]
    logps = [fmean(one) if one else math.nan for one in sampled]
    known = [value for value in logps if not math.isnan(value)]
    centre = fmean(known) if known else 0.0
    return [
        one if math.isnan(logp) else {**one, "confidence": Signal(policy=_policy(one) - explore * (logp - centre))}
        for one, logp in zip(signals, logps, strict=True)
    ]


def _policy(signals: Signals) -> float:
    found = signals["confidence"].policy if "confidence" in signals else 0.0
    assert isinstance(found, float)
    return found
