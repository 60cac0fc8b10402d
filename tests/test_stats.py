from __future__ import annotations

import math

import numpy as np
import pytest

from secondthought.stats import difference, mean, over_seeds, wilson


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
