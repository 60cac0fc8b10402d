"""Numbers with intervals: means, paired effects, and correlations; values of one task count together."""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from secondthought.types import Estimate, Finding

RESAMPLES = 2000
Z = 1.959964  # of a normal distribution, two-sided 95 %


def mean(values: Sequence[float], clusters: Sequence[Hashable] | None = None, *, unit: str = "fraction") -> Estimate:
    """The mean with a 95 % interval; nan values are left out.

    ``clusters`` names the task behind each value (every value is its own by default). A fraction gets Wilson's score interval,
    a difference of fractions the paired score interval, both for as many independent values as the spread between clusters
    says there are (:func:`independent`): right at small n, and at 0 and 100 %. Other units get a cluster bootstrap (percentile,
    2,000 resamples). ``n`` counts values; with none, the estimate is nan.

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
    value = float(kept.mean())
    if unit == "fraction" and kept.min() >= 0 and kept.max() <= 1:
        low, high = wilson(value, independent(kept, owner))
    elif unit == "difference" and np.abs(kept).max() <= 1:
        n = independent(kept, owner)
        wins, losses = float(np.maximum(kept, 0).mean()), float(np.maximum(-kept, 0).mean())
        low, high = paired_score(n * wins, n * losses, n)
    else:
        sums, counts = np.bincount(owner, kept).astype(np.float64), np.bincount(owner).astype(np.float64)
        low, high = _percentiles(_resampled_ratio(sums, counts))
    return Estimate(value, low, high, len(kept), unit)


def average(values: Sequence[float]) -> float:
    """The plain mean of what is known; nan values are left out, and of nothing it is nan.

    >>> average([1.0, math.nan, 0.0])
    0.5
    """
    known = [value for value in values if not math.isnan(value)]
    return sum(known) / len(known) if known else math.nan


def difference(
    left: Sequence[float], right: Sequence[float], clusters: Sequence[Hashable] | None = None, *, unit: str = "fraction"
) -> Estimate:
    """The paired effect ``mean(left - right)``; pairs with a nan on either side are left out.

    >>> found = difference([1.0, 1.0, 0.0, 1.0], [0.0, 1.0, 0.0, 1.0], ["a", "b", "c", "d"])
    >>> found.value, found.n
    (0.25, 4)
    """
    return mean([a - b for a, b in zip(left, right, strict=True)], clusters, unit="difference" if unit == "fraction" else unit)


def independent(values_N: NDArray[np.float64], owner_N: NDArray[np.int64]) -> float:
    """How many independent values say as much about the mean as these, of which several belong to one cluster.

    Values over the design effect, the variance between clusters relative to that of independent values (Korn and Graubard 1998,
    doi 10.2307/3315952), with their correction for few clusters; never more than there are values. Where nothing varies, every
    cluster counts once.
    """
    counts_C = np.bincount(owner_N).astype(np.float64)
    values, clusters = len(values_N), len(counts_C)
    if values == clusters:
        return float(values)
    centred = values_N - values_N.mean()
    alone = float((centred**2).sum()) / values**2
    if clusters < 2 or alone == 0:
        return float(clusters)
    between = float((np.bincount(owner_N, centred) ** 2).sum()) / values**2 * clusters / (clusters - 1)
    corrected = (_t(values - 1) / _t(clusters - 1)) ** 2
    return max(1.0, values * min(1.0, corrected * alone / between if between else 1.0))


@lru_cache(maxsize=1024)
def _t(degrees: int) -> float:
    from scipy.stats import t

    return float(t.ppf(0.975, degrees))


def wilson(share: float, n: float) -> tuple[float, float]:
    """Wilson's 95 % score interval for a fraction of ``n`` independent trials (Wilson 1927)."""
    z = Z
    centre = (share + z * z / (2 * n)) / (1 + z * z / n)
    half = z * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n)) / (1 + z * z / n)
    # At the edges the bound is the edge itself; rounding must not put it on the wrong side.
    return (0.0 if share == 0 else max(0.0, centre - half)), (1.0 if share == 1 else min(1.0, centre + half))


