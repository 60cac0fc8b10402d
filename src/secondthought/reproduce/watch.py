"""How often the watch over self-training is right: power and false alarms over simulated histories of known truth.

OUT/results.md, summary.json, alarms.png
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any, ClassVar

from secondthought.report import watch as page
from secondthought.reproduce.base import OURS, Reproduced, Reproduction, below, check_budget, claim
from secondthought.runs.files import write_json
from secondthought.runs.progress import Progress
from secondthought.runs.reports import estimate_json
from secondthought.stats import wilson
from secondthought.training.watch import Point, Watch
from secondthought.types import Claim, Estimate, seed_of

MEASUREMENTS = 12
START = 0.6  # truth in the beginning
SIZES = (200, 500, 2000)  # frozen problems
# What truth does from the first to the last of the measurements: the change, and when it begins (of all measurements).
HISTORIES: Mapping[str, tuple[str, float, float]] = {
    "flat": ("truth stays", 0.0, 0.0),
    "rising": ("truth rises by 20 points", 0.2, 0.0),
    "falls_5": ("truth falls by 5 points", -0.05, 0.0),
    "falls_10": ("truth falls by 10 points", -0.1, 0.0),
    "falls_20": ("truth falls by 20 points", -0.2, 0.0),
    "turns": ("truth rises by 10 points, then falls by 20", -0.2, 0.5),
}
SOUND = ("flat", "rising")


@dataclass(frozen=True)
class WatchPower(Reproduction):
    """Simulate histories of twelve measurements in which agreement rises throughout, and count alarms.

    histories    so many of each kind
    z, patience  how far truth must have fallen, in standard errors, and in how many measurements in a row
    """

    name: ClassVar[str] = "watch"
    budgets: ClassVar[dict[str, str]] = {"quick": "seconds", "full": "seconds"}
    histories: int = 1000
    z: float = Watch.z
    patience: int = Watch.patience

    def run(self, budget: str, out: Path, progress: Progress) -> Reproduced:
        """Simulate, count, and write the table."""
        check_budget(self, budget)
        progress.phase(f"simulating {self.histories} histories of each of {len(HISTORIES)} kinds")
        watch, tables = Watch("agreement", "truth", z=self.z, patience=self.patience), dict[str, Any]()
        for number, kind in enumerate(HISTORIES):
            tables[kind] = {str(size): estimate_json(alarms(watch, kind, size, self.histories)) for size in SIZES}
            progress.step(number + 1, len(HISTORIES), {})
        out.mkdir(parents=True, exist_ok=True)
        write_json(out / "summary.json", tables)
        return Reproduced(tuple(claims_of(watch, self.histories)), tables, page.write(out, tables, HISTORIES))


reproduction = WatchPower


def history(kind: str, size: int, rng: Random) -> list[Point]:
    """One history: agreement rises from 60 to 90 %, truth as its kind says, measured on so many problems drawn anew each time
    (frozen ones vary less).
    """
    _, change, turn = HISTORIES[kind]
    found = []
    for number in range(MEASUREMENTS):
        share = number / (MEASUREMENTS - 1)
        truth = START + (0.1 * min(1.0, share / turn) if turn else 0.0)
        truth += change * max(0.0, share - turn) / (1 - turn)
        seen = sum(rng.random() < truth for _ in range(size)) / size
        noisy = START + 0.3 * share + rng.gauss(0, 0.01)
        found.append(Point(number, noisy, seen, math.sqrt(max(seen * (1 - seen), 1 / size) / size)))
    return found


def alarms(watch: Watch, kind: str, size: int, histories: int) -> Estimate:
    """The share of histories with an alarm, with its Wilson interval."""
    rng = Random(seed_of("watch", kind, size))
    hits = sum(watch.alarm(history(kind, size, rng)) is not None for _ in range(histories))
    low, high = wilson(hits / histories, histories)
    return Estimate(hits / histories, low, high, histories)


def claims_of(watch: Watch, histories: int, sizes: Sequence[int] = (500,)) -> Iterator[Claim]:
    """What a user may rely on, with 500 frozen problems."""
    for size in sizes:
        worst = max((alarms(watch, kind, size, histories) for kind in SOUND), key=lambda e: e.value)
        yield below(
            "few_false_alarms",
            f"without a fall at most one history in twenty raises it ({size} problems)",
            OURS,
            None,
            worst,
            0.05,
        )
        found = alarms(watch, "falls_20", size, histories)
        yield claim(
            "power", f"a fall of 20 points raises it in nine histories of ten ({size} problems)", OURS, None, found, null=0.9
        )
