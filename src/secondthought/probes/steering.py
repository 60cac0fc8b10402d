"""What is done to the residual stream, and the sham that shows what any change of that size does.

>>> import torch
>>> stream, positions = torch.zeros(1, 3, 2), torch.arange(3)[None]
>>> add(np.array([1.0, 0.0]), 2.0, begin=1)(stream, positions)[0].tolist()
[[0.0, 0.0], [2.0, 0.0], [2.0, 0.0]]
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from secondthought.engines.base import Change, InterveneEngine
from secondthought.types import seed_of

Vector = NDArray[np.floating[Any]]
T = TypeVar("T")


def add(vector: Vector, amount: float = 1.0, *, begin: int = 0, end: int | None = None) -> Change:
    """``x + amount * vector`` at positions ``begin`` to ``end`` (None: all that follow)."""
    return at(begin, end, lambda stream, v: stream + amount * v, vector)


def project_out(vector: Vector, *, begin: int = 0, end: int | None = None) -> Change:
    """``x - (x . u) u`` with u the vector's direction: what the stream says along it is gone."""
    return set_to(vector, 0.0, begin=begin, end=end)


def set_to(vector: Vector, value: float, *, begin: int = 0, end: int | None = None) -> Change:
    """``x + (value - x . u) u`` with u the vector's direction: the stream says ``value`` along it."""
    unit = vector / max(float(np.linalg.norm(vector)), 1e-12)
    return at(begin, end, lambda stream, u: stream + (value - (stream @ u)[..., None]) * u, unit)


def at(begin: int, end: int | None, change: Callable[[Any, Any], Any], vector: Vector) -> Change:
    """A change that happens at some positions only."""

    def changed(stream_BTM: Any, positions_BT: Any) -> Any:
        import torch

        v = torch.as_tensor(np.asarray(vector), dtype=stream_BTM.dtype, device=stream_BTM.device)
        inside = (positions_BT >= begin) & (positions_BT < (1 << 40 if end is None else end))
        return torch.where(inside[..., None], change(stream_BTM, v), stream_BTM)

    return changed


def sham_of(vector: Vector, number: int, seed: int = 0) -> Vector:
    """A random vector of the same norm.

    >>> v = np.array([3.0, 4.0])
    >>> round(float(np.linalg.norm(sham_of(v, 0))), 6)
    5.0
    """
    drawn = np.random.default_rng(seed_of("sham vector", number, seed)).standard_normal(len(vector))
    return np.asarray(drawn * (np.linalg.norm(vector) / np.linalg.norm(drawn)))


def doses(
    model: InterveneEngine, layer: int, vector: Vector, amounts: Sequence[float], measure: Callable[[str, float], T], *,
    shams: int = 3, seed: int = 0, begin: int = 0, end: int | None = None,
) -> dict[tuple[str, float], T]:  # fmt: skip
    """What ``measure(arm, amount)`` finds while the model is steered: along the ``vector`` (arm ``steered``), and along so many
    random vectors of equal norm (``sham_1`` ...), by each amount.
    """
    found: dict[tuple[str, float], T] = {}
    for arm, used in {"steered": vector, **{f"sham_{k + 1}": sham_of(vector, k, seed) for k in range(shams)}}.items():
        for amount in amounts:
            with model.steer(layer, add(used, amount, begin=begin, end=end)):
                found[arm, amount] = measure(arm, amount)
    return found
