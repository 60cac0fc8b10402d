"""Self-questioning beside labels, given questions and empty votes, where the majority is right and where it is not.

OUT/ARM/seed_S/            a whole run for each arm and seed, each resumable (:mod:`secondthought.reproduce.arms`)
OUT/ARM/seed_S/posed.json  what was asked in training, in ten parts: difficulty, diversity, agreement and truth
OUT/summary.json, results.md, gains.png, questions.png, agreement.png
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any, ClassVar

from secondthought.credit.self_questioning import rewards_of
from secondthought.nano.addition_corpus import habit
from secondthought.protocols.self_questioning import PROPOSER, SOLVER
from secondthought.report import self_questioning as page
from secondthought.reproduce.arms import EveryArm, RecipeOf, finished, sampled_tokens
from secondthought.reproduce.base import OURS, Reproduced, claim
from secondthought.reproduce.parts import in_parts
from secondthought.runs.files import write_json
from secondthought.runs.progress import Progress
from secondthought.runs.reading import read_groups, read_metrics
from secondthought.runs.reports import estimate_json
from secondthought.stats import bootstrapped, difference, mean
from secondthought.tasks.addition import Sum, sum_of
from secondthought.types import Claim, Estimate, Group

RECIPE = "self_questioning"
ARMS = (RECIPE, "oracle", "static", "frozen", "format_only", "random_vote", "every_1", "every_10", "low_0")
QUICK = (RECIPE, "oracle", "static")
LABEL = "answer"
PARTS = 10


@dataclass(frozen=True)
class SelfQuestioning(EveryArm):
    """Train and measure what is not there yet.

    tasks        the problems that are measured (a SPEC); empty: sums of up to 4 digits
    model        the model; empty: nano/asker
    arms         arms of the recipe, separated by commas; self_questioning is the recipe itself. Empty: those of the budget
    seeds        runs of each arm; 0: one (quick) or three (full)
    problems     held-out problems; 0: 500 (quick) or 2,000 (full)
    settings     name=value for every run, separated by semicolons
    """

    name: ClassVar[str] = "self_questioning"
    budgets: ClassVar[dict[str, str]] = {
        "quick": "about five minutes",
        "full": "three seeds of eight arms; an arm took two minutes of one core",
    }  # fmt: skip
    full: ClassVar[tuple[str, ...]] = ARMS
    quick: ClassVar[tuple[str, ...]] = QUICK
    steps: ClassVar[Mapping[str, tuple[str, ...]]] = {"quick": ("steps=100",), "full": ("steps=200",)}

    def looked_at(self, out: Path, recipe_of: RecipeOf, progress: Progress) -> Reproduced:
        """Tables, claims and the page of the finished runs."""
        for run in sorted(out.glob("*/seed_*")):
            if (run / "summary.json").exists():
                in_parts(run, "posed.json", PARTS, part_of, progress)
        tables = tables_of(out)
        write_json(out / "summary.json", tables)
        return Reproduced(tuple(claims_of(out)), tables, page.write(out, tables))


reproduction = SelfQuestioning


# --- what was asked --------------------------------------------------------------------------------------------------


def part_of(groups: Sequence[Group]) -> dict[str, Any]:
    """The figures of some questions and answers."""
    asked = [e for group in groups for e in group if e.arm == PROPOSER]
    answers = [e for group in groups for e in group if e.arm == SOLVER]
    by_question: dict[str, Sum] = {e.task.key: sum_of(e.task) for e in answers}
    sums = [by_question[e.task.key] for e in answers if e.path[-1] == 0]
    common = [e.verdicts["common"].score for e in asked if "common" in e.verdicts]
    return {
        "valid": fmean(e.verdicts["question"].score for e in asked),
        "distinct": len({(s.a, s.b, s.carry) for s in sums}) / max(1, len(sums)),
        "near_duplicates": near_duplicates(sums),
        "digits": fmean(s.digits for s in sums) if sums else None,
        "carries": fmean(s.carries for s in sums) if sums else None,
        "common": fmean(common) if common else None,
        "in_band": fmean(reward for group in groups for reward in rewards_of(group).values()) if common else None,
        "agreement": fmean(e.verdicts["agreement"].score for e in answers) if answers else None,
        "truth": fmean(e.verdicts["answer"].score for e in answers) if answers else None,
    }


def near_duplicates(sums: Sequence[Sum]) -> float:
    """The share of questions from which an earlier one, in any order, differs in one digit at most."""
    seen: set[tuple[str, int]] = set()
    found = 0
    for one in sums:
        a, b = sorted((str(one.a), str(one.b)))
        text = f"{a}+{b}"
        masks = [(text[:i] + "?" + text[i + 1 :], i) for i, c in enumerate(text) if c.isdigit()]
        found += any(mask in seen for mask in masks)
        seen.update(masks)
    return found / max(1, len(sums))


# --- tables and claims -----------------------------------------------------------------------------------------------

Kept = Callable[[Sum], bool]


def scored(runs: Sequence[Path], when: str, kept: Kept) -> dict[tuple[str, str], float]:
    """By run and problem whether the likeliest answer is right."""
    return {
        (run.name, group[0].task.key): group[0].verdicts["attempt"].score
        for run in runs for group in read_groups(run / "episodes" / f"{when}_{LABEL}.parquet")
        if kept(sum_of(group[0].task))
    }  # fmt: skip


def clean(whole: Sum) -> bool:
    """Whether nothing false was planted about a sum."""
    return not habit(whole)


def gain(runs: Sequence[Path], kept: Kept) -> Estimate | None:
    """After training minus before."""
    return paired(scored(runs, "after", kept), scored(runs, "before", kept)) if runs else None


def paired(one: Mapping[tuple[str, str], float], other: Mapping[tuple[str, str], float]) -> Estimate:
    """The difference over what both have."""
    both = [key for key in one if key in other]
    return difference([one[k] for k in both], [other[k] for k in both], [key for _, key in both])


def against(out: Path, arm: str, other: str, kept: Kept) -> Estimate | None:
    """One arm minus another after training, on the seeds that both have."""
    names = sorted({run.name for run in finished(out, arm)} & {run.name for run in finished(out, other)})
    if not names:
        return None
    one, two = (scored([out / a / n for n in names], "after", kept) for a in (arm, other))
    return paired(one, two)


def share_of_gain(out: Path) -> Estimate | None:
    """The gain without labels over that with them, by bootstrap over problems."""
    names = sorted({run.name for run in finished(out, RECIPE)} & {run.name for run in finished(out, "oracle")})
    if not names:
        return None
    sides = [
        scored([out / arm / n for n in names], when, clean)
        for arm, when in ((RECIPE, "after"), (RECIPE, "before"), ("oracle", "after"))
    ]
    both = [key for key in sides[0] if all(key in side for side in sides)]

    def ratio(at: Sequence[int]) -> float:
        own, before, oracle = (fmean(side[both[i]] for i in at) for side in sides)
        return (own - before) / (oracle - before) if oracle != before else float("nan")

    return bootstrapped(ratio, [key for _, key in both], unit="ratio")


def tables_of(out: Path) -> dict[str, Any]:
    """Every finished arm: accuracy before and after where nothing was planted and where something was, and what it asked."""
    found: dict[str, Any] = {"arms": {}, "posed": {}, "curves": {}}
    for arm in ARMS:
        runs = finished(out, arm)
        if not runs:
            continue
        one: dict[str, Any] = {"seeds": len(runs), "sampled_tokens": [sampled_tokens(run) for run in runs]}
        for name, kept in (("clean", clean), ("planted", habit)):
            for when in ("before", "after"):
                scores = scored(runs, when, kept)
                one[f"{name}_{when}"] = estimate_json(mean(list(scores.values()), [key for _, key in scores]))
            change = gain(runs, kept)
            assert change is not None
            one[f"{name}_gain"] = estimate_json(change)
        one["each_seed"] = [found_now.value for run in runs if (found_now := gain([run], clean)) is not None]
        found["arms"][arm] = one
        found["posed"][arm] = [json.loads((run / "posed.json").read_text(encoding="utf-8")) for run in runs]
        found["curves"][arm] = [
            {"step": line["step"], "truth": line["answer/first"], "agreement": line.get("reward/agreement")}
            for line in read_metrics(runs[0]) if "answer/first" in line
        ]  # fmt: skip
    return found


def claims_of(out: Path) -> Iterator[Claim]:
    """What the paper says, and what it did not test."""
    runs = finished(out, RECIPE)
    yield claim(
        "solver_improves_without_labels", "without any labels more held-out sums are added right (nothing planted)", "Table 1",
        "0.791 -> 0.948", gain(runs, clean), minimum=0.02,
    )  # fmt: skip
    yield claim(
        "close_to_oracle_labels", "it gains more than half of what right labels gain", OURS, None, share_of_gain(out), null=0.5,
    )  # fmt: skip
    yield claim(
        "static_proposer_worse", "questions drawn at random by program teach less than its own", "Table 2", "lower",
        against(out, RECIPE, "static", clean), minimum=0.01,
    )  # fmt: skip
    for arm, text in (("format_only", "paying any readable answer"), ("random_vote", "paying a randomly drawn vote")):
        yield claim(
            f"over_{arm}", f"it is better than {text}", "Table 2" if arm == "format_only" else OURS,
            "lower" if arm == "format_only" else None, against(out, RECIPE, arm, clean), minimum=0.02,
        )  # fmt: skip
    lost = gain(runs, habit)
    flipped = None if lost is None else Estimate(-lost.value, -lost.high, -lost.low, lost.n, lost.unit)
    yield claim(
        "majority_fails_where_majority_is_wrong", "where a false habit was planted accuracy falls", OURS, None, flipped,
        minimum=0.02,
    )  # fmt: skip
