"""The experiment that the paper could not do: the same pre-training with and without text about noticing one's mistakes.

OUT/checkpoints/ARM/SIZE/seed_S/   the family (:mod:`secondthought.nano.family`), made by as many processes as wanted
OUT/sweep/                         the probe of reflection over all of it (:mod:`secondthought.sweep`)
"""

from __future__ import annotations

import multiprocessing
import os
import time
from pathlib import Path
from typing import Any

from secondthought.evaluate import Watcher
from secondthought.files import UserError
from secondthought.nano.family import Family, finished, folder_of, train_family
from secondthought.probes.reflection import Setting
from secondthought.sweep import Options, checkpoints_of, sweep
from secondthought.tasks.chains import items

BUDGETS = {"quick": Family(sizes=("0.1m",), seeds=1, checkpoints=6), "full": Family()}
ITEMS = {"quick": 200, "full": 500}


def reproduce(out: Path, budget: str, workers: int, watcher: Watcher) -> dict[str, Any]:
    """Train what is not trained, measure what is not measured, and return the summary of the sweep.

    Raises UserError for an unknown budget, and if a training process dies.
    """
    if budget not in BUDGETS:
        raise UserError(f"there is no budget {budget!r}; choose {' or '.join(BUDGETS)}")
    family, place = BUDGETS[budget], out / "checkpoints"
    members = [(folder_of(place, *member), family.recipe(*member)) for member in family.members()]
    waiting = [folder for folder, recipe in members if not finished(folder, recipe)]
    if waiting:
        watcher.phase(f"pre-training {len(waiting)} models, {workers} at a time")
        grow(family, place, workers, watcher)
    setting = Setting(temperature=1.0, waits=2, batch=512)
    options = Options(cache=False)
    return sweep(out / "sweep", checkpoints_of([str(place)]), items(ITEMS[budget]), "chains", setting, options, watcher)


def grow(family: Family, place: Path, workers: int, watcher: Watcher) -> None:
    """Train the family in processes side by side, one thread each."""
    context = multiprocessing.get_context("spawn")
    threads = os.environ.get("OMP_NUM_THREADS")
    os.environ["OMP_NUM_THREADS"] = "1"
    started = [
        context.Process(target=train_family, args=(family, place), kwargs={"share": (k, workers)}, daemon=True)
        for k in range(workers)
    ]
    try:
        for process in started:
            process.start()
        total = family.checkpoints * sum(1 for _ in family.members())
        while any(process.is_alive() for process in started):
            watcher.step(sum(1 for _ in place.glob("*/*/*/checkpoints/step_*/COMPLETE")), total, {})
            if any(process.exitcode for process in started):
                break
            time.sleep(1)
    finally:
        for process in started:
            if process.is_alive():
                process.terminate()
            process.join()
        if threads is None:
            del os.environ["OMP_NUM_THREADS"]
        else:
            os.environ["OMP_NUM_THREADS"] = threads
    if failed := [process.exitcode for process in started if process.exitcode]:
        raise UserError(f"a training process ended with code {failed[0]}; run the same command again to continue")
