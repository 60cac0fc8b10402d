"""What credit functions share: a credit is a pure function from a group to the signals of its episodes, in order."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from statistics import fmean, pstdev

from secondthought.types import Group, Signals

Credit = Callable[[Group], Sequence[Signals]]


def scores(group: Group, name: str) -> list[float]:
    """The score of the verdict ``name`` in each episode; nan (ungraded) where there is none."""
    return [e.verdicts[name].score if name in e.verdicts else math.nan for e in group]


def normalised(rewards: Sequence[float]) -> list[float]:
    """Group-normalised advantages ``(r - mean) / std`` (GRPO, arXiv 2402.03300, eq. 3); ungraded ones get 0.

    With fewer than two graded rewards, or all of them equal, there is nothing to compare: every advantage is 0.

    >>> normalised([1, 0, 0, 1])
    [1.0, -1.0, -1.0, 1.0]
    >>> normalised([1.0, 1.0])
    [0.0, 0.0]
    """
    graded = [r for r in rewards if not math.isnan(r)]
    if len(graded) < 2 or (spread := pstdev(graded)) == 0:
        return [0.0] * len(rewards)
    centre = fmean(graded)
    return [0.0 if math.isnan(r) else (r - centre) / spread for r in rewards]
