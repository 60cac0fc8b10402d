from __future__ import annotations

import math

import numpy as np
import pytest

from secondthought.stats import (
    correlation,
    decide,
    difference,
    holm,
    independent,
    mcnemar,
    mean,
    over_seeds,
    paired_score,
    slope,
    wilson,
)  # fmt: skip


def test_intervals_cover_the_truth_about_95_times_in_a_hundred() -> None:
    rng = np.random.default_rng(1)
    hits = 0
    for _ in range(300):
        found = mean(list((rng.random(120) < 0.3).astype(float)))
        hits += found.low <= 0.3 <= found.high
    assert 0.90 <= hits / 300 <= 0.99


def test_clusters_widen_the_interval() -> None:
    values = [float(i % 2) for i in range(40) for _ in range(10)]
    tasks = [i for i in range(40) for _ in range(10)]
    alone, clustered = mean(values), mean(values, tasks)
    assert alone.value == clustered.value == 0.5
    assert clustered.high - clustered.low > 2.5 * (alone.high - alone.low)
    assert clustered.n == 400


def test_ungraded_values_are_left_out_and_never_zero() -> None:
    found = mean([1.0, math.nan, 1.0, 0.0], ["a", "b", "c", "d"])
    assert found.value == pytest.approx(2 / 3)
    assert found.n == 3
    assert mean([math.nan]).n == 0
    assert math.isnan(mean([]).value)


def test_a_paired_difference_is_tighter_than_its_parts() -> None:
    rng = np.random.default_rng(2)
    skill = rng.random(500)
    left, right = list((skill > 0.4).astype(float)), list((skill > 0.5).astype(float))
    effect = difference(left, right)
    assert effect.low <= 0.1 <= effect.high
    assert effect.high - effect.low < mean(left).high - mean(left).low
    assert effect.unit == "difference"


@pytest.mark.parametrize("n", [6, 10, 30, 100, 300, 2000])
@pytest.mark.parametrize(
    ("wins", "losses"), [(0, 0), (0.02, 0.02), (0.1, 0.1), (0.3, 0.1), (0.5, 0.5), (0, 0.2), (0.9, 0), (1, 0)]
)
def test_the_paired_interval_covers_the_truth_at_every_size_and_rate(n: int, wins: float, losses: float) -> None:
    rng = np.random.default_rng([n, int(100 * wins), int(100 * losses)])
    times = 300 if n < 1000 else 100
    found = []
    for _ in range(times):
        u = rng.random(n)
        found.append(mean(list((u < wins).astype(float) - (u > 1 - losses).astype(float)), unit="difference"))
    covered = sum(one.low - 1e-9 <= wins - losses <= one.high + 1e-9 for one in found) / times
    assert covered >= 0.95 - 3 * math.sqrt(0.95 * 0.05 / times)
    assert all(one.low < one.high and -1 <= one.low <= one.value <= one.high <= 1 for one in found)


@pytest.mark.parametrize(("clusters", "size"), [(6, 4), (20, 4), (100, 10), (400, 5)])
@pytest.mark.parametrize("rate", [0.0, 0.03, 0.5, 0.9, 1.0])
@pytest.mark.parametrize("alike", [0.0, 0.5])
def test_the_clustered_interval_covers_the_truth(clusters: int, size: int, rate: float, alike: float) -> None:
    rng = np.random.default_rng([clusters, size, int(100 * rate), int(10 * alike)])
    owner, times, covered = list(np.repeat(np.arange(clusters), size)), 300, 0
    for _ in range(times):
        spread = (1 - alike) / alike if alike and 0 < rate < 1 else 0.0
        rates = rng.beta(rate * spread, (1 - rate) * spread, size=clusters) if spread else np.full(clusters, rate)
        found = mean(list((rng.random((clusters, size)) < rates[:, None]).astype(float).ravel()), owner)
        covered += found.low - 1e-9 <= rate <= found.high + 1e-9
    assert covered / times >= 0.9


def test_no_difference_on_ten_items_is_no_certainty() -> None:
    assert paired_score(0, 0, 10) == pytest.approx((-0.2775, 0.2775), abs=1e-3)
    assert decide(mean([0.0] * 4, unit="difference"), minimum=0.02)[0] == "inconclusive"
    (reason,) = decide(mean([0.0] * 10, unit="difference"), minimum=0.05)[1]
    assert "n 10; about 310 would decide an effect of +5 points" in reason


@pytest.mark.parametrize(("wins", "losses", "n"), [(1, 0, 54), (5, 2, 20), (0, 7, 30), (40, 39, 400), (6, 0, 6)])
def test_the_paired_interval_is_where_the_score_test_turns(wins: int, losses: int, n: int) -> None:
    """By brute force: the likelihood is maximised under each difference, and the test statistic computed from that."""
    from scipy.optimize import minimize_scalar

    def statistic(delta: float) -> float:
        def surprise(lost: float) -> float:
            shares = (lost + delta, lost, 1 - 2 * lost - delta)
            counts = (wins, losses, n - wins - losses)
            return -sum(k * math.log(max(p, 1e-300)) for k, p in zip(counts, shares, strict=True) if k)

        low, high = max(0.0, -delta), (1 - delta) / 2
        lost = float(minimize_scalar(surprise, bounds=(low, high), method="bounded", options={"xatol": 1e-10}).x)
        return (wins - losses - n * delta) / math.sqrt(n * (2 * lost + delta - delta**2))

    low, high = paired_score(wins, losses, n)
    assert statistic(low) == pytest.approx(1.96, abs=0.01)
    if high < 1:
        assert statistic(high) == pytest.approx(-1.96, abs=0.01)


