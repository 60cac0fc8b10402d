"""Confidences that are fitted to outcomes: the controls that a stated confidence has to beat.

A logistic regression predicts from some features whether an answer is right. On the log-odds of the answer's probability it is
temperature scaling with a shift (Platt 1999; arXiv 1706.04599), on hidden states a head trained after the fact, RLCR's
"classifier". Both see outcomes that the model itself never sees, so they are fitted on one half of the problems and read on the
other, in turn.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from secondthought.types import seed_of

STEPS = 50  # Newton converges in far fewer
LEAST = 1e-6  # probabilities are kept this far from 0 and 1


def cross_fitted(
    features: Sequence[Sequence[float]], c: Sequence[float], keys: Sequence[str], ridge: float = 1.0
) -> list[float]:
    """For each answer the probability that it is right, from a regression on the answers to the other half of the problems.

    ``features``: one row each; ``c``: outcomes in {0, 1}; ``keys``: the problems, whose hash decides the half. Where the other
    half holds one kind of outcome only, its rate is what is predicted.

    >>> features = [[x] for x in (-1.0, 1.0) * 200]
    >>> found = cross_fitted(features, [float(x > 0) for (x,) in features], [str(i) for i in range(400)])
    >>> found[0] < 0.1 and found[1] > 0.9
    True
    """
    x_NF, c_N = np.asarray(features, dtype=float), np.asarray(c, dtype=float)
    half_N = np.array([seed_of("half", key) % 2 for key in keys])
    found_N = np.zeros(len(c_N))
    for half in (0, 1):
        fitted, read = half_N != half, half_N == half
        if read.any() and fitted.any():
            found_N[read] = _predict(_fit(x_NF[fitted], c_N[fitted], ridge), x_NF[read])
        elif read.any():
            found_N[read] = c_N.mean()
    return [float(value) for value in found_N]


def log_odds(probability: float) -> float:
    """``ln(p / (1 - p))``, finite at 0 and 1.

    >>> log_odds(0.5)
    0.0
    """
    kept = min(max(probability, LEAST), 1 - LEAST)
    return math.log(kept / (1 - kept))


Fit = tuple[NDArray[Any], NDArray[Any], NDArray[Any]]


def _fit(x_NF: NDArray[Any], c_N: NDArray[Any], ridge: float) -> Fit:
    """Mean, spread and weights (the last one is the shift) of a ridge logistic regression, by Newton's method."""
    mean_F, spread_F = x_NF.mean(axis=0), x_NF.std(axis=0)
    spread_F[spread_F < 1e-9] = 1.0
    z_NF = np.column_stack([(x_NF - mean_F) / spread_F, np.ones(len(x_NF))])
    size = z_NF.shape[1]
    penalty_FF = ridge * np.diag([1.0] * (size - 1) + [1e-6])
    weights_F = np.zeros(size)
    for _ in range(STEPS):
        p_N = 1 / (1 + np.exp(-np.clip(z_NF @ weights_F, -30, 30)))
        gradient_F = z_NF.T @ (p_N - c_N) + penalty_FF @ weights_F
        curvature_FF = (z_NF * (p_N * (1 - p_N))[:, None]).T @ z_NF + penalty_FF
        step_F = np.linalg.solve(curvature_FF, gradient_F)
        weights_F = weights_F - step_F
        if float(np.abs(step_F).max()) < 1e-6:
            break
    return mean_F, spread_F, weights_F


def _predict(fit: Fit, x_NF: NDArray[Any]) -> NDArray[Any]:
    mean_F, spread_F, weights_F = fit
    z_NF = np.column_stack([(x_NF - mean_F) / spread_F, np.ones(len(x_NF))])
    found: NDArray[Any] = 1 / (1 + np.exp(-np.clip(z_NF @ weights_F, -30, 30)))
    return found
