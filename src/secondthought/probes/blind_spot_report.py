"""What is computed for :mod:`secondthought.probes.blind_spot` from its stored turns."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from secondthought.probes import detectors
from secondthought.probes.base import arm_of, effect_of, in_arm, reported
from secondthought.probes.resampling import commonest
from secondthought.stats import interval, mean, resampled, wilson
from secondthought.types import Arm, Cell, Curve, Effect, Estimate, Group, Report, Table, Verdict

PLACES = {
    "external": "in the user's turn", "internal": "as its own words", "internal/wait": "as its own words, “Wait”",
    "internal/but": "as its own words, “But”", "internal/filler": "as its own words, filler as long",
    "fresh_turn": "as an earlier answer of its own", "solve": "no sentence", "clean/none": "a right sentence as its own",
    "clean/wait": "a right sentence as its own, “Wait”",
}  # fmt: skip
CONTROLS = ("internal/filler", "fresh_turn", "solve", "clean/none", "clean/wait")
EFFECTS = {
    "own_errors_harder": ("in the user's turn minus as its own words", "external", "internal"),
    "wait_helps": ("own words: “Wait” minus a filler as long", "internal/wait", "internal/filler"),
    "trigger": ("own words: “Wait” minus no trigger", "internal/wait", "internal"),
    "author": ("in the user's turn minus as an earlier answer of its own", "external", "fresh_turn"),
    "place": ("as an earlier answer of its own minus as its own words", "fresh_turn", "internal"),
    "beyond_solving": ("in the user's turn minus no sentence", "external", "solve"),
    "damage": ("right sentence: “Wait” minus no trigger", "clean/wait", "clean/none"),
}  # fmt: skip


def report(groups: Sequence[Group], minimum: float = 0.0) -> Report:
    """The figures of one model, 95 % intervals clustered by question."""
    units = [f"{group[0].task.key}/{group[0].path[0]:x}" for group in groups]
    keys = [group[0].task.key for group in groups]
    arms: dict[str, Arm] = {}
    for name, label in PLACES.items():
        scores = [score_of(group, name) for group in groups]
        if not all(map(math.isnan, scores)):
            arms[name] = arm_of(name, label, scores, keys, control=name in CONTROLS)
    effects = [
        effect_of(name, label, arms[left], arms[right], keys)
        for name, (label, left, right) in EFFECTS.items() if left in arms and right in arms
    ]  # fmt: skip
    figures = spots(arms, keys)
    tables = [spot_table(arms, figures)] if figures else []
    figures |= markers(groups, keys, arms)
    curves: list[Curve] = []
    if rounds := rounds_in(groups):
        more, found, some, table = reviews(groups, keys, rounds)
        arms |= {arm.name: arm for arm in more}
        effects += found
        figures |= some
        tables.append(table)
        curves.append(picture(arms, rounds))
    notes = (
        [] if "internal" in arms else ["this model cannot be given words of its own to go on from: no blind spot is measured"]
    )
    return reported(
        "blind_spot", "an error is put right more often in the user's turn than in the model's own words", list(arms.values()),
        units, effects=effects, decides="own_errors_harder", minimum=minimum, figures=figures, tables=tables, curves=curves,
        clusters=keys, notes=notes,
    )  # fmt: skip


def score_of(group: Group, arm: str) -> float:
    """Right or wrong in an arm; nan where it is not there."""
    found = in_arm(group, arm)
    return found[0].verdicts["rest"].score if found else math.nan


# --- the blind spot --------------------------------------------------------------------------------------------------


def spots(arms: dict[str, Arm], keys: Sequence[str]) -> dict[str, Estimate]:
    """``1 - internal / external`` for every internal arm, by bootstrap over questions; 0 where external is."""
    found: dict[str, Estimate] = {}
    if "external" not in arms:
        return found
    for name in (one for one in arms if one.partition("/")[0] in ("internal", "fresh_turn")):
        pairs = [
            (a, b, key) for a, b, key in zip(arms[name].scores, arms["external"].scores, keys, strict=True)
            if not math.isnan(a) and not math.isnan(b)
        ]  # fmt: skip
        sums: dict[str, list[float]] = {}
        for own, other, key in pairs:
            both = sums.setdefault(key, [0.0, 0.0])
            both[0] += own
            both[1] += other
        table = np.array(list(sums.values()), dtype=float).reshape(-1, 2)
        own, other = table.sum(axis=0).tolist() if len(table) else (0.0, 0.0)
        drawn = [spot(*row) for row in resampled(table).tolist()] if len(table) else []
        one = interval(spot(own, other), drawn, len(pairs), unit="fraction")
        if not other:  # nothing is put right anywhere: 0 by convention, and nothing is known of it
            one = replace(one, low=math.nan, high=math.nan)
        elif not own:  # none of a few is not never: resampling shows no spread, Wilson's bound does
            one = replace(one, low=min(one.low, max(-1.0, spot(wilson(0.0, len(pairs))[1] * len(pairs), other))))
        found[f"blind_spot/{name}"] = one
    return found


def spot(internal: float, external: float) -> float:
    """The blind spot of two rates or counts on the same items (arXiv 2507.02778); 0 where nothing is put right externally.

    >>> spot(0.355, 1.0), spot(0.0, 0.0)
    (0.645, 0.0)
    """
    return round(1 - internal / external, 12) if external else 0.0


def spot_table(arms: dict[str, Arm], figures: dict[str, Estimate]) -> Table:
    """Rates and blind spots."""
    rows: list[tuple[Cell, ...]] = [
        (arm.label, arm.estimate, figures.get(f"blind_spot/{name}")) for name, arm in arms.items() if name in PLACES
    ]
    note = "The blind spot is 1 - (right here) / (right in the user's turn); it is loose where the latter is small."
    return Table("Where the sentence stands", ("the sentence", "right, %", "blind spot, %"), tuple(rows), note)


def markers(groups: Sequence[Group], keys: Sequence[str], arms: dict[str, Arm]) -> dict[str, Estimate]:
    """How often an answer has a marker of correction at the beginning of a sentence (Wait, No, But, ...)."""
    found: dict[str, Estimate] = {}
    for name in arms:
        said = [
            (in_arm(group, name)[0]["rest"].text, key) for group, key in zip(groups, keys, strict=True) if in_arm(group, name)
        ]
        flags = detectors.markers([text for text, _ in said])
        found[f"markers/{name}"] = mean([float(bool(flag)) for flag in flags], [key for _, key in said])
    return found


# --- rounds of review ------------------------------------------------------------------------------------------------


def rounds_in(groups: Sequence[Group]) -> int:
    """How many rounds of review there are."""
    names = {name for group in groups for e in in_arm(group, "review") for name in e.verdicts}
    return max((int(name.removeprefix("attempt_")) for name in names if name.startswith("attempt_")), default=0)


def attempt(group: Group, number: int) -> Verdict | None:
    """The verdict on the answer after so many rounds."""
    found = in_arm(group, "review")
    return found[0].verdicts.get(f"attempt_{number}") if found else None


def reviews(
    groups: Sequence[Group], keys: Sequence[str], rounds: int
) -> tuple[list[Arm], list[Effect], dict[str, Estimate], Table]:
    """Accuracy after each round, with an oracle, and of votes with as many calls; what a round changes, and what follows."""
    right = [[math.nan if (v := attempt(group, k)) is None else v.score for group in groups] for k in range(rounds + 1)]
    by_round = [
        arm_of(f"round_{k}", f"after {k} rounds of review" if k else "first answer", scores, keys, query={"arm": "review"})
        for k, scores in enumerate(right)
    ]
    oracle, votes, effects, figures = list[Arm](), list[Arm](), list[Effect](), dict[str, Estimate]()
    rows: list[tuple[Cell, ...]] = []
    for k in range(1, rounds + 1):
        best = [max(scores) for scores in zip(*right[: k + 1], strict=True)]
        oracle.append(
            arm_of(f"oracle_{k}", f"{k} rounds, stopped when right", best, keys, query={"arm": "review"}, control=True)
        )
        effects.append(effect_of(f"round_{k}_loses", f"first answer minus after {k} rounds", by_round[0], by_round[k], keys))
        if any(in_arm(group, "vote") for group in groups):
            scores = [commonest(ballots(group, k)) for group in groups]
            label = f"vote of {2 * k + 1} answers, as many calls"
            one = arm_of(f"vote_{k}", label, scores, keys, query={"arm": "vote"}, control=True)
            votes.append(one)
            effects.append(effect_of(f"vote_{k}_ahead", f"the vote minus after {k} rounds", one, by_round[k], keys))
        pairs = list(zip(right[k - 1], right[k], keys, strict=True))
        eir = mean([1 - b if a == 1 else math.nan for a, b, _ in pairs], keys)
        ecr = mean([b if a == 0 else math.nan for a, b, _ in pairs], keys)
        before = by_round[k - 1].estimate.value
        figures |= {f"EIR/{k}": eir, f"ECR/{k}": ecr}
        gain = ratio(ecr.value, eir.value), ratio(before, 1 - before)
        rows.append((k, eir, ecr, *gain, by_round[k].estimate, end(eir, ecr)))
    if effects:
        effects.append(
            Effect("intrinsic_correction_hurts", f"first answer minus after {rounds} rounds", last_of(effects, rounds))
        )
    columns = (
        "round", "right, then wrong (EIR), %", "wrong, then right (ECR), %", "ECR / EIR", "needed to gain", "right after it, %",
        "would end at, %",
    )  # fmt: skip
    note = "A round gains if ECR / EIR is above acc / (1 - acc); rounds like it would end at ECR / (ECR + EIR)."
    table = Table("What a round changes", columns, tuple(rows), note)
    return [*by_round, *oracle, *votes], effects, figures, table


def ballots(group: Group, rounds: int) -> list[Verdict]:
    """The first answer and two fresh ones for each round."""
    first = attempt(group, 0)
    return [*([first] if first is not None else []), *(e.verdicts["attempt"] for e in in_arm(group, "vote")[: 2 * rounds])]


def last_of(effects: Sequence[Effect], rounds: int) -> Estimate:
    """The effect of all rounds."""
    return next(effect.estimate for effect in effects if effect.name == f"round_{rounds}_loses")


def ratio(one: float, other: float) -> float | None:
    """Their ratio, rounded; None over nothing."""
    return None if not other or math.isnan(one) or math.isnan(other) else round(one / other, 3)


def end(eir: Estimate, ecr: Estimate) -> float | None:
    """Where more such rounds would end, in per cent."""
    share = ratio(ecr.value, ecr.value + eir.value)
    return None if share is None else round(100 * share, 1)


def picture(arms: dict[str, Arm], rounds: int) -> Curve:
    """Accuracy over rounds."""
    first = (0.0, arms["round_0"].estimate)

    def line(name: str) -> tuple[tuple[float, Estimate], ...]:
        return (first, *((float(k), arms[f"{name}_{k}"].estimate) for k in range(1, rounds + 1) if f"{name}_{k}" in arms))

    series = {"review": line("round"), "stopped when right": line("oracle"), "vote, as many calls": line("vote")}
    return Curve("Rounds of review", "rounds", "right, %", {name: points for name, points in series.items() if len(points) > 1})
