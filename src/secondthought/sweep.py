"""The probe of reflection over any number of checkpoints: measured one by one, resumable, then seen together.

OUT/resolved.json                 what is measured and how; a killed sweep goes on with the same command
    cache.sqlite                  every answer that was sampled, by model, tokens, settings and seed
    points/NAME.json              what was found at one checkpoint; present means finished
    episodes/NAME.parquet         every word behind it
    summary.json, report.html, *.png
"""

from __future__ import annotations

import glob
import json
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from secondthought.engines.hub import dialect_for, load, resolve
from secondthought.engines.remembered import Remembered, digest_of
from secondthought.engines.torch import EngineOptions, TorchEngine
from secondthought.evaluate import Watcher
from secondthought.files import UserError, write_json
from secondthought.journal import Journal, estimate_json, versions
from secondthought.probes import reflection, scaling, superficial
from secondthought.probes.reflection import Setting, Told
from secondthought.scene import Engine
from secondthought.tasks.items import Items
from secondthought.tasks.reading import TRIGGERS, reading_of
from secondthought.types import Estimate, seed_of

KEPT = ("flawed/wait", "solve", "self/wait")
"""Cells whose scores are kept item by item, for paired tests and for the set that every checkpoint fails."""


@dataclass(frozen=True)
class Checkpoint:
    """One model at one moment: a folder, or a hub name at a revision. ``tokens`` is what it has read (None: not known)."""

    place: str
    name: str
    revision: str | None = None
    series: str = ""
    size: str = ""
    run: str = ""
    tokens: float | None = None


@dataclass(frozen=True)
class Options:
    """How models are loaded and what is kept. ``frame``: ``auto`` asks by the chat template where there is one."""

    frame: str = "auto"
    dtype: str = "float32"
    cache: bool = True
    episodes: bool = True
    engine: EngineOptions = field(default_factory=EngineOptions)


# --- which checkpoints -----------------------------------------------------------------------------------------------


def checkpoints_of(places: Sequence[str]) -> list[Checkpoint]:
    """Folders (searched for models), globs, shipped names, hub names, and ``hub/name@revision,revision``.

    Raises UserError where nothing is found.
    """
    found: list[Checkpoint] = []
    for place in places:
        hub, _, revisions = place.partition("@")
        if revisions and not Path(place).exists():
            found += [_named(hub, f"{hub}@{revision}", revision) for revision in revisions.split(",")]
            continue
        if place.startswith("nano/"):
            found.append(_named(resolve(place), place, None))
            continue
        many = glob.has_magic(place)
        roots = sorted(map(Path, glob.glob(place))) if many else [Path(place)]  # noqa: PTH207 (a pattern may be absolute)
        folders = [config.parent for root in roots for config in sorted(root.rglob("config.json"))]
        folders = [folder for folder in folders if not folder.name.startswith(".")]  # half-written ones
        if not folders and (many or Path(place).exists() or place.startswith((".", "/"))):
            raise UserError(f"there is no model in {place}: no config.json is found there")
        base = Path(place.split("*")[0]).parent if many else Path(place)
        found += [_folder(folder, base) for folder in folders] or [_named(place, place, None)]
    return sorted(dict.fromkeys(found), key=lambda c: (c.series, c.size, c.run, c.tokens or 0, c.name))


def _folder(folder: Path, base: Path) -> Checkpoint:
    """A checkpoint on disk; what pre-training wrote beside it says where it stands."""
    name = str(folder.relative_to(base)) if folder.is_relative_to(base) and folder != base else folder.name
    told = folder / "pretraining.json"
    if not told.exists():
        return replace(_named(str(folder), name, None), run=str(Path(name).parent) if "/" in name else name)
    facts = json.loads(told.read_text())
    recipe = facts["recipe"]
    series = str(recipe.get("corpus", {}).get("arm", ""))
    run = f"{series} {recipe['size']} seed {recipe['seed']}".strip()
    return Checkpoint(str(folder), name, None, series, recipe["size"], run, float(facts["tokens"]))


def _named(place: str, name: str, revision: str | None) -> Checkpoint:
    """A checkpoint that only its name tells about, such as OLMo's ``stage1-step1000-tokens5B``."""
    told = re.search(r"tokens(\d+(?:\.\d+)?)([BT])", revision or name)
    tokens = float(told[1]) * {"B": 1e9, "T": 1e12}[told[2]] if told else None
    return Checkpoint(place, name, revision, "", "", name, tokens)


# --- measuring -------------------------------------------------------------------------------------------------------


