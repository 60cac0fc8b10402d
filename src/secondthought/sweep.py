"""The probe of reflection over any number of checkpoints: measured one by one, resumable, then seen together.

OUT/resolved.json                 what is measured and how; a killed sweep goes on with the same command
    cache.sqlite                  every answer that was sampled, by model, tokens, settings and seed
    points/NAME-DIGEST.json       what was found at one checkpoint; present means finished
    episodes/NAME-DIGEST.parquet  every word behind it
    summary.json, report.html, *.png
"""

from __future__ import annotations

import glob
import json
import math
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from secondthought import detect
from secondthought.engines.hub import dialect_for, load, resolve
from secondthought.engines.openai import far
from secondthought.engines.remembered import Remembered, digest_of
from secondthought.engines.torch import TorchEngine
from secondthought.evaluate import speaking
from secondthought.files import UserError, write_json
from secondthought.journal import Journal, estimate_json, versions
from secondthought.probes import reflection, scaling, superficial
from secondthought.probes.detectors import Detector
from secondthought.probes.reflection import Setting, Told
from secondthought.progress import Watcher
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
    """How models are loaded. ``frame``: ``auto`` asks by the chat template where there is one. ``cache``: remember answers.
    ``prices``: of an endpoint, dollars for a million tokens read and written.
    """

    frame: str = "auto"
    dtype: str = "float32"
    cache: bool = True
    prices: tuple[float, float] = (0.0, 0.0)


# --- which checkpoints -----------------------------------------------------------------------------------------------


def checkpoints_of(places: Sequence[str]) -> list[Checkpoint]:
    """Folders (searched for models), globs, shipped names, hub names, ``hub/name@revision,revision``, and endpoints.

    Raises UserError where nothing is found.
    """
    found: list[Checkpoint] = []
    for place in places:
        if far(place):
            found.append(Checkpoint(place, place.partition("#")[2] or place))
            continue
        hub, _, revisions = place.partition("@")
        if revisions and not Path(place).exists():
            found += [replace(_named(hub, f"{hub}@{r}", r), run=hub) for r in revisions.split(",")]
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
    found = list({(c.place, c.revision): c for c in found}.values())
    names = Counter(c.name for c in found)
    found = [replace(c, name=c.place) if names[c.name] > 1 else c for c in found]
    return sorted(found, key=lambda c: (c.series, c.size, c.run, c.tokens or 0, natural(c.name)))


def natural(name: str) -> list[tuple[int, str]]:
    """A key that sorts numbers in names as numbers.

    >>> sorted(["step_10", "step_9"], key=natural)
    ['step_9', 'step_10']
    """
    return [(int(part), "") if part.isdecimal() else (0, part) for part in re.split(r"(\d+)", name)]


def _folder(folder: Path, base: Path) -> Checkpoint:
    """A checkpoint on disk; what pre-training wrote beside it says where it stands. Raises UserError if that is broken."""
    inside = folder.is_relative_to(base) and folder != base
    name = str(folder.relative_to(base)) if inside else folder.name
    told = folder / "pretraining.json"
    if not told.exists():
        return replace(_named(str(folder), name, None), run=str(folder.parent) if inside else name)
    try:
        facts = json.loads(told.read_text(encoding="utf-8"))
        recipe, tokens = facts["recipe"], float(facts["tokens"])
        series, size, seed = str(recipe.get("corpus", {}).get("arm", "")), str(recipe["size"]), recipe["seed"]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(f"{told} is not what pre-training writes ({error!r}); mend it or move it away") from error
    return Checkpoint(str(folder), name, None, series, size, f"{series} {size} seed {seed}".strip(), tokens)


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
    journal = begun(out, "reflection", items, spec, setting, options)
    for number, checkpoint in enumerate(checkpoints, 1):
        path = point_path(out, checkpoint)
        if path.exists():
            continue
        watcher.phase(f"{checkpoint.name} ({number} of {len(checkpoints)})")
        with opened(out, checkpoint, items, setting, options, watcher) as (engine, here, facts):
            told = reflection.measure(engine, items.found, here, tell=lambda done, of: watcher.step(done, of, {}))
        journal.episodes(path.stem, 0, checkpoint.name, [tuple(t.episodes.values()) for t in told])
        path.parent.mkdir(exist_ok=True)
        facts |= {"episodes": path.stem}
        write_json(path, point_json(checkpoint, told, here, detector_of(setting.detector), facts))
    summary = summarised(out, checkpoints, items)
    write_json(out / "summary.json", summary)
    return summary


