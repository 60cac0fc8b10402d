"""What ``reproduce watch`` found: a table and a picture."""

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


def write(out: Path, found: Json, kinds: Mapping[str, tuple[str, float, float]]) -> Path:
    """Write ``results.md`` and the picture."""
    save(figure(found, kinds), out / "alarms.png")
    path = out / "results.md"
    write_text(path, "\n".join(_lines(found, kinds)).rstrip() + "\n")
    return path


def _lines(found: Json, kinds: Mapping[str, tuple[str, float, float]]) -> Iterator[str]:
    yield from (
        "# How often the watch is right",
        "",
        "Written by `secondthought reproduce watch`. Percent of simulated histories of twelve measurements that raise an alarm,"
        " with 95 % intervals; agreement rises in all of them.",
    )
    sizes = list(next(iter(found.values())))
    rows = [[kinds[kind][0], *(show(one[size]) for size in sizes)] for kind, one in found.items()]
    yield from table(("history", *(f"{size} frozen problems" for size in sizes)), rows)
    yield from ("", "![Alarms by kind of history](alarms.png)")


def figure(found: Json, kinds: Mapping[str, tuple[str, float, float]]) -> Figure:
    """Alarms by kind of history and number of frozen problems."""
    made = Figure(figsize=(8.2, 3.4))
    axes = made.add_subplot()
    for number, size in enumerate(next(iter(found.values()))):
        values, bounds = spans([estimate_from(one[size]) for one in found.values()])
        places = [y + 0.2 * (number - 1) for y in range(len(found))]
        axes.errorbar(values, places, xerr=bounds, fmt="o", capsize=2, color=COLOURS[number], label=f"{size} problems")
    axes.set_yticks(range(len(found)), [kinds[kind][0] for kind in found])
    axes.invert_yaxis()
    axes.set_xlabel("% of histories with an alarm")
    axes.legend(frameon=False, fontsize=8)
    axes.grid(axis="x", alpha=0.25)
    return made
