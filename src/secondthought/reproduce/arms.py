"""The decisive comparison: who should be paid, at equal sampled tokens, over several seeds.

OUT/ARM/seed_S/     a whole run for each arm and seed, each resumable
OUT/base_rates.json how often the base model solves each held-out problem, from 16 attempts
OUT/summary.json    every arm with intervals over tasks and over seeds
OUT/arms.png        the arms side by side
OUT/regimes.png     paying reflections against paying answers over the base model's success rate
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any, ClassVar

from secondthought import recipes
from secondthought.engines.factory import engine_for
from secondthought.protocols.answer import answer
from secondthought.report import arms as pictures
from secondthought.report import figures
from secondthought.reproduce.base import OURS, Reproduced, Reproduction, check_budget, claim
from secondthought.reproduce.pooled import Pooled, paired
from secondthought.rollouts import rollout
from secondthought.runs.files import write_json
from secondthought.runs.progress import Progress
from secondthought.runs.reading import read_metrics
from secondthought.runs.reports import estimate_from, estimate_json
from secondthought.stats import mean
from secondthought.tasks.base import distinct
from secondthought.training.loop import train
from secondthought.training.recipe import Recipe
from secondthought.training.settings import override, settable
from secondthought.types import Claim, Estimate

BASE = "rrr"
ARMS = (BASE, "retry_only", "reflection_and_retry", "answer", "random_reward")
EDGES = (0.0, 0.03, 0.1, 0.25, 0.5, 1.01)
"""Bins of the base model's success rate; the first holds problems it never solved in 16 attempts."""

ATTEMPTS = 16
TOKENS = {"quick": 40_000, "full": 534_112}
SEEDS = {"quick": 1, "full": 3}
MEASURES = ("first", "second", "resampled")


@dataclass(frozen=True)
class Arms(Reproduction):
    """Compare who is paid (reflection, retry, both, answer, nobody) at equal sampled tokens.

    recipe       the recipe whose arms are compared
    tasks        its problems; empty: those of the recipe
    model        a nano or hub model; empty: that of the recipe
    arms         arms of the recipe, separated by commas; rrr is the recipe itself, which pays only reflections
    seeds        runs of each arm; 0: one (quick) or three (full)
    tokens       sampled tokens at which each arm stops; 0: 40,000 (quick) or 534,112 (full)
    settings     name=value for every run, separated by semicolons
    """

    name: ClassVar[str] = "arms"
    budgets: ClassVar[dict[str, str]] = {"quick": "about ten minutes on two cores", "full": "about an hour and a half"}
    recipe: str = BASE
    tasks: str = ""
    model: str = ""
    arms: str = ",".join(ARMS)
    seeds: int = 0
    tokens: int = 0
    settings: str = ""

    def run(self, budget: str, out: Path, progress: Progress) -> Reproduced:
        """Run what is not finished yet, then compare. Arms stop at the same number of sampled tokens."""
        check_budget(self, budget)
        chosen, seeds = [arm for arm in self.arms.split(",") if arm], self.seeds or SEEDS[budget]
        equal = [f"token_budget={self.tokens or TOKENS[budget]}", *(["eval_problems=400"] if budget == "quick" else [])]
        settings = [*equal, *(s for s in self.settings.split(";") if s)]

        def recipe(arm: str, seed: int) -> Recipe:
            return made(arm, self.model or None, seed, settings, self.tasks or None, self.recipe)

        run_all(out, [(arm, seed) for seed in range(seeds) for arm in chosen], recipe, progress)
        summary = compare(out, recipe(chosen[0], 0), progress)
        return Reproduced(claims_of(summary), summary, out / "arms.png")


reproduction = Arms


def run_all(out: Path, runs: Sequence[tuple[str, int]], recipe: Callable[[str, int], Recipe], progress: Progress) -> None:
    """Every run (arm and seed) that is not finished, into OUT/ARM/seed_S; what was begun goes on.

    The untrained model is measured once for each seed.
    """
    for arm, seed in runs:
        folder = out / arm / f"seed_{seed}"
        if not (folder / "summary.json").exists():
            progress.phase(f"{arm}, seed {seed}")
            others = [run for run in sorted(out.glob(f"*/seed_{seed}")) if run != folder and (run / "resolved.json").exists()]
            train(recipe(arm, seed), folder, progress, resume=True, beside=others)


@dataclass(frozen=True)
class ArmsOfRecipe(Reproduction):
    """What reproductions that train the arms of one recipe can be asked: see their own docstrings."""

    tasks: str = ""
    model: str = ""
    arms: str = ""
    seeds: int = 0
    problems: int = 0
    settings: str = ""

    def wanted(self, default: Sequence[str], budget: str) -> tuple[list[str], int, list[str]]:
        """Arms, seeds (one or three), and settings of every run: held-out problems (500 or 2,000), then what is asked for."""
        quick = budget == "quick"
        settings = [f"eval_problems={self.problems or (500 if quick else 2000)}", *(s for s in self.settings.split(";") if s)]
        return [arm for arm in self.arms.split(",") if arm] or list(default), self.seeds or (1 if quick else 3), settings


