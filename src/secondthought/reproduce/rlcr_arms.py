"""RLCR and what it is compared with, trained on nano: lots, whose best confidence is known, and Countdown, where it is a skill.

OUT/lots/ARM/seed_S, OUT/countdown/ARM/seed_S     whole runs, each resumable
OUT/.../fitted.json                               confidences that were fitted to the outcomes of a plain arm's answers
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from secondthought.engines.factory import engine_for
from secondthought.probes import calibration_scores as fit
from secondthought.probes.fitted import cross_fitted, log_odds
from secondthought.reproduce.arms import finished, made, run_all
from secondthought.reproduce.base import OURS, below, claim
from secondthought.reproduce.pooled import Pooled
from secondthought.runs.files import complete_folders, write_json
from secondthought.runs.progress import Progress
from secondthought.runs.reading import read_groups
from secondthought.runs.reports import estimate_json
from secondthought.stats import bootstrapped, difference, mean
from secondthought.tasks.lots import chance
from secondthought.training.recipe import Recipe
from secondthought.types import Claim, Episode, Estimate, Group

RECIPE = "rlcr"
LOTS = (RECIPE, "rlvr", "log_score", "shuffled", "collapsed", "joint", "std", "brier_only", "rlvr_both")
COUNTDOWN = (RECIPE, "rlvr")
METRICS = ("confidence", "ece", "mass_ece", "brier", "auroc", "reliability", "resolution")
LABEL = "calibration"
UNSURE = 0.648  # below this chance an honest log score is worth less than a deliberate error
NEITHER = "none of the numbers"


def plan(budget: str, arms: Sequence[str], seeds: int) -> list[tuple[str, str, int]]:
    """World, arm and seed of every run: whole seeds first."""
    lots = [arm for arm in LOTS if not arms or arm in arms]
    skill = [arm for arm in COUNTDOWN if not arms or arm in arms] if budget == "full" else []
    return [
        (world, arm, seed) for seed in range(seeds) for world, some in (("lots", lots), ("countdown", skill)) for arm in some
    ]


def run_arms(out: Path, runs: Sequence[tuple[str, str, int]], settings: Sequence[str], model: str, progress: Progress) -> None:
    """Train and measure what is not there yet, then fit what is to be fitted."""
    for world, arm, seed in runs:

        def recipe_of(arm: str, seed: int, world: str = world) -> Recipe:
            return made(arm, model or None, seed, settings, world, RECIPE)

        run_all(out / world, [(arm, seed)], recipe_of, progress)
    for run in sorted(out.glob("*/rlvr/seed_*")):
        if (run / "summary.json").exists():
            fitted(run, progress)


# --- what runs found -------------------------------------------------------------------------------------------------


class Answers:
    """All answers of some finished runs to held-out problems, measured after (or ``before``) training."""

    def __init__(self, runs: Sequence[Path], when: str = "after") -> None:
        self.runs = list(runs)
        self.groups: list[Group] = [
            group for run in runs for group in read_groups(run / "episodes" / f"{when}_{LABEL}.parquet")
        ]  # fmt: skip
        self.episodes = [e for group in self.groups for e in group]

    def column(self, kind: str, kept: Callable[[Episode], bool] = lambda e: True) -> tuple[list[float], list[float], list[str]]:
        """Confidences of a kind, outcomes, and problems, of answers that have both."""
        rows = [
            (q, c, e.task.key) for e in self.episodes
            if kept(e) and not math.isnan(q := e.verdicts[kind].score) and not math.isnan(c := e.verdicts["attempt"].score)
        ]  # fmt: skip
        return [q for q, _, _ in rows], [c for _, c, _ in rows], [key for _, _, key in rows]

    def accuracy(self) -> Estimate:
        """How many answers are right."""
        return mean([e.verdicts["attempt"].score for e in self.episodes], [e.task.key for e in self.episodes])

    def neither(self, below: float) -> Estimate:
        """How many answers are none of the numbers shown, where the chance is below so much: errors that nobody had to make."""
        some = [e for e in self.episodes if chance(e.task) < below]
        return mean([float(e.verdicts["attempt"].why == NEITHER) for e in some], [e.task.key for e in some])


def figures_of(q: Sequence[float], c: Sequence[float], keys: Sequence[str]) -> dict[str, Any]:
    """Every metric of a column with its interval, by bootstrap over problems."""

    def estimate(name: str) -> Estimate:
        return bootstrapped(
            lambda places: fit.MEASURES[name]([q[i] for i in places], [c[i] for i in places]), keys,
            unit="fraction" if name == "confidence" else "ratio",
        )  # fmt: skip

    return {name: estimate_json(estimate(name)) for name in METRICS} if q else {}


def strata_of(found: Answers) -> dict[str, Any]:
    """By how many numbers were shown: the best chance, how many answers were right, and the stated confidence."""
    table = {}
    for number in sorted({round(1 / chance(e.task)) for e in found.episodes}):
        q, c, keys = found.column("verbal", lambda e, n=number: round(1 / chance(e.task)) == n)  # type: ignore[misc]
        table[str(number)] = {
            "chance": 1 / number, "right": estimate_json(mean(c, keys)), "stated": estimate_json(mean(q, keys)),
        }  # fmt: skip
    return table


def largest_gap(found: Answers) -> Estimate:
    """The largest distance of stated confidence and best chance over the strata, by bootstrap over problems."""
    rows = [(q, chance(e.task), e.task.key) for e in found.episodes if not math.isnan(q := e.verdicts["verbal"].score)]

    def gap(places: Sequence[int]) -> float:
        by_chance: dict[float, list[float]] = {}
        for i in places:
            by_chance.setdefault(rows[i][1], []).append(rows[i][0])
        return max(abs(sum(stated) / len(stated) - p) for p, stated in by_chance.items())

    return bootstrapped(gap, [key for _, _, key in rows], unit="ratio")


def fitted(run: Path, progress: Progress) -> None:
    """Fit the probability of being right to what a plain arm's model knows of its answer: the probability that it gave it, and
    its hidden state behind it.
    """
    path = run / "fitted.json"
    if path.exists():
        return
    progress.phase(f"{run.parent.parent.name}, {run.parent.name}, {run.name}: fitting confidences to outcomes")
    found = Answers([run])
    known = [e for e in found.episodes if not math.isnan(e.verdicts["attempt"].score)]
    c, keys = [e.verdicts["attempt"].score for e in known], [e.task.key for e in known]
    engine: Any = engine_for(str(complete_folders(run / "checkpoints")[-1] / "model"))
    states = engine.hidden([until_answer(e) for e in known], [-1])
    features = {
        "scaled": [[log_odds(e.verdicts["answer_probability"].score)] for e in known],
        "head": [list(map(float, state[-1])) for (state,) in states],
    }  # fmt: skip
    write_json(path, {name: [cross_fitted(rows, c, keys), c, keys] for name, rows in features.items()})


def until_answer(episode: Episode) -> list[int]:
    """The tokens up to the end of the answer."""
    found: list[int] = []
    for segment in episode.segments:
        found += segment.tokens
        if segment.name == "attempt":
            break
    return found


# --- tables and claims -----------------------------------------------------------------------------------------------


def tables_of(out: Path) -> dict[str, Any]:
    """Every finished arm in each world: accuracy, how well each kind of confidence fits, and the strata of lots."""
    found: dict[str, Any] = {}
    for world, arms in (("lots", LOTS), ("countdown", COUNTDOWN)):
        for arm in arms:
            runs = finished(out / world, arm)
            if not runs:
                continue
            answers = Answers(runs)
            one: dict[str, Any] = {"seeds": len(runs), "accuracy": estimate_json(answers.accuracy())}
            one["verbal"] = figures_of(*answers.column("verbal"))
            one["answer_probability"] = figures_of(*answers.column("answer_probability"))
            for name, column in fits(runs).items():
                one[name] = figures_of(*column)
            if world == "lots":
                one["strata"], one["neither"] = strata_of(answers), estimate_json(answers.neither(UNSURE))
            found.setdefault(world, {})[arm] = one
    return found


def fits(runs: Sequence[Path]) -> dict[str, tuple[list[float], list[float], list[str]]]:
    """The fitted confidences of some runs, pooled."""
    found: dict[str, tuple[list[float], list[float], list[str]]] = {}
    for run in runs:
        if (run / "fitted.json").exists():
            for name, (q, c, keys) in json.loads((run / "fitted.json").read_text(encoding="utf-8")).items():
                known = found.setdefault(name, ([], [], []))
                for whole, part in zip(known, (q, c, keys), strict=True):
                    whole += part
    return found


def claims_of(out: Path) -> Iterator[Claim]:
    """The paper's claims where the truth is known, and its controls."""
    kept: dict[tuple[str, str, str], Answers | None] = {}

    def answers(arm: str, world: str = "lots", when: str = "after") -> Answers | None:
        if (arm, world, when) not in kept:
            runs = finished(out / world, arm)
            kept[arm, world, when] = Answers(runs, when) if runs else None
        return kept[arm, world, when]

    main, plain = answers(RECIPE), answers("rlvr")
    yield below(
        "calibrated_by_stratum", "the largest distance of stated confidence and chance over the strata is below 0.05", "eq. 2",
        "q = p", largest_gap(main) if main else None, 0.05,
    )  # fmt: skip
    yield below(
        "calibrated", "the calibration error of RLCR is below 0.05", "Table 1", 0.03, figure(main, "verbal", "ece"), 0.05,
    )  # fmt: skip
    yield claim(
        "rlvr_overconfident", "after plain rewards the probability of answers is above their accuracy", "Table 1",
        "ECE 0.37 -> 0.03", overconfidence(plain), minimum=0.05,
    )  # fmt: skip
    yield claim(
        "better_than_rlvr", "the squared error of stated confidences is lower than after plain rewards", "Table 1",
        "0.21 against 0.37", brier_gap(plain, main), minimum=0.02,
    )  # fmt: skip
    for world in ("lots", "countdown"):
        one, other = answers(RECIPE, world), answers("rlvr", world)
        yield claim(
            f"accuracy_kept{'' if world == 'lots' else '_countdown'}",
            f"as many answers are right as with plain rewards ({world})", "Table 1", "0.621 against 0.630",
            accuracy_gap(one, other), null=-0.02,
        )  # fmt: skip
    cheats = answers("log_score")
    yield claim(
        "log_score_cheats", "a log score brings deliberate errors where the chance is below 0.648", "section 3",
        "honesty is worth less than 0", gap_of(cheats, main, UNSURE), minimum=0.05,
    )  # fmt: skip
    skill = finished(out / "countdown", RECIPE)
    yield claim(
        "weighted_vote", "a vote weighted by confidence is right more often than a plain one (Countdown)", "figure 4",
        "higher", Pooled.of(skill, f"after_{LABEL}").between("weighted", "majority") if skill else None,
    )  # fmt: skip
    auroc = figure(main, "verbal", "auroc")
    yield claim("informative", "its confidences set right answers apart from wrong ones (AUROC)", OURS, None, auroc, null=0.5)
    yield below(
        "shuffled_control", "paid for others' outcomes, confidences say nothing (resolution)", OURS, None,
        figure(answers("shuffled"), "verbal", "resolution"), 0.01,
    )  # fmt: skip
    yield below(
        "collapsed_start_learns_nothing", "from a start that always says nine tenths nothing is learned (resolution)", OURS,
        None, figure(answers("collapsed"), "verbal", "resolution"), 0.01,
    )  # fmt: skip


