"""Reports of the same probe on the same units, one for each seed: their scores pooled, in the order of seeds and units."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import fmean

from secondthought.runs.reports import report_from
from secondthought.stats import difference, mean, over_seeds
from secondthought.types import Estimate, Report

Kept = Callable[[str], bool]


class Pooled:
    """Some reports, one for each seed. Intervals resample units (the same in every seed); :meth:`seeds` has one over seeds."""

    def __init__(self, reports: Sequence[Report]) -> None:
        self.reports = list(reports)
        self.units = [unit for report in self.reports for unit in report.units]

    @classmethod
    def of(cls, runs: Sequence[Path], label: str) -> Pooled:
        """The reports that some run folders keep under a label."""
        paths = [run / "reports" / f"{label}.json" for run in runs]
        return cls([report_from(json.loads(path.read_text(encoding="utf-8"))) for path in paths])

    def scores(self, arm: str) -> list[float]:
        """The score of every unit in an arm; nan where it was not measured."""
        return [
            score
            for report in self.reports
            for score in ({a.name: a.scores for a in report.arms}.get(arm) or (math.nan,) * len(report.units))
        ]

    def mean(self, arm: str, kept: Kept = lambda unit: True) -> Estimate:
        """An arm over all (kept) units."""
        pairs = [(s, unit) for s, unit in zip(self.scores(arm), self.units, strict=True) if kept(unit)]
        unit = next((a.estimate.unit for report in self.reports for a in report.arms if a.name == arm), "fraction")
        return mean([s for s, _ in pairs], [u for _, u in pairs], unit=unit)

    def seeds(self, arm: str) -> Estimate:
        """The same with an interval over seeds."""
        return over_seeds([report.arm(arm).estimate.value for report in self.reports])

    def minus(self, other: Pooled, arm: str, kept: Kept = lambda unit: True) -> Estimate:
        """The difference to another, unit by unit and seed by seed."""
        rows = [
            (new, old, unit)
            for new, old, unit in zip(self.scores(arm), other.scores(arm), self.units, strict=True)
            if kept(unit)
        ]
        return paired(rows)

    def between(self, left: str, right: str) -> Estimate:
        """The difference of two arms, on the units that both have."""
        return paired(list(zip(self.scores(left), self.scores(right), self.units, strict=True)))

    def by_unit(self, arm: str) -> dict[str, float]:
        """The mean over seeds for each unit."""
        found: dict[str, list[float]] = {}
        for unit, score in zip(self.units, self.scores(arm), strict=True):
            found.setdefault(unit, []).append(score)
        return {unit: fmean(scores) for unit, scores in found.items()}

    def table(self, title: str) -> dict[str, float]:
        """The first column of percentages of a table as fractions, by row, mean over seeds (0 where a seed lacks the row)."""
        tables = [
            {str(row[0]): float(str(row[1])) / 100 for row in t.rows}
            for report in self.reports
            for t in report.tables
            if t.title == title
        ]
        names = dict.fromkeys(name for table in tables for name in table)
        return {name: sum(table.get(name, 0.0) for table in tables) / max(1, len(self.reports)) for name in names}

    def length(self, arm: str, given: tuple[str, float] | None = None) -> Estimate:
        """The mean of an arm; with ``given`` over the units where another arm scored so."""
        wanted = self.scores(given[0]) if given else [math.nan] * len(self.units)
        scores = [
            score if given is None or other == given[1] else math.nan
            for score, other in zip(self.scores(arm), wanted, strict=True)
        ]
        return mean(scores, self.units, unit="tokens")


def paired(rows: Sequence[tuple[float, float, str]]) -> Estimate:
    """The difference of pairs of scores, clustered by unit."""
    return difference([a for a, _, _ in rows], [b for _, b, _ in rows], [key for _, _, key in rows])
