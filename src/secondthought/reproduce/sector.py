"""SECToR: how far a model teaches itself to add, with and without checks, and what its labels are worth.

OUT/ARM/seed_S/     a whole run for each arm and seed, each resumable (:mod:`secondthought.reproduce.arms`)
OUT/summary.json, results.md, label_error.png, digits.png, checker.png
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

from secondthought.probes.base import in_arm
from secondthought.probes.digits import reach
from secondthought.report import sector as page
from secondthought.reproduce.arms import EveryArm, RecipeOf, finished, sampled_tokens
from secondthought.reproduce.base import OURS, Reproduced, below, claim
from secondthought.runs.files import write_json
from secondthought.runs.progress import Progress
from secondthought.runs.reading import read_groups, read_metrics
from secondthought.runs.reports import estimate_json
from secondthought.stats import bootstrapped, difference, mean
from secondthought.tasks.addition import sum_of
from secondthought.training.recipe import Recipe
from secondthought.training.self_labels import SelfLabels, labels_of
from secondthought.types import Claim, Estimate

RECIPE = "sector"
ARMS = (
    RECIPE, "fast", "chain", "lax_100", "random_20", "dropped_20", "sampled", "at_once", "vote", "commute", "supervised",
    "oracle", "lax_50", "lax_10", "random_5", "dropped_5",
)  # fmt: skip
QUICK = (RECIPE, "fast", "chain")
LABEL = "after_digits"
REACHED = 0.5  # right more often than not


@dataclass(frozen=True)
class Sector(EveryArm):
    """Train and measure what is not there yet.

    tasks        the sums (addition:DIGITS); empty: those of the recipe
    model        the model; empty: nano/adder
    arms         arms of the recipe, separated by commas; sector is the recipe itself. Empty: those of the budget
    seeds        runs of each arm; 0: one (quick) or three (full)
    problems     held-out sums; 0: 500 (quick) or 2,000 (full)
    settings     name=value for every run, separated by semicolons
    """

    name: ClassVar[str] = "sector"
    budgets: ClassVar[dict[str, str]] = {
        "quick": "about eight minutes",
        "full": "three seeds of sixteen arms; an arm took two to three minutes of one core",
    }  # fmt: skip
    full: ClassVar[tuple[str, ...]] = ARMS
    quick: ClassVar[tuple[str, ...]] = QUICK

    def looked_at(self, out: Path, recipe_of: RecipeOf, progress: Progress) -> Reproduced:
        """Tables, claims and the page of the finished runs."""
        tables = tables_of(out)
        write_json(out / "summary.json", tables)
        return Reproduced(tuple(claims_of(out, recipe_of)), tables, page.write(out, tables))


reproduction = Sector


# --- what runs found -------------------------------------------------------------------------------------------------


class Answered(NamedTuple):
    """One held-out sum in one run: its number of digits, whether it was added right at once, its key, and the run's name."""

    digits: int
    right: float
    key: str
    run: str


def answered(runs: Sequence[Path], when: str = LABEL) -> list[Answered]:
    """Every held-out sum of some finished runs."""
    found = []
    for run in runs:
        for group in read_groups(run / "episodes" / f"{when}.parquet"):
            (episode,) = in_arm(group, "fast")
            found.append(Answered(sum_of(episode.task).digits, episode.verdicts["attempt"].score, episode.task.key, run.name))
    return found


def reached(rows: Sequence[Answered]) -> float:
    """The number of digits reached, mean over runs."""
    by_run: dict[str, list[Answered]] = {}
    for row in rows:
        by_run.setdefault(row.run, []).append(row)
    found = [reach([r.digits for r in some], [r.right for r in some], REACHED) for some in by_run.values()]
    return sum(found) / len(found) if found else math.nan


def reach_of(runs: Sequence[Path]) -> Estimate:
    """The number of digits reached, by bootstrap over problems."""
    rows = answered(runs)
    return bootstrapped(lambda at: reached([rows[i] for i in at]), [row.key for row in rows], unit="digits")


