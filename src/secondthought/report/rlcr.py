"""What ``reproduce rlcr`` found of the arms it trained: a page of Markdown and two pictures."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from secondthought.report.figures import COLOURS, save, spans
from secondthought.report.rrr import show, table
from secondthought.runs.files import write_text
from secondthought.runs.reports import estimate_from

Json = Mapping[str, Any]
ARMS = {
    "rlcr": "RLCR", "joint": "both paid the whole reward", "rlvr": "plain rewards", "rlvr_both": "plain rewards, for both",
    "log_score": "log score", "brier_only": "Brier score only", "std": "divided by the spread", "shuffled": "shuffled outcomes",
    "collapsed": "collapsed start",
}  # fmt: skip
KINDS = {
    "verbal": "stated confidence", "answer_probability": "probability of the answer",
    "scaled": "the same, scaled to outcomes", "head": "a head on hidden states",
}  # fmt: skip
METRICS = ("confidence", "ece", "mass_ece", "brier", "auroc", "reliability", "resolution")


def write(out: Path, found: Json) -> Path:
    """Write ``results.md`` and the pictures."""
    if "lots" in found:
        save(strata_figure(found["lots"]), out / "strata.png")
    path = out / "results.md"
    write_text(path, "\n".join(_lines(found)).rstrip() + "\n")
    return path


def _lines(found: Json) -> Iterator[str]:
    yield from (
        "# Confidence under reinforcement learning",
        "",
        "Written by `secondthought reproduce rlcr`. Held-out problems, four answers to each, sampled at temperature 1; 95 %"
        " intervals by bootstrap over problems, seeds pooled.",
    )
    for world, arms in found.items():
        yield from ("", f"## {world.capitalize()}")
        rows = []
        for arm, one in arms.items():
            for kind in KINDS:
                if one.get(kind):
                    figures = [number(one[kind][name], whole=name == "confidence") for name in METRICS]
                    first = [ARMS[arm], str(one["seeds"]), show(one["accuracy"])] if kind == "verbal" else ["", "", ""]
                    rows.append([*first, KINDS[kind], *figures])
        yield from table(
            ("arm", "seeds", "right", "confidence", "mean", "ECE", "ECE, equal mass", "Brier", "AUROC", "reliability",
             "resolution"), rows,
        )  # fmt: skip
        if world == "lots":
            yield from ("", "Stated confidence by how many numbers are shown (chance in brackets), in percent:")
            strata = list(next(iter(arms.values()))["strata"])
            rows = [[ARMS[arm], *map(stratum, one["strata"].values()), show(one["neither"])] for arm, one in arms.items()]
            chances = [f"{n} ({100 / int(n):.1f})" for n in strata]
            yield from table(("arm", *chances, "deliberate errors where the chance is below 65"), rows)
            yield from ("", "![Stated confidence over chance](strata.png)")


def number(estimate: Json, *, whole: bool) -> str:
    """A metric with its interval: shares in percent, others as they are."""
    known = estimate_from(estimate)
    return show(estimate) if whole else f"{known.value:.3f} [{known.low:.3f}, {known.high:.3f}]"


def stratum(found: Json) -> str:
    """What is stated, and how often answers are right."""
    return f"{show(found['stated'])}, right {show(found['right'])}"


def strata_figure(found: Json) -> Figure:
    """The stated confidence of each arm over the chance of the best guess."""
    figure = Figure(figsize=(6.6, 4.6))
    axes = figure.add_subplot()
    axes.plot([0, 100], [0, 100], color="#9aa4b2", linewidth=1, linestyle=":")
    for i, (arm, one) in enumerate(found.items()):
        points = [(100 * s["chance"], estimate_from(s["stated"])) for s in one["strata"].values() if s["stated"]["n"]]
        values, bounds = spans([estimate for _, estimate in points])
        axes.errorbar(
            [x + 0.5 * (i - len(found) / 2) for x, _ in points], values, yerr=bounds, fmt="o-" if arm == "rlcr" else "o--",
            color=COLOURS[i % len(COLOURS)], label=ARMS[arm], markersize=4, linewidth=2 if arm == "rlcr" else 0.8,
        )  # fmt: skip
    axes.set_xlabel("chance of the best guess, %")
    axes.set_ylabel("stated confidence, %")
    axes.set_xlim(0, 105)
    axes.set_ylim(0, 105)
    figure.legend(frameon=False, fontsize=7, loc="outside right upper")
    axes.grid(alpha=0.25)
    return figure
