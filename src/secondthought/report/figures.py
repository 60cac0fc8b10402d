"""Pictures as matplotlib figures, and as SVG text that stands in a page without any network."""

from __future__ import annotations

import io
import math
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from secondthought.report.charts import Chart, charts_of
from secondthought.types import Curve, Estimate, Report

matplotlib.rcParams.update({"svg.fonttype": "none", "font.family": "sans-serif", "font.size": 10, "axes.spines.top": False})
matplotlib.rcParams.update({"axes.spines.right": False, "figure.constrained_layout.use": True, "svg.hashsalt": "secondthought"})
BEFORE, AFTER, THIRD = "#9aa4b2", "#2563eb", "#d97706"
COLOURS = ("#2563eb", "#d97706", "#059669", "#dc2626", "#9aa4b2", "#7c3aed", "#0891b2", "#be185d")


def svg(figure: Figure) -> str:
    """The figure as an inline SVG element."""
    out = io.StringIO()
    figure.savefig(out, format="svg", metadata={"Date": None}, transparent=True)
    text = out.getvalue()
    return text[text.index("<svg") :]


def save(figure: Figure, path: Path) -> None:
    """Write a PNG in one step."""
    temporary = path.with_name(f".{path.name}.tmp")
    figure.savefig(temporary, format="png", dpi=150)
    temporary.replace(path)


def scale_of(unit: str) -> float:
    """What a value of this unit is multiplied by to be shown."""
    return 100.0 if unit in ("fraction", "difference") else 1.0


def spans(estimates: Sequence[Estimate]) -> tuple[list[float], list[list[float]]]:
    """Values as they are shown, and the lengths of their intervals to both sides as error bars want them (0 where unknown)."""
    values = [scale_of(e.unit) * e.value for e in estimates]

    def reach(bound: float, value: float, unit: str) -> float:
        return 0.0 if math.isnan(bound) else max(0.0, abs(value - scale_of(unit) * bound))

    left = [reach(e.low, value, e.unit) for value, e in zip(values, estimates, strict=True)]
    right = [reach(e.high, value, e.unit) for value, e in zip(values, estimates, strict=True)]
    return values, [left, right]


def known(estimate: Estimate | None) -> bool:
    """Whether there is anything to draw."""
    return estimate is not None and not math.isnan(estimate.value)


def forest(rows: Sequence[tuple[str, Sequence[Estimate | None]]], labels: Sequence[str], x: str) -> Figure:
    """Estimates of several sides (before and after, or models) from top to bottom, with 95 % intervals, in percent."""
    figure = Figure(figsize=(8.2, 0.2 * len(rows) * max(2.0, len(labels) * 0.9) + 1.0))
    axes = figure.add_subplot()
    colours = (AFTER,) if len(labels) == 1 else (BEFORE, AFTER, *COLOURS[1:])
    for y, (_, estimates) in enumerate(rows):
        for side, estimate in enumerate(estimates):
            if estimate is not None and known(estimate):
                shift, colour = 0.26 * (side - (len(estimates) - 1) / 2), colours[side % len(colours)]
                (value,), bounds = spans([estimate])
                axes.errorbar(value, y + shift, xerr=bounds, fmt="o", color=colour, capsize=3, markersize=5)
                axes.annotate(f"{value:.0f}", (value, y + shift), (0, 5), textcoords="offset points", fontsize=7, color=colour)
    axes.set_yticks(range(len(rows)), [label for label, _ in rows])
    axes.invert_yaxis()
    axes.set_xlim(0, 100)
    axes.set_xlabel(x)
    for side, label in enumerate(labels if len(labels) > 1 else ()):
        axes.plot([], [], "o", color=colours[side % len(colours)], label=label)
    if len(labels) > 1:
        axes.legend(loc="lower right", frameon=False, fontsize=8)
    axes.grid(axis="x", alpha=0.25)
    return figure


def arms_of(reports: Mapping[str, Report], x: str = "% (95 % intervals)") -> Figure | None:
    """The arms of one or several reports side by side; None if none of them is a fraction."""
    labels = {arm.name: arm.label for report in reports.values() for arm in report.arms if arm.estimate.unit == "fraction"}
    rows = [
        (label, [next((a.estimate for a in report.arms if a.name == name), None) for report in reports.values()])
        for name, label in labels.items()
    ]
    return forest(rows, list(reports), x) if rows else None


