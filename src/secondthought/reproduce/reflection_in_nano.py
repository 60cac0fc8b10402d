"""The experiment that the paper could not do: the same pre-training with and without text about noticing one's mistakes.

OUT/checkpoints/ARM/SIZE/seed_S/   the family (:mod:`secondthought.nano.family`), made by as many processes as wanted
OUT/sweep/                         the probe of reflection over all of it (:mod:`secondthought.sweep`)
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from secondthought.files import UserError
from secondthought.nano.family import arms, grow, unfinished
from secondthought.probes.reflection import Setting
from secondthought.progress import Watcher
from secondthought.sweep import Options, checkpoints_of, sweep
from secondthought.tasks.chains import items

BUDGETS = {"quick": arms(sizes=("0.1m",), seeds=1, checkpoints=6), "full": arms()}
ITEMS = {"quick": 200, "full": 500}


def reproduce(out: Path, budget: str, workers: int, watcher: Watcher) -> dict[str, Any]:
    """Train what is not trained, measure what is not measured, and return the summary of the sweep.

    Raises UserError for an unknown budget, and if a training process dies.
    """
    if budget not in BUDGETS:
        raise UserError(f"there is no budget {budget!r}; choose {' or '.join(BUDGETS)}")
    family, place = BUDGETS[budget], out / "checkpoints"
    if waiting := unfinished(family, place):
        watcher.phase(f"pre-training {len(waiting)} models, {workers} at a time")
        grow(family, place, workers, watcher)
    setting = Setting(temperature=1.0, waits=2, batch=512)
    options = Options(cache=False)
    return sweep(out / "sweep", checkpoints_of([str(place)]), items(ITEMS[budget]), "chains", setting, options, watcher)
