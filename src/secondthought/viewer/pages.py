"""What stands on the pages: figures, groups and probes, put together from what runs left behind."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

from secondthought.export import outcome
from secondthought.report.spelling import LIMIT, Speller
from secondthought.report.table import CELL_NAMES, EFFECT_NAMES, ROWS, errors_of
from secondthought.report.tellings import advantage, final_score, shared_past, tokens_of
from secondthought.types import Episode, Segment, Signal
from secondthought.viewer.store import PAGE, Run, metrics_of

RECENT = 120  # seconds after which a silent run is taken to have stopped
Json = dict[str, Any]
__all__ = ["PAGE", "group", "listed", "lives", "overview", "probed"]


def lives(run: Run) -> bool:
    """Whether a run still goes on: no summary yet, and something was written lately."""
    if run.summary:
        return False
    stamps = [path.stat().st_mtime for path in (run.folder / "metrics.jsonl", run.folder / "episodes") if path.exists()]
    return bool(stamps) and time.time() - max(stamps) < RECENT


def listed(run: Run) -> Json:
    """A line in the list of runs."""
    lines, _ = metrics_of(run.folder)
    summary, recipe = run.summary, run.resolved.get("recipe", {})
    return {
        "name": run.name, "kind": run.kind, "model": recipe.get("model", ""), "recipe": recipe.get("name", ""),
        "seed": run.resolved.get("seed"), "steps": lines[-1]["step"] if lines else None, "live": lives(run),
        "done": bool(summary), "before": (summary.get("before") or {}).get("second"),
        "after": (summary.get("after") or {}).get("second"), "change": (summary.get("change") or {}).get("second"),
        "claim": summary.get("claim"), "changed": (run.folder / "resolved.json").stat().st_mtime,
    }  # fmt: skip


def overview(run: Run) -> Json:
    """The figures of one run."""
    summary = run.summary
    before, after, change = (summary.get(side) or {} for side in ("before", "after", "change"))
    lines, broken = metrics_of(run.folder)
    return {
        "live": lives(run), "lines": len(lines), "broken": broken,
        "rows": [
            {
                "key": key, "label": label.strip(), "control": label.startswith(" "),
                "before": before.get(key), "after": after.get(key), "change": change.get(key),
            }
            for key, label in ROWS if key in after or key in before
        ],
        "claims": [
            (side, one) for side, one in (summary.get("claim") or {}).items() if isinstance(one, Mapping) and "verdict" in one
        ],
        "transplant": (summary.get("transplant") or {}).get("cells"),
        "errors": list(errors_of(summary)),
        "training": summary.get("training"),
    }  # fmt: skip


# --- one group -------------------------------------------------------------------------------------------------------


@lru_cache(maxsize=16)
def speller_of(folder: Path, model: str) -> Speller:
    """The tokenizer of a run, read once."""
    return Speller(folder, model)


def group(run: Run, told: Sequence[tuple[Episode, dict[str, Signal], int]], chosen: int | None) -> Json:
    """All tellings of one task: the past that they share, then each of them, the best first."""
    speller = speller_of(run.folder, str(run.resolved.get("recipe", {}).get("model", "")))
    task = told[0][0].task
    paid = {name for _, signals, _ in told for name, signal in signals.items() if signal.policy}
    shared = shared_past([e.segments for e, _, _ in told], paid) if len(told) > 1 else []
    ordered = sorted(told, key=lambda one: (-_rank(final_score(one[0])), -advantage(one[1]), one[2]))
    return {
        "prompt": [message._asdict() for message in task.prompt[:-1]], "tools": task.tools, "answer": task.answer,
        "family": task.family, "step": None, "count": len(told), "number": told[0][2],
        "shared": [_segment(s, Signal(), told[0][0], speller, i) for i, s in enumerate(shared)],
        "tellings": [
            {
                "number": number, "path": ".".join(map(str, e.path)) or "-", "outcome": outcome(e), "chosen": number == chosen,
                "advantage": advantage(signals), "score": final_score(e),
                "segments": [
                    _segment(s, signals.get(s.name, Signal()), e, speller, i)
                    for i, s in enumerate(e.segments) if i >= len(shared)
                ],
            }
            for e, signals, number in ordered
        ],
    }  # fmt: skip


def _rank(score: float) -> float:
    return -1.0 if math.isnan(score) else score


def _segment(segment: Segment, signal: Signal, episode: Episode, speller: Speller, place: int) -> Json:
    paid = bool(signal.policy)
    shown = (paid or segment.logprobs) and len(segment.text) <= LIMIT
    mean = sum(segment.logprobs) / len(segment.logprobs) if segment.logprobs else None
    return {
        "name": segment.name, "author": segment.author, "role": segment.role, "text": segment.text, "place": place,
        "length": len(segment.tokens), "stop": segment.stop, "kl": signal.kl, "paid": paid, "logprob": mean,
        "more": max(0, len(segment.text) - LIMIT), "verdict": episode.verdicts.get(segment.name),
        "tokens": tokens_of(segment, signal, speller) if shown else None,
    }  # fmt: skip


# --- probes ----------------------------------------------------------------------------------------------------------

ARMS = {
    "retry_after_failure": ("own reflection", "{side}"),
    "resample_after_failure": ("fresh attempts, same tokens", "{side}/resample"),
    "donor": ("another problem's reflection", "{side}/donor"), "generic": ("a constant reflection", "{side}/generic"),
    "empty": ("an empty reflection", "{side}/empty"),
}  # fmt: skip


def probed(run: Run) -> list[Json]:
    """Sections of arms and effects; each arm knows where its sentences are."""
    if "checkpoints" in run.summary:
        return list(_checkpoints(run))
    return list(_temperatures(run) if "temperatures" in run.summary else _sides(run))


def _sides(run: Run) -> Iterator[Json]:
    """The second try, before and after training."""
    for side in ("before", "after"):
        found = run.summary.get(side)
        if not found:
            continue
        arms = [
            {"label": label, "estimate": found[key], "query": {"split": where.format(side=side)}}
            for key, (label, where) in ARMS.items() if key in found
        ]  # fmt: skip
        effects = [
            (f"own reflection less {ARMS.get(key, ('fresh attempts', ''))[0]}", found[f"own_minus_{key}"])
            for key in ("resample", "donor", "generic", "empty") if f"own_minus_{key}" in found
        ]  # fmt: skip
        claim = (run.summary.get("claim") or {}).get(side)
        yield {"title": f"Second try, {side} training", "claim": claim, "arms": arms, "effects": effects}


def _checkpoints(run: Run) -> Iterator[Json]:
    """The probe of reflection, checkpoint by checkpoint and family by family."""
    places = {name: number for number, name in enumerate(_cells())}
    for point in run.summary["checkpoints"]:
        for family, found in point["families"].items():
            arms = [
                {
                    "label": CELL_NAMES.get(cell, cell), "estimate": metrics["accuracy"],
                    "query": {"split": point["checkpoint"]["name"], "path": f".{places[cell]}" if cell in places else ""},
                }
                for cell, metrics in found["cells"].items()
            ]  # fmt: skip
            effects = [(EFFECT_NAMES.get(name, name), estimate) for name, estimate in found["effects"].items()]
            title = f"{point['checkpoint']['name']}: {family}"
            yield {"title": title, "claim": point.get("claim"), "arms": arms, "effects": effects}


def _cells() -> list[str]:
    from secondthought.probes.reflection import CELLS as KNOWN

    return [cell.name for cell in KNOWN]


def _temperatures(run: Run) -> Iterator[Json]:
    """Superficial reflection over temperature."""
    arms = [
        {"label": f"temperature {temperature}: {label}", "estimate": found[key], "query": {"split": temperature}}
        for temperature, found in run.summary["temperatures"].items()
        for key, label in (("accuracy", "right"), ("reflection_rate", "reflects"))
    ]
    yield {"title": "Superficial reflection", "claim": run.summary.get("claim"), "arms": arms, "effects": []}
