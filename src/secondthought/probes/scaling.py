"""What the probe of flawed chains shows over checkpoints: how reflection goes with compute, and what else would explain it.

A *point* is one checkpoint on one family of items. All functions here are pure; they take points and give estimates.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

from secondthought.probes.base import Measured
from secondthought.stats import correlation, decide, holm, mcnemar, slope
from secondthought.types import Cell, Curve, Effect, Estimate, Report, Table

NAMES = {
    "accuracy": "right after a flawed chain and “Wait,”",
    "explicit_rate": "says that something is wrong",
    "explicit_accuracy": "right and says so",
    "implicit_accuracy": "right silently",
    "no_trigger": "right without a trigger",
    "mistake": "right after “I made a mistake”",
    "filler": "right after a filler",
    "other_chain": "right after another question's chain",
    "self": "right after the own chain and “Wait,”",
    "solve": "right without a chain",
    "false_alarms": "says wrong of a right chain",
    "above_chance": "right after “Wait,”, less chance",
    "detection": "says wrong of flawed rather than right chains",
}
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

    ``parameters`` and ``tokens`` (read in pre-training) give ``compute`` = 6 N D, in FLOP. ``run`` separates checkpoints of one
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
        """A measure by its name in :data:`MEASURES`; nan where its cell was not measured."""
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


# --- the report over checkpoints -------------------------------------------------------------------------------------

KEPT = ("flawed/wait", "solve", "self/wait")
"""Cells whose scores are compared item by item."""
TRACES = {
    "solve": "no chain", "accuracy": "flawed chain, “Wait,”", "mistake": "… “I made a mistake”", "filler": "… filler",
    "no_trigger": "… no trigger",
}  # fmt: skip


def across(found: Sequence[Measured], labels: Mapping[str, str]) -> Report | None:
    """How recovery goes with compute, family by family and series by series; None with fewer than three known checkpoints."""
    families = dict.fromkeys(
        n.partition("/")[0] for one in found for n in one.report.figures if n.endswith("/flawed/wait/accuracy")
    )
    tables: list[Table] = []
    curves: list[Curve] = []
    figures: dict[str, Estimate] = {}
    effects: list[Effect] = []
    for family in families:
        points = [point_of(one, family, labels) for one in found]
        for series in dict.fromkeys(p.series for p in points):
            here = [p for p in points if p.series == series and not math.isnan(p.compute)]
            if len(here) < 3:
                continue
            title = f"{family} {series}".strip()
            known = correlations(here)
            figures |= {f"{title}/{m}/{name}": e for m, kinds in known.items() for name, e in kinds.items()}
            tables += [correlation_table(title, known), steps_table(title, here), failed_table(title, here)]
            curves += [*along_compute(title, here), *trade_off_curve(title, here)]
            if "accuracy" in known:
                effects.append(Effect(title, f"{title}: recovery, for ten times the compute", known["accuracy"]["per_decade"]))
    if not tables:
        return None
    verdict, reasons = (
        decide(effects[0].estimate) if len(effects) == 1 else ("not applicable", ("several series: see the effects",))
    )
    return Report(
        "flawed_chain", "recovery after a flawed chain grows with pre-training compute, within model size", verdict, reasons,
        effects=tuple(effects), decides=effects[0].name if effects else "", figures=figures,
        tables=tuple(t for t in tables if t.rows), curves=tuple(curves),
    )  # fmt: skip


def point_of(one: Measured, family: str, labels: Mapping[str, str]) -> Point:
    """A measured checkpoint as the analysis wants it."""
    figures, where = one.report.figures, one.checkpoint
    cells: dict[str, dict[str, float]] = {}
    for cell in labels:
        start = f"{family}/{cell}/"
        metrics = {name.removeprefix(start): e.value for name, e in figures.items() if name.startswith(start)}
        if metrics:
            cells[cell] = metrics
    chance = figures.get(f"{family}/flips")
    if "flawed/wait" in cells and chance is not None and not math.isnan(chance.value):
        cells["flawed/wait"]["above_chance"] = cells["flawed/wait"]["accuracy"] - chance.value
    if {"flawed/wait", "clean/wait"} <= cells.keys():
        cells["flawed/wait"]["detection"] = cells["flawed/wait"]["explicit_rate"] - cells["clean/wait"]["explicit_rate"]
    right = {
        arm.name: {
            unit: score for unit, score in zip(one.report.units, arm.scores, strict=True)
            if not math.isnan(score) and (family == "all" or unit.startswith(f"{family}/"))
        }
        for arm in one.report.arms if arm.name in KEPT
    }  # fmt: skip
    waits = sorted(
        int(n.split("after_")[1].split("/")[0]) for n in figures if n.startswith(f"{family}/after_") and n.endswith("/solved")
    )
    frontier = [{key: figures[f"{family}/after_{k}/{key}"].value for key in ("tokens", "solved")} for k in waits]
    size = where.size or str(one.parameters)
    return Point(where.name, where.series, size, where.run or where.name, one.parameters, where.tokens, cells, right, frontier)


def correlation_table(title: str, found: Mapping[str, Mapping[str, Estimate]]) -> Table:
    """Slope and correlations of every measure."""
    kinds = {
        "per_decade": "slope, points per tenfold compute", "pooled": "r pooled", "within_size": "within size",
        "within_size_spearman": "Spearman, within", "beyond_solving": "beyond solving",
        "with_solving": "with solving, given compute",
    }  # fmt: skip
    rows: tuple[tuple[Cell, ...], ...] = tuple((NAMES[m], *(found[m][kind] for kind in kinds)) for m in NAMES if m in found)
    note = (
        "Correlation with log compute (6ND). Within size: the means of each model size taken out first; beyond solving: what "
        "accuracy without a chain explains as well. Next to a floor a correlation can be high and mean nothing: read the slope."
    )
    return Table(f"Against training compute: {title}", ("", *kinds.values()), rows, note)


def steps_table(title: str, points: Sequence[Point]) -> Table:
    """The last checkpoint of each run against its first, and how many single steps differ."""
    found, rows = steps(points), []
    for run in dict.fromkeys(p.run for p in points):
        names = [p.name for p in sorted((p for p in points if p.run == run), key=lambda p: p.tokens or 0)]
        whole = [s for s in found if (s["from"], s["to"]) == (names[0], names[-1])]
        single = [s for s in found if s["to"] in names and s not in whole]
        differ = sum(s["p_holm"] < 0.05 for s in single)
        rows += [(run, f"{100 * s['change']:+.1f}", f"{s['p_holm']:.1g}", f"{differ} of {len(single)}") for s in whole]
    note = "McNemar's test on the same items, corrected for all comparisons by Holm's method."
    return Table(
        f"From the first checkpoint to the last: {title}", ("run", "points", "p", "neighbours that differ"), tuple(rows), note
    )


def failed_table(title: str, points: Sequence[Point]) -> Table:
    """How many items every checkpoint of a size fails unaided."""
    items = self_reflection(points)["items"]
    rows = tuple((size, count) for size, count in items.items())
    return Table(
        f"Items that every checkpoint of a size fails unaided: {title}",
        ("size", "items"),
        rows,
        "The paper's self-reflection set.",
    )


def along_compute(title: str, points: Sequence[Point]) -> list[Curve]:
    """For each size, how often right over pre-training compute; the mean over runs."""
    found = []
    for size in dict.fromkeys(p.size for p in points):
        mine = [p for p in points if p.size == size]
        runs = dict.fromkeys(p.run for p in mine)
        order = [sorted((p for p in mine if p.run == run), key=lambda p: p.compute) for run in runs]
        count = min(map(len, order))
        series = {}
        for measure, label in TRACES.items():
            line = []
            for i in range(count):
                values = [v for run in order if not math.isnan(v := run[i].value(measure))]
                if values:
                    value = sum(values) / len(values)
                    line.append((order[0][i].compute, Estimate(value, min(values), max(values), len(values))))
            if line:
                series[label] = tuple(line)
        found.append(
            Curve(f"Along pre-training: {title}, {size}", "pre-training compute 6ND, FLOP", "% right", series, log_x=True)
        )
    return found


def trade_off_curve(title: str, points: Sequence[Point]) -> list[Curve]:
    """Compute spent in training and in writing, for each checkpoint that reaches the median share of solved items."""
    solved = sorted(p.frontier[-1]["solved"] for p in points if p.frontier)
    target = solved[len(solved) // 2] if solved else math.nan
    line = tuple(
        (one["train"], Estimate(one["test"], math.nan, math.nan, 1, "FLOP"))
        for one in trade_off(points, target) if one["test"] and not math.isnan(one["test"])
    )  # fmt: skip
    if not line:
        return []
    series = {f"{100 * target:.0f} % solved": line}
    return [
        Curve(f"Training against test compute: {title}", "training compute 6ND, FLOP", "test compute 2Nw for each item, FLOP",
              series, "points", log_x=True, log_y=True)
    ]  # fmt: skip
