"""The page of a play over a context: candidates and which was chosen, every version of the notes, and what was said."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from secondthought.errors import UserError
from secondthought.report.figures import AFTER, BEFORE, THIRD
from secondthought.report.pages import Page, drawn, render
from secondthought.runs.reading import RunFolder, read_groups
from secondthought.runs.reports import estimate_from
from secondthought.types import Episode

SHOWN = 2  # calls of each role in each round


def page(run: RunFolder) -> Page:
    """The page of a play; also of one that still goes on."""
    summary = run.summary
    replay = [
        {**one, "number": i, "words": summary["words"][i], "chosen": i == summary["chosen"], "held_out": _held_out(summary, i)}
        for i, one in enumerate(summary.get("replay", ()))
    ]
    pictures = {"rounds": rounds_figure(summary["rounds"], summary["words"])} if summary.get("rounds") else {}
    html = render(
        "skill.html", run.name, run.resolved, summary=summary, replay=replay, drawn=drawn(pictures),
        notes=_notes(run.folder), said=_said(run.folder),
    )  # fmt: skip
    return Page(html, pictures)


def _held_out(summary: Any, number: int) -> Any:
    found = summary.get("held_out", {}).get(str(number))
    return {name: estimate_from(one) for name, one in found.items()} if found else None


def _notes(folder: Path) -> list[tuple[str, str]]:
    """Every version of the reasoner's notes, in the order in which they were written."""
    files = sorted((folder / "skills").glob("reasoner_*.md"), key=lambda p: int(p.stem.rpartition("_")[2]))
    return [(f"round {path.stem.rpartition('_')[2]}", path.read_text(encoding="utf-8").strip()) for path in files]


def _said(folder: Path) -> list[tuple[str, Episode]]:
    """Some calls of each role in each round, the last segment of each being what the model wrote."""
    try:
        groups = read_groups(folder)
    except UserError:  # nothing was said yet
        return []
    found: dict[str, list[Episode]] = {}
    for episode, *_ in groups:
        found.setdefault(episode.arm, []).append(episode)
    return [(arm, episode) for arm, some in found.items() for episode in some[:SHOWN]]


def rounds_figure(rounds: Any, words: Any) -> Figure:
    """Cases solved and words of the notes, by round."""
    figure = Figure(figsize=(7.6, 3.2))
    left = figure.add_subplot()
    numbers = range(1, len(rounds) + 1)
    left.plot(numbers, [100 * one["solved"] for one in rounds], "o-", color=AFTER, label="cases solved in the round")
    left.set_ylim(0, 100)
    left.set_xlabel("round")
    left.set_ylabel("%", color=AFTER)
    right = left.twinx()
    right.plot(numbers, words[1:], "s--", color=THIRD, label="words of the notes")
    right.set_ylabel("words", color=THIRD)
    left.grid(alpha=0.25, color=BEFORE)
    return figure
