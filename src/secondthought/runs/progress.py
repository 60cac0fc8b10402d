"""How a long run shows its progress: live bars in a terminal, plain lines with the time left anywhere else."""

from __future__ import annotations

import math
import os
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Protocol

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, SpinnerColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.progress import Progress as RichProgress

from secondthought.runs.redaction import hide


class Progress(Protocol):
    """Whoever shows how a run is going.

    >>> progress: Progress = Silence()
    >>> progress.phase("loading"); progress.step(1, 10, {"loss": 0.5})
    """

    def phase(self, text: str) -> None:
        """A new phase has begun."""
        ...

    def step(self, step: int, steps: int, stats: Mapping[str, float]) -> None:
        """A part of it is done."""
        ...

    def beat(self, done: int, of: int, stats: Mapping[str, float]) -> None:
        """So many answers of the present part are there; called often, and shown now and then."""
        ...


SHOWN_BESIDE = {"loss": "loss", "speed/tokens_per_second": "tok/s"}


def figures(stats: Mapping[str, float]) -> str:
    """The figures worth seeing while one waits: every reward, what a curve measured, the loss, the speed.

    >>> figures({"reward/retry": 0.5, "second_try/second": 0.25, "second_try/second/low": 0.2, "speed/tokens_per_second": 5e3})
    'retry 0.50  second 0.25  tok/s 5000'
    """
    prefixes = {name.partition("/")[0] for name in stats if name.endswith("/low")} | {"reward"}
    found = {
        name: name.rpartition("/")[2] for name in stats
        if name.partition("/")[0] in prefixes and name.count("/") == 1 and math.isfinite(stats[name])
    }  # fmt: skip
    shown = {**found, **{name: label for name, label in SHOWN_BESIDE.items() if name in stats}}
    return "  ".join(
        f"{label} {stats[name]:.0f}" if stats[name] >= 100 else f"{label} {stats[name]:.2f}" for name, label in shown.items()
    )


def duration(seconds: float) -> str:
    """A time in words.

    >>> duration(42), duration(320), duration(7500)
    ('42 s', '5 min', '2 h 05 min')
    """
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60:02d} min"


class Silence:
    """Shows nothing: for processes in the background.

    >>> Silence().phase("nobody sees this")
    """

    def phase(self, text: str) -> None:
        """Nothing."""

    def step(self, step: int, steps: int, stats: Mapping[str, float]) -> None:
        """Nothing."""

    def beat(self, done: int, of: int, stats: Mapping[str, float]) -> None:
        """Nothing."""


class Lines:
    """Plain lines: one for each phase, and while its steps go by one at most every ``every`` seconds, with the time left."""

    def __init__(self, every: float = 10.0, *, stderr: bool = False) -> None:
        self.every, self.stderr = every, stderr
        self.began = time.perf_counter()
        self.shown = 0.0
        self.part = 0.0  # when the first answer of the present part was there
        self.first: tuple[float, int] | None = None  # when the first step of the phase was reported, and which it was

    def phase(self, text: str) -> None:
        """A line."""
        self.first = None
        self._print(hide(text))

    def step(self, step: int, steps: int, stats: Mapping[str, float]) -> None:
        """A line, if the last is old enough or this is the end."""
        now = time.perf_counter()
        self.first = self.first or (now, step)
        if now - self.shown > self.every or step >= steps or any(name.endswith("/low") for name in stats):
            self.shown = now
            since, at = self.first
            left = f", {duration((now - since) / (step - at) * (steps - step))} left" if at < step < steps else ""
            shown = figures(stats)
            self._print(f"step {step}/{steps}{left}  {shown}" if shown else f"    {step}/{steps}{left}")

    def beat(self, done: int, of: int, stats: Mapping[str, float]) -> None:
        """A line, if the last is old enough."""
        now = time.perf_counter()
        if done == 1:
            self.part = now
        if now - self.shown > self.every and done < of:
            self.shown = now
            left = f", at most {duration((now - self.part) / (done - 1) * (of - done))} left" if done > 1 else ""
            self._print(f"    {done}/{of} answers of this part{left}  {figures(stats)}".rstrip())

    def _print(self, text: str) -> None:
        file = sys.stderr if self.stderr else sys.stdout
        print(f"[{time.perf_counter() - self.began:6.0f} s] {text}", flush=True, file=file)


class Bars:
    """Each phase is a line that stays; below the last one moves a bar with the time gone, the time left, and the figures."""

    def __init__(self, progress: RichProgress) -> None:
        self.progress = progress
        self.task = progress.add_task("", total=None, figures="")

    def phase(self, text: str) -> None:
        """A line, and the bar begins anew."""
        self.progress.console.print(hide(text), highlight=False)
        self.progress.remove_task(self.task)
        self.task = self.progress.add_task("", total=None, figures="")

    def step(self, step: int, steps: int, stats: Mapping[str, float]) -> None:
        """Move the bar."""
        self.progress.update(self.task, completed=step, total=steps, figures=figures(stats))

    def beat(self, done: int, of: int, stats: Mapping[str, float]) -> None:
        """Beside the bar."""
        self.progress.update(self.task, figures=f"{done}/{of} answers of this part  {figures(stats)}")


@contextmanager
def show_progress(*, stderr: bool = False) -> Iterator[Progress]:
    """Bars where there is a terminal, lines where there is none; of several processes only the first one shows any.

    ``stderr`` keeps standard output free, for commands that print JSON there.

    >>> with show_progress() as progress:
    ...     progress.phase("measuring")  # doctest: +ELLIPSIS
    [...s] measuring
    """
    if os.environ.get("RANK", "0") != "0":
        yield Silence()
        return
    if not (sys.stderr if stderr else sys.stdout).isatty():
        yield Lines(stderr=stderr)
        return
    columns = (
        SpinnerColumn(), BarColumn(bar_width=16), MofNCompleteColumn(), TimeElapsedColumn(), TextColumn("left"),
        TimeRemainingColumn(), TextColumn("{task.fields[figures]}"),
    )  # fmt: skip
    with RichProgress(*columns, console=Console(stderr=stderr), refresh_per_second=4, transient=True) as progress:
        yield Bars(progress)
