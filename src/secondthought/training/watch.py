"""A watch over training that rewards itself: does agreement rise while truth falls?

A model that is paid for agreeing with itself, or that imitates its own labels, can come to agree on what is wrong (error
avalanching; arXiv 2309.08589). What it agrees on is a figure of training; whether that is true is measured on problems that
stay the same, with known answers that nothing learns from. A user without hidden truth gives some problems with answers as
``--tasks``: they are measured and never trained on.

At a measurement t let s be the one before it with the highest truth. There is an *alarm* if in this and in the ``patience`` - 1
measurements before it truth is below that of s by more than ``z`` standard errors, and agreement is above that of s.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any, Literal, NamedTuple

from secondthought.runs.progress import Progress
from secondthought.runs.reading import read_metrics

Z95 = 1.96


class Point(NamedTuple):
    """One measurement: agreement and truth as fractions, and the standard error of truth."""

    step: int
    agreement: float
    truth: float
    error: float


class Alarm(NamedTuple):
    """The measurement that raised it, and the best one before."""

    at: Point
    best: Point

    def __str__(self) -> str:
        return (
            f"agreement rose from {100 * self.best.agreement:.1f} % to {100 * self.at.agreement:.1f} % while truth on frozen "
            f"problems fell from {100 * self.best.truth:.1f} % (step {self.best.step}) to {100 * self.at.truth:.1f} %"
        )


@dataclass(frozen=True)
class Watch:
    """Which figures of metrics.jsonl are compared, and what follows an alarm.

    agreement    how much the model agrees with itself: a figure of each step (its mean since the last measurement is taken), or
                 of the curve. Empty: nothing is watched
    truth        how much of it is true, on frozen problems: an arm of a probe on the curve, with its interval
    action       log (say so and go on), stop (end training and measure it as it is) or back (end training and measure the
                 checkpoint with the highest truth)
    z, patience  how far truth must have fallen, in standard errors, and in how many measurements in a row
    """

    agreement: str = ""
    truth: str = ""
    action: Literal["log", "stop", "back"] = "log"
    z: float = 2.5
    patience: int = 2

    @property
    def back(self) -> str:
        """The figure by which a checkpoint is chosen after an alarm; empty if none is."""
        return self.truth if self.agreement and self.action == "back" else ""

    def points(self, lines: Sequence[Mapping[str, Any]]) -> list[Point]:
        """The measurements among the lines of metrics.jsonl."""
        found, since = list[Point](), list[float]()
        for line in lines:
            if (value := line.get(self.agreement)) is not None:
                since.append(float(value))
            truth, low, high = (line.get(self.truth + end) for end in ("", "/low", "/high"))
            if truth is None or low is None or high is None or not since:
                continue
            found.append(Point(int(line["step"]), fmean(since), float(truth), (float(high) - float(low)) / (2 * Z95)))
            since = []
        return found

    def alarm(self, points: Sequence[Point]) -> Alarm | None:
        """The first alarm in these measurements, if there is one.

        >>> said = [(1, 0.5, 0.5), (2, 0.6, 0.55), (3, 0.8, 0.3), (4, 0.9, 0.1)]
        >>> Watch("a", "t").alarm([Point(step, a, t, 0.02) for step, a, t in said]).at.step
        4
        """
        row = 0
        for number, point in enumerate(points):
            before = points[:number]
            best = max(before, key=lambda one: one.truth, default=point)
            fell = best.truth - point.truth > self.z * math.hypot(best.error, point.error)
            row = row + 1 if before and fell and point.agreement > best.agreement else 0
            if row >= self.patience:
                return Alarm(point, best)
        return None


class Watching:
    """A watch on the metrics of one run; a resume sees what was seen before."""

    def __init__(self, watch: Watch, folder: Path) -> None:
        self.watch, self.folder = watch, folder
        self.found = self._alarm()

    def look(self, progress: Progress) -> None:
        """Look at the measurements so far; an alarm is said once."""
        before, self.found = self.found, self._alarm()
        if self.found is not None and before is None:
            follows = {"log": "", "stop": ": training ends", "back": ": training ends and goes back"}[self.watch.action]
            progress.phase(f"warning: {self.found}{follows}")

    @property
    def over(self) -> bool:
        """Whether training ends."""
        return self.found is not None and self.watch.action != "log"

    def _alarm(self) -> Alarm | None:
        return self.watch.alarm(self.watch.points(read_metrics(self.folder))) if self.watch.agreement else None