def paired_score(wins: float, losses: float, n: float) -> tuple[float, float]:
    """The 95 % score interval for the difference of two fractions on the same ``n`` trials, of which ``wins`` went for the
    first and ``losses`` for the second alone (Tango 1998, Statistics in Medicine 17, 891-908).

    >>> tuple(round(bound, 3) for bound in paired_score(0, 0, 10))
    (-0.278, 0.278)
    """
    found = (wins - losses) / n

    def outside(delta: float) -> bool:
        """Whether the score test rejects a difference of ``delta``."""
        b = -wins - losses + (2 * n - wins + losses) * delta
        c = -losses * delta * (1 - delta)
        lost = (math.sqrt(max(0.0, b * b - 8 * n * c)) - b) / (4 * n)
        spread = max(0.0, n * (2 * lost + delta * (1 - delta)))
        return abs(wins - losses - n * delta) > Z * math.sqrt(spread)

    def bound(edge: float) -> float:
        if not outside(edge):
            return edge
        inner, outer = found, edge
        for _ in range(50):
            middle = (inner + outer) / 2
            inner, outer = (inner, middle) if outside(middle) else (middle, outer)
        return outer

    return bound(-1.0), bound(1.0)


def bootstrapped(
    statistic: Callable[[Sequence[int]], float], clusters: Sequence[Hashable], *, unit: str = "ratio", resamples: int = 200
) -> Estimate:
    """Any statistic of a list of places with its 95 % interval, by resampling clusters (percentile).

    >>> data = [1.0, 2.0, 3.0, 4.0]
    >>> found = bootstrapped(lambda places: max(data[i] for i in places), ["a", "b", "c", "d"])
    >>> found.value, found.high
    (4.0, 4.0)
    """
    owner_N = _numbered(clusters)
    if not len(owner_N):
        return Estimate(math.nan, math.nan, math.nan, 0, unit)
    members = [np.flatnonzero(owner_N == k).tolist() for k in range(int(owner_N.max()) + 1)]
    rng = np.random.default_rng(0)
    drawn = [
        statistic([i for k in rng.integers(len(members), size=len(members)) for i in members[k]]) for _ in range(resamples)
    ]
    known = np.array([value for value in drawn if not math.isnan(value)])
    low, high = _percentiles(known) if len(known) else (math.nan, math.nan)
    return Estimate(statistic(range(len(owner_N))), low, high, len(owner_N), unit)