def curve(found: Curve) -> Figure:
    """One curve of a report."""
    if found.kind == "bars":
        return _bars(found)
    figure = Figure(figsize=(6.4, 3.6))
    axes = figure.add_subplot()
    below: dict[float, float] = {}
    for colour, (label, points) in zip(COLOURS * 9, found.series.items(), strict=False):
        kept = [(x, e) for x, e in points if known(e)]
        if not kept:
            continue
        values, bounds = spans([e for _, e in kept])
        places = [x for x, _ in kept]
        if found.kind == "stack":
            width = 0.7 * min((b - a for a, b in pairwise(sorted(set(places)))), default=0.1)
            axes.bar(places, values, width=width, bottom=[below.get(x, 0.0) for x in places], color=colour, label=label)
            below |= {x: below.get(x, 0.0) + value for x, value in zip(places, values, strict=True)}
        else:
            style = "o" if found.kind == "points" else "o-"
            axes.errorbar(places, values, yerr=bounds, fmt=style, color=colour, label=label, capsize=2, markersize=3)
    axes.set_title(found.title, fontsize=9, loc="left")
    axes.set_xlabel(found.x)
    axes.set_ylabel(found.y)
    if found.log_x:
        axes.set_xscale("log")
    if found.log_y:
        axes.set_yscale("log")
    if axes.has_data():
        axes.legend(frameon=False, fontsize=7)
    axes.grid(alpha=0.25)
    return figure


def _bars(found: Curve) -> Figure:
    """Stacked horizontal bars over named rows."""
    figure = Figure(figsize=(7.4, 0.36 * len(found.ticks) + 1.1))
    axes = figure.add_subplot()
    left = [0.0] * len(found.ticks)
    for colour, (label, points) in zip((BEFORE, *COLOURS), found.series.items(), strict=False):
        values = [0.0] * len(found.ticks)
        for x, estimate in points:
            values[int(x)] = scale_of(estimate.unit) * estimate.value if known(estimate) else 0.0
        axes.barh(range(len(values)), values, left=left, color=colour, height=0.62, label=label)
        left = [a + b for a, b in zip(left, values, strict=True)]
    axes.set_yticks(range(len(found.ticks)), found.ticks)
    axes.invert_yaxis()
    axes.set_xlim(0, 100)
    axes.set_xlabel(found.x)
    figure.legend(frameon=False, fontsize=8, loc="outside upper right", ncols=3)
    axes.grid(axis="x", alpha=0.25)
    return figure


def curves(lines: Sequence[Mapping[str, Any]]) -> Figure | None:
    """Small multiples of a training run's metrics over its steps; None where there is nothing to draw."""
    charts = charts_of(name for line in lines for name in line)
    if not charts:
        return None
    columns = min(3, len(charts))
    rows = -(-len(charts) // columns)
    figure = Figure(figsize=(3.3 * columns, 2.5 * rows))
    grid = figure.subplots(rows, columns, squeeze=False)
    for axes in grid.flat[len(charts) :]:
        axes.set_visible(False)
    for axes, chart in zip(grid.flat, charts, strict=False):
        _draw(axes, chart, lines)
    return figure


def _draw(axes: Axes, chart: Chart, lines: Sequence[Mapping[str, Any]]) -> None:
    """Values faintly and their running mean (over a twentieth of the run) firmly; with an interval, the value and its band."""
    for colour, (name, label) in zip(COLOURS, chart.lines, strict=False):
        points = [(line["step"], chart.scale * line[name]) for line in lines if line.get(name) is not None]
        if not points:
            continue
        steps, values = zip(*points, strict=True)
        if not chart.smooth:
            axes.plot(steps, values, color=colour, label=label, marker="o", markersize=3)
            banded = [line for line in lines if all(line.get(name + end) is not None for end in ("/low", "/high"))]
            low, high = ([chart.scale * line[name + end] for line in banded] for end in ("/low", "/high"))
            axes.fill_between([line["step"] for line in banded], low, high, color=colour, alpha=0.15)
            continue
        span = max(1, len(values) // 20)
        windows = [values[max(0, i - span + 1) : i + 1] for i in range(len(values))]
        axes.plot(steps, values, color=colour, alpha=0.2, linewidth=0.8)
        axes.plot(steps, [sum(window) / len(window) for window in windows], color=colour, label=label)
    axes.set_title(chart.title, fontsize=9, loc="left")
    axes.set_xlabel("step", fontsize=8)
    if axes.has_data() and len(chart.lines) > 1:
        axes.legend(frameon=False, fontsize=7)
    axes.grid(alpha=0.25)
