"""The correlations of "Rethinking Reflection in Pre-Training" (arXiv 2504.04022, Tables 6 and 7), and what size explains of
them.

The authors' result files give, for 40 OLMo-2 checkpoints of three sizes, the accuracy on flawed chains and how much of it came
with explicit reflection. The paper correlates each with the logarithm of training compute over all 40. Larger models are both
trained with more compute and better, so part of that is the size; ``within_size`` takes each size's means out first.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from secondthought.errors import UserError
from secondthought.reproduce.base import Reproduced, Reproduction, claim
from secondthought.runs.progress import Progress
from secondthought.stats import correlation, over_seeds
from secondthought.tasks.jsonl import csv_rows, number_of
from secondthought.types import Claim, Estimate

FILES = {
    "situational": "experiment_results_situational_reflection_250328_final_public.csv",
    "self": "experiment_results_self_reflection_250328_final_public.csv",
}
TASK_COLUMN = {"situational": "Task", "self": "Task_family"}
TASKS = ("bbh_adv", "cruxeval_i_adv", "cruxeval_o_adv", "gsm8k_adv", "gsm8k-platinum_adv", "triviaqa_adv")
MEASURES = {
    "accuracy": (),
    "explicit_rate": ("reflection",),
    "implicit_accuracy": ("accurate_impl_reflection",),
    "explicit_accuracy": ("accurate_expl_reflection",),
}
"""Our names and the files'. Accuracy is called differently for every task; see :data:`ACCURACY`."""

ACCURACY = ("exact_match,get-answer", "exact_match,flexible-extract", "pass@1,create_test")
TRIVIA = {"situational": "exact_match,none", "self": "answer_exists,none"}
"""TriviaQA has two accuracies; these are the ones that the paper's two tables are made of."""

NUMBERS = ("Average", "olmo-params", "Flops")

Point = dict[str, Any]


Tables = dict[str, dict[str, dict[str, dict[str, Any]]]]


@dataclass(frozen=True)
class ReflectionInPretraining(Reproduction):
    """The paper's correlations from its own result files in the folder ``data``."""

    name: ClassVar[str] = "reflection_in_pretraining"
    needs: ClassVar[str] = "--data FOLDER: the paper's result files (experiment_results_*.csv)"
    budgets: ClassVar[dict[str, str]] = {"quick": "seconds", "full": "the same"}
    data: Path | None = None

    def run(self, budget: str, out: Path, progress: Progress) -> Reproduced:
        """Recompute every correlation; nothing is sampled or trained."""
        if self.data is None:
            raise UserError("--data is needed: the folder with the paper's result files (experiment_results_*.csv)")
        found = tables(self.data)
        return Reproduced(claims_of(found), found)


reproduction = ReflectionInPretraining


def tables(data: Path) -> Tables:
    """``{"situational" | "self": {task: {measure: {"pooled", "within_size", "n", ...}}}}`` from the result files in ``data``.

    Intervals are 95 %, by bootstrap over checkpoints. Raises UserError for a missing or broken file, naming file and line.
    """
    return {setting: {task: _measures(points) for task, points in _read(data, setting).items()} for setting in FILES}


PUBLISHED = {"situational": 0.76, "self": 0.36}
"""The paper's headline: the mean over tasks of r between accuracy and log compute (Tables 6 and 7)."""


def claims_of(found: Tables) -> tuple[Claim, ...]:
    """The headline correlations as published (pooled) and with size means taken out, and each task's."""
    made = []
    for setting, table in (("situational", "Table 6"), ("self", "Table 7")):
        for which, text in (("pooled", "over all checkpoints"), ("within_size", "within model size")):
            values = [found[setting][task]["accuracy"][which] for task in TASKS]
            measured = mean_over(values)
            made.append(
                claim(
                    f"{setting}_{which}", f"{setting} reflection accuracy rises with log compute, {text} (mean r over tasks)",
                    table, PUBLISHED[setting] if which == "pooled" else None, measured, minimum=0.1,
                    reasons=() if which == "pooled" else ("the paper does not separate size from compute",),
                )
            )  # fmt: skip
        for task in TASKS:
            one = found[setting][task]["accuracy"]
            low, high = (math.nan if bound is None else bound for bound in one["pooled_95"])
            value = math.nan if one["pooled"] is None else one["pooled"]
            made.append(
                claim(
                    f"{setting}_{task}", f"{setting} reflection accuracy rises with log compute: {task}", table,
                    TABLES[setting][TASKS.index(task)], Estimate(value, low, high, one["n"], "r"), minimum=0.1,
                )
            )  # fmt: skip
    return tuple(made)


