"""What is computed for :mod:`secondthought.probes.entity_knowledge` from its stored answers."""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import median_low

from secondthought.probes.base import arm_of, in_arm, reported
from secondthought.probes.calibration_scores import auroc
from secondthought.stats import average, bootstrapped, difference, mean
from secondthought.types import Cell, Curve, Effect, Episode, Estimate, Group, Report, Table

DETECTORS = {
    "held_out_mean": "difference of means, kind held out", "held_out_ridge": "linear probe, kind held out",
    "mean_difference": "difference of means, all kinds", "ridge": "linear probe, all kinds",
    "latent": "best latent of an autoencoder",
    "says": "what it says when asked (no)", "confounds": "length and tokens of the name",
}  # fmt: skip

CLAIM = "a direction separates unknown from known entities in kinds it was not fitted on, beyond what the names give away"
Row = tuple[str, float, list[float]]


def report(groups: Sequence[Group], minimum: float = 0.0) -> Report:
    """Detection on test entities, control by steering; intervals over entities."""
    keys = [in_arm(group, "entity")[0].task.key for group in groups]
    facts = [in_arm(group, "entity")[0] for group in groups]
    known = [one.verdicts["known"].score for one in facts]
    test = [i for i, one in enumerate(facts) if one.verdicts["known"].answer == "test" and not math.isnan(known[i])]
    arms = [arm_of("known", "entities that it knows", known, keys, query={"arm": "entity"})]
    areas = {name: area(facts, known, test, name) for name in DETECTORS}
    figures = {f"auroc/{name}": estimate for name, estimate in areas.items() if estimate.n}
    figures["auroc/same_length"] = same_length(facts, known, test)
    figures |= sparse_figures(facts)
    effects = []
    if "auroc/held_out_mean" in figures:
        effects = detection(facts, known, test)
    steered, tables, curves = control(groups, known)
    effects += steered
    notes = notes_of(known, figures, test)
    return reported(
        "entity_knowledge", CLAIM, arms, keys, effects=effects, decides="direction_exists", minimum=minimum, figures=figures,
        tables=[counts(facts, known), detectors(figures), *tables], curves=curves, notes=notes,
    )  # fmt: skip


def score_of(fact: Episode, name: str) -> float:
    """What a detector says of an entity, larger for unknown; nan where it says nothing."""
    found = fact.verdicts.get(name)
    return math.nan if found is None else -found.score if name == "says" else found.score


def rows_of(facts: Sequence[Episode], known: Sequence[float], test: Sequence[int], *names: str) -> list[Row]:
    """Kind, label (1: unknown) and scores of test entities that all of the detectors say something of."""
    rows = [(facts[i].verdicts["known"].why, 1 - known[i], [score_of(facts[i], name) for name in names]) for i in test]
    return [row for row in rows if not any(map(math.isnan, row[2]))]


def by_kind(rows: Sequence[Row], place: int) -> float:
    """The mean over kinds of the area under the curve within each: a detector of kinds is worth nothing."""
    found = []
    for kind in dict.fromkeys(row[0] for row in rows):
        here = [row for row in rows if row[0] == kind]
        found.append(auroc([row[2][place] for row in here], [row[1] for row in here]))
    return average(found)


def area(facts: Sequence[Episode], known: Sequence[float], test: Sequence[int], name: str) -> Estimate:
    """How often an unknown entity gets the higher score than a known one of its kind."""
    rows = rows_of(facts, known, test, name)
    return bootstrapped(lambda at: by_kind([rows[i] for i in at], 0), range(len(rows)))


def same_length(facts: Sequence[Episode], known: Sequence[float], test: Sequence[int]) -> Estimate:
    """The same for the direction fitted on other kinds, among names of as many tokens only."""
    rows = [
        (f"{kind} {score[1]:g}", label, score) for kind, label, score in rows_of(facts, known, test, "held_out_mean", "length")
    ]
    return bootstrapped(lambda at: by_kind([rows[i] for i in at], 0), range(len(rows)))


def detection(facts: Sequence[Episode], known: Sequence[float], test: Sequence[int]) -> list[Effect]:
    """The direction against chance, and against what the names give away."""
    rows = rows_of(facts, known, test, "held_out_mean", "confounds")

    def beyond(at: Sequence[int]) -> float:
        some = [rows[i] for i in at]
        return by_kind(some, 0) - max(0.5, by_kind(some, 1))

    def above(at: Sequence[int]) -> float:
        return by_kind([rows[i] for i in at], 0) - 0.5

    label = "area under the curve in held-out kinds minus that of length and tokens (a half at least)"
    return [
        Effect("direction_exists", label, bootstrapped(beyond, range(len(rows)), unit="difference")),
        Effect("above_chance", "the same minus a half", bootstrapped(above, range(len(rows)), unit="difference")),
    ]


def sparse_figures(facts: Sequence[Episode]) -> dict[str, Estimate]:
    """The best latent's separation, with the share of shuffled labels under which the best of all latents reaches as much."""
    if not facts or "largest" not in facts[0].verdicts:
        return {}
    null = [one.verdicts["null"].score for one in facts if "null" in one.verdicts]
    largest, n = facts[0].verdicts["largest"].score, len(null)
    p = (1 + sum(value >= largest for value in null)) / (1 + n)
    found = {"latent/separation": bare(largest, n), "latent/p": bare(p, n), "latent/null": mean(null, unit="ratio")}
    found["layer"] = bare(facts[0].verdicts["layer"].score, 1)
    if "explained" in facts[0].verdicts:
        found["latent/explained"] = bare(facts[0].verdicts["explained"].score, len(facts))
    return found


