"""What a sweep over checkpoints shows: how reflection goes with compute, and what else would explain it.

A *point* is one checkpoint on one family of items. All functions here are pure; they take points and give estimates.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

from secondthought.stats import correlation, holm, mcnemar, slope
from secondthought.types import Estimate

MEASURES = {
    "accuracy": ("flawed/wait", "accuracy"),
    "explicit_rate": ("flawed/wait", "explicit_rate"),
    "explicit_accuracy": ("flawed/wait", "explicit_accuracy"),
    "implicit_accuracy": ("flawed/wait", "implicit_accuracy"),
    "no_trigger": ("flawed/none", "accuracy"),
    "mistake": ("flawed/mistake", "accuracy"),
    "filler": ("flawed/filler", "accuracy"),
    "other_chain": ("other/wait", "accuracy"),
    "self": ("self/wait", "accuracy"),
    "solve": ("solve", "accuracy"),
    "false_alarms": ("clean/wait", "explicit_rate"),
    "above_chance": ("flawed/wait", "above_chance"),
    "detection": ("flawed/wait", "detection"),
}
"""What is correlated with compute: which metric of which cell. ``above_chance`` is the accuracy less what changing the answer
at random would give, ``detection`` how much oftener a flawed chain is called wrong than a right one."""


@dataclass(frozen=True)
class Point:
    """One checkpoint: where it stands, and what was measured (``cells[cell][metric]`` as values).

    ``parameters`` and ``tokens`` (read in pre-training) give ``compute`` = 6 N D, in FLOP. ``run`` tells checkpoints of one
    training run from others. ``right`` holds, for some cells, a score for each item by its id.
    """

    name: str
    series: str
    size: str
    run: str
    parameters: int
    tokens: float | None
    cells: Mapping[str, Mapping[str, float]]
    right: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    frontier: Sequence[Mapping[str, float]] = ()

    @property
    def compute(self) -> float:
        """6 N D in FLOP; nan where the tokens are not known."""
        return 6.0 * self.parameters * self.tokens if self.tokens else math.nan

    def value(self, measure: str) -> float:
        """A measure by its name in :data:`MEASURES`; nan where its cell was not told."""
        cell, metric = MEASURES[measure]
        return self.cells.get(cell, {}).get(metric, math.nan)


def correlations(points: Sequence[Point]) -> dict[str, dict[str, Estimate]]:
    """Each measure against log compute: Pearson and Spearman, pooled and within model size; resampled by training run.

    ``beyond_solving`` is the correlation within size after what direct accuracy explains has been taken out of both, and
    ``with_solving`` that of the measure with direct accuracy, given log compute: whether reflecting is more than being able.
    ``per_decade`` is the slope within size, in points for ten times the compute.
    """
    here = [p for p in points if not math.isnan(p.compute) and p.compute > 0]
    log_compute, sizes = [math.log(p.compute) for p in here], [p.size for p in here]
    runs: Any = [p.run for p in here] if len({p.run for p in here}) > 3 else None
    solve = [p.value("solve") for p in here]
    found = {}
    for measure in MEASURES:
        values = [p.value(measure) for p in here]
        if sum(not math.isnan(v) for v in values) < 3:
            continue
        found[measure] = {
            "pooled": correlation(log_compute, values, clusters=runs),
            "within_size": correlation(log_compute, values, within=sizes, clusters=runs),
            "pooled_spearman": correlation(log_compute, values, ranks=True, clusters=runs),
            "within_size_spearman": correlation(log_compute, values, within=sizes, ranks=True, clusters=runs),
            "beyond_solving": correlation(log_compute, values, within=sizes, given=solve, clusters=runs),
            "with_solving": correlation(solve, values, within=sizes, given=log_compute, clusters=runs),
            "per_decade": slope([c / math.log(10) for c in log_compute], values, within=sizes, clusters=runs),
        }
    return found


def steps(points: Sequence[Point], cell: str = "flawed/wait") -> list[dict[str, Any]]:
    """Each checkpoint against the one before it in its run, and the last against the first: McNemar's test on the same items,
    p values corrected for all comparisons together (Holm).
    """
    pairs: list[tuple[Point, Point]] = []
    for run in dict.fromkeys(p.run for p in points):
        order = sorted((p for p in points if p.run == run and cell in p.right), key=lambda p: p.tokens or 0)
        pairs += [*pairwise(order), *([(order[0], order[-1])] if len(order) > 2 else [])]
    found: list[dict[str, Any]] = []
    for before, after in pairs:
        shared = before.right[cell].keys() & after.right[cell].keys()
        old: list[float] = [before.right[cell][key] for key in sorted(shared)]
        new: list[float] = [after.right[cell][key] for key in sorted(shared)]
        change = sum(new) / len(new) - sum(old) / len(old) if shared else math.nan
        found.append({"from": before.name, "to": after.name, "change": change, "n": len(shared), "p": mcnemar(new, old)})
    for one, corrected in zip(found, holm([one["p"] for one in found]), strict=True):
        one["p_holm"] = corrected
    return found


def always_failed(points: Sequence[Point]) -> dict[str, set[str]]:
    """For each size, the items that every one of its checkpoints fails unaided: the paper's self-reflection set."""
    found: dict[str, set[str]] = {}
    for p in points:
        failed = {key for key, score in p.right.get("solve", {}).items() if score == 0}
        found[p.size] = found[p.size] & failed if p.size in found else failed
    return found


def self_reflection(points: Sequence[Point]) -> dict[str, Any]:
    """Self-reflection on the items that all checkpoints of a size fail, as the paper has it, and how many those are."""
    sets = always_failed(points)
    values = {}
    for p in points:
        scores = [score for key, score in p.right.get("self/wait", {}).items() if key in sets.get(p.size, ())]
        values[p.name] = sum(scores) / len(scores) if scores else math.nan
    return {"items": {size: len(keys) for size, keys in sets.items()}, "accuracy": values}


def trade_off(points: Sequence[Point], target: float) -> list[dict[str, Any]]:
    """What each checkpoint must write, for each item, to have solved a share ``target``: test compute 2 N w against training.

    Tokens and solved shares after 0, 1, 2, ... triggers are interpolated; where the share is never reached there is no value.
    """
    found = []
    for p in points:
        before = {"tokens": 0.0, "solved": 0.0}
        needed = math.nan
        for after in p.frontier:
            if after["solved"] >= target > before["solved"]:
                share = (target - before["solved"]) / (after["solved"] - before["solved"])
                needed = before["tokens"] + share * (after["tokens"] - before["tokens"])
                break
            before = {"tokens": after["tokens"], "solved": after["solved"]}
        found.append({"name": p.name, "train": p.compute, "test": 2.0 * p.parameters * needed, "tokens": needed})
    return found