TABLES = {"situational": (0.73, 0.70, 0.72, 0.84, 0.84, 0.72), "self": (0.44, 0.69, 0.38, 0.26, 0.32, 0.09)}
"""Published r of accuracy with log compute, task by task in the order of :data:`TASKS`."""


def mean_over(values: Sequence[float | None]) -> Estimate:
    """The mean over tasks with a t-interval."""
    found = over_seeds([v for v in values if v is not None], unit="r")
    return Estimate(found.value, max(-1.0, found.low), min(1.0, found.high), found.n, "r")


def mean_r(found: Mapping[str, Mapping[str, Mapping[str, Any]]], measure: str, which: str) -> float:
    """The mean over tasks of one correlation, as the paper's headline has it."""
    values: list[float] = [tasks[measure][which] for tasks in found.values()]
    return sum(values) / len(values)


def _measures(points: list[Point]) -> dict[str, dict[str, Any]]:
    sizes, compute = [p["size"] for p in points], [p["log_compute"] for p in points]
    found = {}
    for measure in MEASURES:
        values = [p[measure] for p in points]
        pooled, inside = correlation(compute, values), correlation(compute, values, within=sizes)
        found[measure] = {
            "pooled": _plain(pooled.value), "within_size": _plain(inside.value), "n": pooled.n,
            "with_a_correct_answer": sum(p["accuracy"] > 0 for p in points),
            "pooled_95": _bounds(pooled), "within_size_95": _bounds(inside),
        }  # fmt: skip
    return found


def _plain(value: float) -> float | None:
    return None if math.isnan(value) else value


def _bounds(estimate: Estimate) -> list[float | None]:
    return [_plain(estimate.low), _plain(estimate.high)]


def _read(data: Path, setting: str) -> dict[str, list[Point]]:
    """One point for each task and checkpoint: its size, the log of its compute, and every measure."""
    path = data / FILES[setting]
    if not path.is_file():
        raise UserError(f"there is no {path}; --data must be the folder with the paper's result files")
    points: dict[str, dict[str, Point]] = {task: {} for task in TASKS}
    for line, row in csv_rows(path, (TASK_COLUMN[setting], "Checkpoint", "Metric", *NUMBERS)):
        _take(points, row, setting, f"{path}, line {line}")
    for task, found in points.items():
        for checkpoint, point in found.items():
            if absent := MEASURES.keys() - point.keys():
                raise UserError(f"{path}: {checkpoint} has no {sorted(absent)[0]} for {task}")
    if empty := [task for task, found in points.items() if not found]:
        raise UserError(f"{path} has no rows for {empty[0]}")
    return {task: list(found.values()) for task, found in points.items()}


def _take(points: dict[str, dict[str, Point]], row: dict[str, str], setting: str, where: str) -> None:
    task, metric = row[TASK_COLUMN[setting]], row["Metric"]
    accuracy = (TRIVIA[setting],) if task == "triviaqa_adv" else ACCURACY
    measure = next((ours for ours, theirs in MEASURES.items() if metric in (theirs or accuracy)), None)
    if task not in points or measure is None:
        return
    point = points[task].setdefault(row["Checkpoint"], {})
    if measure in point:
        raise UserError(f"{where}: {row['Checkpoint']} has {metric} for {task} a second time")
    average, size, compute = (number_of(row, column, where) for column in NUMBERS)
    point |= {"size": size, "log_compute": compute, measure: average}
