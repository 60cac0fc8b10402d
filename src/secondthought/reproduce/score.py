"""SCoRe beside what it was compared with, and why imitating offline traces collapses.

OUT/ARM/seed_S/              a whole run for each arm and seed, each resumable (:mod:`secondthought.reproduce.arms`)
OUT/ARM/seed_S/shift.json    corrections of own and of the base model's first attempts, checkpoint by checkpoint
OUT/summary.json, results.md, arms.png, edits.png, changes.png, shift.png
"""

from __future__ import annotations

import json
import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import fmean
from typing import Any, ClassVar

from secondthought.engines.base import Engine, Sampling
from secondthought.engines.factory import engine_for
from secondthought.engines.watched import Watched
from secondthought.models.names import style_of
from secondthought.protocols.answer import answer
from secondthought.protocols.self_correction import request_for, self_correction
from secondthought.report import score as page
from secondthought.reproduce.arms import ArmsOfRecipe, finished, made, minus, run_all, sampled_tokens
from secondthought.reproduce.base import OURS, Reproduced, check_budget, claim
from secondthought.reproduce.pooled import Pooled
from secondthought.rollouts import rollout
from secondthought.runs.files import complete_folders, write_json
from secondthought.runs.progress import Progress
from secondthought.runs.reading import read_metrics
from secondthought.runs.reports import estimate_json
from secondthought.stats import mean
from secondthought.tasks.base import chosen
from secondthought.training.recipe import Recipe
from secondthought.types import Claim, Episode, Estimate, Task

RECIPE = "score"
ARMS = (
    "score", "base", "self_refine", "star", "star_plus", "pair_sft", "pair_sft_plus", "multi_turn", "single_turn",
    "no_stage_one", "no_bonus", "star_in_stage_two", "gamma", "fixed_first",
)  # fmt: skip
QUICK = ("score", "base", "pair_sft_plus", "pair_sft", "multi_turn")
UNTRAINED = ("base", "self_refine")
SHIFTED = ("score", "multi_turn", "pair_sft", "pair_sft_plus", "star")  # whose checkpoints are taken up one by one
MEASURES = ("attempt_1", "attempt_2", "either", "resampled", "changed", "edit_ratio")
CHANGES = ("i_to_c", "c_to_i")
LABEL = "after_self_correction"


@dataclass(frozen=True)
class Score(ArmsOfRecipe):
    """Train and measure what is not there yet. Arms of reinforcement learning stop once they have sampled as many tokens as the
    first run of SCoRe took; arms of imitation take half as many steps.

    tasks        the problems (a SPEC); empty: Countdown
    model        the model; empty: that of the recipe
    arms         arms of the recipe, separated by commas; score is the recipe itself. Empty: those of the budget
    seeds        runs of each arm; 0: one (quick) or three (full)
    problems     held-out problems; 0: 500 (quick) or 2,000 (full)
    settings     name=value for every run, separated by semicolons
    """

    name: ClassVar[str] = "score"
    budgets: ClassVar[dict[str, str]] = {
        "quick": "about seven minutes on two cores",
        "full": "three seeds of fourteen arms; one seed took 52 minutes of one core",
    }  # fmt: skip

    def run(self, budget: str, out: Path, progress: Progress) -> Reproduced:
        """Do what is not done yet in ``out``, then look at all of it."""
        check_budget(self, budget)
        arms, seeds, settings = self.wanted(QUICK if budget == "quick" else ARMS, budget)
        short = ["stage_one.steps=40", "stage_two.steps=60", "dev_problems=128"] if budget == "quick" else []
        settings = ["checkpoints_kept=1000", *short, *settings]

        def recipe_of(arm: str, seed: int) -> Recipe:
            tokens = 0 if arm == RECIPE else sampled_tokens(out / RECIPE / "seed_0")
            equal = [f"token_budget={tokens}"] if tokens and not arm.startswith(("star", "pair")) else []
            kept = [one for one in settings if arm not in UNTRAINED or ".steps=" not in one]
            return made(arm, self.model or None, seed, [*kept, *equal], self.tasks or None, RECIPE)

        run_all(out, [(arm, seed) for seed in range(seeds) for arm in arms], recipe_of, progress)
        recipe = recipe_of(RECIPE, 0)
        for arm in SHIFTED:
            for run in finished(out, arm):
                shift(run, recipe, progress, every=run.name == "seed_0")
        tables = tables_of(out)
        write_json(out / "summary.json", tables)
        return Reproduced(tuple(claims_of(out, tables)), tables, page.write(out, tables))


reproduction = Score


# --- own and fixed first attempts ------------------------------------------------------------------------------------