def figure(found: Answers | None, kind: str, name: str) -> Estimate | None:
    """One metric of a kind of confidence."""
    if found is None:
        return None
    q, c, keys = found.column(kind)
    return bootstrapped(lambda places: fit.MEASURES[name]([q[i] for i in places], [c[i] for i in places]), keys, unit="ratio")


def overconfidence(found: Answers | None) -> Estimate | None:
    """The probability of an answer minus whether it is right."""
    if found is None:
        return None
    q, c, keys = found.column("answer_probability")
    return difference(q, c, keys)


def by_problem(found: Answers, value: Callable[[Episode], float]) -> dict[tuple[str, int], float]:
    """The mean over the answers to each problem, by key and seed."""
    seen: dict[str, int] = {}
    means = {}
    for group in found.groups:
        key = group[0].task.key
        number = seen[key] = seen.get(key, -1) + 1
        known = [v for e in group if not math.isnan(v := value(e))]
        means[key, number] = sum(known) / len(known) if known else math.nan
    return means


def paired(one: Mapping[tuple[str, int], float], other: Mapping[tuple[str, int], float]) -> Estimate:
    """The difference over the problems and seeds that both have."""
    keys = [key for key in one if key in other]
    return difference([one[k] for k in keys], [other[k] for k in keys], [key for key, _ in keys])


def accuracy_gap(one: Answers | None, other: Answers | None) -> Estimate | None:
    """How many more answers are right."""
    if one is None or other is None:
        return None
    return paired(*(by_problem(some, lambda e: e.verdicts["attempt"].score) for some in (one, other)))


def brier_gap(one: Answers | None, other: Answers | None) -> Estimate | None:
    """How much larger the squared error of the stated confidence is."""
    if one is None or other is None:
        return None
    return paired(
        *(by_problem(some, lambda e: (e.verdicts["verbal"].score - e.verdicts["attempt"].score) ** 2) for some in (one, other))
    )


def gap_of(one: Answers | None, other: Answers | None, below: float) -> Estimate | None:
    """How many more answers are none of the numbers, where the chance is below so much."""
    if one is None or other is None:
        return None

    def deliberate(e: Episode) -> float:
        return float(e.verdicts["attempt"].why == NEITHER) if chance(e.task) < below else math.nan

    return paired(by_problem(one, deliberate), by_problem(other, deliberate))