def gap(out: Path, arm: str, other: str, value: Callable[[Sequence[Answered]], float]) -> Estimate | None:
    """A figure of one arm minus that of another, on the seeds and problems that both have, by bootstrap over problems."""
    names = {run.name for run in finished(out, arm)} & {run.name for run in finished(out, other)}
    if not names:
        return None
    one, two = ({(r.run, r.key): r for r in answered([out / a / n for n in sorted(names)])} for a in (arm, other))
    both = [place for place in one if place in two]

    def difference_at(at: Sequence[int]) -> float:
        return value([one[both[i]] for i in at]) - value([two[both[i]] for i in at])

    return bootstrapped(difference_at, [key for _, key in both], unit="digits")


def longer(out: Path, arm: str, other: str, known: int) -> Estimate | None:
    """How many more sums beyond ``known`` digits are right, pair by pair."""
    names = sorted({run.name for run in finished(out, arm)} & {run.name for run in finished(out, other)})
    if not names:
        return None
    one, two = ([r for r in answered([out / a / n for n in names]) if r.digits > known] for a in (arm, other))
    return difference([r.right for r in one], [r.right for r in two], [r.key for r in one])


class Labelled(NamedTuple):
    """One label of the longest sums of a round (from 1): whether it is wrong, and the sum's key."""

    round: int
    wrong: float
    key: str


def rounds_in(recipe: Recipe) -> dict[str, SelfLabels]:
    """How the labels of each round of a recipe are made, by the name of its stage."""
    found = {stage.name: stage.collect for stage in recipe.stages if isinstance(stage.collect, SelfLabels)}
    return {name: rule for name, rule in found.items() if rule.known}


def taught(recipe: Recipe) -> int:
    """Up to how many digits the start of a recipe was supervised."""
    return next(iter(rounds_in(recipe).values())).known


def labelled(run: Path, recipe: Recipe) -> list[Labelled]:
    """Every label that a run took of the longest sums of each of its rounds."""
    found = []
    for number, (name, rule) in enumerate(rounds_in(recipe).items(), 1):
        path = run / "episodes" / f"collected_{name}.parquet"
        if not path.exists():
            continue
        for group in read_groups(path):
            whole, label = sum_of(group[0].task), labels_of(group, rule).answer
            if whole.digits == rule.digits and label is not None:
                found.append(Labelled(number, float(label != whole.total), group[0].task.key))
    return found


def growth(rows: Sequence[Labelled]) -> Estimate:
    """By what factor the label error grows from round to round: exp of the slope of its logarithm (half a label is added to
    both sides), over the rounds up to the first in which most labels are wrong; by bootstrap over sums.
    """
    rounds = sorted({row.round for row in rows})
    upto = next((r for r in rounds if _error(rows, r) > 0.5), rounds[-1])
    some = [row for row in rows if row.round <= max(upto, rounds[min(1, len(rounds) - 1)])]

    def factor(at: Sequence[int]) -> float:
        drawn = [some[i] for i in at]
        points = [(r, math.log(_error(drawn, r))) for r in sorted({row.round for row in drawn})]
        if len(points) < 2:
            return math.nan
        centre = sum(r for r, _ in points) / len(points)
        return math.exp(sum((r - centre) * y for r, y in points) / sum((r - centre) ** 2 for r, _ in points))

    return bootstrapped(factor, [row.key for row in some], unit="ratio")


def _error(rows: Sequence[Labelled], number: int) -> float:
    some = [row.wrong for row in rows if row.round == number]
    return (sum(some) + 0.5) / (len(some) + 1)


def error_ratio(checked: Sequence[Labelled], unchecked: Sequence[Labelled]) -> Estimate:
    """The label error with checks over that without, all rounds together, by bootstrap over sums."""
    rows = [*((row, True) for row in checked), *((row, False) for row in unchecked)]

    def ratio(at: Sequence[int]) -> float:
        sides = [[rows[i][0].wrong for i in at if rows[i][1] is side] for side in (True, False)]
        if not all(sides) or not sum(sides[1]):
            return math.nan
        return (sum(sides[0]) / len(sides[0])) / (sum(sides[1]) / len(sides[1]))

    return bootstrapped(ratio, [row.key for row, _ in rows], unit="ratio")


