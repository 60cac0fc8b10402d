"""Critique fine-tuning beside imitation of answers at equal loss tokens, its controls, and what it is worth as a start.

OUT/ARM/seed_S/     a whole run for each arm and seed, each resumable (:mod:`secondthought.reproduce.arms`)
OUT/summary.json, results.md, arms.png
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any, ClassVar

from secondthought.report import cft as page
from secondthought.reproduce.arms import ArmsOfRecipe, Scores, finished, made, minus, run_all
from secondthought.reproduce.base import OURS, Reproduced, check_budget, claim
from secondthought.reproduce.pooled import Pooled
from secondthought.runs.files import write_json
from secondthought.runs.progress import Progress
from secondthought.runs.reading import read_metrics
from secondthought.runs.reports import estimate_json
from secondthought.training.recipe import Recipe
from secondthought.types import Claim, Estimate

RECIPE = "cft"
ANSWERS = ("answers", "answers_right", "answers_gold")
IMITATED = (RECIPE, "no_replay", "noisy", "verdict", "shuffled", "with_answer", *ANSWERS, "both")
STARTS = ("then_rrr", "rrr", "then_score", "score")
QUICK = (RECIPE, "answers_right", "shuffled")
TOKENS = {"quick": 60_000, "full": 150_000}  # learned from, in every arm of imitation


@dataclass(frozen=True)
class CritiqueFineTuning(ArmsOfRecipe):
    """Train and measure what is not there yet. All arms of imitation learn from the same number of tokens; those that start
    reinforcement learning take the same steps of it from a critic and from the initial model.

    tasks        the problems (a SPEC); empty: Countdown
    model        the model; empty: that of the recipe
    arms         arms of the recipe, separated by commas; cft is the recipe itself. Empty: those of the budget
    seeds        runs of each arm; 0: one (quick) or three (full)
    tokens       tokens that imitation learns from; 0: 60,000 (quick) or 150,000 (full)
    problems     held-out problems; 0: 500 (quick) or 2,000 (full)
    settings     name=value for every run, separated by semicolons
    """

    name: ClassVar[str] = "cft"
    budgets: ClassVar[dict[str, str]] = {
        "quick": "about a minute on two cores",
        "full": "three seeds of fourteen arms, of which ten took a minute each on one core",
    }  # fmt: skip
    tokens: int = 0

    def run(self, budget: str, out: Path, progress: Progress) -> Reproduced:
        """Do what is not done yet in ``out``, then look at all of it."""
        check_budget(self, budget)
        arms, seeds, settings = self.wanted(QUICK if budget == "quick" else (*IMITATED, *STARTS), budget)
        equal = [f"loss_budget={self.tokens or TOKENS[budget]}", "imitate.steps=100000"]

        def recipe_of(arm: str, seed: int) -> Recipe:
            chosen = [*settings, *(equal if arm in IMITATED else [])]
            return made(arm, self.model or None, seed, chosen, self.tasks or None, RECIPE)

        run_all(out, [(arm, seed) for seed in range(seeds) for arm in arms], recipe_of, progress)
        tables = tables_of(out)
        write_json(out / "summary.json", tables)
        return Reproduced(tuple(claims_of(out, tables)), tables, page.write(out, tables))


reproduction = CritiqueFineTuning


def tables_of(out: Path) -> dict[str, Any]:
    """Every finished arm: answers and verdicts of those that imitate, second tries and corrections of the others."""
    found: dict[str, Any] = {"arms": {}, "starts": {}}
    for arm in IMITATED:
        if runs := finished(out, arm):
            before, after = (Pooled.of(runs, f"{when}_answer") for when in ("before", "after"))
            judged = Pooled.of(runs, "after_critique")
            found["arms"][arm] = {
                "seeds": len(runs), "before": estimate_json(before.mean("first")), "first": estimate_json(after.mean("first")),
                "gain": estimate_json(after.minus(before, "first")),
                "each_seed": [
                    new.figures["first"].value - old.figures["first"].value
                    for new, old in zip(after.reports, before.reports, strict=True)
                ],
                "verdict": estimate_json(judged.mean("verdict")), "commoner": estimate_json(judged.mean("commoner")),
                "borrowed": estimate_json(judged.mean("borrowed")),
                "auroc": mean_of([report.figures["auroc"].value for report in judged.reports]),
                "learned_tokens": [int(sum(line["tokens/learned"] for line in read_metrics(run))) for run in runs],
            }  # fmt: skip
    for arm, label, names in (
        ("then_rrr", "second_try", ("first", "second")), ("rrr", "second_try", ("first", "second")),
        ("then_score", "self_correction", ("attempt_1", "attempt_2")), ("score", "self_correction", ("attempt_1", "attempt_2")),
    ):  # fmt: skip
        if runs := finished(out, arm):
            sides = {when: Pooled.of(runs, f"{when}_{label}") for when in ("before", "after")}
            found["starts"][arm] = {"seeds": len(runs)} | {
                f"{when}/{place}": estimate_json(side.mean(name))
                for when, side in sides.items() for place, name in zip(("first", "second"), names, strict=True)
            }  # fmt: skip
    return found


def mean_of(values: Sequence[float]) -> float | None:
    """The mean of what is known; None where nothing is."""
    known = [value for value in values if not math.isnan(value)]
    return fmean(known) if known else None


def claims_of(out: Path, tables: Mapping[str, Any]) -> Iterator[Claim]:
    """The paper's claim, its controls, and what a start in critiques is worth."""
    arms: Mapping[str, Any] = tables["arms"]
    rivals = [arm for arm in ANSWERS if arm in arms]
    best = max(rivals, key=lambda arm: arms[arm]["first"]["value"]) if rivals else ""
    for id, text, source, published, found, null, minimum in (
        (
            "critique_beats_answers", f"learning from critiques beats imitating answers ({best or 'none'})", "Table 1",
            "+3.5 to +10.4", minus(out, RECIPE, best, "after_answer", scores_of("first")), 0.0, 0.02,
        ),
        ("critique_helps", "critiques raise direct answering", "Table 1", "+7.2 to +19.3", gain(out, RECIPE), 0.0, 0.02),
        (
            "noise_20", "with a fifth of the critiques wrong at most 2 points are lost", "section 2", "a fifth of them were",
            minus(out, "noisy", RECIPE, "after_answer", scores_of("first")), -0.02, 0.0,
        ),
        (
            "shuffled_does_nothing", "critiques of the answer at hand beat those of others", OURS, None,
            minus(out, RECIPE, "shuffled", "after_answer", scores_of("first")), 0.0, 0.02,
        ),
        (
            "verdicts_are_learned", "its verdicts on its own answers beat the commoner verdict", OURS, None,
            within(out, RECIPE, "verdict", "commoner"), 0.0, 0.02,
        ),
        (
            "verdicts_need_content", "and those of one trained on shuffled critiques", OURS, None,
            minus(out, RECIPE, "shuffled", "after_critique", scores_of("verdict")), 0.0, 0.02,
        ),
        (
            "start_for_rrr", "Reflect, Retry, Reward gets further from a critic than from the initial model", OURS, None,
            minus(out, "then_rrr", "rrr", "after_second_try", scores_of("second")), 0.0, 0.02,
        ),
        (
            "start_for_score", "so does SCoRe", OURS, None,
            minus(out, "then_score", "score", "after_self_correction", scores_of("attempt_2")), 0.0, 0.02,
        ),
    ):  # fmt: skip
        yield claim(id, text, source, published, found, null=null, minimum=minimum)


def gain(out: Path, arm: str) -> Estimate | None:
    """What training changed in direct answering."""
    runs = finished(out, arm)
    return Pooled.of(runs, "after_answer").minus(Pooled.of(runs, "before_answer"), "first") if runs else None


def within(out: Path, arm: str, left: str, right: str) -> Estimate | None:
    """One of an arm's verdict rates minus another."""
    runs = finished(out, arm)
    return Pooled.of(runs, "after_critique").between(left, right) if runs else None


def scores_of(name: str) -> Scores:
    """The scores of an arm of the report."""
    return lambda found: found.scores(name)
