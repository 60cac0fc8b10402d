"""Contenders take turns in one process: wall time and CPU time of each, as medians."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from statistics import median
from typing import Any


@dataclass
class Taken:
    """What the runs of one contender took, in seconds."""

    wall: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)

    def figures(self) -> dict[str, Any]:
        """Medians and ranges."""
        return {
            "wall_s": round(median(self.wall), 5),
            "cpu_s": round(median(self.cpu), 5),
            "wall_range_s": [round(min(self.wall), 5), round(max(self.wall), 5)],
            "repeats": len(self.wall),
        }


class Watch:
    """Measures a stretch of work; used as a context manager it adds one run to ``taken``."""

    def __init__(self, taken: Taken) -> None:
        self.taken = taken

    def __enter__(self) -> None:
        gc.collect()
        self.wall, self.cpu = time.perf_counter(), time.process_time()

    def __exit__(self, *_: object) -> None:
        self.taken.wall.append(time.perf_counter() - self.wall)
        self.taken.cpu.append(time.process_time() - self.cpu)


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
