"""Contenders take turns in one process: wall time, CPU time and peak memory of each, as medians."""

from __future__ import annotations

import gc
import os
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any


@dataclass
class Taken:
    """What the runs of one contender took; seconds and MiB above what was held before."""

    wall: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)
    peak: list[float] = field(default_factory=list)

    def figures(self) -> dict[str, Any]:
        """Medians and ranges."""
        return {
            "wall_s": round(median(self.wall), 5),
            "cpu_s": round(median(self.cpu), 5),
            "wall_range_s": [round(min(self.wall), 5), round(max(self.wall), 5)],
            "peak_mib": round(median(self.peak), 1),
            "repeats": len(self.wall),
        }


class Watch:
    """Measures a stretch of work; used as a context manager it adds one run to ``taken``."""

    def __init__(self, taken: Taken) -> None:
        self.taken = taken

    def __enter__(self) -> None:
        gc.collect()
        self.held = _memory("VmRSS")
        if _forgets_peak():
            Path("/proc/self/clear_refs").write_text("5")
        self.wall, self.cpu = time.perf_counter(), time.process_time()

    def __exit__(self, *_: object) -> None:
        self.taken.wall.append(time.perf_counter() - self.wall)
        self.taken.cpu.append(time.process_time() - self.cpu)
        self.taken.peak.append(max(0.0, _memory("VmHWM") - self.held))


def alternate(contenders: dict[str, Callable[[], Any]], repeats: int, *, warm: bool = True) -> dict[str, dict[str, Any]]:
    """Every contender in turn, ``repeats`` times after one unmeasured round."""
    taken = {name: Taken() for name in contenders}
    for turn in range(repeats + warm):
        for name, run in contenders.items():
            if turn < warm:
                run()
                continue
            with Watch(taken[name]):
                run()
    return {name: one.figures() for name, one in taken.items()}


def ratio(figures: dict[str, dict[str, Any]], slow: str, fast: str, what: str = "wall_s") -> float:
    """How many times longer one contender took than another."""
    return round(float(figures[slow][what]) / float(figures[fast][what]), 2)


def _memory(name: str) -> float:
    status = Path("/proc/self/status")
    if not status.exists():
        return 0.0
    line = next((line for line in status.read_text().splitlines() if line.startswith(name)), f"{name}: 0 kB")
    return int(line.split()[1]) / 1024


def _forgets_peak() -> bool:
    return os.access("/proc/self/clear_refs", os.W_OK)
