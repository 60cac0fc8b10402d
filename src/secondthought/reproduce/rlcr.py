"""RLCR: its claims on nano, where the truth is known; or, with ``--data``, the authors' metrics again from their result files.

``--data DIR`` holds NAME.csv with the columns ``id, method, correct, confidence, format_ok``, one row for each answer of each
method; where NAME.metrics.json lies beside it, every metric in it is a claim. Without it arms are trained
(:mod:`secondthought.reproduce.rlcr_arms`).
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from secondthought.errors import UserError
from secondthought.probes import calibration_scores as fit
from secondthought.report import rlcr as page
from secondthought.reproduce.arms import ArmsOfRecipe
from secondthought.reproduce.base import Reproduced, check_budget
from secondthought.reproduce.rlcr_arms import claims_of as claims_of_arms
from secondthought.reproduce.rlcr_arms import plan, run_arms, tables_of
from secondthought.runs.files import write_json
from secondthought.runs.progress import Progress
from secondthought.tasks.jsonl import csv_rows
from secondthought.types import Claim, Estimate

METRICS = {
    "accuracy": "accuracy", "brier": "brier_score", "ece": "ece", "auroc": "auroc", "confidence": "confidence level",
}  # fmt: skip
"""Our names and the authors'."""
ROUNDING = 5e-7
QUICK = ("rlcr", "rlvr", "log_score")
COLUMNS = ("method", "correct", "confidence")

Tables = dict[str, dict[str, dict[str, float]]]


@dataclass(frozen=True)
class Rlcr(ArmsOfRecipe):
    """The metrics of all methods in the result files in the folder ``data``; without it, arms that are trained on nano.

    model        the nano model; empty: that of the recipe
    arms         arms of the recipe, separated by commas; rlcr is the recipe itself. Empty: those of the budget
    seeds        runs of each arm; 0: one (quick) or three (full)
    problems     held-out problems, four answers to each; 0: 500 (quick) or 2,000 (full)
    settings     name=value for every run, separated by semicolons
    """

    name: ClassVar[str] = "rlcr"
    budgets: ClassVar[dict[str, str]] = {
        "quick": "minutes on two cores; seconds with --data", "full": "hours on two cores; seconds with --data",
    }  # fmt: skip
    data: Path | None = None

    def run(self, budget: str, out: Path, progress: Progress) -> Reproduced:
        """With ``data`` compute every metric: nothing is sampled or trained. Otherwise train and measure what is not there yet.

        Raises UserError for a folder without files, and for broken ones.
        """
        if self.data is None:
            check_budget(self, budget)
            arms, seeds, settings = self.wanted(QUICK if budget == "quick" else (), budget)
            steps = ["reward.steps=250", "settle.steps=50"] if budget == "quick" else []
            run_arms(out, plan(budget, arms, seeds), [*steps, *settings], self.model, progress)
            tables = tables_of(out)
            write_json(out / "summary.json", tables)
            return Reproduced(tuple(claims_of_arms(out)), tables, page.write(out, tables))
        return self.published()

    def published(self) -> Reproduced:
        """The authors' metrics."""
        assert self.data is not None
        files = sorted(self.data.glob("*.csv")) if self.data.is_dir() else []
        if not files:
            raise UserError(f"there is no NAME.csv in {self.data}; it should hold the authors' result files")
        tables: Tables = {file.stem: metrics_of(file) for file in files}
        return Reproduced(tuple(claims_of(self.data, tables)), tables)


reproduction = Rlcr


def metrics_of(file: Path) -> dict[str, dict[str, float]]:
    """The metrics of every method in a file, in the order of their first rows.

    Raises UserError for a missing column and for values that are no outcome or no confidence, naming file and line.
    """
    answers: dict[str, tuple[list[float], list[float]]] = {}
    for line, row in csv_rows(file, COLUMNS):
        q, c = answers.setdefault(row["method"], ([], []))
        q.append(number_in(row["confidence"], f"{file}, line {line}", "confidence"))
        c.append(number_in(row["correct"], f"{file}, line {line}", "correct"))
    return {method: {name: fit.MEASURES[name](q, c) for name in METRICS} for method, (q, c) in answers.items()}


def number_in(text: str | None, where: str, column: str) -> float:
    """A number from 0 to 1. Raises UserError for anything else."""
    try:
        value = float(text or "")
    except ValueError:
        value = {"true": 1.0, "false": 0.0}.get((text or "").strip().lower(), math.nan)
    if not 0 <= value <= 1:
        raise UserError(f"{where}: {column} is {text!r}; a number from 0 to 1 is wanted")
    return value


def claims_of(data: Path, tables: Tables) -> Iterator[Claim]:
    """Each published metric, and whether ours is the same to rounding."""
    for name, methods in tables.items():
        path = data / f"{name}.metrics.json"
        if not path.exists():
            continue
        try:
            published: Mapping[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        except (ValueError, RecursionError) as error:
            raise UserError(f"{path} is no JSON: {error}") from error
        if not isinstance(published, dict) or not all(isinstance(theirs, dict) for theirs in published.values()):
            raise UserError(f"{path}: an object of methods is wanted, each with its metrics")
        for method, theirs in published.items():
            for metric, called in METRICS.items():
                if called in theirs:
                    if not isinstance(theirs[called], int | float):
                        raise UserError(f"{path}: {called!r} of {method} must be a number, not {theirs[called]!r}")
                    yield same(name, method, metric, methods.get(method, {}).get(metric), float(theirs[called]))


def same(name: str, method: str, metric: str, ours: float | None, theirs: float) -> Claim:
    """Whether a metric is the published one."""
    id, text = f"{name}/{method}/{metric}", f"{name}: {metric} of {method}"
    if ours is None:
        return Claim(id, text, "released result files", theirs, None, "not applicable", (f"there are no answers of {method}",))
    gap, measured = abs(ours - theirs), Estimate(ours, ours, ours, 0, "ratio")
    if gap < ROUNDING:
        return Claim(id, text, "released result files", theirs, measured, "supported", ("the same to rounding",))
    return Claim(id, text, "released result files", theirs, measured, "refuted", (f"it differs by {gap:.2g}",))
