"""The page of ``probe all``: every question with its answer, the figure behind it, and a link to all of it."""

from __future__ import annotations

from typing import Any

from matplotlib.figure import Figure

from secondthought.report.pages import Page, drawn, pictures_of, render
from secondthought.runs.reading import RunFolder
from secondthought.runs.reports import report_from
from secondthought.types import Report


def page(run: RunFolder) -> Page:
    """The page of a finished suite."""
    rows: list[dict[str, Any]] = []
    parts: list[dict[str, Any]] = []
    pictures: dict[str, Figure] = {}
    for one in run.summary.get("parts", ()):
        for number, model in enumerate(one["models"], 1):
            report, name = report_from(model["report"]), model["checkpoint"]["name"]
            prefix = f"{one['probe']}_{number}_"
            own = pictures_of(report, prefix)
            pictures |= own
            rows.append({"asks": one["asks"], "model": name, "folder": one["folder"], "report": report, **decisive(report)})
            parts.append({"title": f"{one['asks'] or one['probe']} ({name})", "report": report, "pictures": list(own)})
    return Page(render("suite.html", run.name, run.resolved, rows=rows, parts=parts, drawn=drawn(pictures)), pictures)


def decisive(report: Report) -> dict[str, Any]:
    """The effect that decides a report, or else its first arm."""
    for effect in report.effects:
        if effect.name == report.decides:
            return {"label": effect.label, "estimate": effect.estimate}
    first = report.arms[0] if report.arms else None
    return {"label": first.label if first else "", "estimate": first.estimate if first else None}