def sweep(
    out: Path, checkpoints: Sequence[Checkpoint], items: Items, spec: str, setting: Setting, options: Options, watcher: Watcher
) -> dict[str, Any]:
    """Measure what is not measured yet, then write and return the summary.

    Raises UserError for a folder in use by another measurement and for models that cannot be loaded.
    """
    digest = seed_of(*[part for item in items.found for part in (item.id, item.question, item.flawed, item.clean)])
    recipe = {
        "tasks": spec, "items": len(items.found), "items_digest": digest, "setting": asdict(setting), "frame": options.frame,
        "dtype": options.dtype,
    }  # fmt: skip
    resolved = {"recipe": json.loads(json.dumps(recipe)), "versions": versions(), "seed": setting.seed, "kind": "reflection"}
    journal = Journal(out, resolved, resume=True)
    for number, checkpoint in enumerate(checkpoints, 1):
        path = point_path(out, checkpoint)
        if path.exists():
            continue
        watcher.phase(f"{checkpoint.name} ({number} of {len(checkpoints)})")
        told, facts = told_at(out, checkpoint, items, setting, options, watcher)
        if options.episodes:
            journal.episodes(path.stem, 0, checkpoint.name, [tuple(t.episodes.values()) for t in told])
        path.parent.mkdir(exist_ok=True)
        write_json(path, point_json(checkpoint, told, replace(setting, frame=facts["frame"]), facts))
    summary = summarised(out, checkpoints, items)
    write_json(out / "summary.json", summary)
    return summary


def told_at(
    out: Path, checkpoint: Checkpoint, items: Items, setting: Setting, options: Options, watcher: Watcher
) -> tuple[list[Told], dict[str, Any]]:
    """All episodes of one checkpoint, and what became known of it."""
    engine, here, facts = opened(out, checkpoint, items, setting, options)
    told = reflection.measure(engine, items.found, here, tell=lambda done, of: watcher.step(done, of, {}))
    if isinstance(engine, Remembered):
        engine.close()
    return told, facts


def opened(
    out: Path, checkpoint: Checkpoint, items: Items, setting: Setting, options: Options
) -> tuple[Engine, Setting, dict[str, Any]]:
    """An engine for a checkpoint, the setting with the frame that suits it, and what became known of it.

    Raises UserError for a model that cannot be loaded, asked in this frame, or made to write the triggers.
    """
    import torch

    dtype = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}[options.dtype]
    model, tokenizer = load(checkpoint.place, revision=checkpoint.revision, dtype=dtype)
    has_template = bool(tokenizer.chat_template)
    if options.frame == "chat" and not has_template:
        raise UserError(f"{checkpoint.name} has no chat template; use --frame raw")
    raw = options.frame == "raw" or (options.frame == "auto" and not has_template)
    dialect = dialect_for(model, tokenizer, raw=raw)
    check_words(checkpoint.name, dialect, items, setting)
    engine: Engine = TorchEngine(model, dialect, options.engine)
    if options.cache:
        engine = Remembered(engine, out / "cache.sqlite", digest_of(model))
    frame: reflection.Frame = "raw" if raw else "chat"
    return engine, replace(setting, frame=frame), {"parameters": int(model.num_parameters()), "frame": frame}


def check_words(name: str, dialect: Any, items: Items, setting: Setting) -> None:
    """Raise UserError if the model's tokenizer cannot write a trigger or the items."""
    for family in dict.fromkeys(item.family for item in items.found):
        reading = reading_of(family, setting.profile)
        sample = next(item for item in items.found if item.family == family)
        for what, text in [*((f"the trigger {reading.triggers[t]!r}", reading.triggers[t]) for t in TRIGGERS),
                           (f"item {sample.id}", sample.flawed or sample.clean)]:  # fmt: skip
            if dialect.unknown is not None and dialect.unknown in dialect.encode(text):
                raise UserError(f"{name} cannot write {what}: its tokenizer has no tokens for it")


def point_path(out: Path, checkpoint: Checkpoint) -> Path:
    """Where a checkpoint's findings stand."""
    return out / "points" / f"{re.sub(r'[^A-Za-z0-9._-]+', '__', checkpoint.name)}.json"


def point_json(checkpoint: Checkpoint, told: Sequence[Told], setting: Setting, facts: Mapping[str, Any]) -> dict[str, Any]:
    """What was found at one checkpoint, as JSON."""
    families = {}
    for family, part in reflection.families(told):
        columns = reflection.columns_of(part, setting.detector)
        right = {cell: dict(zip(columns[cell].ids, columns[cell].correct, strict=True)) for cell in KEPT if cell in columns}
        families[family] = {"right": right, **plain(reflection.figures(part, columns, setting))}
    flawed = any(t.item.flawed for t in told)
    decided = reflection.report(told, reflection.columns_of(told, setting.detector)) if flawed else None
    claim = {"claim": decided.claim, "verdict": decided.verdict, "effect": plain(decided.effect)} if decided else None
    return {"checkpoint": asdict(checkpoint), **facts, "claim": claim, "families": families}