def test_what_repeats_within_a_task_counts_once() -> None:
    values, owner = np.array([1.0, 0.0] * 20), np.repeat(np.arange(20), 2)
    assert independent(values, np.arange(40)) == 40
    assert independent(values, owner) == 40  # within every task one of each: no more than there are values
    assert independent(np.sort(values), owner) == pytest.approx(20, rel=0.15)
    assert independent(np.ones(40), owner) == 20


def test_at_the_edge_the_interval_is_wilsons() -> None:
    assert (mean([0.0] * 20).low, mean([0.0] * 20).high) == wilson(0.0, 20)
    assert mean([1.0] * 20).low < 0.9


@pytest.mark.parametrize("n", [1, 7, 926, 2000])
def test_an_interval_never_leaves_its_value_outside(n: int) -> None:
    for value in (0.0, 1.0):
        found = mean([value] * n)
        assert 0 <= found.low <= found.value <= found.high <= 1


def test_over_seeds() -> None:
    found = over_seeds([0.5, 0.6, 0.7])
    assert found.value == pytest.approx(0.6)
    assert found.high - found.value == pytest.approx(4.303 * 0.1 / math.sqrt(3), rel=1e-3)
    assert math.isnan(over_seeds([0.5]).low)


def test_correlations_are_those_of_scipy() -> None:
    from scipy.stats import pearsonr, spearmanr

    rng = np.random.default_rng(3)
    x = rng.normal(size=50)
    y = 0.6 * x + rng.normal(size=50)
    assert correlation(list(x), list(y)).value == pytest.approx(pearsonr(x, y).statistic)
    assert correlation(list(x), list(y), ranks=True).value == pytest.approx(spearmanr(x, y).statistic)
    found = correlation([*x, math.nan], [*y, 1.0])
    assert (found.n, found.unit) == (50, "r")
    assert found.low < found.value < found.high


def test_the_interval_of_a_correlation_covers_the_truth() -> None:
    rng = np.random.default_rng(4)
    hits = 0
    for _ in range(200):
        x = rng.normal(size=60)
        y = 0.5 * x + math.sqrt(0.75) * rng.normal(size=60)
        found = correlation(list(x), list(y))
        hits += found.low <= 0.5 <= found.high
    assert 0.88 <= hits / 200 <= 0.99


def test_what_a_third_thing_explains_is_taken_out() -> None:
    rng = np.random.default_rng(5)
    skill = rng.normal(size=400)
    left, right = skill + 0.3 * rng.normal(size=400), skill + 0.3 * rng.normal(size=400)
    assert correlation(list(left), list(right)).value > 0.85
    partial = correlation(list(left), list(right), given=list(skill))
    assert partial.low < 0 < partial.high


def test_group_means_cannot_make_a_correlation() -> None:
    rng = np.random.default_rng(6)
    size = np.repeat([0, 10, 20], 40)
    x, y = size + rng.normal(size=120), size + rng.normal(size=120)
    assert correlation(list(x), list(y)).value > 0.9
    inside = correlation(list(x), list(y), within=list(size))
    assert inside.low < 0 < inside.high


def test_what_does_not_vary_has_no_correlation() -> None:
    assert math.isnan(correlation([1, 2, 3], [0.1 + 0.2, 0.3, 0.30000000000000004]).value)
    assert math.isnan(correlation([1, 2, 3], [1, 2, 3], given=[1, 2, 3]).value)
    assert math.isnan(correlation([], []).value)
    assert math.isnan(slope([1, 1], [0, 1]).value)


def test_clusters_widen_the_interval_of_a_slope() -> None:
    rng = np.random.default_rng(7)
    x = np.tile(np.arange(10.0), 6)
    runs = np.repeat(np.arange(6), 10)
    y = x * rng.normal(2, 1.0, size=6)[runs]
    alone, together = slope(list(x), list(y)), slope(list(x), list(y), clusters=list(runs))
    assert alone.value == together.value
    assert together.high - together.low > 1.3 * (alone.high - alone.low)


def test_paired_tests_and_their_correction() -> None:
    assert mcnemar([1, 1, 0, 0], [1, 1, 0, 0]) == 1.0
    assert mcnemar([1] * 10, [0] * 10) == pytest.approx(2 / 2**10)
    assert mcnemar([1, math.nan], [0, 1]) == 1.0
    assert holm([]) == []
    assert holm([0.6, 0.6]) == [1.0, 1.0]
