"""All probes that a model's access allows, one after the other, with what they cost first and one page in the end.

OUT/PROBE/        each probe's own folder (:mod:`secondthought.probes.run`); what is measured already is read
OUT/summary.json, report.html, card.md, card.json

A probe is part of it if it says what it ``asks``. Problems, items with chains and questions with options are named once for all
of them; without names they are drawn: sums and simple slips for models in words, Countdown and arithmetic for nano models.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, cast

from secondthought import catalog
from secondthought.engines.base import NEEDS, Access, Engine, Renderer, Request, Sampling
from secondthought.engines.counting import Cost, Counting
from secondthought.engines.factory import engine_for, split
from secondthought.engines.remote.openai import endpoint, is_endpoint
from secondthought.errors import UserError
from secondthought.models.hub import described
from secondthought.models.names import style_of
from secondthought.probes.base import Checkpoint, Probe
from secondthought.probes.on_items import OnItems
from secondthought.probes.on_tasks import OnTasks
from secondthought.probes.run import Options, run_probe
from secondthought.protocols.base import Draft
from secondthought.runs.files import write_json
from secondthought.runs.journal import versions
from secondthought.runs.progress import Progress, Silence
from secondthought.runs.reading import LAYOUT
from secondthought.types import Task

DRY = {"chat": ("So it is 1. The answer is A.", "\nWait. "), "terse": ("1 + 1 = 2 a", " , wait , ")}
"""What is answered while cost is counted: most often a wrong answer, again and again, so that all that follows is asked."""
TIMED = 8  # answers of 32 tokens, by which speed is measured


@dataclass(frozen=True)
class Wanted:
    """What is measured: the SPECs of problems, of items with chains and of questions with options (empty: drawn), how many of
    each, and tokens of a turn (0: the probe's own).
    """

    tasks: str = ""
    items: str = ""
    questions: str = ""
    n: int = 50
    max_tokens: int = 0
    only: tuple[str, ...] = ()

    def probes(self, access: Access, style: str) -> dict[str, Probe]:
        """The probes for a model of this access and style, by name. Raises UserError for one of ``only`` that is not there."""
        found: dict[str, Probe] = {}
        names = [entry.name for entry in catalog.entries("probes")]
        for name in self.only or names:
            kind = catalog.find("probes", name)
            if (kind.asks or self.only) and kind.access <= access:
                found[name] = self.made(kind, style)
        if not found:
            raise UserError("no probe is left that this model allows; leave --only out")
        return found

    def not_asked(self, access: Access) -> dict[str, str]:
        """The probes that a model of this access does not allow, and what each of them needs."""
        kinds = {entry.name: catalog.find("probes", entry.name) for entry in catalog.entries("probes")}
        return {
            name: NEEDS[kind.access] for name, kind in kinds.items()
            if kind.access > access and (name in self.only if self.only else kind.asks)
        }  # fmt: skip

    def made(self, kind: Any, style: str) -> Probe:
        """A probe with its share of this."""
        known = {f.name: f for f in fields(kind)}
        given: dict[str, Any] = {"n": self.n, "max_tokens": self.max_tokens, **kind.brief}
        if "tasks" in known and "tasks" not in kind.brief:
            given["tasks"] = self.spec(kind, str(known["tasks"].default), style)
        return cast(Probe, kind(**{name: value for name, value in given.items() if name in known}))

    def spec(self, kind: Any, default: str, style: str) -> str:
        """The SPEC for one probe."""
        terse = style == "terse"
        if issubclass(kind, OnItems):
            return self.items or ("arithmetic" if terse else "scli")
        if issubclass(kind, OnTasks) and default != "multiple_choice":
            return self.tasks or ("countdown" if terse else "multiple_choice")
        return self.questions or default


@dataclass(frozen=True)
class Estimate:
    """What each probe takes of one model, and how many tokens it writes in a second (0: not known)."""

    model: str
    costs: Mapping[str, Cost]
    speed: float = 0.0

    @property
    def total(self) -> Cost:
        """All of it."""
        return sum(self.costs.values(), Cost())

    def seconds(self, cost: Cost) -> float | None:
        """How long sampling takes, as long as answers may be; None where the speed is not known."""
        return cost.written / self.speed if self.speed else None


def estimated(checkpoint: Checkpoint, wanted: Wanted, options: Options) -> Estimate:
    """Count what all probes would ask of a model; what only some answers lead to (a chain that mentions a hint, which is then
    asked again) is not in it. Raises UserError for a model that cannot be loaded, and for tasks there are
    not.
    """
    kind, name = split(checkpoint.place)
    engine: Engine | None = None
    if is_endpoint(checkpoint.place):
        renderer: Renderer = endpoint(checkpoint.place).renderer
    elif kind == "torch":
        engine = engine_for(checkpoint.place, options.engine)
        renderer = engine.renderer
    else:
        renderer = described(name)[1]
    access, costs = access_at(checkpoint), dict[str, Cost]()
    for one, probe in wanted.probes(access, renderer.style).items():
        counting = Counting(renderer, *DRY[renderer.style], access=access, continues=not checkpoint.place.endswith("@chat"))
        probe.prepare(Silence()).measure(counting, Silence())
        costs[one] = counting.cost
    return Estimate(checkpoint.name, costs, speed_of(engine) if engine is not None else 0.0)


def access_at(checkpoint: Checkpoint) -> Access:
    """What a model allows, by where it is: in this process hidden states can be changed, of any other it is only sampled."""
    return Access.INTERVENE if not is_endpoint(checkpoint.place) and split(checkpoint.place)[0] == "torch" else Access.SAMPLE


def speed_of(engine: Engine) -> float:
    """Tokens a second that an engine samples, by a few short answers."""
    task = Task.of("Write a long story.", answer=None, family="speed")
    segments = engine.renderer.render(task, Draft(task).segments)
    requests = [Request("story", task, (k,), segments, k, Sampling(max_tokens=32)) for k in range(TIMED)]
    engine.sample(requests[:1])
    began = time.perf_counter()
    tokens = sum(len(one.tokens) for one in engine.sample(requests))
    return tokens / max(time.perf_counter() - began, 1e-6)


def run_suite(
    models: Sequence[Checkpoint], wanted: Wanted, out: Path, progress: Progress, options: Options
) -> dict[str, Any]:  # fmt: skip
    """Measure every probe on every model that allows it, then write and return the summary.

    Raises UserError as :func:`secondthought.probes.run.run_probe` does.
    """
    plans = {model.name: wanted.probes(access_at(model), style_of(model.place)) for model in models}
    names = list(dict.fromkeys(name for plan in plans.values() for name in plan))
    found = []
    for number, name in enumerate(names, 1):
        progress.phase(f"{name} ({number} of {len(names)}): {catalog.find('probes', name).asks}")
        by_probe: dict[Probe, list[Checkpoint]] = {}
        for model in models:
            if name in plans[model.name]:
                by_probe.setdefault(plans[model.name][name], []).append(model)
        for part, (probe, some) in enumerate(by_probe.items()):
            folder = out / (name if len(by_probe) == 1 else f"{name}_{part + 1}")
            summary = run_probe(probe, some, folder, progress, options)
            found.append({"probe": name, "asks": probe.asks, "folder": folder.name, "models": summary["models"]})
    recipe = {"models": [model.name for model in models], **{f.name: getattr(wanted, f.name) for f in fields(wanted)}}
    resolved = {"layout": LAYOUT, "kind": "suite", "recipe": recipe, "versions": versions(), "seed": 0}
    write_json(out / "resolved.json", json.loads(json.dumps(resolved)))
    left_out = {model.name: wanted.not_asked(access_at(model)) for model in models}
    summary = {"run": out.name, "kind": "suite", "parts": found, "left_out": left_out}
    write_json(out / "summary.json", summary)
    return summary
