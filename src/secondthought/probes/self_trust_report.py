"""What is computed for :mod:`secondthought.probes.self_trust` from its stored conversations."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from secondthought.probes import calibration_scores as fit
from secondthought.probes.base import arm_of, effect_of, in_arm, reported, units_of
from secondthought.stats import average, bootstrapped, difference, mean
from secondthought.types import Arm, Cell, Curve, Effect, Estimate, Group, Report, Table

NEAR = 0.5  # nats between an own answer and another one that counts as equally likely
KINDS = {
    "alone": "behind its answer", "own": "shown as its own", "user": "shown as the user's",
    "third": "shown as another person's", "joint": "among all candidates", "t3": "among all, with reasons (T3)",
    "t3_one_order": "T3, one order", "consistency": "share of equal answers, as many calls",
}  # fmt: skip
CONTROLS = ("joint", "t3_one_order", "consistency", "third")
METRICS = {
    "confidence": "mean, %", "ece": "ECE", "mass_ece": "ECE, equal mass", "brier": "Brier", "auroc": "AUROC", "prauc": "PRAUC",
}  # fmt: skip
EFFECTS = {
    "ownership": ("shown as its own minus as the user's", "own", "user"),
    "ownership_third": ("shown as its own minus as another person's", "own", "third"),
}
ON_WRONG = {
    "alternatives_reduce_it": ("on wrong answers: behind its answer minus T3", "alone", "t3"),
    "reasons_reduce_it": ("on wrong answers: among all minus with reasons", "joint", "t3"),
}


def report(groups: Sequence[Group], minimum: float = 0.0) -> Report:
    """The figures of one model, 95 % intervals over questions."""
    keys, first = units_of(groups), [group[0].verdicts["attempt"] for group in groups]
    right = [math.nan if one.answer is None else one.score for one in first]
    q = {kind: [confidence(group, kind) for group in groups] for kind in KINDS}
    arms = {"accuracy": arm_of("accuracy", "the answer is right", right, keys, query={"arm": "alone"})}
    for kind, label in KINDS.items():
        if not all(map(math.isnan, q[kind])):
            arms[kind] = arm_of(kind, label, q[kind], keys, query={"arm": query_of(kind)}, control=kind in CONTROLS)
    figures: dict[str, Estimate] = {}
    for kind in (one for one in KINDS if one in arms):
        figures |= {f"{kind}/{name}": estimate for name, estimate in fits(q[kind], right, keys).items()}
    calls = [float(len(in_arm(g, "reason")) + len(in_arm(g, "t3"))) if in_arm(g, "t3") else math.nan for g in groups]
    figures["t3/calls"] = mean(calls, keys, unit="calls")
    notes = [] if "alone" in arms else ["no confidence could be read: nothing is said about trust"]
    return reported(
        "self_trust", "a model is more confident of its own answers than it is right", list(arms.values()), keys,
        effects=[*differences(arms, q, right, keys), *likely(groups, keys), *gains(q, right, keys, arms)], decides="overtrust",
        minimum=minimum, figures=figures, tables=[fit_table(figures, arms), cost(figures["t3/calls"])],
        curves=[diagram(q, right), coverage(q, right)], notes=notes,
    )  # fmt: skip


def differences(arms: dict[str, Arm], q: dict[str, list[float]], right: Sequence[float], keys: Sequence[str]) -> list[Effect]:
    """Trust against accuracy, by whose answer it is said to be, and on wrong answers with and without the others."""
    found = []
    if "alone" in arms:
        label = "confidence behind its answer minus how often it is right"
        found.append(effect_of("overtrust", label, arms["alone"], arms["accuracy"], keys))
    for name, (label, a, b) in EFFECTS.items():
        if a in arms and b in arms:
            found.append(effect_of(name, label, arms[a], arms[b], keys))
    for name, (label, a, b) in ON_WRONG.items():
        if a in arms and b in arms:
            pairs = [x - y if c == 0 else math.nan for x, y, c in zip(q[a], q[b], right, strict=True)]
            found.append(Effect(name, label, mean(pairs, keys, unit="difference")))
    return found


def likely(groups: Sequence[Group], keys: Sequence[str]) -> list[Effect]:
    """The own answer against another candidate that was as likely."""
    matched = matches(groups)
    if all(map(math.isnan, matched)):
        return []
    label = f"own answer minus another one as likely (within {NEAR:g} nats)"
    return [Effect("equally_likely", label, mean(matched, keys, unit="difference"))]


def fit_table(figures: dict[str, Estimate], arms: dict[str, Arm]) -> Table:
    """How well each confidence fits."""
    columns = {**METRICS, "wrong": "on wrong answers, %", "gap": "above accuracy, points", "stated": "stated, %"}
    rows: list[tuple[Cell, ...]] = [
        (label, *(figures[f"{kind}/{name}"] for name in columns)) for kind, label in KINDS.items() if kind in arms
    ]
    note = "AUROC hides over-confidence, ECE that nothing is kept apart: read both. Below 500 questions ECE is biased upwards."
    return Table("How well each confidence fits", ("confidence", *columns.values()), tuple(rows), note)


def query_of(kind: str) -> str:
    """The arm whose episodes stand behind a confidence."""
    return {"t3_one_order": "t3", "consistency": "fresh"}.get(kind, kind)


def confidence(group: Group, kind: str) -> float:
    """One kind of confidence in the own answer of a question; nan where there is none."""
    if kind == "consistency":
        own = group[0].verdicts["attempt"].answer
        fresh = [e.verdicts["attempt"].answer for e in in_arm(group, "fresh")]
        if not fresh or own is None or not in_arm(group, "t3"):
            return math.nan
        return sum(answer == own for answer in fresh) / len(fresh)
    found = [e.verdicts["confidence"].score for e in in_arm(group, query_of(kind)) if "confidence" in e.verdicts]
    return average(found[:1] if kind == "t3_one_order" else found)


def matches(groups: Sequence[Group]) -> list[float]:
    """For each question the confidence in the own answer minus that in the candidate most nearly as likely; nan where none is
    within :data:`NEAR`.
    """
    found = []
    for group in groups:
        own = group[0].verdicts["attempt"].answer
        shown = {e.verdicts["asked"].answer: e.verdicts for e in in_arm(group, "shown") if "likely" in e.verdicts}
        others = [v for name, v in shown.items() if name != own]
        if own not in shown or not others:
            found.append(math.nan)
            continue
        mine = shown[own]
        near = min(others, key=lambda v: abs(v["likely"].score - mine["likely"].score))
        gap = abs(near["likely"].score - mine["likely"].score)
        found.append(mine["confidence"].score - near["confidence"].score if gap <= NEAR else math.nan)
    return found


def known(q: Sequence[float], right: Sequence[float], keys: Sequence[str]) -> tuple[list[float], list[float], list[str]]:
    """The questions that have both a confidence and an outcome."""
    rows = [(a, c, key) for a, c, key in zip(q, right, keys, strict=True) if not math.isnan(a) and not math.isnan(c)]
    return [a for a, _, _ in rows], [c for _, c, _ in rows], [key for _, _, key in rows]


def fits(q: Sequence[float], right: Sequence[float], keys: Sequence[str]) -> dict[str, Estimate]:
    """How well one kind of confidence fits: every metric with its interval."""
    a, c, owners = known(q, right, keys)

    def of(measure: Callable[[Sequence[float], Sequence[float]], float], unit: str = "ratio") -> Estimate:
        return bootstrapped(lambda places: measure([a[i] for i in places], [c[i] for i in places]), owners, unit=unit)

    found = {name: of(fit.MEASURES[name], "fraction" if name == "confidence" else "ratio") for name in METRICS}
    found["wrong"] = mean([x for x, hit in zip(a, c, strict=True) if hit == 0], unit="fraction")
    found["gap"] = difference(a, c, owners)
    found["stated"] = mean([float(not math.isnan(x)) for x, hit in zip(q, right, strict=True) if not math.isnan(hit)])
    return found


def gains(q: dict[str, list[float]], right: Sequence[float], keys: Sequence[str], arms: dict[str, Arm]) -> list[Effect]:
    """What T3 gains in AUROC and Brier score over the confidence alone, and over agreement for as many calls."""
    found = []
    for other in ("alone", "consistency"):
        if "t3" not in arms or other not in arms:
            continue
        every = zip(q["t3"], q[other], right, keys, strict=True)
        rows = [(a, b, c, key) for a, b, c, key in every if not any(map(math.isnan, (a, b, c)))]
        owners = [key for *_, key in rows]

        def auroc(places: Sequence[int], rows: Sequence[tuple[float, float, float, str]] = rows) -> float:
            c = [rows[i][2] for i in places]
            return fit.ranked([rows[i][0] for i in places], c) - fit.ranked([rows[i][1] for i in places], c)

        label = KINDS[other]
        brier = difference([(b - c) ** 2 for _, b, c, _ in rows], [(a - c) ** 2 for a, _, c, _ in rows], owners, unit="ratio")
        found += [
            Effect(f"t3_auroc_over_{other}", f"AUROC of T3 minus {label}", bootstrapped(auroc, owners)),
            Effect(f"t3_brier_over_{other}", f"Brier score of {label} minus T3's", brier),
        ]
    return found


def cost(calls: Estimate) -> Table:
    """What each way of asking takes."""
    one, t3 = "1", calls.value
    rows: list[tuple[Cell, ...]] = [
        (label, round(t3, 1) if kind in ("t3", "consistency") and not math.isnan(t3) else one) for kind, label in KINDS.items()
        if kind != "t3_one_order"
    ]  # fmt: skip
    return Table("What it takes", ("confidence", "calls for each question, beside the answer"), tuple(rows))


def diagram(q: dict[str, list[float]], right: Sequence[float]) -> Curve:
    """Reliability: how often answers of a confidence are right."""
    series: dict[str, tuple[tuple[float, Estimate], ...]] = {}
    for kind, values in q.items():
        a, c, _ = known(values, right, [""] * len(right))
        bins = fit.reliability(a, c)
        hits = {x: [1.0] * round(share * n) + [0.0] * (n - round(share * n)) for x, share, n in bins.values()}
        if hits and kind in ("alone", "user", "t3", "consistency"):
            series[KINDS[kind]] = tuple((100 * x, mean(some)) for x, some in hits.items())
    return Curve("Reliability", "confidence, %", "right, %", series, "points")


def coverage(q: dict[str, list[float]], right: Sequence[float]) -> Curve:
    """Selective answering: how often the surest answers are right, over how many are given."""
    series: dict[str, tuple[tuple[float, Estimate], ...]] = {}
    for kind in ("alone", "t3", "consistency"):
        a, c, _ = known(q[kind], right, [""] * len(right))
        order = sorted(range(len(a)), key=lambda i: -a[i])
        if len(order) >= 10:
            cuts = [round(len(order) * share / 10) for share in range(1, 11)]
            series[KINDS[kind]] = tuple((100 * cut / len(order), mean([c[i] for i in order[:cut]])) for cut in cuts)
    return Curve("Answering only when sure", "questions answered, %", "right, %", series)
