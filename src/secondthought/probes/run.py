"""Running a probe on any number of models or checkpoints: the folder, the cache, resuming, progress, and the summary.

OUT/resolved.json                 what is measured and how; a killed measurement goes on with the same command
    cache.sqlite                  every answer that was sampled, by model, tokens, settings and seed
    episodes/NAME-DIGEST.parquet  every token behind the report of one model
    reports/NAME-DIGEST.json      the report of one model; present means finished
    summary.json, report.html, *.png
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from secondthought.engines.base import Engine, EngineOptions, require
from secondthought.engines.decoding import Decoding
from secondthought.engines.disk_cache import DiskCache, digest_of
from secondthought.engines.early_stop import StopAfterAnswer
from secondthought.engines.factory import engine_for, split
from secondthought.engines.remote.openai import PieceVocabulary, Usage, endpoint, is_endpoint
from secondthought.engines.watched import Watched
from secondthought.errors import UserError
from secondthought.items.base import Items
from secondthought.probes.base import Checkpoint, Measured, Probe
from secondthought.probes.checkpoints import file_name
from secondthought.runs.files import write_json
from secondthought.runs.journal import Journal, describe, versions
from secondthought.runs.progress import Progress
from secondthought.runs.reports import report_json
from secondthought.tasks.candidates import candidates
from secondthought.types import seed_of


@dataclass(frozen=True)
class Options:
    """How models are loaded and asked. ``frame``: ``auto`` asks by the chat template where there is one, ``chat`` insists on
    one, ``raw`` asks by bare text. ``engine`` says how tokens are drawn. ``cache``: keep answers. Of an endpoint, ``prices``
    are dollars for a million tokens read and written, and ``extra`` further fields of every request. ``stop_after``: end every
    turn behind its candidate answer of that number (:mod:`secondthought.engines.early_stop`); 0 does not.
    """

    frame: str = "auto"
    dtype: str = "float32"
    engine: EngineOptions = field(default_factory=EngineOptions)
    cache: bool = True
    prices: tuple[float, float] = (0.0, 0.0)
    extra: Mapping[str, Any] = field(default_factory=dict)
    stop_after: int = 0


def run_probe(
    probe: Probe, models: Sequence[Checkpoint], out: Path, progress: Progress, options: Options | None = None
) -> dict[str, Any]:
    """Measure what is not measured yet, then write and return the summary.

    Raises UserError for a folder in use by another measurement, for models that cannot be loaded or do not offer the access
    that the probe needs, and whatever the probe raises.

    >>> import tempfile
    >>> from secondthought.probes.answer import Answer
    >>> from secondthought.probes.checkpoints import checkpoints_of
    >>> from secondthought.runs.progress import Silence
    >>> place = Path(tempfile.mkdtemp()) / "run"
    >>> summary = run_probe(Answer(n=4), checkpoints_of(["nano/countdown"]), place, Silence())
    >>> summary["probe"], (place / "summary.json").is_file()
    ('answer', True)
    """
    chosen = options or Options()
    ready = probe.prepare(progress)
    journal = opened_journal(probe, ready, out, chosen)
    found: list[Measured] = []
    facts: dict[str, Any] = {}
    for number, checkpoint in enumerate(models, 1):
        name = file_name(checkpoint)

        def measure(checkpoint: Checkpoint = checkpoint, name: str = name, number: int = number) -> Any:
            progress.phase(
                f"{checkpoint.name} ({number} of {len(models)})" if len(models) > 1 else f"measuring {checkpoint.name}"
            )
            facts_file = out / "reports" / f"{name}.facts.json"
            before = json.loads(facts_file.read_text(encoding="utf-8")) if facts_file.exists() else {}
            with opened_model(out, checkpoint, ready, chosen, progress, before) as (engine, known):
                write_json(facts_file, known)
                require(engine, ready.access, f"the probe {ready.name}", checkpoint.name)
                if engine.renderer.note:
                    progress.phase(f"note: {engine.renderer.note}")
                decoding = Decoding.chosen(chosen.engine, engine_generation(engine))
                watched: Engine = Watched(decoding.on(engine), progress.beat)
                if chosen.stop_after:
                    watched = StopAfterAnswer(watched, chosen.stop_after, candidates)
                groups = ready.measure(watched, progress)
            journal.episodes(name, 0, checkpoint.name, groups)
            return ready.report(groups)

        report = journal.report(name, measure)
        facts[name] = json.loads((out / "reports" / f"{name}.facts.json").read_text(encoding="utf-8"))
        found.append(Measured(checkpoint, int(facts[name]["parameters"]), report))
    together = ready.across(found)
    summary = {
        "run": out.name, "kind": "probe", "probe": ready.name, "notes": list(ready.notes()),
        "models": [
            {
                "checkpoint": asdict(one.checkpoint), **facts[file_name(one.checkpoint)], "episodes": file_name(one.checkpoint),
                "report": report_json(one.report, scores=False),
            }
            for one in found
        ],
        "across": report_json(together, scores=False) if together is not None else None,
    }  # fmt: skip
    write_json(out / "summary.json", summary)
    return summary


def opened_journal(probe: Probe, ready: Probe, out: Path, options: Options) -> Journal:
    """The folder of a measurement, new or to be gone on with. Raises UserError if it holds another one."""
    recipe: dict[str, Any] = {"probe": probe.name, **describe(probe), "frame": options.frame, "dtype": options.dtype}
    recipe["engine"] = describe(options.engine)
    recipe |= {"stop_after_first_answer": options.stop_after} if options.stop_after else {}
    items = getattr(ready, "tasks", None)
    if isinstance(items, Items):
        recipe["tasks"] = recipe["tasks"] if isinstance(recipe["tasks"], str) else "given"
        recipe["items"] = len(items.found)
        recipe["items_digest"] = seed_of(*[p for i in items.found for p in (i.id, i.question, i.flawed, i.clean)])
    resolved = {
        "kind": "probe", "recipe": json.loads(json.dumps(recipe)), "versions": versions(), "seed": getattr(probe, "seed", 0),
    }  # fmt: skip
    return Journal(out, resolved, resume=True)


@contextmanager
def opened_model(
    out: Path, checkpoint: Checkpoint, probe: Probe, options: Options, progress: Progress, before: Mapping[str, Any]
) -> Iterator[tuple[Engine, dict[str, Any]]]:
    """An engine for a checkpoint whose answers are kept in ``out/cache.sqlite``, and what became known of the model.

    ``before`` is what was known when it was first measured: precision and threads are not decided twice.

    Raises UserError for a model that cannot be loaded, or asked in this frame.
    """
    bare = getattr(probe, "bare_without_template", False)
    place = checkpoint.place
    if is_endpoint(place):
        raw = options.frame == "raw" or (options.frame == "auto" and bare)
        with opened_endpoint(place, out, options, progress, raw=raw) as engine:
            yield engine, {"parameters": 0, "frame": "raw" if raw else "chat"}
        return
    if split(place)[0] != "torch":
        yield engine_for(place, options.engine), {"parameters": 0, "frame": "chat"}
        return
    from secondthought.engines.torch.engine import TorchEngine
    from secondthought.models.hub import load, precision_called, renderer_for

    model, tokenizer = load(place, revision=checkpoint.revision, dtype=precision_called(options.dtype))
    has_template = bool(tokenizer.chat_template)
    if options.frame == "chat" and not has_template:
        raise UserError(f"{checkpoint.name} has no chat template; use --frame raw")
    raw = options.frame == "raw" or (options.frame == "auto" and bare and not has_template)
    decided = {name: before[name] for name in ("precision", "threads") if name in before}
    renderer = renderer_for(model, tokenizer, raw=raw, thinking=options.engine.thinking)
    engine = TorchEngine(model, renderer, replace(options.engine, **decided))
    precision, threads = engine.options.precision, engine.options.threads
    progress.phase(f"sampling in {options.dtype if precision == 'model' else precision}, {threads} threads")
    facts = {"parameters": int(model.num_parameters()), "frame": "raw" if raw else "chat"}
    facts |= {"precision": precision, "threads": threads}
    if not options.cache:
        yield engine, facts
        return
    digest = digest_of(model) + ("" if precision == "model" else f" {precision}")
    with closing(DiskCache(engine, out / "cache.sqlite", digest)) as cached:
        yield cached, facts


def engine_generation(engine: Engine) -> Any:
    """The generation_config of a model in this process; None for others."""
    inner = getattr(engine, "engine", engine)
    return getattr(getattr(inner, "model", None), "generation_config", None)


@contextmanager
def opened_endpoint(place: str, out: Path, options: Options, progress: Progress, *, raw: bool = False) -> Iterator[Engine]:
    """An endpoint whose answers are kept, so that nothing is paid for twice; at the end it is shown what was used."""
    out.mkdir(parents=True, exist_ok=True)
    words = PieceVocabulary(out / "cache.sqlite.words")
    there = endpoint(place, raw=raw, usage=Usage(options.prices), vocabulary=words, extra=options.extra)
    with closing(DiskCache(there, out / "cache.sqlite", there.digest)) as engine:
        try:
            yield engine
        finally:
            refused = f"; it refuses {', '.join(sorted(there.without))}, and was asked without" if there.without else ""
            progress.phase(f"{there.url}: {there.usage}{refused}")
