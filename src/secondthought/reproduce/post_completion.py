"""Post-completion learning beside plain rewards, unpaid and wrongly paid evaluations: what it costs and what it brings.

OUT/ARM/seed_S/     a whole run for each arm and seed, each resumable (:mod:`secondthought.reproduce.arms`)
OUT/summary.json, results.md, evaluation.png
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from secondthought.probes.self_evaluation import measure, sureness
from secondthought.report import post_completion as page
from secondthought.reproduce.arms import EveryArm, RecipeOf, finished, minus, sampled_tokens
from secondthought.reproduce.base import OURS, Reproduced, below, claim
from secondthought.reproduce.pooled import Pooled
from secondthought.runs.files import write_json
from secondthought.runs.progress import Progress
from secondthought.runs.reading import read_groups
from secondthought.runs.reports import estimate_json
from secondthought.types import Claim, Estimate

RECIPE = "post_completion"
ARMS = (RECIPE, "answers_only", "untrained", "shuffled", "per_problem", "summed", "taught", "form")
QUICK = (RECIPE, "answers_only", "untrained")
BEFORE, AFTER = "before_self_evaluation", "after_self_evaluation"
MEASURES = ("right", "says_right", "agrees", "same", "tokens", "behind")


@dataclass(frozen=True)
class PostCompletion(EveryArm):
    """Train and measure what is not there yet.

    tasks        the problems (a SPEC); empty: Countdown
    model        the model; empty: nano/countdown
    arms         arms of the recipe, separated by commas; post_completion is the recipe itself. Empty: those of the budget
    seeds        runs of each arm; 0: one (quick) or three (full)
    problems     held-out problems; 0: 500 (quick) or 2,000 (full)
    settings     name=value for every run, separated by semicolons
    """

    name: ClassVar[str] = "post_completion"
    budgets: ClassVar[dict[str, str]] = {
        "quick": "about five minutes",
        "full": "three seeds of eight arms; an arm took two minutes of one core",
    }  # fmt: skip
    full: ClassVar[tuple[str, ...]] = ARMS
    quick: ClassVar[tuple[str, ...]] = QUICK
    steps: ClassVar[Mapping[str, tuple[str, ...]]] = {"quick": ("reward.steps=100",)}

    def looked_at(self, out: Path, recipe_of: RecipeOf, progress: Progress) -> Reproduced:
        """Tables, claims and the page of the finished runs."""
        tables = tables_of(out)
        write_json(out / "summary.json", tables)
        return Reproduced(tuple(claims_of(out)), tables, page.write(out, tables))


reproduction = PostCompletion


def auroc(runs: Sequence[Path], when: str = AFTER) -> Estimate:
    """How well evaluations set right answers apart from wrong ones, over all answers of some runs."""
    episodes = [group[0] for run in runs for group in read_groups(run / "episodes" / f"{when}.parquet")]
    return measure(
        "auroc", [sureness(e) for e in episodes], [e.verdicts["attempt"].score for e in episodes],
        [e.task.key for e in episodes],
    )  # fmt: skip


def tables_of(out: Path) -> dict[str, Any]:
    """Every finished arm before and after training."""
    found: dict[str, Any] = {"arms": {}}
    for arm in ARMS:
        runs = finished(out, arm)
        if not runs:
            continue
        before, after = Pooled.of(runs, BEFORE), Pooled.of(runs, AFTER)
        one: dict[str, Any] = {"seeds": len(runs), "sampled_tokens": [sampled_tokens(run) for run in runs]}
        one |= {name: estimate_json(after.mean(name)) for name in MEASURES}
        one["before"] = estimate_json(before.mean("right"))
        one["gain"] = estimate_json(after.minus(before, "right"))
        one["auroc"] = estimate_json(auroc(runs))
        found["arms"][arm] = one
    return found


def right(found: Pooled) -> list[float]:
    """Whether each answer is right."""
    return found.scores("right")


def claims_of(out: Path) -> Iterator[Claim]:
    """What the paper says, and its controls."""
    runs = finished(out, RECIPE)
    different = None
    if runs:
        same = Pooled.of(runs, AFTER).mean("same")
        different = Estimate(1 - same.value, 1 - same.high, 1 - same.low, same.n)
    yield below(
        "zero_extra_tokens", "answers that are not token by token the same without anything behind them", "section 1", "none",
        different, 0.01,
    )  # fmt: skip
    found = auroc(runs) if runs else None
    yield claim(
        "self_evaluation_learnt", "evaluations behind the end set right answers apart from wrong ones (AUROC)", "section 4",
        "learned", found, null=0.5, minimum=0.05,
    )  # fmt: skip
    yield claim(
        "accuracy_change", "answers are right more often than after plain rewards", "section 4", "+5 to +10 % (secondary)",
        minus(out, RECIPE, "answers_only", AFTER, right), minimum=0.02,
    )  # fmt: skip
    for id, arm, text in (
        ("untrained_segment_control", "untrained", "unpaid, evaluations know nothing (AUROC)"),
        ("shuffled_control", "shuffled", "paid for other problems' outcomes, evaluations know nothing (AUROC)"),
    ):
        other = finished(out, arm)
        yield below(id, text, OURS, None, auroc(other) if other else None, 0.55)
