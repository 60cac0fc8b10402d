"""SERL beside a judge that knows, one that knows nothing, and agreement about nothing.

OUT/ARM/seed_S/     a whole run for each arm and seed, each resumable (:mod:`secondthought.reproduce.arms`)
OUT/summary.json, results.md, quality.png, judge.png
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from secondthought.report import serl as page
from secondthought.reproduce.arms import EveryArm, RecipeOf, before_and_after, finished, gained, minus, sampled_tokens
from secondthought.reproduce.base import OURS, Reproduced, below, claim
from secondthought.reproduce.pooled import Pooled
from secondthought.runs.files import write_json
from secondthought.runs.progress import Progress
from secondthought.runs.reports import estimate_json
from secondthought.types import Claim

RECIPE = "serl"
ARMS = (RECIPE, "oracle", "placebo", "blind", "actor_only", "one_order", "any_length", "const")
QUICK = (RECIPE, "oracle", "placebo")
BEFORE, AFTER = "before_judge", "after_judge"
MEASURES = ("right", "quality", "accuracy", "consistent", "first", "cyclic", "chosen")


@dataclass(frozen=True)
class Serl(EveryArm):
    """Train and measure what is not there yet.

    tasks        the problems (a SPEC); empty: Countdown
    model        the model; empty: nano/rivals (the arm blind: nano/rivals-blind)
    arms         arms of the recipe, separated by commas; serl is the recipe itself. Empty: those of the budget
    seeds        runs of each arm; 0: one (quick) or three (full)
    problems     held-out problems; 0: 500 (quick) or 2,000 (full)
    settings     name=value for every run, separated by semicolons
    """

    name: ClassVar[str] = "serl"
    budgets: ClassVar[dict[str, str]] = {
        "quick": "about five minutes",
        "full": "three seeds of eight arms; an arm took two minutes of one core",
    }  # fmt: skip
    full: ClassVar[tuple[str, ...]] = ARMS
    quick: ClassVar[tuple[str, ...]] = QUICK
    steps: ClassVar[Mapping[str, tuple[str, ...]]] = {"quick": ("steps=60",), "full": ("steps=100",)}

    def looked_at(self, out: Path, recipe_of: RecipeOf, progress: Progress) -> Reproduced:
        """Tables, claims and the page of the finished runs."""
        tables = tables_of(out)
        write_json(out / "summary.json", tables)
        return Reproduced(tuple(claims_of(out)), tables, page.write(out, tables))


reproduction = Serl


def tables_of(out: Path) -> dict[str, Any]:
    """Every finished arm before and after training, what it gained, and its curves."""
    found = before_and_after(out, ARMS, "judge", MEASURES, ("quality", "accuracy", "consistent"))
    for arm, one in found["arms"].items():
        runs = finished(out, arm)
        before, after = Pooled.of(runs, BEFORE), Pooled.of(runs, AFTER)
        one["sampled_tokens"] = [sampled_tokens(run) for run in runs]
        one["gain"], one["right_gain"] = (estimate_json(after.minus(before, name)) for name in ("quality", "right"))
        one["each_seed"] = [r.arm("quality").estimate.value - b.arm("quality").estimate.value
                            for r, b in zip(after.reports, before.reports, strict=True)]  # fmt: skip
    return found


def quality(found: Pooled) -> list[float]:
    """How good the answers to each problem are."""
    return found.scores("quality")


def claims_of(out: Path) -> Iterator[Claim]:
    """What the paper says, and what it did not test."""
    yield claim(
        "actor_improves_without_labels", "answers come closer to the target, though nobody says how close they are", "Table 1",
        "52.4 -> 59.9 (win rate)", gained(out, RECIPE, "judge", "quality"), minimum=0.01,
    )  # fmt: skip
    yield claim(
        "judge_improves",
        "its judgements of pairs are right more often",
        OURS,
        None,
        gained(out, RECIPE, "judge", "accuracy"),
        minimum=0.02,
    )
    yield claim(
        "judge_more_consistent", "both orders of a pair get the same winner more often", "section 3", "rises",
        gained(out, RECIPE, "judge", "consistent"), minimum=0.02,
    )  # fmt: skip
    for id, arm, text in (
        ("placebo_consistency_does_not", "placebo", "agreement about another problem's answers improves nothing"),
        ("blind_judge_does_not", "blind", "a judge that knows nothing improves nothing, however consistent it becomes"),
    ):
        yield below(id, text, OURS, None, gained(out, arm, "judge", "quality"), 0.01)
    yield claim(
        "oracle_judge_gap", "a judge that knows would have brought more", OURS, None,
        minus(out, "oracle", RECIPE, AFTER, quality), minimum=0.01,
    )  # fmt: skip
    yield claim(
        "position_bias_corrected", "judging both orders brings more than judging one", OURS, None,
        minus(out, RECIPE, "one_order", AFTER, quality), minimum=0.01,
    )  # fmt: skip
    yield claim(
        "judge_training_helps", "training the judge too brings more than training the actor alone", "section 4", "higher",
        minus(out, RECIPE, "actor_only", AFTER, quality), minimum=0.01,
    )  # fmt: skip
