"""How well stated probabilities fit what happened: functions of confidences ``q`` in [0, 1] and outcomes ``c`` in {0, 1}."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from itertools import groupby
from statistics import fmean

BINS = 10


def brier(q: Sequence[float], c: Sequence[float]) -> float:
    """The mean of ``(q - c)^2`` (Brier 1950).

    >>> round(brier([0.9, 0.9], [1, 0]), 2)
    0.41
    """
    return fmean((a - b) ** 2 for a, b in zip(q, c, strict=True)) if q else math.nan


def decomposition(q: Sequence[float], c: Sequence[float]) -> dict[str, float]:
    """Murphy's parts of the Brier score over the distinct confidences: ``brier = reliability - resolution + uncertainty``.

    >>> parts = decomposition([0.9, 0.9, 0.1, 0.1], [1, 0, 0, 0])
    >>> whole = parts["reliability"] - parts["resolution"] + parts["uncertainty"]
    >>> math.isclose(whole, brier([0.9, 0.9, 0.1, 0.1], [1, 0, 0, 0]))
    True
    """
    groups: dict[float, list[float]] = defaultdict(list)
    for a, b in zip(q, c, strict=True):
        groups[a].append(b)
    base = fmean(c)
    return {
        "reliability": sum(len(hit) * (a - fmean(hit)) ** 2 for a, hit in groups.items()) / len(q),
        "resolution": sum(len(hit) * (fmean(hit) - base) ** 2 for hit in groups.values()) / len(q),
        "uncertainty": base * (1 - base),
    }


def ece(q: Sequence[float], c: Sequence[float], bins: int = BINS) -> float:
    """The expected calibration error over equal bins ``[k/10, (k+1)/10)``, 1 belonging to the last (Naeini et al. 2015).

    >>> round(ece([0.95, 0.95, 0.05, 0.05], [1, 0, 0, 0]), 3)
    0.25
    """
    parts: list[list[tuple[float, float]]] = [[] for _ in range(bins)]
    for pair in zip(q, c, strict=True):
        parts[place(pair[0], bins)].append(pair)
    return error_of(parts, len(q))


def mass_ece(q: Sequence[float], c: Sequence[float], bins: int = BINS) -> float:
    """The same over bins of equal numbers, equal confidences staying together.

    >>> mass_ece([0.5] * 4, [1, 1, 0, 0])
    0.0
    """
    pairs = sorted(zip(q, c, strict=True))
    parts: list[list[tuple[float, float]]] = [[]]
    for i, pair in enumerate(pairs):
        full = len(parts[-1]) >= len(pairs) / bins
        if full and pair[0] != pairs[i - 1][0]:
            parts.append([])
        parts[-1].append(pair)
    return error_of(parts, len(pairs))


def error_of(parts: Sequence[Sequence[tuple[float, float]]], n: int) -> float:
    """The distance of mean confidence and hit rate, by the size of each part."""
    gaps = (abs(fmean(a for a, _ in part) - fmean(b for _, b in part)) * len(part) for part in parts if part)
    return sum(gaps) / n if n else math.nan


def place(q: float, bins: int = BINS) -> int:
    """The bin of a confidence."""
    return min(bins - 1, int(q * bins))


def auroc(q: Sequence[float], c: Sequence[float]) -> float:
    """How often a right answer has the higher confidence than a wrong one, ties counting half; nan where there is one kind.

    >>> auroc([0.9, 0.5, 0.5, 0.1], [1, 1, 0, 0])
    0.875
    """
    ones, zeros = ([a for a, b in zip(q, c, strict=True) if b == kind] for kind in (1, 0))
    if not ones or not zeros:
        return math.nan
    order = sorted([(a, 1) for a in ones] + [(a, 0) for a in zeros])
    ranks, i = 0.0, 0
    while i < len(order):
        j = i
        while j < len(order) and order[j][0] == order[i][0]:
            j += 1
        ranks += sum(kind for _, kind in order[i:j]) * (i + j + 1) / 2
        i = j
    return (ranks - len(ones) * (len(ones) + 1) / 2) / (len(ones) * len(zeros))


def prauc(q: Sequence[float], c: Sequence[float]) -> float:
    """The area under precision over recall of "right", as average precision, equal confidences together; nan where none is
    right.

    >>> prauc([0.9, 0.8, 0.1], [1, 0, 1])
    0.8333333333333333
    """
    total = sum(c)
    if not total:
        return math.nan
    found, hits, seen = 0.0, 0.0, 0
    for _, tied in groupby(sorted(zip(q, c, strict=True), key=lambda pair: -pair[0]), key=lambda pair: pair[0]):
        here = [b for _, b in tied]
        seen, hits = seen + len(here), hits + sum(here)
        found += sum(here) / total * hits / seen
    return found


def ranked(q: Sequence[float], c: Sequence[float]) -> float:
    """:func:`auroc`, 0.5 where there is only one kind of outcome."""
    found = auroc(q, c)
    return 0.5 if math.isnan(found) else found


MEASURES: Mapping[str, Callable[[Sequence[float], Sequence[float]], float]] = {
    "accuracy": lambda q, c: fmean(c), "confidence": lambda q, c: fmean(q), "brier": brier, "ece": ece, "mass_ece": mass_ece,
    "auroc": ranked, "prauc": prauc, "reliability": lambda q, c: decomposition(q, c)["reliability"],
    "resolution": lambda q, c: decomposition(q, c)["resolution"],
}  # fmt: skip
"""All of them by name."""


def weighted_vote(answers: Sequence[str], weights: Sequence[float]) -> str | None:
    """The answer with the highest sum of weights, the first of equals; None where there is none.

    >>> weighted_vote(["4", "5", "5"], [0.9, 0.3, 0.3])
    '4'
    """
    totals: dict[str, float] = {}
    for answer, weight in zip(answers, weights, strict=True):
        totals[answer] = totals.get(answer, 0.0) + weight
    return max(totals, key=lambda answer: totals[answer]) if totals else None


def reliability(q: Sequence[float], c: Sequence[float], bins: int = BINS) -> Mapping[int, tuple[float, float, int]]:
    """By bin: mean confidence, hit rate and how many; for a reliability diagram."""
    parts = {k: [pair for pair in zip(q, c, strict=True) if place(pair[0], bins) == k] for k in range(bins)}
    return {k: (fmean(a for a, _ in part), fmean(b for _, b in part), len(part)) for k, part in parts.items() if part}
