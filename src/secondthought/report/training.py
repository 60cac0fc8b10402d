"""The page of a training run: the reports, the pictures, and the episodes behind them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from secondthought.report import figures
from secondthought.report.episodes import advantage, changed, groups_of, shared_past, tokens_of
from secondthought.report.pages import Page, drawn, render
from secondthought.report.tokens import TokenTexts
from secondthought.runs.reading import RunFolder, read_episodes, read_groups, read_metrics
from secondthought.runs.reports import estimate_from, report_from
from secondthought.types import Episode, Signal

SHOWN_GROUPS = 4
SHOWN_PAIRS = 6


def page(run: RunFolder) -> Page:
    """The page of a training run; also of one that still goes on."""
    lines, summary = read_metrics(run.folder), run.summary
    pictures: dict[str, Figure] = {}
    probes = [_probe(name, sides, pictures) for name, sides in summary.get("probes", {}).items()]
    if (picture := figures.curves(lines)) is not None:
        pictures["curves"] = picture
    html = render(
        "training.html", run.name, run.resolved, training=summary.get("training"), probes=probes,
        comparisons=[report_from(one) for one in summary.get("comparisons", {}).values()], drawn=drawn(pictures),
        groups=_groups(run.folder, TokenTexts(run.folder, str(run.recipe.get("model", "")))),
        pairs=_pairs(run.folder, summary), steps=len(lines),
    )  # fmt: skip
    return Page(html, pictures)


def _probe(name: str, sides: Mapping[str, Any], pictures: dict[str, Figure]) -> dict[str, Any]:
    """One probe before and after, arm by arm; its picture joins ``pictures``."""
    before, after = report_from(sides["before"]), report_from(sides["after"])
    old = {arm.name: arm.estimate for arm in before.arms}
    change = {arm: estimate_from(one) for arm, one in sides["change"].items()}
    arms = [
        {"label": a.label, "control": a.control, "before": old.get(a.name), "after": a.estimate, "change": change.get(a.name)}
        for a in after.arms
    ]
    picture = figures.arms_of({"before": before, "after": after}, "% of held-out problems (95 % intervals)")
    if picture is not None:
        pictures[f"result_{name}"] = picture
    by_title = {t.title: t for t in before.tables}, {t.title: t for t in after.tables}
    titles = dict.fromkeys([*by_title[0], *by_title[1]])
    return {
        "name": name, "arms": arms, "before": before, "after": after, "picture": f"result_{name}" if picture else "",
        "tables": [(by_title[0].get(title), by_title[1].get(title)) for title in titles],
    }  # fmt: skip


def _groups(folder: Path, token_texts: TokenTexts) -> list[dict[str, Any]]:
    """The last step's groups that had something to learn from, their episodes from best to worst."""
    files = sorted((folder / "episodes").glob("step_*.parquet"))
    if not files:
        return []
    paid = [group for group in groups_of(read_episodes(files[-1])) if any(advantage(signals) for _, signals in group)]
    found = []
    for group in paid[:SHOWN_GROUPS]:
        group.sort(key=lambda pair: -advantage(pair[1]))
        shared = shared_past([e.segments for e, _ in group], {name for _, signals in group for name in signals})
        best = group[:3]
        chosen = best + [pair for pair in group[-2:] if pair not in best]
        found.append({
            "shared": [_segment(place, {}, group[0][0], token_texts) for place in range(len(shared))],
            "episodes": [
                {
                    "segments": [_segment(place, signals, e, token_texts) for place in range(len(shared), len(e.segments))],
                    "advantage": advantage(signals), "path": ".".join(map(str, e.path)),
                }
                for e, signals in chosen
            ],
            "count": len(group),
        })  # fmt: skip
    return found


def _segment(place: int, signals: Mapping[str, Signal], episode: Episode, token_texts: TokenTexts) -> dict[str, Any]:
    segment = episode.segments[place]
    signal = signals.get(segment.name, Signal())
    return {
        "name": segment.name, "author": segment.author, "text": segment.text, "kl": signal.kl,
        "tokens": tokens_of(segment, signal, token_texts), "verdict": episode.verdict_at(place),
    }  # fmt: skip


def _pairs(folder: Path, summary: Mapping[str, Any]) -> list[tuple[Episode, Episode]]:
    """The same held-out problems before and after training whose outcome changed, of the first probe."""
    name = next(iter(summary.get("probes", {})), "")
    files = [folder / "episodes" / f"{label}_{name}.parquet" for label in ("before", "after")]
    if not name or not all(file.exists() for file in files):
        return []
    found = changed(*(read_groups(file) for file in files))
    improved = [pair for pair in found if _score(pair[1]) > _score(pair[0])]
    spoilt = [pair for pair in found if pair not in improved]
    return improved[: SHOWN_PAIRS - 2] + spoilt[:2]


def _score(episode: Episode) -> float:
    return episode.final.score if episode.final is not None else 0.0
