"""Pictures of a run as SVG text, to stand in a page without any network."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure

matplotlib.rcParams.update({"svg.fonttype": "none", "font.family": "sans-serif", "font.size": 10, "axes.spines.top": False})
matplotlib.rcParams.update({"axes.spines.right": False, "figure.constrained_layout.use": True, "svg.hashsalt": "secondthought"})
BEFORE, AFTER, THIRD = "#9aa4b2", "#2563eb", "#d97706"


def svg(figure: Figure) -> str:
    """The figure as an inline SVG element."""
    out = io.StringIO()
    figure.savefig(out, format="svg", metadata={"Date": None}, transparent=True)
    text = out.getvalue()
    return text[text.index("<svg") :]


def percent(estimates: Sequence[Mapping[str, Any]]) -> tuple[list[float], list[list[float]]]:
    """Values in percent, and the lengths of their intervals to the left and to the right as error bars want them."""
    values = [100 * e["value"] for e in estimates]
    left = [max(0.0, value - 100 * e["low"]) for value, e in zip(values, estimates, strict=True)]
    right = [max(0.0, 100 * e["high"] - value) for value, e in zip(values, estimates, strict=True)]
    return values, [left, right]


def forest(rows: Sequence[tuple[str, dict[str, Any] | None, dict[str, Any] | None]]) -> Figure:
    """Before and after of several figures, in percent, with 95 % intervals: ``(label, before, after)`` from top to bottom."""
    figure = Figure(figsize=(8.2, 0.5 * len(rows) + 1.0))
    axes = figure.add_subplot()
    for y, (_, before, after) in enumerate(rows):
        for shift, estimate, colour in ((-0.13, before, BEFORE), (0.13, after, AFTER)):
            if estimate and estimate["value"] is not None:
                (value,), bounds = percent([estimate])
                axes.errorbar(value, y + shift, xerr=bounds, fmt="o", color=colour, capsize=3, markersize=6)
                axes.annotate(f"{value:.0f}", (value, y + shift), (0, 6), textcoords="offset points", fontsize=7, color=colour)
    axes.set_yticks(range(len(rows)), [label for label, _, _ in rows])
    axes.invert_yaxis()
    axes.set_xlim(0, 100)
    axes.set_xlabel("% of held-out problems (95 % intervals)")
    axes.plot([], [], "o", color=BEFORE, label="before")
    axes.plot([], [], "o", color=AFTER, label="after training")
    axes.legend(loc="lower right", frameon=False)
    axes.grid(axis="x", alpha=0.25)
    return figure


def curves(lines: Sequence[dict[str, Any]]) -> Figure:
    """Six small multiples over training steps."""
    figure = Figure(figsize=(9.6, 5.0))
    grid = figure.subplots(2, 3)
    interval(grid[0][0], lines, (("dev/first", "first try", BEFORE), ("dev/second", "second try", AFTER)), "dev problems, %")
    series(grid[0][1], lines, (("reward/first", "first", BEFORE), ("reward/retry", "retry", AFTER)), "training reward, %", 100)
    series(grid[0][2], lines, (("length/reflection", "reflection", AFTER), ("length/retry", "retry", BEFORE)), "tokens", 1)
    series(grid[1][0], lines, (("loss/kl", "k3 to reference", THIRD),), "KL on the anchored tokens, nats", 1)
    series(grid[1][1], lines, (("sampler_gap/mean", "mean", AFTER),), "sampler / trainer gap, nats", 1)
    series(grid[1][2], lines, (("speed/tokens_per_second", "sampled", AFTER),), "tokens per second", 1)
    for axes in grid.flat:
        axes.set_xlabel("step")
    return figure


def series(
    axes: Axes, lines: Sequence[dict[str, Any]], names: Sequence[tuple[str, str, str]], title: str, factor: float
) -> None:
    """Each name's raw values faintly and its running mean (over a twentieth of the run) firmly."""
    for name, label, colour in names:
        points = [(line["step"], factor * line[name]) for line in lines if line.get(name) is not None]
        if not points:
            continue
        steps, values = zip(*points, strict=True)
        span = max(1, len(values) // 20)
        smooth = [
            sum(values[max(0, i - span + 1) : i + 1]) / len(values[max(0, i - span + 1) : i + 1]) for i in range(len(values))
        ]
        axes.plot(steps, values, color=colour, alpha=0.2, linewidth=0.8)
        axes.plot(steps, smooth, color=colour, label=label)
    axes.set_title(title, fontsize=10, loc="left")
    if axes.has_data():
        axes.legend(frameon=False, fontsize=8)
    axes.grid(alpha=0.25)


def interval(axes: Axes, lines: Sequence[dict[str, Any]], names: Sequence[tuple[str, str, str]], title: str) -> None:
    """Each name with its band, in percent."""
    for name, label, colour in names:
        found = [line for line in lines if line.get(name) is not None]
        steps = [line["step"] for line in found]
        low, value, high = ([100 * line[name + end] for line in found] for end in ("/low", "", "/high"))
        axes.plot(steps, value, color=colour, label=label, marker="o", markersize=3)
        axes.fill_between(steps, low, high, color=colour, alpha=0.15)
    axes.set_title(title, fontsize=10, loc="left")
    if axes.has_data():
        axes.legend(frameon=False, fontsize=8)
    axes.grid(alpha=0.25)


ARM_COLOURS = ("#2563eb", "#d97706", "#059669", "#dc2626", "#9aa4b2", "#7c3aed")


def save(figure: Figure, path: Path) -> None:
    """Write a PNG in one step."""
    temporary = path.with_name(f".{path.name}.tmp")
    figure.savefig(temporary, format="png", dpi=150)
    temporary.replace(path)


def arms(found: Mapping[str, Mapping[str, Any]]) -> Figure:
    """First try, second try and first try plus fresh attempts at equal tokens, for each arm, in percent."""
    figure = Figure(figsize=(8.6, 0.75 * len(found) + 1.2))
    axes = figure.add_subplot()
    shown = (
        ("first", "first try", BEFORE),
        ("second", "with one reflection", AFTER),
        ("resampled", "with fresh attempts instead", THIRD),
    )
    for y, arm in enumerate(found):
        for i, (measure, _, colour) in enumerate(shown):
            estimate = found[arm][measure]
            (value,), bounds = percent([estimate])
            axes.errorbar(value, y + 0.2 * (i - 1), xerr=bounds, fmt="o", color=colour, capsize=3)
            end = (100 * estimate["high"], y + 0.2 * (i - 1))
            axes.annotate(f"{value:.0f}", end, (5, -3), textcoords="offset points", fontsize=8, color=colour)
    for _, label, colour in shown:
        axes.plot([], [], "o", color=colour, label=label)
    axes.set_yticks(range(len(found)), [arm.replace("_", " ") for arm in found])
    axes.invert_yaxis()
    axes.set_xlabel("% of held-out problems after the same number of sampled tokens")
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
        values, bounds = percent([e for _, e in points])
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
