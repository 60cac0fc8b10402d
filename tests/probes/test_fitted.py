"""Confidences fitted to outcomes: planted probabilities are found, and noise is not taken for knowledge."""

from __future__ import annotations

import math
from random import Random

import pytest

from secondthought.probes import calibration_scores as fit
from secondthought.probes.fitted import cross_fitted, log_odds


def drawn(n: int, seed: int) -> tuple[list[float], list[float], list[str]]:
    """Chances, outcomes drawn with them, and a problem for each."""
    rng = Random(seed)
    p = [rng.random() for _ in range(n)]
    return p, [float(rng.random() < one) for one in p], [f"problem {i}" for i in range(n)]


def test_a_probability_that_is_twisted_is_scaled_back() -> None:
    p, c, keys = drawn(4000, 0)
    over = [1 / (1 + math.exp(-(3 * log_odds(one) + 1))) for one in p]  # far too sure, and too high
    found = cross_fitted([[log_odds(one)] for one in over], c, keys)
    assert fit.ece(over, c) > 0.12
    assert fit.ece(found, c) < 0.03
    assert sum(abs(a - b) for a, b in zip(found, p, strict=True)) / len(p) < 0.02


def test_many_features_of_noise_are_worth_nothing() -> None:
    """What is read was not fitted: 60 features of noise would separate their own 150 answers well."""
    rng = Random(1)
    features = [[rng.gauss(0, 1) for _ in range(60)] for _ in range(300)]
    c, keys = [float(rng.random() < 0.5) for _ in features], [str(i) for i in range(len(features))]
    assert fit.auroc(cross_fitted(features, c, keys, ridge=0.01), c) == pytest.approx(0.5, abs=0.1)


def test_answers_to_one_problem_are_never_on_both_sides() -> None:
    """A feature that names the problem cannot help, however well it separates the answers."""
    rng = Random(2)
    rate = [float(rng.random() < 0.5) for _ in range(40)]
    keys = [str(i) for i in range(40) for _ in range(10)]
    features = [[float(i == j) for j in range(40)] for i in range(40) for _ in range(10)]
    found = cross_fitted(features, [rate[int(key)] for key in keys], keys)
    assert fit.auroc(found, [rate[int(key)] for key in keys]) < 0.6


@pytest.mark.parametrize("outcome", [0.0, 1.0])
def test_one_kind_of_outcome_is_predicted_as_such(outcome: float) -> None:
    found = cross_fitted([[0.1], [0.2], [0.3], [0.4]] * 10, [outcome] * 40, [str(i) for i in range(40)])
    assert all(abs(value - outcome) < 0.1 for value in found)
    assert cross_fitted([[1.0]], [1.0], ["alone"]) == [1.0]