def plain(value: Any) -> Any:
    """Estimates as JSON, nan as null, at any depth."""
    if isinstance(value, Estimate):
        return estimate_json(value)
    if isinstance(value, Mapping):
        return {key: plain(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [plain(one) for one in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


# --- together --------------------------------------------------------------------------------------------------------


def read_points(out: Path, checkpoints: Iterable[Checkpoint]) -> list[dict[str, Any]]:
    """What was found, checkpoint by checkpoint, in order."""
    return [json.loads(path.read_text()) for c in checkpoints if (path := point_path(out, c)).exists()]


def summarised(out: Path, checkpoints: Sequence[Checkpoint], items: Items) -> dict[str, Any]:
    """Everything at once: each checkpoint's figures and, where compute is known, what goes with it."""
    found = read_points(out, checkpoints)
    families = list(dict.fromkeys(family for point in found for family in point["families"]))
    summary: dict[str, Any] = {
        "run": out.name,
        "kind": "reflection",
        "items": len(items.found),
        "left_out": {why: {"rows": len(places), "first": places[0]} for why, places in items.left_out.items()},
        "not_made": dict(items.not_made),
        "checkpoints": [_shown(point) for point in found],
        "sweeps": {},
    }
    for family in families:
        points = [scaling_point(point, family) for point in found if family in point["families"]]
        by_series = {series: [p for p in points if p.series == series] for series in dict.fromkeys(p.series for p in points)}
        summary["sweeps"][family] = {
            series: analysed(part) for series, part in by_series.items() if sum(not math.isnan(p.compute) for p in part) >= 3
        }
    return summary


def _shown(point: Mapping[str, Any]) -> dict[str, Any]:
    """A point without its scores item by item."""
    families = {name: {k: v for k, v in found.items() if k != "right"} for name, found in point["families"].items()}
    return {**point, "families": families}


def scaling_point(point: Mapping[str, Any], family: str) -> scaling.Point:
    """A point as the analysis wants it."""
    where, found = point["checkpoint"], point["families"][family]
    size = where["size"] or str(point["parameters"])
    cells = {
        cell: {metric: math.nan if e["value"] is None else e["value"] for metric, e in metrics.items()}
        for cell, metrics in found["cells"].items()
    }
    if "flawed/wait" in cells and found["flips"] is not None:
        cells["flawed/wait"]["above_chance"] = cells["flawed/wait"]["accuracy"] - found["flips"]
    if {"flawed/wait", "clean/wait"} <= cells.keys():
        cells["flawed/wait"]["detection"] = cells["flawed/wait"]["explicit_rate"] - cells["clean/wait"]["explicit_rate"]
    return scaling.Point(
        where["name"], where["series"], size, where["run"] or where["name"], point["parameters"], where["tokens"], cells,
        found["right"], found["frontier"],
    )  # fmt: skip


def analysed(points: Sequence[scaling.Point]) -> dict[str, Any]:
    """One series: correlations, steps, self-reflection on the shared set, and the trade-off at the median solved share."""
    solved = sorted(p.frontier[-1]["solved"] for p in points if p.frontier)
    target = solved[len(solved) // 2] if solved else math.nan
    return {
        "points": [
            {"name": p.name, "size": p.size, "run": p.run, "compute": p.compute, "tokens": p.tokens, "parameters": p.parameters,
             **{measure: plain(p.value(measure)) for measure in scaling.MEASURES}}
            for p in points
        ],
        "correlations": plain(scaling.correlations(points)),
        "steps": plain(scaling.steps(points)),
        "always_failed": plain(scaling.self_reflection(points)),
        "trade_off": {"target": plain(target), "points": plain(scaling.trade_off(points, target))},
    }  # fmt: skip


# --- superficial reflection ------------------------------------------------------------------------------------------


def superficial_reflection(
    out: Path, checkpoint: Checkpoint, items: Items, spec: str, setting: Setting, options: Options, watcher: Watcher,
    *, temperatures: Sequence[float] = superficial.TEMPERATURES, samples: int = 8,
) -> dict[str, Any]:  # fmt: skip
    """The probe of superficial reflection on one model, resumable by its cache; writes and returns the summary."""
    recipe = {
        "tasks": spec, "model": checkpoint.name, "items": len(items.found), "setting": asdict(setting), "samples": samples,
        "temperatures": list(temperatures),
    }  # fmt: skip
    resolved = {"recipe": json.loads(json.dumps(recipe)), "versions": versions(), "seed": setting.seed, "kind": "superficial"}
    journal = Journal(out, resolved, resume=True)
    engine, here, facts = opened(out, checkpoint, items, setting, options)
    found = superficial.measure(
        engine, items.found, here, temperatures=temperatures, samples=samples,
        tell=lambda done, of: watcher.step(done, of, {}),
    )  # fmt: skip
    for temperature, responses in found.items():
        journal.episodes(f"temperature_{temperature:g}", 0, f"{temperature:g}", [(r.episode,) for r in responses])
    decided = superficial.report(found)
    summary = {
        "run": out.name, "kind": "superficial", "model": checkpoint.name, **facts, "items": len(items.found),
        "samples": samples, "claim": {"claim": decided.claim, "verdict": decided.verdict, "effect": plain(decided.effect)},
        "arms": plain(decided.arms), "temperatures": plain(superficial.summary(found)),
    }  # fmt: skip
    write_json(out / "summary.json", summary)
    return summary