def resampled(sums_NK: NDArray[np.float64], resamples: int = 1000) -> NDArray[np.float64]:
    """Sums over resampled clusters (bootstrap), ``(R, K)``, of K sums for each of N clusters: for statistics that are functions
    of sums, such as ratios of ratios.

    >>> resampled(np.ones((5, 1)), 3).tolist()
    [[5.0], [5.0], [5.0]]
    """
    rng, clusters, block = np.random.default_rng(0), len(sums_NK), max(1, 4_000_000 // max(1, len(sums_NK)))
    share = np.full(clusters, 1 / max(1, clusters))
    parts = [
        rng.multinomial(clusters, share, size=min(block, resamples - begin)) @ sums_NK for begin in range(0, resamples, block)
    ]
    found: NDArray[np.float64] = np.concatenate(parts)
    return found


def interval(value: float, drawn: Sequence[float] | NDArray[np.float64], n: int, unit: str = "fraction") -> Estimate:
    """A value with the middle 95 % of what it is in resamples; nan bounds where fewer than half of them are defined."""
    all_R = np.asarray(drawn, dtype=float)
    known = all_R[~np.isnan(all_R)]
    low, high = _percentiles(known) if len(known) * 2 > len(all_R) and len(known) else (math.nan, math.nan)
    return Estimate(value, low, high, n, unit)


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
    drawn = _draws(len(sums))
    ratio: NDArray[np.float64] = (drawn @ sums) / (drawn @ counts)
    return ratio


@lru_cache(maxsize=8)
def _draws(size: int) -> NDArray[np.float64]:
    """How often each of ``size`` clusters is drawn, in each resample; kept, because many figures share their clusters."""
    found: NDArray[np.float64] = (
        np.random.default_rng(0).multinomial(size, np.full(size, 1 / size), size=RESAMPLES).astype(float)
    )
    found.flags.writeable = False
    return found


def _percentiles(resampled: NDArray[np.float64]) -> tuple[float, float]:
    low, high = np.percentile(resampled, [2.5, 97.5])
    return float(low), float(high)


def correlation(
    x: Sequence[float],
    y: Sequence[float],
    *,
    within: Sequence[Hashable] | None = None,
    given: Sequence[float] | None = None,
    ranks: bool = False,
    clusters: Sequence[Hashable] | None = None,
) -> Estimate:
    """Pearson's r (Spearman's with ``ranks``) with a 95 % interval by cluster bootstrap; pairs with a nan are left out.

    ``within``: take each group's means out of both first, so that differences between groups (model sizes) cannot make the
    correlation. ``given``: take out, by linear regression, what a third quantity explains of both (partial correlation).
    ``clusters`` are resampled (the runs that checkpoints come from; by default every pair). Where one side does not vary, r is
    not defined and comes out as nan.

    >>> correlation([1, 2, 3, 11, 12, 13], [3, 2, 1, 13, 12, 11]).value > 0.9
    True
    >>> round(correlation([1, 2, 3, 11, 12, 13], [3, 2, 1, 13, 12, 11], within="aaabbb").value, 6)
    -1.0
    """

    def r(moments: _Moments) -> NDArray[np.float64]:
        spread = np.sqrt(np.where(moments.defined, moments.xx_R * moments.yy_R, 1.0))
        found: NDArray[np.float64] = np.where(moments.defined, moments.xy_R / spread, np.nan)
        return found

    columns = _Columns.of(x, y, given, within, clusters)
    return columns.ranked().estimate(r, "r") if ranks else columns.estimate(r, "r")


def slope(
    x: Sequence[float],
    y: Sequence[float],
    *,
    within: Sequence[Hashable] | None = None,
    clusters: Sequence[Hashable] | None = None,
    unit: str = "difference",
) -> Estimate:
    """The least-squares slope of ``y`` on ``x``, in units of y for one unit of x; resampled like :func:`correlation`.

    A correlation says how regular a trend is, this how large: next to a floor r can be high and mean nothing.

    >>> slope([0, 1, 2], [1.0, 3.0, 5.0]).value
    2.0
    """

    def b(moments: _Moments) -> NDArray[np.float64]:
        varies = moments.xx_R > 0
        found: NDArray[np.float64] = np.where(varies, moments.xy_R / np.where(varies, moments.xx_R, 1.0), np.nan)
        return found

    return _Columns.of(x, y, None, within, clusters).estimate(b, unit)


@dataclass(frozen=True)
class _Moments:
    """Weighted sums of products of the residuals of x and y, one for each resample R."""

    xx_R: NDArray[np.float64]
    yy_R: NDArray[np.float64]
    xy_R: NDArray[np.float64]
    defined: NDArray[np.bool_]


@dataclass(frozen=True)
class _Columns:
    """x, y and what is given (3, N), the group of each pair, and the cluster it is resampled with."""

    values: NDArray[np.float64]
    groups: NDArray[np.int64]
    owner: NDArray[np.int64]
    partial: bool

    @classmethod
    def of(
        cls, x: Sequence[float], y: Sequence[float], given: Sequence[float] | None, within: Sequence[Hashable] | None,
        clusters: Sequence[Hashable] | None,
    ) -> _Columns:  # fmt: skip
        values = np.array([x, y, given if given is not None else np.zeros(len(x))], dtype=float)
        kept = ~np.isnan(values).any(axis=0)
        count = int(kept.sum())
        groups = _numbered(within)[kept] if within is not None else np.zeros(count, dtype=np.int64)
        owner = _numbered([c for c, k in zip(clusters, kept, strict=True) if k]) if clusters is not None else np.arange(count)
        return cls(values[:, kept], groups, owner, given is not None)

    def ranked(self) -> _Columns:
        """The same with ranks in place of values."""
        from scipy.stats import rankdata

        return replace(self, values=rankdata(self.values, axis=1))

    def estimate(self, statistic: Callable[[_Moments], NDArray[np.float64]], unit: str) -> Estimate:
        """The statistic with its interval over clusters (percentile, 2,000 resamples)."""
        count = self.values.shape[1]
        if not count:
            return Estimate(math.nan, math.nan, math.nan, 0, unit)
        value = float(statistic(self.moments(np.ones((1, count))))[0])
        clusters = int(self.owner.max()) + 1
        if math.isnan(value) or clusters < 2:
            return Estimate(value, math.nan, math.nan, count, unit)
        found = statistic(self.moments(_draws(clusters)[:, self.owner]))
        return Estimate(value, *_percentiles(found[~np.isnan(found)]), count, unit)

    def moments(self, weights_RN: NDArray[np.float64]) -> _Moments:
        """Group means out first, then what is given, then products; one row of weights for each resample."""
        onehot_NG = np.eye(int(self.groups.max()) + 1)[self.groups]
        counts_RG = np.maximum(weights_RN @ onehot_NG, 1e-300)
        x_RN, y_RN, z_RN = (row - ((weights_RN * row) @ onehot_NG / counts_RG)[:, self.groups] for row in self.values)

        def product(a_RN: NDArray[np.float64], b_RN: NDArray[np.float64]) -> NDArray[np.float64]:
            found: NDArray[np.float64] = (weights_RN * a_RN * b_RN).sum(axis=1)
            return found

        if self.partial:
            power_R = product(z_RN, z_RN)
            power_R = np.where(power_R > 0, power_R, np.inf)
            x_RN = x_RN - (product(x_RN, z_RN) / power_R)[:, None] * z_RN
            y_RN = y_RN - (product(y_RN, z_RN) / power_R)[:, None] * z_RN
        xx_R, yy_R = product(x_RN, x_RN), product(y_RN, y_RN)
        # Residuals that are nothing but rounding must not look like a correlation.
        total_R = weights_RN.sum(axis=1)
        tiny_x, tiny_y = (1e-20 * total_R * float(np.abs(row).max()) ** 2 for row in self.values[:2])
        return _Moments(xx_R, yy_R, product(x_RN, y_RN), (xx_R > tiny_x) & (yy_R > tiny_y))


def mcnemar(left: Sequence[float], right: Sequence[float]) -> float:
    """Two-sided p of "both are right equally often" for paired 0/1 scores: the exact binomial test of McNemar (1947)."""
    from scipy.stats import binomtest

    pairs = [(a, b) for a, b in zip(left, right, strict=True) if not (math.isnan(a) or math.isnan(b))]
    wins, losses = sum(a > b for a, b in pairs), sum(a < b for a, b in pairs)
    return float(binomtest(wins, wins + losses).pvalue) if wins + losses else 1.0


def holm(p_values: Sequence[float]) -> list[float]:
    """The same p values, corrected for their number (Holm 1979); the family-wise error stays below the level.

    >>> holm([0.01, 0.04, 0.03])
    [0.03, 0.06, 0.06]
    """
    order = sorted(range(len(p_values)), key=lambda i: p_values[i])
    adjusted, largest = [0.0] * len(p_values), 0.0
    for rank, i in enumerate(order):
        largest = max(largest, min(1.0, (len(p_values) - rank) * p_values[i]))
        adjusted[i] = largest
    return adjusted


def decide(effect: Estimate, *, null: float = 0.0, minimum: float = 0.0) -> tuple[Finding, tuple[str, ...]]:
    """The verdict on a claim that ``effect`` is above ``null`` by at least ``minimum`` (fixed beforehand), and the reasons.

    Supported: the interval excludes the null and the value reaches the minimum. Refuted: the whole interval is below the null,
    or below the minimum. Not applicable: nothing was measured.

    >>> decide(Estimate(0.2, 0.1, 0.3, 50, "difference"), minimum=0.05)[0]
    'supported'
    >>> decide(Estimate(0.0, -0.1, 0.1, 50, "difference"), minimum=0.05)[0]
    'inconclusive'
    """
    points = effect.unit in ("fraction", "difference")
    scale, unit = (100, " points") if points else (1, "")
    if effect.n == 0 or math.isnan(effect.value):
        return "not applicable", ("nothing was measured that could decide it",)
    wanted, bound = f"{scale * (null + minimum):+g}{unit}", f"{scale * null:g}{unit}"
    if math.isnan(effect.low) or math.isnan(effect.high):
        return "inconclusive", ("there is no interval: too few independent units",)
    if effect.low > null and effect.value >= null + minimum:
        reached = f", and the effect reaches the minimum of {wanted}" if minimum else ""
        return "supported", (f"the whole interval is above {bound}{reached}",)
    if effect.high < null:
        return "refuted", (f"the whole interval is below {bound}",)
    if minimum and effect.high < null + minimum:
        return "refuted", (f"the whole interval is below the minimum of {wanted}",)
    if effect.low > null:
        return "inconclusive", (f"above {bound}, but below the minimum of {wanted}",)
    needed = items_needed(effect, null, minimum)
    worth = f"{scale * (minimum or effect.value - null):+.3g}{unit}"
    more = f"; about {needed:,} would decide an effect of {worth}" if needed else ""
    return "inconclusive", (f"the interval holds {bound} (n {effect.n:,}{more})",)


def items_needed(effect: Estimate, null: float = 0.0, minimum: float = 0.0) -> int | None:
    """How many items would make the interval narrow enough to keep ``minimum`` (or else the effect itself) apart from nothing.

    Widths shrink with the root of n. None where there is nothing to keep apart, or as many are there already.

    >>> items_needed(Estimate(0.0, -0.2, 0.2, 50, "difference"), minimum=0.05)
    800
    """
    target = minimum or abs(effect.value - null)
    half = (effect.high - effect.low) / 2
    if not target or not half > 0:
        return None
    needed = effect.n * (half / target) ** 2
    digits = 10 ** max(0, math.floor(math.log10(needed)) - 1) if needed >= 1 else 1
    rounded = math.ceil(needed / digits - 1e-9) * digits
    return rounded if rounded > effect.n else None