def bare(value: float, n: int) -> Estimate:
    """A number without an interval."""
    return Estimate(value, math.nan, math.nan, n, "ratio")


def control(groups: Sequence[Group], known: Sequence[float]) -> tuple[list[Effect], list[Table], list[Curve]]:
    """What steering does: refusals of what is known, wrong answers to what is not."""
    amounts = sorted({one.verdicts["amount"].score for group in groups for one in group if one.arm == "steered"})
    if not amounts:
        return [], [], []
    effects, rows = list[Effect](), list[tuple[Cell, ...]]()
    series: dict[str, tuple[tuple[float, Estimate], ...]] = {}
    for flag, what, name in ((1.0, "refused", "known"), (0.0, "wrong", "unknown")):
        mine = [group for group, one in zip(groups, known, strict=True) if one == flag and in_arm(group, "plain")]
        before = [outcome(in_arm(group, "plain")[0], what) for group in mine]
        rows.append((f"{name} entities, not steered", None, mean(before), *more(mine, "plain", 0.0)))
        last: dict[str, list[float]] = {}
        for kind in ("steered", "sham"):
            points = [(0.0, mean(before))]
            for amount in amounts:
                after = [average([outcome(one, what) for one in picked(group, kind, amount)]) for group in mine]
                points.append((amount, mean(after)))
                rows.append((f"{name}, {LABEL[kind, name]}", amount, mean(after), *more(mine, kind, amount)))
                if amount == median_low(amounts):
                    label = f"{what} among {name}: {LABEL[kind, name]} minus not steered"
                    effects.append(Effect(NAMES[kind, name], label, difference(after, before)))
                    last[kind] = after
            series[f"{what} among {name}: {LABEL[kind, name]}"] = tuple(points)
        beats = difference(last["steered"], last["sham"])
        effects.append(Effect(f"{BEATS[name]}_beats_sham", f"{what} among {name}: steered minus random directions", beats))
    columns = ("asked about", "by norms of the stream", "refused (known), wrong (unknown), %", "right, %", "garbled, %")
    return (
        effects,
        [Table("Control: what steering does", columns, tuple(rows))],
        [Curve("Dose and response", "by norms of the stream", "refused or wrong, %", series)],
    )


LABEL = {
    ("steered", "known"): "towards unknown", ("sham", "known"): "random directions",
    ("steered", "unknown"): "towards known", ("sham", "unknown"): "random directions",
}  # fmt: skip
BEATS = {"known": "steering", "unknown": "invention"}
NAMES = {
    ("steered", "known"): "steering_causes_refusal", ("sham", "known"): "sham_causes_refusal",
    ("steered", "unknown"): "steering_causes_invention", ("sham", "unknown"): "sham_causes_invention",
}  # fmt: skip


def picked(group: Group, kind: str, amount: float) -> list[Episode]:
    """The answers under one kind of steering."""
    return [one for one in group if one.arm.startswith(kind) and one.verdicts["amount"].score == amount]


def outcome(one: Episode, what: str) -> float:
    """Whether an answer is refused, or wrong."""
    return float(one.verdicts["answer"].why == what)


def more(mine: Sequence[Group], kind: str, amount: float) -> tuple[Estimate, Estimate]:
    """How many answers are right, and how many are no text."""
    found = [picked(group, kind, amount) for group in mine]
    right = [average([one.verdicts["answer"].score for one in some]) for some in found]
    return mean(right), mean([average([one.verdicts["garbled"].score for one in some]) for some in found])


def counts(facts: Sequence[Episode], known: Sequence[float]) -> Table:
    """What is known, by kind."""
    rows: list[tuple[Cell, ...]] = []
    for kind in dict.fromkeys(one.verdicts["known"].why for one in facts):
        here = [value for value, one in zip(known, facts, strict=True) if one.verdicts["known"].why == kind]
        rows.append((kind, sum(v == 1 for v in here), sum(v == 0 for v in here), sum(map(math.isnan, here))))
    return Table("What it knows, by its own answers", ("kind", "known", "unknown", "between, left out"), tuple(rows))


def detectors(figures: dict[str, Estimate]) -> Table:
    """Every detector on test entities."""
    rows: list[tuple[Cell, ...]] = [(label, figures.get(f"auroc/{name}")) for name, label in DETECTORS.items()]
    rows.insert(1, ("the same, among names of as many tokens", figures.get("auroc/same_length")))
    note = ""
    if "latent/p" in figures:
        best, null, p = (figures[f"latent/{name}"].value for name in ("separation", "null", "p"))
        note = f"The best latent separates by {best:.2f} in its worst kind (train); the best of all latents by {null:.2f} "
        note += f"shuffled labels (p = {p:.3f})."
    title = "What separates unknown from known (area under the curve, test, within kinds)"
    return Table(title, ("detector", "AUROC"), tuple(rows), note)


def notes_of(known: Sequence[float], figures: dict[str, Estimate], test: Sequence[int]) -> list[str]:
    """What a reader must know first."""
    found = []
    sure, not_at_all = sum(v == 1 for v in known), sum(v == 0 for v in known)
    if min(sure, not_at_all) < 200:
        found.append(
            f"{sure} known and {not_at_all} unknown entities: below 200 of each, separations of single latents mean little"
        )
    if "auroc/confounds" in figures and figures["auroc/confounds"].low > 0.5:
        found.append("the names give something away: length and tokens alone are better than chance")
    if "auroc/held_out_mean" not in figures:
        found.append("too few entities are known, or unknown, for a direction to be fitted")
    return found
