"""What is computed for :mod:`secondthought.probes.enaction` from its stored readings."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from secondthought.probes.base import arm_of, in_arm, reported, units_of
from secondthought.stats import average, bootstrapped, difference, interval, mean, resampled
from secondthought.types import Arm, Cell, Curve, Effect, Estimate, Group, Report, Table

OWN, OTHER = "own/assistant/model", "other/assistant/model"
FLOOR = 1e-3  # nats: below, a logarithm of entropy says nothing
FRAMES = {"assistant": "as the assistant's turn", "user": "in the user's turn", "bare": "without a template"}
LABELS = {
    "own/assistant/model": "own text", "again/assistant/model": "another sample of its own",
    "other/assistant/model": "the other model's text", "edited/assistant/model": "own text, edited",
    "other/assistant/other": "the other model reads its own", "own/assistant/other": "the other model reads this one's",
}  # fmt: skip
LEAST = 5  # places of a cell that both kinds of text must have


def report(groups: Sequence[Group], minimum: float = 0.0) -> Report:
    """The figures of one model, intervals over requests."""
    keys = units_of(groups)
    entropy = {name: [finding(group, name, "H") for group in groups] for name in LABELS}
    arms = {
        name: arm_of(name, label, entropy[name], keys, unit="nats", control=name not in (OWN, OTHER))
        for name, label in LABELS.items() if not all(map(math.isnan, entropy[name]))
    }  # fmt: skip
    crossed = {frame: deltas(groups, frame) for frame in FRAMES}
    effects, figures = list[Effect](), dict[str, Estimate]()
    if OTHER in arms:
        effects += crossings(groups, crossed, keys)
        named = {effect.name: effect.estimate for effect in effects}
        figures["ratio"] = exponential(named["lower_entropy_on_own_text"])
        figures["naive_ratio"] = exponential(named["naive"])
    for name, (label, one, other, kind) in ALONE.items():
        values = [log_ratio(group, one, other, kind) for group in groups]
        effects.append(Effect(name, label, mean(values, keys, unit="nats")))
    figures["identity"] = identity(groups)
    figures |= {f"{name}/surprise": mean([finding(g, name, "S") for g in groups], keys, unit="nats") for name in arms}
    figures |= {f"{name}/median": mean([finding(g, name, "median_H") for g in groups], keys, unit="nats") for name in arms}
    effects += recognition(groups, keys)
    inside = surprise(groups)
    figures |= {name: estimate for name, estimate in inside.items() if name == "surprise/r2"}
    effects += [Effect(name, SURPRISE[name], estimate) for name, estimate in inside.items() if name in SURPRISE]
    decides = "lower_entropy_on_own_text" if OTHER in arms else "edited"
    claim = (
        "it is surer of what comes next after its own words than after another model's (crossed)"
        if decides == "lower_entropy_on_own_text" else "it is less sure of what comes next behind words that were exchanged"
    )  # fmt: skip
    return reported(
        "enaction", claim, list(arms.values()), keys, effects=effects, decides=decides, minimum=minimum, figures=figures,
        tables=[readings(arms, figures), frames(crossed, keys)], curves=[places(groups)],
        notes=notes(figures["identity"], decides),
    )  # fmt: skip


ALONE = {
    "edited": ("log-entropy behind edits minus the same places without (nats)", "edited/assistant/model", OWN, "late_H"),
    "placebo": ("another sample of its own minus its own (nats)", "again/assistant/model", OWN, "H"),
}
SURPRISE = {
    "surprise_steers": "entropy with the surprise direction up minus down (nats)",
    "sham_steers": "the same with random directions (nats)",
}


def crossings(groups: Sequence[Group], crossed: dict[str, list[float]], keys: Sequence[str]) -> list[Effect]:
    """What two models show of each other's texts."""
    naive = [log_ratio(group, OTHER, OWN) for group in groups]
    label = "crossed difference D of log-entropy, other minus own"
    return [
        Effect("lower_entropy_on_own_text", f"{label} (nats)", mean(crossed["assistant"], keys, unit="nats")),
        Effect("survives_matching", "the same where the words before surprised as much (nats of entropy)", matched(groups)),
        Effect("naive", "log-entropy on the other's minus on the own text, not crossed", mean(naive, keys, unit="nats")),
        *(
            Effect(f"crossed_{frame}", f"{label}, {FRAMES[frame]}", mean(crossed[frame], keys, unit="nats"))
            for frame in ("user", "bare")
        ),
    ]


