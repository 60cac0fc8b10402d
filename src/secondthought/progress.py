"""How a long run is watched: live bars in a terminal, plain lines anywhere else."""

from __future__ import annotations

import math
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)


class Watcher(Protocol):
    """Somebody who wants to know how things are going."""

    def phase(self, text: str) -> None:
        """A new phase has begun."""
        ...

    def step(self, step: int, steps: int, stats: dict[str, float]) -> None:
        """A part of it is done."""
        ...


SHOWN = {
    "reward/mean": "reward",
    "reward/first": "first",
    "reward/retry": "retry",
    "dev/second": "dev second",
    "loss": "loss",
    "speed/tokens_per_second": "tok/s",
}


def words(stats: dict[str, float]) -> str:
    """The figures worth seeing while one waits.

    >>> words({"reward/retry": 0.5, "speed/tokens_per_second": 5123.4, "x": 1.0})
    'retry 0.50  tok/s 5123'
    """
    found = [(label, stats[name]) for name, label in SHOWN.items() if name in stats and not math.isnan(stats[name])]
    return "  ".join(f"{label} {value:.0f}" if value >= 100 else f"{label} {value:.2f}" for label, value in found)


class Silence:
    """Nobody watches: for processes in the background."""

    def phase(self, text: str) -> None:
        """Nothing."""

    def step(self, step: int, steps: int, stats: dict[str, float]) -> None:
        """Nothing."""


class Lines:
    """Plain lines: one for each phase, one at most every five seconds while steps go by."""

    def __init__(self) -> None:
        self.began = time.perf_counter()
        self.told = 0.0

    def phase(self, text: str) -> None:
        """A line."""
        print(f"[{time.perf_counter() - self.began:6.0f} s] {text}", flush=True)

    def step(self, step: int, steps: int, stats: dict[str, float]) -> None:
        """A line, if the last is old enough or this is the end."""
        now = time.perf_counter()
        if now - self.told > 5 or step == steps or "dev/second" in stats:
            self.told = now
            self.phase(f"step {step}/{steps}  {words(stats)}" if stats else f"    {step}/{steps}")


class Bars:
    """Each phase is a line that stays; below the last one moves a bar with the time gone, the time left, and the figures."""

    def __init__(self, progress: Progress) -> None:
        self.progress = progress
        self.task = progress.add_task("", total=None, figures="")

    def phase(self, text: str) -> None:
        """A line, and the bar begins anew."""
        self.progress.console.print(text, highlight=False)
        self.progress.remove_task(self.task)
        self.task = self.progress.add_task("", total=None, figures="")

    def step(self, step: int, steps: int, stats: dict[str, float]) -> None:
        """Move the bar."""
        self.progress.update(self.task, completed=step, total=steps, figures=words(stats))


@contextmanager
def watcher() -> Iterator[Watcher]:
    """Bars where there is a terminal, lines where there is none; of several processes only the first one tells."""
    if os.environ.get("RANK", "0") != "0":
        yield Silence()
        return
    if not sys.stdout.isatty():
        yield Lines()
        return
    columns = (
        SpinnerColumn(), BarColumn(bar_width=16), MofNCompleteColumn(), TimeElapsedColumn(), TextColumn("left"),
        TimeRemainingColumn(), TextColumn("{task.fields[figures]}"),
    )  # fmt: skip
    with Progress(*columns, console=Console(), refresh_per_second=4, transient=True) as progress:
        yield Bars(progress)
