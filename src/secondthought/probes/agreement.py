"""Texts in a CSV, and which of them reflect: any detector, and how far it agrees with labels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from secondthought.errors import UserError
from secondthought.probes.detectors import detector_of
from secondthought.runs.reports import estimate_json
from secondthought.stats import wilson
from secondthought.tasks.jsonl import csv_rows
from secondthought.types import Estimate

YES, NO = {"yes", "true", "1", "y", "reflection"}, {"no", "false", "0", "n", "none"}


def read_texts(path: Path, text: str, label: str | None) -> tuple[list[str], list[bool] | None]:
    """A column of texts and, if ``label`` is given, one of labels. Raises UserError naming file, line or column."""
    texts, labels = [], []
    for line, row in csv_rows(path, [text] if label is None else [text, label]):
        texts.append(row[text])
        if label is not None:
            given = row[label].strip().lower()
            if given not in YES | NO:
                raise UserError(f"{path}, line {line}: {row[label]!r} is no label; use Yes or No")
            labels.append(given in YES)
    return texts, labels if label is not None else None


@dataclass(frozen=True)
class Agreement:
    """How well a detector agrees with labels: precision, recall (sensitivity), specificity and F1, 95 % intervals."""

    precision: Estimate
    recall: Estimate
    specificity: Estimate
    f1: Estimate
    undecided: int


def agreement(found: Sequence[bool | None], labels: Sequence[bool]) -> Agreement:
    """Compare; texts the detector could not decide count as False, and are counted.

    Precision, recall and specificity have Wilson's intervals, F1 one by bootstrap over texts.

    >>> round(agreement([True, True, False], [True, False, False]).f1.value, 2)
    0.67
    """
    pairs = [(bool(f), label) for f, label in zip(found, labels, strict=True)]
    hits = sum(f and label for f, label in pairs)
    return Agreement(
        _share(hits, sum(f for f, _ in pairs)),
        _share(hits, sum(label for _, label in pairs)),
        _share(sum(not f and not label for f, label in pairs), sum(not label for _, label in pairs)),
        _f1(pairs),
        sum(f is None for f in found),
    )


def _share(part: int, whole: int) -> Estimate:
    if not whole:
        return Estimate(float("nan"), float("nan"), float("nan"), 0)
    return Estimate(part / whole, *wilson(part / whole, whole), whole)


def _f1(pairs: Sequence[tuple[bool, bool]]) -> Estimate:
    import numpy as np

    data = np.array(pairs, dtype=float).reshape(-1, 2)
    drawn = np.random.default_rng(0).multinomial(len(data), np.full(len(data), 1 / max(1, len(data))), size=2000)
    sums = np.stack([drawn @ data.prod(axis=1), drawn @ data.sum(axis=1)])
    values = 2 * sums[0] / np.maximum(sums[1], 1)
    total = data.sum()
    value = float(2 * data.prod(axis=1).sum() / total) if total else float("nan")
    low, high = np.percentile(values, [2.5, 97.5])
    return Estimate(value, float(low), float(high), len(data))


def detect(path: Path, text: str, label: str | None, detector: str) -> dict[str, Any]:
    """``{"predictions": [...]}`` in row order; with labels also precision, recall, specificity and F1 with 95 % intervals."""
    texts, labels = read_texts(path, text, label)
    found = detector_of(detector)(texts)
    result: dict[str, Any] = {"detector": detector, "n": len(texts), "predictions": [bool(one) for one in found]}
    if undecided := sum(one is None for one in found):
        result["undecided"] = undecided
    if labels is not None:
        result |= agreement_json(agreement(found, labels))
    return result


def agreement_json(found: Agreement) -> dict[str, Any]:
    """Precision, recall, specificity and F1 as JSON."""
    return {name: estimate_json(getattr(found, name)) for name in (f.name for f in fields(found)) if name != "undecided"}
