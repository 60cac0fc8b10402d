"""The page of a run of training: the numbers, the pictures, and the sentences behind them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from markupsafe import Markup

from secondthought.journal import read_episodes, read_metrics
from secondthought.report import figures
from secondthought.report.pages import Page, environment, told_in
from secondthought.report.spelling import Speller
from secondthought.report.table import ROWS, errors_of, show
from secondthought.report.tellings import advantage, shared_past, tokens_of
from secondthought.types import Episode, Segment, Signal

SHOWN_GROUPS = 4
SHOWN_PAIRS = 6


def page(folder: Path) -> Page:
    """The page of a run of training or of a measurement; also of one that still goes on. Raises UserError if it is no run."""
    resolved, summary = told_in(folder)
    lines = read_metrics(folder)
    pictures = {}
    if "after" in summary:
        pictures["result"] = _forest(summary)
    if lines:
        pictures["curves"] = figures.curves(lines)
    html = environment().get_template("page.html").render(
        run=folder.name,
        resolved=resolved,
        summary=summary,
        rows=[
            (label.replace("  ", "\u2003"), show(summary.get("before", {}).get(key)), show(summary.get("after", {}).get(key)),
             show(summary.get("change", {}).get(key), signed=True))
            for key, label in ROWS if key in summary.get("after", {})
        ],
        drawn={name: Markup(figures.svg(picture)) for name, picture in pictures.items()},
        errors=list(errors_of(summary)),
        leaks=_leaks(summary),
        groups=_groups(folder, Speller(folder, str(resolved["recipe"].get("model", "")))),
        pairs=_pairs(folder),
        steps=len(lines),
    )  # fmt: skip
    return Page(html, pictures)


def _forest(summary: dict[str, Any]) -> Any:
    keys = [(key, label.strip()) for key, label in ROWS if key not in ("reflection_tokens", "second_without_leaks")]
    before, after = summary.get("before", {}), summary["after"]
    return figures.forest([(label, before.get(key), after.get(key)) for key, label in keys if key in after])


def _leaks(summary: dict[str, Any]) -> list[tuple[str, list[str]]]:
    sides = [summary[side] for side in ("before", "after") if side in summary]
    degrees = [key.removeprefix("leak/") for key in summary.get("after", {}) if key.startswith("leak/")]
    return [
        (
            degree,
            [cell for side in sides for cell in (show(side.get(f"leak/{degree}")), show(side.get(f"retry_given/{degree}")))],
        )
        for degree in degrees
    ]


def _groups(folder: Path, speller: Speller) -> list[dict[str, Any]]:
    """The last step's groups that had something to learn from, their tellings from best to worst."""
    files = sorted((folder / "episodes").glob("step_*.parquet"))
    if not files:
        return []
    by_task: dict[str, list[tuple[Episode, dict[str, Signal]]]] = {}
    for episode, signals in read_episodes(files[-1]):
        by_task.setdefault(episode.task.key, []).append((episode, signals))
    paid = [told for told in by_task.values() if any(advantage(signals) for _, signals in told)]
    groups = []
    for told in paid[:SHOWN_GROUPS]:
        told.sort(key=lambda pair: -advantage(pair[1]))
        shared = shared_past([e.segments for e, _ in told], {name for _, signals in told for name in signals})
        chosen = told[:3] + [pair for pair in told[-2:] if pair not in told[:3]]
        groups.append({
            "shared": [_segment(s, {}, told[0][0], speller) for s in shared],
            "tellings": [
                {
                    "segments": [_segment(s, signals, e, speller) for s in e.segments[len(shared) :]],
                    "advantage": advantage(signals),
                    "path": ".".join(map(str, e.path)),
                }
                for e, signals in chosen
            ],
            "count": len(told),
        })  # fmt: skip
    return groups


def _segment(segment: Segment, signals: dict[str, Signal], episode: Episode, speller: Speller) -> dict[str, Any]:
    signal = signals.get(segment.name, Signal())
    return {
        "name": segment.name, "author": segment.author, "text": segment.text, "kl": signal.kl,
        "tokens": tokens_of(segment, signal, speller), "verdict": episode.verdicts.get(segment.name),
    }  # fmt: skip


def _pairs(folder: Path) -> list[tuple[Episode, Episode]]:
    """The same held-out problems before and after training, outcomes that changed first."""
    files = [folder / "episodes" / f"{label}.parquet" for label in ("before", "after")]
    if not all(file.exists() for file in files):
        return []
    before, after = ({e.task.key: e for e, _ in read_episodes(file)} for file in files)

    def outcome(episode: Episode) -> float:
        return max(verdict.score for verdict in episode.verdicts.values())

    both = [(before[key], after[key]) for key in before if key in after]
    reflected = [pair for pair in both if all("reflection" in e for e in pair)]
    reflected.sort(key=lambda pair: abs(outcome(pair[1]) - outcome(pair[0])), reverse=True)
    fixed = [pair for pair in reflected if outcome(pair[1]) > outcome(pair[0])][: SHOWN_PAIRS - 2]
    broken = [pair for pair in reflected if outcome(pair[1]) < outcome(pair[0])][:2]
    return fixed + broken