def finding(group: Group, arm: str, name: str) -> float:
    """A finding on a reading; nan where there is none."""
    found = in_arm(group, arm)
    return found[0].verdicts[name].score if found and name in found[0].verdicts else math.nan


def log_ratio(group: Group, one: str, other: str, name: str = "H") -> float:
    """The logarithm of a ratio of entropies; nan where one is missing."""
    a, b = finding(group, one, name), finding(group, other, name)
    return math.nan if math.isnan(a) or math.isnan(b) else math.log(max(a, FLOOR)) - math.log(max(b, FLOOR))


def deltas(groups: Sequence[Group], frame: str) -> list[float]:
    """The crossed difference D of each request."""
    return [
        0.5 * (
            log_ratio(group, f"other/{frame}/model", f"own/{frame}/model")
            + log_ratio(group, f"own/{frame}/other", f"other/{frame}/other")
        )
        for group in groups
    ]  # fmt: skip


def matched(groups: Sequence[Group]) -> Estimate:
    """Entropy on the other's text minus on the own one, for both readers, at places that are alike: in the same part of the
    text, behind words that surprised as much. Cells count by how many places both kinds of text have there.
    """
    sides = (("other/assistant/model", "own/assistant/model"), ("own/assistant/other", "other/assistant/other"))
    names = sorted({
        name.removeprefix("cell.").removesuffix(".sum") for group in groups for one in group for name in one.verdicts
        if name.startswith("cell.") and name.endswith(".sum")
    })  # fmt: skip
    if not names:
        return Estimate(math.nan, math.nan, math.nan, 0, "nats")
    table = np.zeros((len(groups), 2, 2, len(names), 2))  # request, reader, foreign or own, cell, sum and count
    for g, group in enumerate(groups):
        for r, pair in enumerate(sides):
            for k, arm in enumerate(pair):
                for c, cell in enumerate(names):
                    count = finding(group, arm, f"cell.{cell}.count")
                    if not math.isnan(count):
                        table[g, r, k, c] = finding(group, arm, f"cell.{cell}.sum"), count

    def gap(sums: np.ndarray) -> float:
        sums = sums.reshape(2, 2, len(names), 2)
        found = []
        for reader in sums:
            weight = np.minimum(reader[0, :, 1], reader[1, :, 1])
            weight = np.where(weight >= LEAST, weight, 0.0)
            if weight.sum():
                means = reader[..., 0] / np.maximum(reader[..., 1], 1.0)
                found.append(float(((means[0] - means[1]) * weight).sum() / weight.sum()))
        return sum(found) / len(found) if len(found) == 2 else math.nan

    flat = table.reshape(len(groups), -1)
    return interval(gap(flat.sum(axis=0)), [gap(one) for one in resampled(flat, 500)], len(groups), "nats")


def identity(groups: Sequence[Group]) -> Estimate:
    """Mean surprise over mean entropy on own samples: 1 if the harness feeds what was sampled (at temperature 1)."""
    rows = [
        (finding(g, arm, "S") * n, finding(g, arm, "H") * n)
        for g in groups for arm in ("own/assistant/model", "again/assistant/model")
        if not math.isnan(n := finding(g, arm, "places"))
    ]  # fmt: skip
    owners = list(range(len(rows)))
    return bootstrapped(
        lambda at: sum(rows[i][0] for i in at) / max(1e-12, sum(rows[i][1] for i in at)), owners, unit="ratio"
    )  # fmt: skip


