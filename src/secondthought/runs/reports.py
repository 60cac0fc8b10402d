"""Reports, estimates and claims as JSON and back; what could not be measured is null."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from secondthought.types import Arm, Cell, Claim, Curve, Effect, Estimate, Report, Table


def estimate_json(estimate: Estimate) -> dict[str, Any]:
    """An estimate as JSON."""
    return {k: _number(v) if isinstance(v, float) else v for k, v in asdict(estimate).items()}


def estimate_from(found: Mapping[str, Any]) -> Estimate:
    """The estimate that :func:`estimate_json` wrote."""
    value, low, high = (math.nan if found[key] is None else found[key] for key in ("value", "low", "high"))
    return Estimate(value, low, high, found["n"], found.get("unit", "fraction"))


def report_json(report: Report, *, scores: bool = True) -> dict[str, Any]:
    """A report as JSON; without ``scores`` only its figures, not the score of every unit."""
    found: dict[str, Any] = {
        "probe": report.probe, "claim": report.claim, "verdict": report.verdict, "reasons": list(report.reasons),
        "decides": report.decides, "null": report.null, "minimum": report.minimum,
        "arms": [
            {
                "name": arm.name, "label": arm.label, "estimate": estimate_json(arm.estimate), "query": dict(arm.query),
                "control": arm.control, **({"scores": [_number(s) for s in arm.scores]} if scores else {}),
            }
            for arm in report.arms
        ],
        "effects": [{"name": e.name, "label": e.label, "estimate": estimate_json(e.estimate)} for e in report.effects],
        "figures": {name: estimate_json(e) for name, e in report.figures.items()},
        "tables": [
            {"title": t.title, "columns": list(t.columns), "rows": [[_cell(c) for c in row] for row in t.rows], "note": t.note}
            for t in report.tables
        ],
        "curves": [
            {
                "title": c.title, "x": c.x, "y": c.y, "kind": c.kind, "log_x": c.log_x, "log_y": c.log_y,
                "ticks": list(c.ticks),
                "series": {label: [[_number(x), estimate_json(y)] for x, y in points] for label, points in c.series.items()},
            }
            for c in report.curves
        ],
        "notes": list(report.notes),
    }  # fmt: skip
    if scores:
        found |= {"units": list(report.units), "clusters": list(report.clusters)}
    return found


def report_from(found: Mapping[str, Any]) -> Report:
    """The report that :func:`report_json` wrote."""
    return Report(
        found["probe"], found["claim"], found["verdict"], tuple(found["reasons"]),
        tuple(
            Arm(
                a["name"], a["label"], estimate_from(a["estimate"]),
                tuple(math.nan if s is None else s for s in a.get("scores", ())), a["query"], a["control"],
            )
            for a in found["arms"]
        ),
        tuple(Effect(e["name"], e["label"], estimate_from(e["estimate"])) for e in found["effects"]),
        found["decides"], found["null"], found["minimum"],
        {name: estimate_from(e) for name, e in found["figures"].items()},
        tuple(
            Table(t["title"], tuple(t["columns"]), tuple(tuple(_cell_from(c) for c in row) for row in t["rows"]), t["note"])
            for t in found["tables"]
        ),
        tuple(
            Curve(
                c["title"], c["x"], c["y"],
                {label: tuple((x, estimate_from(y)) for x, y in points) for label, points in c["series"].items()},
                c["kind"], c["log_x"], c["log_y"], tuple(c["ticks"]),
            )
            for c in found["curves"]
        ),
        tuple(found.get("units", ())), tuple(found.get("clusters", ())), tuple(found["notes"]),
    )  # fmt: skip


def claim_json(claim: Claim) -> dict[str, Any]:
    """A claim as JSON: id, text, source, published, measured (value, low, high, n; or null), verdict, reasons."""
    measured = estimate_json(claim.measured) if claim.measured is not None else None
    return {
        "id": claim.id, "text": claim.text, "source": claim.source, "published": claim.published, "measured": measured,
        "verdict": claim.verdict, "reasons": list(claim.reasons),
    }  # fmt: skip


def _number(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _cell(cell: Cell) -> Any:
    return estimate_json(cell) if isinstance(cell, Estimate) else _number(cell) if isinstance(cell, float) else cell


def _cell_from(cell: Any) -> Cell:
    return estimate_from(cell) if isinstance(cell, Mapping) else cell


def scores_json(scores: Sequence[float]) -> list[float | None]:
    """Scores as JSON; what nobody could grade is null."""
    return [_number(score) for score in scores]
