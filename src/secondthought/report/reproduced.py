"""Published correlations made again, as a table for the terminal."""

from __future__ import annotations

from collections.abc import Mapping
from io import StringIO
from typing import Any

from rich.console import Console
from rich.table import Table

NAMES = {
    "accuracy": "accuracy",
    "explicit_rate": "explicit rate",
    "implicit_accuracy": "implicit accuracy",
    "explicit_accuracy": "explicit accuracy",
}


def table(found: Mapping[str, Mapping[str, Mapping[str, Mapping[str, Any]]]]) -> str:
    """Correlation with log compute over all checkpoints, and with size means taken out, for every task and measure."""
    out = StringIO()
    console = Console(file=out, width=118)
    for setting, tasks in found.items():
        grid = Table(title=f"{setting} reflection: r with log compute, pooled → within size", title_justify="left")
        grid.add_column("task")
        for name in NAMES.values():
            grid.add_column(name, justify="right")
        for task, measures in tasks.items():
            grid.add_row(task, *(_cell(measures[name]) for name in NAMES))
        means = {
            name: {key: sum(t[name][key] for t in tasks.values()) / len(tasks) for key in ("pooled", "within_size")}
            for name in NAMES
        }
        grid.add_section()
        grid.add_row("mean", *(_cell(means[name]) for name in NAMES))
        console.print(grid)
    return out.getvalue().rstrip()


def _cell(found: Mapping[str, Any]) -> str:
    left, right = (found[key] for key in ("pooled", "within_size"))
    return " → ".join("-" if value is None else f"{value:+.2f}" for value in (left, right))
