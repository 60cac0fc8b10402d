"""What ``reproduce ctx2skill`` found: a table and a picture."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from secondthought.report.arms import arms
from secondthought.report.figures import AFTER, BEFORE, THIRD, save
from secondthought.report.rrr import show, table
from secondthought.runs.files import write_text

Json = Mapping[str, Any]
SHOWN = (("none", "no notes", BEFORE), ("chosen", "the chosen notes", AFTER), ("last", "those of the last round", THIRD))


def write(out: Path, found: Json, labels: Mapping[str, str]) -> Path:
    """Write ``results.md`` and the picture."""
    save(arms(found, SHOWN, labels, "% of held-out cases"), out / "notes.png")
    path = out / "results.md"
    write_text(path, "\n".join(_lines(found, labels)).rstrip() + "\n")
    return path


def _lines(found: Json, labels: Mapping[str, str]) -> Iterator[str]:
    yield from (
        "# Notes on a rule book",
        "",
        "Written by `secondthought reproduce ctx2skill`. Percent of held-out cases with 95 % intervals over rule books; the"
        " players are programs of known skill.",
    )
    rows = [
        [
            labels[name], str(one["books"]), show(one["none"]), show(one["chosen"]), show(one["last"]),
            f"**{show(one['gain'])}**", show(one["guard"]), show(one["zero"]), ", ".join(map(str, one["chosen_rounds"])),
        ]
        for name, one in found.items()
    ]  # fmt: skip
    yield from table(
        ("player", "rule books", "no notes", "chosen notes", "last notes", "chosen minus none", "chosen minus last",
         "none chosen, %", "plays by chosen round (from 0)"), rows,
    )  # fmt: skip
    yield from ("", "![Held-out cases solved](notes.png)")
