"""What stands on the pages: figures, groups and reports, put together from what runs left behind."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

from secondthought.report.charts import charts_of
from secondthought.report.episodes import advantage, shared_past, tokens_of
from secondthought.report.tokens import LIMIT, TokenTexts
from secondthought.runs.reading import RunFolder
from secondthought.runs.reports import estimate_from, report_from
from secondthought.types import Episode, Estimate, Report, Segment, Signal
from secondthought.viewer.curves import curves_of

Json = dict[str, Any]
ODD = (AttributeError, IndexError, KeyError, TypeError, ValueError)
"""What a summary that another program has written raises where it is read."""


def listed(run: RunFolder) -> Json:
    """A line in the list of runs: what it is, and how the arm that leads its report came out."""
    try:
        before, after = headline(run)
    except ODD:  # one odd run must not hide the others
        before, after = None, None
    return {
        "name": run.name, "kind": run.kind, "model": run.recipe.get("model", ""), "recipe": run.recipe.get("name", ""),
        "seed": run.resolved.get("seed"), "steps": curves_of(run.folder).last, "live": run.live,
        "done": bool(run.summary), "before": before, "after": after,
    }  # fmt: skip


def headline(run: RunFolder) -> tuple[Estimate | None, Estimate | None]:
    """The first arm before and after of a training run that has a change, the leading one; the first arm of a probe."""
    for sides in run.summary.get("probes", {}).values():
        before, after = report_from(sides["before"]), report_from(sides["after"])
        names = [arm.name for arm in after.arms if not arm.control]
        name = names[min(1, len(names) - 1)] if names else ""
        if name in before.figures and name in after.figures:
            return before.figures[name], after.figures[name]
    for model in run.summary.get("models", [])[-1:]:
        arms = report_from(model["report"]).arms
        return None, arms[0].estimate if arms else None
    return None, None


def overview(run: RunFolder) -> Json:
    """The figures of one run."""
    curves = curves_of(run.folder)
    return {
        "live": run.live,
        "lines": curves.count,
        "broken": curves.broken,
        "training": run.summary.get("training"),
        "probes": list(probes(run)),
    }


def probes(run: RunFolder) -> Iterator[Json]:
    """What was measured before and after training, arm by arm."""
    for name, sides in run.summary.get("probes", {}).items():
        before, after = report_from(sides["before"]), report_from(sides["after"])
        old = {arm.name: arm.estimate for arm in before.arms}
        change = {arm: estimate_from(one) for arm, one in sides["change"].items()}
        yield {
            "name": name, "after": after,
            "arms": [
                {"label": a.label, "control": a.control, "before": old.get(a.name), "after": a.estimate,
                 "change": change.get(a.name)}
                for a in after.arms
            ],
        }  # fmt: skip


def charts(run: RunFolder, after: int) -> Json:
    """The lines of metrics beyond a step (of a long run, some), which pictures they make, and whether it still goes on."""
    curves = curves_of(run.folder)
    return {
        "name": run.name, "lines": curves.lines(after), "broken": curves.broken, "live": run.live,
        "charts": [chart.json for chart in charts_of(dict(curves.names))],
    }  # fmt: skip


# --- one group -------------------------------------------------------------------------------------------------------


@lru_cache(maxsize=16)
def token_texts_of(folder: Path, model: str) -> TokenTexts:
    """The tokenizer of a run, read once."""
    return TokenTexts(folder, model)


def group(run: RunFolder, found: Sequence[tuple[Episode, dict[str, Signal], int]], chosen: int | None) -> Json:
    """All episodes of one task: the past that they share, then each of them, the best first."""
    token_texts = token_texts_of(run.folder, str(run.recipe.get("model", "")))
    task = found[0][0].task
    paid = {name for _, signals, _ in found for name, signal in signals.items() if signal.policy}
    shared = shared_past([e.segments for e, _, _ in found], paid) if len(found) > 1 else []
    ordered = sorted(found, key=lambda one: (-_rank(one[0]), -advantage(one[1]), one[2]))
    return {
        "prompt": [message._asdict() for message in task.prompt[:-1]], "tools": task.tools, "answer": task.answer,
        "family": task.family, "count": len(found), "number": found[0][2],
        "shared": [_segment(s, Signal(), found[0][0], token_texts, i) for i, s in enumerate(shared)],
        "episodes": [
            {
                "number": number, "path": ".".join(map(str, e.path)) or "-", "arm": e.arm, "outcome": e.outcome,
                "chosen": number == chosen, "advantage": advantage(signals),
                "findings": {name: v for name, v in e.verdicts.items() if name not in e},
                "segments": [
                    _segment(s, signals.get(s.name, Signal()), e, token_texts, i)
                    for i, s in enumerate(e.segments) if i >= len(shared)
                ],
            }
            for e, signals, number in ordered
        ],
    }  # fmt: skip


def _rank(episode: Episode) -> float:
    return -1.0 if episode.final is None or math.isnan(episode.final.score) else episode.final.score


def _segment(segment: Segment, signal: Signal, episode: Episode, token_texts: TokenTexts, place: int) -> Json:
    paid = bool(signal.policy)
    shown = (paid or segment.logprobs) and len(segment.text) <= LIMIT
    mean = sum(segment.logprobs) / len(segment.logprobs) if segment.logprobs else None
    return {
        "name": segment.name, "author": segment.author, "role": segment.role, "text": segment.text, "place": place,
        "length": len(segment.tokens), "stop": segment.stop, "kl": signal.kl, "paid": paid, "logprob": mean,
        "more": max(0, len(segment.text) - LIMIT), "verdict": episode.verdict_at(place),
        "tokens": tokens_of(segment, signal, token_texts) if shown else None,
    }  # fmt: skip


# --- reports ---------------------------------------------------------------------------------------------------------


def sections(run: RunFolder) -> list[Json]:
    """Every report of a run, with the query that finds each arm's episodes."""
    found = []
    for name, sides in run.summary.get("probes", {}).items():
        for side in ("before", "after"):
            found.append(_section(f"{name}, {side} training", report_from(sides[side]), {"split": side}))
    for name, one in run.summary.get("comparisons", {}).items():
        found.append(_section(name, report_from(one), {"split": name}))
    for model in run.summary.get("models", []):
        name = model["checkpoint"]["name"]
        found.append(_section(name, report_from(model["report"]), {"split": name}))
    if run.summary.get("across"):
        found.append(_section("over checkpoints", report_from(run.summary["across"]), {}))
    return found


def _section(title: str, report: Report, where: dict[str, str]) -> Json:
    arms = [
        {"label": arm.label, "control": arm.control, "estimate": arm.estimate, "query": {**where, **arm.query} if where else {}}
        for arm in report.arms
    ]
    return {"title": title.replace("_", " "), "report": report, "arms": arms}