def shift(run: Path, recipe: Recipe, progress: Progress, *, every: bool) -> None:
    """How often each checkpoint (or the last one) of a run mends a wrong first attempt: its own, and the base model's.

    The base model's attempts are the same for all checkpoints and all arms; both kinds are asked about on the same problems.
    """
    path = run / "shift.json"
    if path.exists():
        return
    tasks, sampling = recipe.dev, recipe.sampling
    problems = chosen(tasks, min(recipe.eval_problems, 500), 0)
    request = request_for(style_of(recipe.model))
    protocol = partial(self_correction, grade=tasks.grade, request=request)
    base = engine_for(recipe.model, recipe.engine)
    groups = rollout(partial(answer, grade=tasks.grade), problems, 1, base, sampling, seed=1)
    recorded = {group[0].task.key: group[0] for group in groups}
    fixed = partial(protocol, first=partial(_of, recorded), fixed=1)
    folders = [run / "checkpoints", *complete_folders(run / "checkpoints")]
    folders = [folders[0], *(folders[1:] if every else folders[-1:])]
    points = []
    for folder in folders:
        initial = folder.name == "checkpoints"
        engine = base if initial else engine_for(str(folder / "model"), recipe.engine)
        step = 0 if initial else int(folder.name.removeprefix("step_"))
        progress.phase(f"{run.parent.name}, {run.name}: corrections of own and fixed first attempts at step {step}")
        found = {
            name: mended(engine, protocol if name == "own" else fixed, problems, sampling, progress)
            for name in ("own", "fixed")
        }
        points.append({"step": step, **found})
    write_json(path, points)


def _of(recorded: Mapping[str, Episode], task: Task) -> Episode:
    return recorded[task.key]


def mended(engine: Engine, protocol: Any, problems: Sequence[Task], sampling: Sampling, progress: Progress) -> dict[str, Any]:
    """The share of wrong first attempts whose second is right."""
    groups = rollout(protocol, problems, 1, Watched(engine, progress.beat), sampling, seed=2)
    wrong = [e for group in groups for e in group if e.verdicts["attempt_1"].score == 0]
    return estimate_json(mean([e.verdicts["attempt_2"].score for e in wrong], [e.task.key for e in wrong]))


# --- tables and claims -----------------------------------------------------------------------------------------------


def tables_of(out: Path) -> dict[str, Any]:
    """Every finished arm with its measures, its edits, and its curves over training."""
    found: dict[str, Any] = {"arms": {}, "edits": {}, "curves": {}, "shift": {}}
    for arm in [*ARMS, *sorted(p.name for p in out.iterdir() if p.is_dir() and p.name not in ARMS)]:
        runs = finished(out, arm)
        if not runs:
            continue
        after = Pooled.of(runs, LABEL)
        found["arms"][arm] = measures_of(after, runs)
        ((points),) = after.reports[0].curves[0].series.values()
        found["edits"][arm] = [[x, estimate.value] for x, estimate in points]
        found["curves"][arm] = [
            {"step": line["step"], "changed": line["self_correction/changed"]}
            for line in read_metrics(runs[0]) if "self_correction/changed" in line
        ]  # fmt: skip
        if all((run / "shift.json").exists() for run in runs):
            found["shift"][arm] = [json.loads((run / "shift.json").read_text()) for run in runs]
    return found


def measures_of(after: Pooled, runs: Sequence[Path]) -> dict[str, Any]:
    """What is tabled of an arm."""
    one: dict[str, Any] = {name: estimate_json(after.mean(name)) for name in MEASURES}
    one["gain"] = estimate_json(after.between("attempt_2", "attempt_1"))
    for name in CHANGES:
        one[name], one[f"{name}_given"] = (estimate_json(estimate) for estimate in flow(after, name))
    one["seeds"] = len(runs)
    one["each_seed"] = [report.figures["gain"].value for report in after.reports]
    one["sampled_tokens"] = [sampled_tokens(run) for run in runs]
    one["measured_step"] = [json.loads((run / "summary.json").read_text())["measured_step"] for run in runs]
    return one


def flow(found: Pooled, name: str) -> tuple[Estimate, Estimate]:
    """How often a first attempt of one kind became a second of the other, of all problems and of those with such a first."""
    before, after = ((0.0, 1.0), (1.0, 0.0))[name == "c_to_i"]
    pairs = list(zip(found.scores("attempt_1"), found.scores("attempt_2"), found.units, strict=True))
    hits = [float(one == before and two == after) for one, two, _ in pairs]
    keys = [unit for *_, unit in pairs]
    given = [(hit, key) for hit, key, (one, *_) in zip(hits, keys, pairs, strict=True) if one == before]
    return mean(hits, keys), mean([hit for hit, _ in given], [key for _, key in given])


