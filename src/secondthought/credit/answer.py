"""Plain reinforcement learning with verifiable rewards on the first attempt.

    A_i = (v(q, attempt_i) - mean) / std      over the n attempts at one problem   (GRPO, arXiv 2402.03300, eq. 3)

The decisive control: at equal sampled tokens, does paying reflections beat simply paying answers?
"""

from __future__ import annotations

from secondthought.credit.base import normalised, scores
from secondthought.types import Group, Signal, Signals


def answer(group: Group) -> list[Signals]:
    """Pay each attempt for itself; the baseline is over the attempts at one problem."""
    return [{"attempt": Signal(policy=a)} if a else {} for a in normalised(scores(group, "attempt"))]