def begun(out: Path, kind: str, items: Items, spec: str, setting: Setting, options: Options, **more: Any) -> Journal:
    """The folder of a measurement, new or to be gone on with. Raises UserError if it holds another one."""
    digest = seed_of(*[part for item in items.found for part in (item.id, item.question, item.flawed, item.clean)])
    recipe = {
        "tasks": spec, "items": len(items.found), "items_digest": digest, "setting": asdict(setting), "frame": options.frame,
        "dtype": options.dtype, **more,
    }  # fmt: skip
    resolved = {"recipe": json.loads(json.dumps(recipe)), "versions": versions(), "seed": setting.seed, "kind": kind}
    return Journal(out, resolved, resume=True)


def detector_of(name: str) -> str | Detector:
    """A judge where ``name`` means one, else the name."""
    return detect.detector_of(name) if name.startswith("judge:") else name


@contextmanager
def opened(
    out: Path, checkpoint: Checkpoint, items: Items, setting: Setting, options: Options, watcher: Watcher
) -> Iterator[tuple[Engine, Setting, dict[str, Any]]]:
    """An engine for a checkpoint, the setting with the frame that suits it, and what became known of it.

    Raises UserError for a model that cannot be loaded, asked in this frame, or made to write the triggers.
    """
    if far(checkpoint.place):
        raw = options.frame != "chat"
        with speaking(checkpoint.place, out, options.prices, watcher, raw=raw) as engine:
            yield engine, replace(setting, frame="raw" if raw else "chat"), {"parameters": 0, "frame": "raw" if raw else "chat"}
        return
    import torch

    dtype = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}[options.dtype]
    model, tokenizer = load(checkpoint.place, revision=checkpoint.revision, dtype=dtype)
    has_template = bool(tokenizer.chat_template)
    if options.frame == "chat" and not has_template:
        raise UserError(f"{checkpoint.name} has no chat template; use --frame raw")
    raw = options.frame == "raw" or (options.frame == "auto" and not has_template)
    dialect = dialect_for(model, tokenizer, raw=raw)
    check_words(checkpoint.name, dialect, items, setting)
    frame: reflection.Frame = "raw" if raw else "chat"
    here, facts = replace(setting, frame=frame), {"parameters": int(model.num_parameters()), "frame": frame}
    engine = TorchEngine(model, dialect)
    if not options.cache:
        yield engine, here, facts
        return
    with closing(Remembered(engine, out / "cache.sqlite", digest_of(model))) as remembered:
        yield remembered, here, facts


def check_words(name: str, dialect: Any, items: Items, setting: Setting) -> None:
    """Raise UserError if the model's tokenizer cannot write a trigger or one of the items."""
    if dialect.unknown is None:
        return
    families = dict.fromkeys(item.family for item in items.found)
    triggers = dict.fromkeys(reading_of(family, setting.profile).triggers[t] for family in families for t in TRIGGERS)
    texts = [(f"the trigger {text!r}", text) for text in triggers]
    texts += [(f"item {item.id}", text) for item in items.found for text in (item.question, item.flawed, item.clean)]
    for what, text in texts:
        if dialect.unknown in dialect.encode(text):
            raise UserError(f"{name} cannot write {what}: its tokenizer has no tokens for it")


def point_path(out: Path, checkpoint: Checkpoint) -> Path:
    """Where a checkpoint's findings stand: under its name, and a digest of where it lies and of its weight files."""
    folder, marks = Path(checkpoint.place), [checkpoint.revision or ""]
    if folder.is_dir():
        weights = sorted(path for path in folder.iterdir() if path.suffix in (".safetensors", ".bin"))
        marks += [str(folder.resolve()), *(f"{w.name} {w.stat().st_size} {w.stat().st_mtime_ns}" for w in weights)]
    name = re.sub(r"[^A-Za-z0-9._-]+", "__", checkpoint.name)[-80:]
    return out / "points" / f"{name}-{seed_of(checkpoint.place, *marks):016x}.json"


def point_json(
    checkpoint: Checkpoint, told: Sequence[Told], setting: Setting, detector: str | Detector, facts: Mapping[str, Any]
) -> dict[str, Any]:
    """What was found at one checkpoint, as JSON."""
    families = {}
    for family, part in reflection.families(told):
        columns = reflection.columns_of(part, detector)
        right = {cell: dict(zip(columns[cell].ids, columns[cell].correct, strict=True)) for cell in KEPT if cell in columns}
        families[family] = {"right": right, **plain(reflection.figures(part, columns, setting))}
    flawed = any(t.item.flawed for t in told)
    decided = reflection.report(told, reflection.columns_of(told, detector)) if flawed else None
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
    journal = begun(
        out, "superficial", items, spec, setting, options,
        model=point_path(out, checkpoint).stem, samples=samples, temperatures=list(temperatures),
    )  # fmt: skip
    with opened(out, checkpoint, items, setting, options, watcher) as (engine, here, facts):
        found = superficial.measure(
            engine, items.found, here, temperatures=temperatures, samples=samples, detector=detector_of(setting.detector),
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
