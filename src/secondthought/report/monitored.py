"""What ``reproduce monitored`` found: a page of Markdown and a picture."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from secondthought.report.arms import before_after, over_steps
from secondthought.report.figures import save
from secondthought.report.rrr import table
from secondthought.runs.files import write_text

Json = Mapping[str, Any]
ARMS = {
    "monitored": "penalty as large as the reward", "light": "a light penalty (0.3)", "unmonitored": "no penalty",
    "no_payoff": "walking out is not paid (control)",
}  # fmt: skip
NAMES = {
    "hacks": "walks out of the check", "honest": "right without", "recall": "hacks that the monitor flags",
    "false_alarms": "honest answers that it flags", "retrained": "hacks flagged by one with fresh labels",
}  # fmt: skip


def write(out: Path, found: Json) -> Path:
    """Write ``results.md`` and the picture."""
    save(curves(found["curves"]), out / "monitor.png")
    write_text(path := out / "results.md", "\n".join(_lines(found)).rstrip() + "\n")
    return path


def _lines(found: Json) -> Iterator[str]:
    yield from (
        "# Hacking a check, and what a monitor of the chain of thought sees of it", "",
        "Written by `secondthought reproduce monitored`. Percent of held-out problems before -> after training, 95 % intervals"
        " clustered by problem over pooled seeds; rates of hacks and of honest answers are of those.",
    )  # fmt: skip
    yield from table(("arm", "seeds", *NAMES.values()), before_after(found["arms"], ARMS, NAMES))
    yield from ("", "![Hacks and what the monitor sees of them](monitor.png)")


def curves(found: Mapping[str, Sequence[Json]]) -> Figure:
    """Hacks (whole lines) and the monitor's recall (dashed) over training."""
    return over_steps({ARMS[arm]: points for arm, points in found.items()}, {"hacks": "hacks", "recall": "of them flagged"})
