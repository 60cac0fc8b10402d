"""Numbers with intervals: means, paired effects, and correlations, resampled by task."""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence

import numpy as np
from numpy.typing import NDArray

from secondthought.types import Estimate

RESAMPLES = 2000


def mean(values: Sequence[float], clusters: Sequence[Hashable] | None = None, *, unit: str = "fraction") -> Estimate:
    """The mean with a 95 % interval by cluster bootstrap (percentile, 2,000 resamples); nan values are left out.

    ``clusters`` names the task behind each value (every value is its own by default). A fraction at 0 or 1, where the
    bootstrap cannot move, gets Wilson's interval over clusters. ``n`` counts values; with none, the estimate is nan.

    >>> mean([1, 0, 1, 1]).value
    0.75
    >>> round(mean([0.0] * 50).high, 3)
    0.071
    """
    kept = np.array([v for v in values if not math.isnan(v)], dtype=float)
    if len(kept) == 0:
        return Estimate(math.nan, math.nan, math.nan, 0, unit)
    names = clusters if clusters is not None else range(len(values))
    owner = _numbered([name for name, v in zip(names, values, strict=True) if not math.isnan(v)])
    sums, counts = np.bincount(owner, kept).astype(np.float64), np.bincount(owner).astype(np.float64)
    value = float(kept.mean())
    if unit == "fraction" and value in (0.0, 1.0):
        low, high = wilson(value, len(counts))
    else:
        low, high = _percentiles(_resampled_ratio(sums, counts))
    return Estimate(value, low, high, len(kept), unit)


def difference(
    left: Sequence[float], right: Sequence[float], clusters: Sequence[Hashable] | None = None, *, unit: str = "fraction"
) -> Estimate:
    """The paired effect ``mean(left - right)``; pairs with a nan on either side are left out."""
    return mean([a - b for a, b in zip(left, right, strict=True)], clusters, unit="difference" if unit == "fraction" else unit)


def wilson(share: float, n: int) -> tuple[float, float]:
    """Wilson's 95 % score interval for a fraction of ``n`` independent trials (Wilson 1927)."""
    z = 1.959964
    centre = (share + z * z / (2 * n)) / (1 + z * z / n)
    half = z * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n)) / (1 + z * z / n)
    # At the edges the bound is the edge itself; rounding must not put it on the wrong side.
    return (0.0 if share == 0 else max(0.0, centre - half)), (1.0 if share == 1 else min(1.0, centre + half))


def over_seeds(values: Sequence[float], *, unit: str = "fraction") -> Estimate:
    """The mean of a few independent runs with its 95 % t-interval (nan bounds for a single run)."""
    from scipy.stats import t

    data = np.asarray(values, dtype=float)
    centre = float(data.mean())
    if len(data) < 2:
        return Estimate(centre, math.nan, math.nan, len(data), unit)
    half = float(t.ppf(0.975, len(data) - 1) * data.std(ddof=1) / math.sqrt(len(data)))
    return Estimate(centre, centre - half, centre + half, len(data), unit)


def _numbered(names: Sequence[Hashable]) -> NDArray[np.int64]:
    number: dict[Hashable, int] = {}
    return np.array([number.setdefault(name, len(number)) for name in names], dtype=np.int64)


def _resampled_ratio(sums: NDArray[np.float64], counts: NDArray[np.float64]) -> NDArray[np.float64]:
    """Ratios of resampled sums to resampled counts; how often each cluster is drawn is multinomial."""
    rng = np.random.default_rng(0)
    size = len(sums)
    drawn = rng.multinomial(size, np.full(size, 1 / size), size=RESAMPLES)
    ratio: NDArray[np.float64] = (drawn @ sums) / (drawn @ counts)
    return ratio


def _percentiles(resampled: NDArray[np.float64]) -> tuple[float, float]:
    low, high = np.percentile(resampled, [2.5, 97.5])
    return float(low), float(high)