# --- tables and claims -----------------------------------------------------------------------------------------------


def tables_of(out: Path) -> dict[str, Any]:
    """Every finished arm: digits reached, accuracy by number of digits, and its rounds."""
    found: dict[str, Any] = {"arms": {}, "rounds": {}}
    for arm in ARMS:
        runs = finished(out, arm)
        if not runs:
            continue
        rows, before = answered(runs), answered(runs, "before_digits")
        found["arms"][arm] = {
            "seeds": len(runs), "reach": estimate_json(reach_of(runs)), "by_digits": by_digits(rows),
            "before": by_digits(before), "each_seed": [reached(answered([run])) for run in runs],
            "sampled_tokens": [sampled_tokens(run) for run in runs],
        }  # fmt: skip
        found["rounds"][arm] = [rounds_of(run) for run in runs]
    return found


def by_digits(rows: Sequence[Answered]) -> dict[str, Any]:
    """Accuracy at once by number of digits."""
    return {
        str(digits): estimate_json(
            mean([r.right for r in rows if r.digits == digits], [r.key for r in rows if r.digits == digits])
        )
        for digits in sorted({r.digits for r in rows})
    }


def rounds_of(run: Path) -> list[dict[str, float]]:
    """For each round of a run what was collected at its beginning and what the curve says at its end."""
    found: list[dict[str, float]] = []
    for line in read_metrics(run):
        made_now = {name.removeprefix("collected/"): v for name, v in line.items() if name.startswith("collected/")}
        if made_now:
            found.append(made_now)
        if found and "digits/fast" in line:
            found[-1] |= {"truth": line["digits/fast"], "self_agreement": line["digits/agreement"]}
    return found


def claims_of(out: Path, recipe_of: RecipeOf) -> Iterator[Claim]:
    """What the paper says, and what it did not test."""
    labels = {
        arm: [row for run in finished(out, arm) for row in labelled(run, recipe_of(arm, 0))]
        for arm in (RECIPE, "fast", "chain")
    }
    known = taught(recipe_of(RECIPE, 0))
    yield claim(
        "checks_extend_digits", "with both checks more digits are reached than with unchecked answers at once", "section 5",
        "28 against a few", gap(out, RECIPE, "fast", reached), minimum=1.0,
    )  # fmt: skip
    yield claim(
        "avalanche_without_checks", "without checks the label error grows from round to round by a factor above 1", "section 6",
        "stops within a few rounds", growth(labels["chain"]) if labels["chain"] else None, null=1.0, minimum=0.1,
    )  # fmt: skip
    held = error_ratio(labels[RECIPE], labels["fast"]) if labels[RECIPE] and labels["fast"] else None
    yield below(
        "label_error_held", "with checks the label error is at most a tenth of what it is without", "Table 2",
        "0.007 against 0.28", held, 0.1,
    )  # fmt: skip
    yield claim(
        "floor_is_verification", "the same model reaches fewer digits the more its checker lets through (none against all)",
        OURS, None, gap(out, RECIPE, "lax_100", reached), minimum=0.5,
    )  # fmt: skip
    yield claim(
        "systematic_worse_than_random", "spoiling a fifth of the first labels by dropped carries costs more than at random",
        OURS, None, longer(out, "random_20", "dropped_20", known), minimum=0.02,
    )  # fmt: skip
    yield claim(
        "chain_of_thought_needed", "a vote behind a chain of thought reaches more than a vote of answers at once", OURS, None,
        gap(out, RECIPE, "sampled", reached), minimum=1.0,
    )  # fmt: skip
    yield claim(
        "loop_needed", "rounds reach more than one round for all lengths", OURS, None, gap(out, RECIPE, "at_once", reached),
        minimum=1.0,
    )  # fmt: skip
