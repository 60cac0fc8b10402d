"""The decisive comparison: who should be paid, at equal sampled tokens, over several seeds.

OUT/ARM/seed_S/     a whole run for each arm and seed, each resumable
OUT/base_rates.json how often the base model solves each held-out problem, from 16 attempts
OUT/summary.json    every arm with intervals over tasks and over seeds
OUT/arms.png        the arms side by side
OUT/regimes.png     reflection_only against answer over the base model's success rate
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

from secondthought import recipes
from secondthought.engines.hub import engine_for
from secondthought.files import write_json
from secondthought.journal import estimate_json, scores_of
from secondthought.probes.second_try import distinct
from secondthought.progress import Watcher
from secondthought.protocols.answer import answer
from secondthought.report import figures
from secondthought.rollout import rollout
from secondthought.stats import mean, over_seeds
from secondthought.train import Recipe, train

ARMS = ("rrr", "retry_only", "reflection_and_retry", "answer", "random_reward")
EDGES = (0.0, 0.03, 0.1, 0.25, 0.5, 1.01)
"""Bins of the base model's success rate; the first holds problems it never solved in 16 attempts."""

ATTEMPTS = 16
TOKEN_BUDGET = 534_112
MEASURES = ("first", "second", "resampled")


def ablate(
    out: Path, watcher: Watcher, *, model: str | None, arms: Sequence[str], seeds: int, settings: Sequence[str]
) -> dict[str, Any]:
    """Run what is not finished yet, then compare. Arms stop at the same ``token_budget``; set it with the settings."""
    for seed in range(seeds):
        for arm in arms:
            folder = out / arm / f"seed_{seed}"
            if not (folder / "summary.json").exists():
                watcher.phase(f"{arm}, seed {seed}")
                train(made(arm, model, seed, settings), folder, watcher, resume=True)
    return compare(out, made(arms[0], model, 0, settings), watcher)


def made(arm: str, model: str | None, seed: int, settings: Sequence[str]) -> Recipe:
    """The recipe of one arm and seed. Its steps never bind, the token budget does (200 steps of rrr on Countdown)."""
    equal = ["steps=100000", f"token_budget={TOKEN_BUDGET}"]
    return recipes.override(recipes.load(arm, model=model), [*equal, *settings, f"seed={seed}"])


def compare(out: Path, recipe: Recipe, watcher: Watcher) -> dict[str, Any]:
    """Every finished run under ``out``, arm by arm; figures and summary are written beside them."""
    rates = base_rates(out, recipe, watcher)
    summary: dict[str, Any] = {"arms": {}, "by_base_rate": {}}
    for arm in sorted(path.name for path in out.iterdir() if path.is_dir()):
        runs = [run for run in sorted((out / arm).glob("seed_*")) if (run / "summary.json").exists()]
        if runs:
            summary["arms"][arm] = pooled(runs)
            summary["by_base_rate"][arm] = by_rate([read(run, "after") for run in runs], rates)
    write_json(out / "summary.json", summary)
    figures.save(figures.arms(summary["arms"]), out / "arms.png")
    if {"rrr", "answer"} <= summary["by_base_rate"].keys():
        figures.save(figures.regimes(summary["by_base_rate"], EDGES), out / "regimes.png")
    return summary


def pooled(runs: Sequence[Path]) -> dict[str, Any]:
    """One arm: scores of all its seeds, resampled by task, and the mean over seeds with a t-interval."""
    before, after = [read(run, "before") for run in runs], [read(run, "after") for run in runs]
    tasks = [key for found in after for key in found["tasks"]]
    found: dict[str, Any] = {"seeds": len(runs)}
    for measure in MEASURES:
        values = [score for part in after for score in scores_of(part, measure)]
        gains = [new - old for new, old in zip(values, (s for part in before for s in scores_of(part, measure)), strict=True)]
        found[measure] = estimate_json(mean(values, tasks))
        found[f"{measure}_gain"] = estimate_json(mean(gains, tasks, unit="difference"))
        found[f"{measure}_seeds"] = estimate_json(over_seeds([mean(scores_of(part, measure)).value for part in after]))
    found["sampled_tokens"] = [json.loads((run / "summary.json").read_text())["training"]["sampled_tokens"] for run in runs]
    return found


def by_rate(parts: Sequence[dict[str, Any]], rates: dict[str, float]) -> list[dict[str, Any]]:
    """One arm's figures within each bin of the base model's success rate."""
    bins = []
    for low, high in pairwise(EDGES):
        found: dict[str, Any] = {"low": low, "high": high}
        for measure in MEASURES:
            pairs = [
                (score, key)
                for part in parts
                for score, key in zip(scores_of(part, measure), part["tasks"], strict=True)
                if key in rates and low <= rates[key] < high
            ]
            found[measure] = estimate_json(mean([score for score, _ in pairs], [key for _, key in pairs]))
        bins.append(found)
    return bins


def base_rates(out: Path, recipe: Recipe, watcher: Watcher) -> dict[str, float]:
    """How often the untrained model solves each held-out problem, from 16 attempts; measured once."""
    path = out / "base_rates.json"
    if not path.exists():
        problems = distinct(recipe.test, recipe.eval_problems)
        watcher.phase(f"base success rates: {len(problems)} problems x {ATTEMPTS} attempts")
        protocol = partial(answer, grade=recipe.test.grade)
        groups = rollout(
            protocol, problems, ATTEMPTS, engine_for(recipe.model, options=recipe.engine), recipe.sampling, seed=recipe.seed
        )
        write_json(path, {g[0].task.key: sum(e.verdicts["attempt"].score == 1 for e in g) / len(g) for g in groups})
    found: dict[str, float] = json.loads(path.read_text())
    return found


def read(run: Path, label: str) -> dict[str, Any]:
    """One evaluation of a run."""
    found: dict[str, Any] = json.loads((run / "evaluations" / f"{label}.json").read_text())
    return found
