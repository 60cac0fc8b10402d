"""The page of a probe: every model's report, what they show together, and the episodes behind them."""

from __future__ import annotations

from collections.abc import Sequence

from secondthought import catalog
from secondthought.errors import UserError
from secondthought.report import figures
from secondthought.report.pages import Page, drawn, pictures_of, render
from secondthought.runs.reading import RunFolder, read_groups
from secondthought.runs.reports import report_from
from secondthought.types import Episode, Group

SHOWN_MODELS = 12
SHOWN_SIDE_BY_SIDE = 6
EACH = 2  # episodes of every kind


def page(run: RunFolder) -> Page:
    """The page of a finished probe. Raises UserError if it is not finished."""
    summary = run.summary
    if not summary:
        raise UserError(f"{run.folder} has no summary.json yet; run the same command again to finish it")
    models = [(model["checkpoint"]["name"], report_from(model["report"]), model["episodes"]) for model in summary["models"]]
    shown = models[-SHOWN_MODELS:]
    across = report_from(summary["across"]) if summary["across"] else None
    pictures = {}
    if (picture := figures.arms_of({name: report for name, report, _ in shown[-SHOWN_SIDE_BY_SIDE:]})) is not None:
        pictures["arms"] = picture
    if across is not None:
        pictures |= pictures_of(across, "across_")
    pages = []
    for number, (name, report, _) in enumerate(shown, 1):
        own = pictures_of(report, f"model_{number}_" if len(shown) > 1 else "")
        pictures |= own
        pages.append({"name": name, "report": report, "pictures": list(own)})
    path = run.folder / "episodes" / f"{shown[-1][2]}.parquet" if shown else None
    groups = read_groups(path) if path is not None and path.exists() else []
    html = render(
        "probe.html", run.name, run.resolved, summary=summary, models=pages, across=across, drawn=drawn(pictures),
        across_pictures=[name for name in pictures if name.startswith("across_")],
        sentences=sentences(str(summary["probe"]), groups), last=shown[-1][0] if shown else "",
    )  # fmt: skip
    return Page(html, pictures)


def sentences(probe: str, groups: Sequence[Group]) -> list[tuple[str, list[Episode]]]:
    """A few episodes of every kind of outcome: the kinds that the probe names, or every arm by its outcome."""
    wanted = getattr(catalog.module("probes", probe), "SENTENCES", {}) if catalog.exists("probes", probe) else {}
    found: dict[str, list[Episode]] = {title: [] for title in wanted}
    for group in groups:
        for episode in group:
            if wanted:
                why = episode.final.why if episode.final is not None else ""
                titles = [title for title, kind in wanted.items() if kind == (episode.arm, why)]
            else:
                titles = [f"{episode.arm or 'episodes'}: {episode.outcome}"]
            for title in titles:
                if len(found.setdefault(title, [])) < EACH:
                    found[title].append(episode)
    return [(title, episodes) for title, episodes in found.items() if episodes]
