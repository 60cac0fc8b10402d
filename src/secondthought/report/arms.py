"""Pictures that compare who was paid."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

from matplotlib.figure import Figure

from secondthought.report.figures import AFTER, BEFORE, COLOURS, THIRD, spans
from secondthought.report.words import show
from secondthought.runs.reports import estimate_from

SHOWN = (
    ("first", "first try", BEFORE), ("second", "with one reflection", AFTER),
    ("resampled", "with fresh attempts instead", THIRD),
)  # fmt: skip


def arms(
    found: Mapping[str, Mapping[str, Any]], shown: Sequence[tuple[str, str, str]] = SHOWN, names: Mapping[str, str] = {},
    x: str = "% of held-out problems after the same number of sampled tokens",
) -> Figure:  # fmt: skip
    """The measures ``shown`` (name, label, colour) of each arm in percent, with intervals; by default first try, second try,
    and first try plus fresh attempts at equal tokens. ``names`` are what arms are called.
    """
    figure = Figure(figsize=(8.6, 0.25 * len(shown) * len(found) + 1.2))
    axes = figure.add_subplot()
    for y, arm in enumerate(found):
        for i, (measure, _, colour) in enumerate(shown):
            estimate, place = estimate_from(found[arm][measure]), y + 0.2 * (i - (len(shown) - 1) / 2)
            (value,), bounds = spans([estimate])
            axes.errorbar(value, place, xerr=bounds, fmt="o", markersize=4, color=colour, capsize=2)
            end, digits = (value + bounds[1][0], place), 0 if estimate.unit == "fraction" else 1
            axes.annotate(f"{value:.{digits}f}", end, (5, -3), textcoords="offset points", fontsize=8, color=colour)
    for _, label, colour in shown:
        axes.plot([], [], "o", color=colour, label=label)
    axes.set_yticks(range(len(found)), [names.get(arm, arm.replace("_", " ")) for arm in found])
    axes.invert_yaxis()
    axes.set_xlabel(x)
    figure.legend(frameon=False, fontsize=8, loc="outside upper center", ncols=3)
    axes.grid(axis="x", alpha=0.25)
    return figure


def regimes(found: Mapping[str, Sequence[Mapping[str, Any]]], edges: Sequence[float]) -> Figure:
    """Reflection-only training against paying answers, over how often the base model solves a problem."""
    figure = Figure(figsize=(7.6, 4.4))
    axes = figure.add_subplot()
    shown = (
        ("rrr", "second", "paid reflections, one reflection", AFTER, "o-"),
        ("answer", "second", "paid answers, one reflection", THIRD, "o-"),
        ("answer", "resampled", "paid answers, fresh attempts for the same tokens", THIRD, "s--"),
        ("rrr", "resampled", "paid reflections, fresh attempts for the same tokens", AFTER, "s--"),
    )
    for shift, (arm, measure, label, colour, style) in zip((-0.09, -0.03, 0.03, 0.09), shown, strict=True):
        points = [(i + shift, b[measure]) for i, b in enumerate(found[arm]) if b[measure]["value"] is not None]
        values, bounds = spans([estimate_from(e) for _, e in points])
        axes.errorbar(
            [x for x, _ in points], values, yerr=bounds, fmt=style, color=colour, capsize=2, markersize=4, label=label
        )
    sizes = [b["first"]["n"] for b in found["answer"]]
    names = ["never in 16" if low == 0 else f"{100 * low:.0f}-{min(100, 100 * high):.0f} %" for low, high in pairwise(edges)]
    axes.set_xticks(range(len(names)), [f"{name}\nn={n}" for name, n in zip(names, sizes, strict=True)])
    axes.set_xlabel("how often the base model solves the problem (16 attempts)")
    axes.set_ylabel("solved after training, %")
    axes.legend(frameon=False, fontsize=8)
    axes.grid(alpha=0.25)
    return figure


def before_after(
    found: Mapping[str, Mapping[str, Any]], arms: Mapping[str, str], names: Mapping[str, str]
) -> list[list[str]]:  # fmt: skip
    """A row for each arm: its label, its seeds, and each of the named measures before -> after training."""

    def cell(estimate: Mapping[str, Any]) -> str:
        return show(estimate_from(estimate)) if estimate["n"] else "-"

    return [
        [arms[arm], str(one["seeds"]), *(f"{cell(one[f'{name}_before'])} -> {cell(one[f'{name}_after'])}" for name in names)]
        for arm, one in found.items()
    ]


def over_steps(found: Mapping[str, Sequence[Mapping[str, Any]]], shown: Mapping[str, str]) -> Figure:
    """Two measures of each arm (name to label) over training on dev problems, the first as whole lines, the second dashed."""
    figure = Figure(figsize=(8.6, 3.8))
    axes = figure.add_subplot()
    for number, (arm, points) in enumerate(found.items()):
        for (name, label), style in zip(shown.items(), ("o-", "s--"), strict=True):
            steps, shares = [p["step"] for p in points], [math.nan if p[name] is None else 100 * p[name] for p in points]
            axes.plot(steps, shares, style, markersize=3, color=COLOURS[number], label=f"{arm}, {label}")
    axes.set_xlabel("step")
    axes.set_ylabel("% (dev problems)")
    figure.legend(frameon=False, fontsize=7, loc="outside right upper")
    axes.grid(alpha=0.25)
    return figure
