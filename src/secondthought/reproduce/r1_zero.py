"""R1-Zero from base models that do and do not reflect, and the length of wrong answers under GRPO and Dr. GRPO.

OUT/BASE/ARM/seed_S/       a whole run for each base model, arm and seed, each resumable
OUT/.../dynamics.json      what its responses were like, in twenty parts of the training
OUT/summary.json, results.md, reflection.png, lengths.png, wrong.png
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from statistics import correlation, fmean
from typing import Any, ClassVar

from secondthought.models.names import style_of
from secondthought.probes import detectors, superficial
from secondthought.probes.unasked import OUTCOMES, length, looked_at, outcome
from secondthought.report import r1_zero as page
from secondthought.reproduce.arms import ArmsOfRecipe, finished, made, minus, run_all
from secondthought.reproduce.base import OURS, Reproduced, below, check_budget, claim
from secondthought.reproduce.parts import in_parts
from secondthought.reproduce.pooled import Pooled
from secondthought.runs.files import write_json
from secondthought.runs.progress import Progress
from secondthought.runs.reports import estimate_json
from secondthought.stats import over_seeds
from secondthought.training.recipe import Recipe
from secondthought.types import Claim, Estimate, Group, TaskSet

RECIPE = "r1_zero"
BASES = ("nano/zero-0", "nano/zero-1", "nano/zero-5", "nano/zero-20", "nano/zero-20-untaught")
COMPARED = "nano/zero-5"  # the base model whose arms are compared
ARMS = (RECIPE, "dr_grpo", "length_only", "std_only", "token", "binary")
SEEDS = {"quick": (1, 1), "full": (3, 5)}
"""Runs of each base model, and of each arm on :data:`COMPARED`."""

PARTS = 20
LABEL = "unasked"


@dataclass(frozen=True)
class R1Zero(ArmsOfRecipe):
    """Train and measure what is not there yet: the recipe on every base model, and its arms on one.

    tasks        the problems (a SPEC); empty: those of the recipe
    model        compare the arms on this model alone; empty: on nano/zero-5, and train all nano base models
    arms         arms of the recipe, separated by commas; r1_zero is the recipe itself (GRPO). Empty: those of the budget
    seeds        runs of each arm; 0: one (quick), or three of each base model and five of each arm (full)
    problems     held-out problems, eight responses to each; 0: 500 (quick) or 2,000 (full)
    settings     name=value for every run, separated by semicolons
    """

    name: ClassVar[str] = "r1_zero"
    budgets: ClassVar[dict[str, str]] = {"quick": "minutes on two cores", "full": "hours on two cores"}

    def run(self, budget: str, out: Path, progress: Progress) -> Reproduced:
        """Do what is not done yet in ``out``, then look at all of it."""
        check_budget(self, budget)
        arms, _, settings = self.wanted((RECIPE, "dr_grpo") if budget == "quick" else ARMS, budget)
        each, compared = (self.seeds or n for n in SEEDS[budget])
        bases = [self.model] if self.model else list(BASES)
        steps = ["steps=100" if budget == "quick" else "steps=200"]

        def recipe_of(base: str, arm: str, seed: int) -> Recipe:
            return made(arm, base, seed, [*steps, *settings], self.tasks or None, RECIPE)

        for base in bases:
            runs = [(RECIPE, seed) for seed in range(each)]
            if base == (self.model or COMPARED):
                runs = [(arm, seed) for seed in range(compared) for arm in arms]
            run_all(out / name_of(base), runs, partial(recipe_of, base), progress)
        for run in sorted(out.glob("*/*/seed_*")):
            if (run / "summary.json").exists():
                dynamics(run, recipe_of(bases[0], RECIPE, 0).tasks, progress, nano=style_of(bases[0]) == "terse")
        main = name_of(self.model or COMPARED)
        tables = tables_of(out, main)
        write_json(out / "summary.json", tables)
        return Reproduced(tuple(claims_of(out, main, tables)), tables, page.write(out, tables))


reproduction = R1Zero


def name_of(base: str) -> str:
    """The folder of a base model."""
    return Path(base).name


# --- what training was like ------------------------------------------------------------------------------------------


def dynamics(run: Path, tasks: TaskSet, progress: Progress, *, nano: bool) -> None:
    """Read the episodes of a run once: shares and lengths by outcome, and what reflection did, part by part of the training."""
    in_parts(run, "dynamics.json", PARTS, partial(part_of, tasks=tasks, nano=nano), progress)


def part_of(groups: Sequence[Group], *, tasks: TaskSet, nano: bool) -> dict[str, Any]:
    """The figures of some responses."""
    episodes = [e for group in groups for e in group]
    flags = detectors.detector_of("said_wait" if nano else "rules")([e["attempt"].text for e in episodes])
    seen = [looked_at(e, tasks, flag, nano=nano) for e, flag in zip(episodes, flags, strict=True)]
    kinds = {name: [length(e) for e in seen if outcome(e) == name] for name in OUTCOMES}
    reflecting = [e for e in seen if superficial.reflects(e)]
    others = [e for e in seen if not superficial.reflects(e)]
    return {
        "length": fmean(map(length, seen)), "share": {name: len(some) / len(seen) for name, some in kinds.items()},
        "lengths": {name: fmean(some) if some else None for name, some in kinds.items()},
        "reflects": len(reflecting) / len(seen),
        "reflecting": fmean(map(length, reflecting)) if reflecting else None,
        "others": fmean(map(length, others)) if others else None,
        "behaviours": {
            name: sum(e.verdicts["reflection"].answer == name for e in reflecting) / len(seen)
            for name in superficial.BEHAVIOURS
        },
    }  # fmt: skip


def decomposed(parts: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """What the mean length did from the first part to the last: by the mix of outcomes (their shares change), and within them
    (their lengths change); together the whole change (Kitagawa 1955). ``reflection`` is what comes from the share of responses
    that reflect, in the same way. ``follows`` is the correlation over all parts of the mean length with what the mix of
    outcomes alone would make of it.
    """
    usual = {
        name: fmean(known) if (known := [p["lengths"][name] for p in parts if p["lengths"][name] is not None]) else 0.0
        for name in OUTCOMES
    }  # fmt: skip
    first, last = ([(p["share"][n], p["lengths"][n] or usual[n]) for n in OUTCOMES] for p in (parts[0], parts[-1]))
    mix = sum((b[0] - a[0]) * (a[1] + b[1]) / 2 for a, b in zip(first, last, strict=True))
    within = sum((b[1] - a[1]) * (a[0] + b[0]) / 2 for a, b in zip(first, last, strict=True))
    extra = [(p["reflecting"] or 0.0) - (p["others"] or 0.0) if p["reflecting"] else None for p in (parts[0], parts[-1])]
    longer = [value for value in extra if value is not None]
    reflection = (parts[-1]["reflects"] - parts[0]["reflects"]) * fmean(longer) if longer else 0.0
    actual, expected = [p["length"] for p in parts], [sum(p["share"][n] * usual[n] for n in OUTCOMES) for p in parts]
    follows = correlation(actual, expected) if len(set(actual)) > 1 and len(set(expected)) > 1 else 0.0
    change = parts[-1]["length"] - parts[0]["length"]
    return {"change": change, "mix": mix, "within": within, "reflection": reflection, "follows": follows}


# --- tables and claims -----------------------------------------------------------------------------------------------


def tables_of(out: Path, main: str) -> dict[str, Any]:
    """Every finished run: base models before and after, the arms side by side, and what training was like."""
    found: dict[str, Any] = {"bases": {}, "arms": {}, "dynamics": {}, "compared": main}
    for base in sorted((p.name for p in out.iterdir() if p.is_dir()), key=lambda name: (len(name), name)):
        if runs := finished(out / base, RECIPE):
            found["bases"][base] = {"seeds": len(runs)} | {
                when: sides(Pooled.of(runs, f"{when}_{LABEL}")) for when in ("before", "after")
            }
            found["dynamics"][base] = [json.loads((run / "dynamics.json").read_text(encoding="utf-8")) for run in runs]
    for arm in ARMS:
        if runs := finished(out / main, arm):
            parts = [json.loads((run / "dynamics.json").read_text(encoding="utf-8")) for run in runs]
            split = [decomposed(one) for one in parts]
            after = Pooled.of(runs, f"after_{LABEL}")
            found["arms"][arm] = {"seeds": len(runs)} | sides(after) | {
                "wrong_each_seed": [report.arm("wrong_length").estimate.value for report in after.reports],
                "lengths": {name: fmean(one[name] for one in split) for name in split[0]},
            }  # fmt: skip
            found["dynamics"].setdefault(f"{main}:{arm}", parts)
    return found


def sides(pooled: Pooled) -> dict[str, Any]:
    """What is tabled of some reports."""
    found: dict[str, Any] = {
        name: estimate_json(pooled.mean(name)) for name in ("right", "any", "answered", "reflects", "length", "wrong_length")
    }
    found["within_question"] = estimate_json(pooled.mean("gap"))
    for name in superficial.BEHAVIOURS:
        found[name] = fmean(r.figures["reflects"].value * none(r.figures[f"behaviour/{name}"].value) for r in pooled.reports)
    return found


def none(value: float) -> float:
    """A share of nothing as 0."""
    return 0.0 if value != value else value


def claims_of(out: Path, main: str, tables: Mapping[str, Any]) -> Iterator[Claim]:
    """What the papers say of reflection and of length."""

    def side(base: str, when: str) -> Pooled | None:
        runs = finished(out / base, RECIPE)
        return Pooled.of(runs, f"{when}_{LABEL}") if runs else None

    def rate(base: str, when: str) -> Estimate | None:
        return found.mean("reflects") if (found := side(base, when)) else None

    def change(base: str) -> Estimate | None:
        before, after = side(base, "before"), side(base, "after")
        return after.minus(before, "reflects") if before and after else None

    for share in (5, 20):
        yield claim(
            f"present_before_rl{'' if share == 5 else '_20'}",
            f"a base model with {share} % of reflective traces reflects before reinforcement learning", "blog, section 1",
            "all families but Llama-3.x", rate(f"zero-{share}", "before"), minimum=0.005,
        )  # fmt: skip
    yield below(
        "rl_creates_none", "one without any reflects in less than 1 % of its responses after reinforcement learning", OURS,
        None, rate("zero-0", "after"), 0.01,
    )  # fmt: skip
    for share in (5, 20):
        yield claim(
            f"rl_amplifies{'' if share == 5 else '_20'}",
            f"with {share} % of reflective traces, reinforcement learning makes reflection more frequent", "section 2.3",
            "more often, without gain", change(f"zero-{share}"), minimum=0.01,
        )  # fmt: skip
    yield claim(
        "rl_amplifies_the_only_skill", "it does where looking back is the only thing that solves (no textbook)", OURS, None,
        change("zero-20-untaught"), minimum=0.01,
    )  # fmt: skip
    found = [decomposed(parts) for runs in tables["dynamics"].values() for parts in runs]
    more = [abs(one["mix"]) - abs(one["reflection"]) for one in found]
    yield claim(
        "length_is_reward_shaping",
        "more of the change of mean length comes from the mix of reward groups than from reflection (tokens, over runs)",
        "blog, section 3", "dip, then rise with the mix", over_seeds(more, unit="tokens") if len(more) > 1 else None,
    )  # fmt: skip
    yield claim(
        "dr_grpo_shorter_wrong", "after as many steps, wrong answers are shorter under Dr. GRPO than under GRPO (tokens)",
        "figure 5", "clearly shorter",
        in_tokens(minus(out / main, RECIPE, "dr_grpo", f"after_{LABEL}", scores_of("wrong_length"))),
    )  # fmt: skip
    yield claim(
        "dr_grpo_keeps_accuracy", "and as many are right (within 3 points)", "figure 5", "the same",
        minus(out / main, "dr_grpo", RECIPE, f"after_{LABEL}", scores_of("right")), null=-0.03,
    )  # fmt: skip
    last = side("zero-20-untaught", "after")
    yield below(
        "superficial_within_question",
        "after reinforcement learning, where responses still reflect, that is worth less than 5 points on the same problem",
        "section 2.3", "not correlated with accuracy", last.mean("gap") if last else None, 0.05,
    )  # fmt: skip


def in_tokens(difference: Estimate | None) -> Estimate | None:
    """A difference of lengths, shown as such."""
    return replace(difference, unit="tokens") if difference is not None else None


def scores_of(name: str) -> Callable[[Pooled], list[float]]:
    """The scores of an arm of the report."""
    return lambda found: found.scores(name)
