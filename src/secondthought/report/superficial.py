"""The page and the picture of superficial reflection."""

from __future__ import annotations

from collections.abc import Mapping
from io import StringIO
from pathlib import Path
from typing import Any

from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from rich.console import Console
from rich.table import Table

from secondthought.files import UserError
from secondthought.journal import read_episodes
from secondthought.probes.superficial import BEHAVIOURS
from secondthought.report.figures import AFTER, ARM_COLOURS, BEFORE, THIRD, percent, svg
from secondthought.report.pages import Page, environment, told_in
from secondthought.report.table import show

ROWS = {
    "accuracy": "right",
    "keyword_rate": "a keyword of reflection",
    "detector_rate": "the detector says so",
    "reflection_rate": "both: reflects",
    "superficial": "of the reflecting: wrong in the end",
    "accuracy_difference": "reflecting minus others, same question, points",
    "consistency": "agrees with the commonest answer",
}


def page(out: Path) -> Page:
    """The page of a finished probe. Raises UserError if it is not finished."""
    resolved, summary = told_in(out)
    if not summary:
        raise UserError(f"{out} has no summary.json yet; run the same command again to finish it")
    figure = picture(summary["temperatures"])
    files = sorted((out / "episodes").glob("temperature_*.parquet"))
    html = environment().get_template("superficial.html").render(
        run=out.name, resolved=resolved, summary=summary, figure=Markup(svg(figure)), names=ROWS, behaviours=BEHAVIOURS,
        episodes=[episode for episode, _ in read_episodes(files[-1])[:6]] if files else [],
    )  # fmt: skip
    return Page(html, {"superficial": figure})


def picture(found: Mapping[str, Mapping[str, Any]]) -> Figure:
    """Reflection and accuracy over temperature, what reflection does, and consistency."""
    figure = Figure(figsize=(10.2, 3.3))
    left, middle, right = figure.subplots(1, 3)
    where = [float(temperature) for temperature in found]
    for name, label, colour in (
        ("accuracy", "right", BEFORE), ("keyword_rate", "keyword", THIRD), ("reflection_rate", "keyword and detector", AFTER),
    ):  # fmt: skip
        band(left, where, [one[name] for one in found.values()], label, colour)
    below = [0.0] * len(where)
    for name, colour in zip(BEHAVIOURS, ARM_COLOURS, strict=True):
        values = [100 * (one[f"behaviour/{name}"]["value"] or 0.0) for one in found.values()]
        middle.bar(where, values, width=0.07, bottom=below, color=colour, label=name)
        below = [a + b for a, b in zip(below, values, strict=True)]
    band(right, where, [one["consistency"] for one in found.values()], "consistency", AFTER)
    band(right, where, [one["accuracy"] for one in found.values()], "correctness", BEFORE)
    for axes, title in ((left, "% of responses"), (middle, "% of the reflecting ones"), (right, "% of responses")):
        axes.set_title(title, fontsize=9, loc="left")
        axes.set_xlabel("temperature")
        axes.set_ylim(0, 102)
        axes.legend(frameon=False, fontsize=7)
        axes.grid(alpha=0.25)
    return figure


def band(axes: Axes, where: list[float], estimates: list[Mapping[str, Any]], label: str, colour: str) -> None:
    """A line with its interval."""
    kept = [(x, e) for x, e in zip(where, estimates, strict=True) if e["value"] is not None]
    if kept:
        values, bounds = percent([e for _, e in kept])
        axes.errorbar([x for x, _ in kept], values, yerr=bounds, color=colour, label=label, capsize=2, marker="o", markersize=3)


def terminal(summary: Mapping[str, Any]) -> str:
    """The table over temperatures, and the verdict."""
    out = StringIO()
    console = Console(file=out, width=140)
    grid = Table(title=f"{summary['model']}: % of responses [95 %]", title_justify="left")
    grid.add_column("temperature")
    for label in ROWS.values():
        grid.add_column(label, justify="right")
    for temperature, found in summary["temperatures"].items():
        grid.add_row(temperature, *(show(found[name], signed=name == "accuracy_difference") for name in ROWS))
    console.print(grid)
    claim = summary["claim"]
    console.print(f"{claim['verdict']} ({show(claim['effect'], signed=True)} points): {claim['claim']}.")
    return out.getvalue().rstrip()
