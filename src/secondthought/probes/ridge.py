"""Linear readouts of hidden states: what a regression fitted on some texts says of the others."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

Matrix = NDArray[np.floating[Any]]
FOLDS = 4


def ridge(x_NM: Matrix, y_N: Matrix, strength: float = 1.0) -> tuple[Matrix, Matrix, float]:
    """Means, weights and shift of a ridge regression, in the units of standardised columns.

    ``strength`` is the penalty as a share of the number of rows.
    """
    mean_M, spread_M = x_NM.mean(axis=0), x_NM.std(axis=0)
    spread_M = np.where(spread_M < 1e-9, 1.0, spread_M)
    z_NM = (x_NM - mean_M) / spread_M
    shift = float(y_N.mean())
    rows, columns = z_NM.shape
    if rows < columns:  # the same weights, from a smaller system
        alpha_N = np.linalg.solve(z_NM @ z_NM.T + strength * rows * np.eye(rows), y_N - shift)
        weights_M = z_NM.T @ alpha_N
    else:
        weights_M = np.linalg.solve(z_NM.T @ z_NM + strength * rows * np.eye(columns), z_NM.T @ (y_N - shift))
    return mean_M, weights_M / spread_M, shift


def cross_predicted(x_NM: Matrix, y_N: Matrix, owners: Sequence[Hashable], strength: float = 0.1) -> Matrix:
    """For each row what a regression on the rows of other owners says of it.

    >>> x = np.arange(40.0)[:, None]
    >>> bool(np.abs(cross_predicted(x, 2 * x[:, 0], [i % 8 for i in range(40)], 1e-9) - 2 * x[:, 0]).max() < 1e-3)
    True
    """
    number = {owner: i % FOLDS for i, owner in enumerate(dict.fromkeys(owners))}
    fold_N, found_N = np.array([number[owner] for owner in owners]), np.zeros(len(y_N))
    for fold in range(FOLDS):
        read = fold_N == fold
        if read.any() and (~read).any():
            mean_M, weights_M, shift = ridge(x_NM[~read], y_N[~read], strength)
            found_N[read] = (x_NM[read] - mean_M) @ weights_M + shift
    return found_N


def difference_of_means(x_NM: Matrix, high_N: NDArray[np.bool_]) -> Matrix:
    """The unit vector from the mean of the other rows to that of the ``high`` ones; zeros where all rows are of one kind.

    >>> difference_of_means(np.array([[0.0, 1.0], [2.0, 1.0]]), np.array([False, True])).tolist()
    [1.0, 0.0]
    """
    if not high_N.any() or high_N.all():
        return np.zeros(x_NM.shape[1])
    found_M = x_NM[high_N].mean(axis=0) - x_NM[~high_N].mean(axis=0)
    return np.asarray(found_M / max(float(np.linalg.norm(found_M)), 1e-12))