def recognition(groups: Sequence[Group], keys: Sequence[str]) -> list[Effect]:
    """Is the own text called its own more readily than the other's (crossed: each model of its own), and than with edits?"""

    def ranks(own: str, foreign: str) -> list[float]:
        pairs = [(finding(g, own, "says"), finding(g, foreign, "says")) for g in groups]
        return [math.nan if math.isnan(a) or math.isnan(b) else 0.5 + 0.5 * ((a > b) - (a < b)) for a, b in pairs]

    found, half = [], [0.5] * len(keys)
    mine, theirs = ranks("asked/own/model", "asked/other/model"), ranks("asked/other/other", "asked/own/other")
    if not all(map(math.isnan, mine)):
        both = [average([a, b]) if not math.isnan(a + b) else math.nan for a, b in zip(mine, theirs, strict=True)]
        label = "calls its own text its own rather than the other's, minus a half (crossed)"
        found.append(Effect("recognises_own", label, difference(both, half, keys)))
    edits = difference(ranks("asked/own/model", "asked/edited/model"), half, keys)
    found.append(Effect("recognises_edits", "calls its own text its own rather than the edited one, minus a half", edits))
    return found


def surprise(groups: Sequence[Group]) -> dict[str, Estimate]:
    """How well surprise can be read from the stream (R squared on other requests), and what steering along it does."""
    rows = [(finding(g, "own/assistant/model", "residual"), finding(g, "own/assistant/model", "total")) for g in groups]
    rows = [row for row in rows if not math.isnan(row[0])]
    if not rows:
        return {}
    found = {
        "surprise/r2": bootstrapped(
            lambda at: 1 - sum(rows[i][0] for i in at) / max(1e-12, sum(rows[i][1] for i in at)), range(len(rows)), unit="ratio"
        )
    }  # fmt: skip

    def slopes(arm: str) -> list[float]:
        by_amount = [{e.verdicts["amount"].score: e.verdicts["H"].score for e in in_arm(g, arm)} for g in groups]
        return [at[1.0] - at[-1.0] for at in by_amount if len(at) == 2]

    shams = sorted({one.arm for group in groups for one in group if one.arm.startswith("sham_")})
    by_request = list(zip(*(slopes(arm) for arm in shams), strict=True))
    found["surprise_steers"] = mean(slopes("steered"), unit="nats")
    found["sham_steers"] = mean([average(one) for one in by_request], unit="nats")
    return found


def exponential(one: Estimate) -> Estimate:
    """The same as a ratio."""
    return Estimate(math.exp(one.value), math.exp(one.low), math.exp(one.high), one.n, "ratio")


def notes(same: Estimate, decides: str) -> list[str]:
    """What a reader must know first."""
    found = [] if decides != "edited" else ["no other model was named (--set other=MODEL), so nothing is crossed"]
    if same.low > 1.02 or same.high < 0.98:
        found.append(
            f"harness identity: surprise is {same.value:.3f} times entropy on own samples, not 1: a template, a tokenizer or a "
            "truncated distribution is in the way"
        )
    return found


def readings(arms: dict[str, Arm], figures: dict[str, Estimate]) -> Table:
    """Entropy and surprise of every text for every reader."""
    rows: list[tuple[Cell, ...]] = [
        (arm.label, arm.estimate, figures[f"{name}/median"], figures[f"{name}/surprise"]) for name, arm in arms.items()
    ]
    return Table(
        "What is read, as the assistant's turn", ("text", "entropy, nats", "median, nats", "surprise, nats"), tuple(rows)
    )


def frames(crossed: dict[str, list[float]], keys: Sequence[str]) -> Table:
    """The crossed ratio by where the text stands."""
    rows: list[tuple[Cell, ...]] = []
    for frame, label in FRAMES.items():
        if not all(map(math.isnan, crossed[frame])):
            rows.append((label, exponential(mean(crossed[frame], keys, unit="nats"))))
    return Table("Entropy on the other's text over entropy on the own one, crossed", ("the text stands", "ratio"), tuple(rows))


def places(groups: Sequence[Group]) -> Curve:
    """Entropy over places, matched by place."""
    series: dict[str, tuple[tuple[float, Estimate], ...]] = {}
    for arm in ("own/assistant/model", "other/assistant/model", "edited/assistant/model"):
        points = []
        for k in range(64):
            rows = [(finding(g, arm, f"block.{k}.sum"), finding(g, arm, f"block.{k}.count")) for g in groups]
            values = [a / b for a, b in rows if not math.isnan(a)]
            if len(values) >= 5:
                points.append((float(8 * k + 4), mean(values, unit="nats")))
        if points:
            series[LABELS[arm]] = tuple(points)
    return Curve("Entropy along the text", "words read", "nats", series)