RecipeOf = Callable[[str, int], Recipe]


@dataclass(frozen=True)
class EveryArm(ArmsOfRecipe):
    """A reproduction that trains arms of the recipe of its own name, each for its own steps, and then looks at all of them."""

    full: ClassVar[tuple[str, ...]]
    quick: ClassVar[tuple[str, ...]]
    steps: ClassVar[Mapping[str, tuple[str, ...]]] = {}  # settings by budget

    def run(self, budget: str, out: Path, progress: Progress) -> Reproduced:
        """Do what is not done yet in ``out``, then look at all of it."""
        check_budget(self, budget)
        arms, seeds, settings = self.wanted(self.quick if budget == "quick" else self.full, budget)

        def recipe_of(arm: str, seed: int) -> Recipe:
            chosen = [*self.steps.get(budget, ()), *settings]
            return made(arm, self.model or None, seed, chosen, self.tasks or None, self.name)

        run_all(out, [(arm, seed) for seed in range(seeds) for arm in arms], recipe_of, progress)
        return self.looked_at(out, recipe_of, progress)

    def looked_at(self, out: Path, recipe_of: RecipeOf, progress: Progress) -> Reproduced:
        """What the finished runs under ``out`` show."""
        raise NotImplementedError


Scores = Callable[[Pooled], list[float]]


def minus(out: Path, arm: str, other: str, label: str, scores: Scores) -> Estimate | None:
    """One arm minus another under the reports called ``label``, unit by unit, on the seeds that both have; None without."""
    names = {run.name for run in finished(out, arm)} & {run.name for run in finished(out, other)}
    if not names:
        return None
    one, two = (Pooled.of([run for run in finished(out, a) if run.name in names], label) for a in (arm, other))
    return paired(list(zip(scores(one), scores(two), one.units, strict=True)))


def gained(out: Path, arm: str, probe: str, name: str) -> Estimate | None:
    """What an arm of a probe's report is after training minus before, unit by unit, over the finished seeds of an arm."""
    runs = finished(out, arm)
    return Pooled.of(runs, f"after_{probe}").minus(Pooled.of(runs, f"before_{probe}"), name) if runs else None


def before_and_after(
    out: Path, arms: Sequence[str], probe: str, measures: Sequence[str], curve: Sequence[str]
) -> dict[str, dict[str, Any]]:  # fmt: skip
    """Under ``arms``, what a probe measured of each finished arm before and after training (``NAME_before``, ``NAME_after``),
    seeds pooled; under ``curves``, the ``curve`` of its first seed along training.
    """
    found: dict[str, dict[str, Any]] = {"arms": {}, "curves": {}}
    for arm in arms:
        runs = finished(out, arm)
        if not runs:
            continue
        one: dict[str, Any] = {"seeds": len(runs)}
        for when in ("before", "after"):
            pooled = Pooled.of(runs, f"{when}_{probe}")
            one |= {f"{name}_{when}": estimate_json(pooled.mean(name)) for name in measures}
        found["arms"][arm] = one
        found["curves"][arm] = [
            {"step": line["step"], **{name: line.get(f"{probe}/{name}") for name in curve}}
            for line in read_metrics(runs[0]) if f"{probe}/{curve[0]}" in line
        ]  # fmt: skip
    return found


def finished(out: Path, arm: str) -> list[Path]:
    """The finished runs of an arm, by seed."""
    return [run for run in sorted((out / arm).glob("seed_*")) if (run / "summary.json").exists()]


def sampled_tokens(run: Path) -> int:
    """What a finished run has sampled in training, what it collected included; 0 before it is finished."""
    if not (run / "summary.json").exists():
        return 0
    found = json.loads((run / "summary.json").read_text(encoding="utf-8"))["training"]["sampled_tokens"]
    costs = (json.loads(path.read_text(encoding="utf-8")) for path in (run / "episodes").glob("collected*.json"))
    return int(found + sum(cost["sampled_tokens"] for cost in costs))


def made(
    arm: str, model: str | None, seed: int, settings: Sequence[str], tasks: str | None = None, recipe: str = BASE
) -> Recipe:
    """The recipe of one arm and seed. One that has no stages goes on until its tokens are sampled; stages keep their steps.

    What another arm has and this one lacks (a stage, something to collect) need not be set.
    """
    whole = recipes.load(recipe, model=model, tasks=tasks)
    own = arm == recipe or (arm == BASE and BASE not in recipes.arms_of(recipe))
    chosen = whole if own else recipes.load(f"{recipe}:{arm}", model=model, tasks=tasks)
    endless = [] if chosen.stages else ["steps=100000"]
    variants = [whole, *(vary(whole) for vary in recipes.arms_of(recipe).values())]
    lacking = {name for one in variants for name in settable(one)} - settable(chosen).keys()
    return override(chosen, [*endless, *(s for s in settings if s.partition("=")[0] not in lacking), f"seed={seed}"])