def claims_of(out: Path, tables: Mapping[str, Any]) -> Iterator[Claim]:
    """What the paper says, and whether a second turn is worth its tokens."""
    arms = set(tables["arms"])
    found: dict[str, Estimate | None] = {
        "offline_edits_vanish": unchanged(out, "pair_sft_plus"), "offline_shift": separation(tables, "pair_sft"),
        "on_policy_no_shift": separation(tables, "pair_sft", "score"),
        "plain_rl_collapses": minus(out, "base", "multi_turn", LABEL, changes),
        "score_corrects": within(out, "score", "attempt_1"),
        "score_over_multi_turn": minus(out, "score", "multi_turn", LABEL, gains),
        "score_lowest_c_to_i": least(out, arms, "score"),
        "stage_one_matters": minus(out, "score", "no_stage_one", LABEL, gains),
        "bonus_matters": minus(out, "score", "no_bonus", LABEL, gains), "beats_resampling": within(out, "score", "resampled"),
    }  # fmt: skip
    for id, (text, source, published, null, minimum) in CLAIMS.items():
        yield claim(id, text, source, published, found[id], null=null, minimum=minimum)


CLAIMS: dict[str, tuple[str, str, str | None, float, float]] = {
    "offline_edits_vanish": (
        "Pair-SFT with right-to-right pairs leaves at least 98 % of answers as they are", "Table 2", "both flows 0", 0.98, 0.0,
    ),
    "offline_shift": (
        "Pair-SFT learns to mend the base model's first attempts more than its own", "figure 5", "curves part", 0.0, 0.02,
    ),
    "on_policy_no_shift": ("and the curves part further than SCoRe's", "figure 5", "SCoRe's stay together", 0.0, 0.02),
    "plain_rl_collapses": ("plain RL over two turns changes fewer answers than the base", "section 5", "towards 0", 0.0, 0.05),
    "score_corrects": ("SCoRe's second attempt is better than its first", "Table 2", "+4.4", 0.0, 0.02),
    "score_over_multi_turn": ("and by more than that of plain RL over two turns", "Table 4", "+4.4", 0.0, 0.02),
    "score_lowest_c_to_i": ("SCoRe spoils fewer right answers than every other trained arm", "Table 2", "1.4", 0.0, 0.0),
    "stage_one_matters": ("without stage I, D is lower", "Table 4", "2.2 against 4.4", 0.0, 0.02),
    "bonus_matters": ("without the bonus, D is lower", "Table 4", "2.6 against 4.4", 0.0, 0.02),
    "beats_resampling": ("a second turn beats fresh attempts with an oracle, same tokens", OURS, None, 0.0, 0.02),
}  # fmt: skip
"""By id: text, source, published value, null, and the least that counts."""


def gains(found: Pooled) -> list[float]:
    """D of every unit."""
    return [two - one for one, two in zip(found.scores("attempt_1"), found.scores("attempt_2"), strict=True)]


def changes(found: Pooled) -> list[float]:
    """Whether the answer changes."""
    return found.scores("changed")


def spoiled(found: Pooled) -> list[float]:
    """Whether a right first attempt became wrong."""
    return [float(one == 1 and two == 0) for one, two in zip(found.scores("attempt_1"), found.scores("attempt_2"), strict=True)]


def within(out: Path, arm: str, other: str) -> Estimate | None:
    """An arm's second attempt minus something else that it was measured in."""
    runs = finished(out, arm)
    return Pooled.of(runs, LABEL).between("attempt_2", other) if runs else None


def unchanged(out: Path, arm: str) -> Estimate | None:
    """The share of answers that stay."""
    runs = finished(out, arm)
    if not runs:
        return None
    found = Pooled.of(runs, LABEL)
    return mean([1 - score for score in changes(found)], found.units)


def least(out: Path, arms: Collection[str], arm: str) -> Estimate | None:
    """The lowest rate of spoiled answers among the other trained arms, minus that of ``arm``."""
    others = [one for one in arms if one not in (arm, *UNTRAINED)]
    if arm not in arms or not others:
        return None
    rates = {one: fmean(spoiled(Pooled.of(finished(out, one), LABEL))) for one in others}
    return minus(out, min(rates, key=lambda one: rates[one]), arm, LABEL, spoiled)


def separation(tables: Mapping[str, Any], arm: str, less: str = "") -> Estimate | None:
    """How much more corrections of fixed first attempts gained over training than those of own ones, mean over seeds; with
    ``less`` minus the same of another arm. All rates are of independent samples, so their half-intervals add up as squares.
    """
    arms = [(arm, 1), *([(less, -1)] if less else [])]
    if any(name not in tables["shift"] for name, _ in arms):
        return None
    rates = [
        (sign * way / len(tables["shift"][name]), points[end][side])
        for name, way in arms for points in tables["shift"][name]
        for side, end, sign in (("fixed", -1, 1), ("fixed", 0, -1), ("own", -1, -1), ("own", 0, 1))
    ]  # fmt: skip
    value = sum(weight * rate["value"] for weight, rate in rates)
    spread = math.sqrt(sum((weight * (rate["high"] - rate["low"]) / 2) ** 2 for weight, rate in rates))
    return Estimate(value, value - spread, value + spread, sum(rate["n"] for _, rate in rates), "difference")
