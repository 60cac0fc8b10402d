"""One self-contained page for a run: the numbers, the pictures, and the sentences behind them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup

from secondthought.files import UserError, write_text
from secondthought.journal import read_episodes, read_metrics
from secondthought.report import figures
from secondthought.report.table import ROWS, show
from secondthought.report.tellings import advantage, shared_past, shares, strength
from secondthought.types import Episode, Segment, Signal

SHOWN_GROUPS = 4
SHOWN_PAIRS = 6


def write(folder: Path) -> Path:
    """Write ``report.html`` of a run folder. Raises UserError if the folder is no run."""
    if not (folder / "resolved.json").is_file():
        raise UserError(f"{folder} is not a run: there is no resolved.json in it")
    resolved = json.loads((folder / "resolved.json").read_text())
    summary_path = folder / "summary.json"
    summary = json.loads(summary_path.read_text()) if summary_path.exists() else {}
    lines = read_metrics(folder)
    speller = Speller(folder, resolved["recipe"])
    page = environment().get_template("page.html").render(
        run=folder.name,
        resolved=resolved,
        summary=summary,
        rows=[
            (label.replace("  ", "\u2003"), show(summary.get("before", {}).get(key)), show(summary.get("after", {}).get(key)),
             show(summary.get("change", {}).get(key), signed=True))
            for key, label in ROWS if key in summary.get("after", {})
        ],
        forest=Markup(figures.svg(_forest(summary))) if "after" in summary else None,
        curves=Markup(figures.svg(figures.curves(lines))) if lines else None,
        errors=_errors(summary),
        leaks=_leaks(summary),
        groups=_groups(folder, speller),
        pairs=_pairs(folder),
        steps=len(lines),
    )  # fmt: skip
    path = folder / "report.html"
    write_text(path, page)
    return path


def picture(folder: Path, path: Path) -> Path:
    """Save the before/after picture of a finished run as a PNG. Raises UserError if the run is not finished."""
    if not (folder / "summary.json").is_file():
        raise UserError(f"{folder} has no summary.json yet; finish it with --resume first")
    path.parent.mkdir(parents=True, exist_ok=True)
    figures.save(_forest(json.loads((folder / "summary.json").read_text())), path)
    return path


def environment() -> jinja2.Environment:
    """Templates with everything escaped, and our way of showing estimates."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent), autoescape=True, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters["show"] = show
    environment.filters["signed"] = lambda estimate: show(estimate, signed=True)
    return environment


def _forest(summary: dict[str, Any]) -> Any:
    keys = [(key, label.strip()) for key, label in ROWS if key not in ("reflection_tokens", "second_without_leaks")]
    before, after = summary.get("before", {}), summary["after"]
    return figures.forest([(label, before.get(key), after.get(key)) for key, label in keys if key in after])


def _errors(summary: dict[str, Any]) -> list[tuple[str, list[tuple[str, float, float]]]]:
    found = summary.get("errors", {})
    tables = []
    for verdict, title in (("attempt", "first tries"), ("retry", "retries")):
        before, after = (found.get(side, {}).get(verdict, {}) for side in ("before", "after"))
        whys = sorted(before.keys() | after.keys(), key=lambda why: -before.get(why, after.get(why, 0)))
        if whys:
            tables.append((title, [(why, 100 * before.get(why, 0), 100 * after.get(why, 0)) for why in whys]))
    return tables


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


class Speller:
    """Token ids in words, with the tokenizer of the run's newest checkpoint or of its model."""

    def __init__(self, folder: Path, recipe: dict[str, Any]) -> None:
        from secondthought.engines.hub import resolve

        checkpoints = sorted((folder / "checkpoints").glob("step_*/model"))
        self.place = str(checkpoints[-1]) if checkpoints else resolve(recipe["model"])
        self._tokenizer: Any = None

    def pieces(self, tokens: Sequence[int]) -> list[str]:
        """What each token looks like."""
        if self._tokenizer is None:
            from transformers import AutoTokenizer

            self._tokenizer = AutoTokenizer.from_pretrained(self.place)
        return [self._tokenizer.decode([token]) for token in tokens]


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
    verdict = episode.verdicts.get(segment.name)
    logprobs = segment.logprobs or (None,) * len(segment.tokens)
    return {
        "name": segment.name,
        "author": segment.author,
        "tokens": [
            {"text": text, "shade": _shade(share), "logprob": logprob}
            for text, share, logprob in zip(speller.pieces(segment.tokens), shares(segment, signal), logprobs, strict=True)
        ],
        "kl": signal.kl,
        "verdict": verdict,
    }


def _shade(share: float) -> str:
    """Green for a positive advantage, red for a negative one; the stronger, the fuller."""
    return f"background:rgba({'22,163,74' if share > 0 else '220,38,38'},{strength(share):.2f})" if share else ""


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