def compare(out: Path, recipe: Recipe, progress: Progress, *, by_rates: bool = True) -> dict[str, Any]:
    """Every finished run under ``out``, arm by arm, and ``by_rates`` of the base model; pictures and summary are written."""
    rates = base_rates(out, recipe, progress) if by_rates else {}
    summary: dict[str, Any] = {"arms": {}, "by_base_rate": {}, "differences": {}}
    after: dict[str, Pooled] = {}
    folders: dict[str, list[Path]] = {}
    for arm in sorted(path.name for path in out.iterdir() if path.is_dir()):
        runs = finished(out, arm)
        if runs:
            folders[arm] = runs
            summary["arms"][arm], after[arm] = pooled(runs)
            if by_rates:
                summary["by_base_rate"][arm] = by_rate(after[arm], rates)
    for arm, runs in folders.items():
        seeds = {run.name for run in runs} & {run.name for run in folders.get(BASE, ())}
        if arm != BASE and seeds:  # on the seeds that both have
            base, other = (
                Pooled.of([run for run in folders[one] if run.name in seeds], "after_second_try") for one in (BASE, arm)
            )
            if base.units == other.units:
                summary["differences"][arm] = {m: estimate_json(base.minus(other, m)) for m in ("first", "second")}
    write_json(out / "summary.json", summary)
    figures.save(pictures.arms(summary["arms"]), out / "arms.png")
    if {BASE, "answer"} <= summary["by_base_rate"].keys():
        figures.save(pictures.regimes(summary["by_base_rate"], EDGES), out / "regimes.png")
    return summary


def claims_of(summary: Mapping[str, Any]) -> tuple[Claim, ...]:
    """What the paper says of its own reward, and what it never compared."""
    found, differences = summary["arms"], summary["differences"]
    gain = estimate_from(found[BASE]["second_gain"]) if BASE in found else None
    made_of = [claim("gain", "paying only reflections raises the second try", "Table 1", "+18.1 to +34.7", gain, minimum=0.03)]
    for arm, text in (
        ("answer", "paying answers"), ("retry_only", "paying retries"), ("reflection_and_retry", "paying both"),
        ("random_reward", "a random reward"),
    ):  # fmt: skip
        one = estimate_from(differences[arm]["second"]) if arm in differences else None
        made_of.append(
            claim(
                f"over_{arm}", f"at equal sampled tokens, paying only reflections beats {text} on the second try",
                OURS, None, one, minimum=0.03,
            )
        )  # fmt: skip
    return tuple(made_of)


def pooled(runs: Sequence[Path]) -> tuple[dict[str, Any], Pooled]:
    """One arm: scores of all its seeds, resampled by task, and the mean over seeds with a t-interval."""
    before, after = Pooled.of(runs, "before_second_try"), Pooled.of(runs, "after_second_try")
    found: dict[str, Any] = {"seeds": len(runs)}
    for measure in MEASURES:
        found[measure] = estimate_json(after.mean(measure))
        found[f"{measure}_gain"] = estimate_json(after.minus(before, measure))
        found[f"{measure}_seeds"] = estimate_json(after.seeds(measure))
    found["sampled_tokens"] = [json.loads((run / "summary.json").read_text())["training"]["sampled_tokens"] for run in runs]
    return found, after


def by_rate(found: Pooled, rates: Mapping[str, float]) -> list[dict[str, Any]]:
    """One arm's figures within each bin of the base model's success rate."""
    bins = []
    for low, high in pairwise(EDGES):

        def inside(key: str, low: float = low, high: float = high) -> bool:
            return key in rates and low <= rates[key] < high

        bins.append({"low": low, "high": high, **{m: estimate_json(found.mean(m, inside)) for m in MEASURES}})
    return bins


def base_rates(out: Path, recipe: Recipe, progress: Progress) -> dict[str, float]:
    """How often the untrained model solves each held-out problem, from 16 attempts; measured once."""
    path = out / "base_rates.json"
    if not path.exists():
        problems = distinct(recipe.test, recipe.eval_problems)
        progress.phase(f"base success rates: {len(problems)} problems x {ATTEMPTS} attempts")
        protocol, engine = partial(answer, grade=recipe.test.grade), engine_for(recipe.model, recipe.engine)
        groups = rollout(protocol, problems, ATTEMPTS, engine, recipe.sampling, seed=recipe.seed)
        write_json(path, {g[0].task.key: mean([float(e.verdicts["attempt"].score == 1) for e in g]).value for g in groups})
    found: dict[str, float] = json.loads(path.read_text())
    return found
