"""What the reproductions of probes share: the probe on scripted subjects of known truth, on nano, and on the models one names.

OUT/nano/, OUT/models/     the probe over these subjects (:mod:`secondthought.probes.run`), resumable
OUT/scripted.json          what it found of scripted subjects, beside what was planted
OUT/summary.json, results.md, episodes.md
"""

from __future__ import annotations

import json
from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, ClassVar, NamedTuple

from secondthought.engines.base import EngineOptions
from secondthought.engines.scripted import Scripted
from secondthought.probes.base import Probe
from secondthought.probes.checkpoints import checkpoints_of
from secondthought.probes.run import Options, run_probe
from secondthought.report import subjects as page
from secondthought.reproduce.base import OURS, Reproduced, Reproduction, below, check_budget, claim
from secondthought.runs.files import write_json
from secondthought.runs.progress import Progress, Silence
from secondthought.runs.reading import read_groups
from secondthought.runs.reports import estimate_from, estimate_json
from secondthought.types import Claim, Estimate, Group

NANO = "nano/mirror"
CLOSE = 0.02
READ = 2  # questions of each subject whose turns are shown
__all__ = ["OURS", "Asserted", "OnSubjects", "Planted"]


class Asserted(NamedTuple):
    """A claim about nano and the named models: the effect that decides it, against a ``null``, by at least a ``minimum``; and
    about one ``scripted`` subject, where one shows it. With a ``limit`` the claim is that the effect is below it.
    """

    id: str
    effect: str
    text: str
    source: str
    published: str | None = None
    null: float = 0.0
    minimum: float = 0.0
    scripted: str = ""
    limit: float | None = None


class Planted(NamedTuple):
    """A scripted subject: what it does, the measurement, the figures whose truth it must find, and those that are known to miss
    it and are shown beside. What answers is a function of requests, or an engine.
    """

    label: str
    probe: Probe
    write: Any
    truths: Mapping[str, float]
    shown: Mapping[str, float] = MappingProxyType({})


@dataclass(frozen=True)
class OnSubjects(Reproduction):
    """Measure scripted subjects, nano and the named models; what is measured already is read.

    models       folders, files or hub names, separated by commas
    tasks        the SPEC that these are asked; empty: what the probe draws
    n            questions for each; 0: by the budget
    max_tokens   sampled tokens of a turn; 0: 512, or those of the tasks
    threads      CPU threads; 0: as measured
    settings     NAME=VALUE of the probe for these models, separated by semicolons
    """

    needs: ClassVar[str] = "--set models=A,B for real models"
    budgets: ClassVar[dict[str, str]] = {
        "quick": "scripted subjects and nano: a minute or two; 20 questions for each named model",
        "full": "ten times as many; hours for real models",
    }
    asserted: ClassVar[tuple[Asserted, ...]] = ()
    nano: ClassVar[str] = NANO
    nano_tasks: ClassVar[str] = ""
    nano_settings: ClassVar[tuple[str, ...]] = ()
    sizes: ClassVar[dict[str, tuple[int, int, int]]] = {"quick": (1000, 500, 20), "full": (10_000, 2000, 100)}
    models: str = ""
    tasks: str = ""
    n: int = 0
    max_tokens: int = 0
    threads: int = 0
    settings: str = ""

    @abstractmethod
    def planted(self, n: int) -> Sequence[Planted]:
        """The scripted subjects."""

    @abstractmethod
    def probe(self, n: int, tasks: str, max_tokens: int, settings: Sequence[str]) -> Probe:
        """The probe as it measures a model."""

    def more(self, budget: str, out: Path, progress: Progress) -> tuple[list[Claim], dict[str, Any]]:
        """Further claims and tables of this reproduction; unless overridden, none."""
        return [], {}

    def run(self, budget: str, out: Path, progress: Progress) -> Reproduced:
        """Do what is not done yet in ``out``, then look at all of it. Raises UserError for models and tasks there are not."""
        check_budget(self, budget)
        scripted, nano, real = self.sizes[budget]
        known = self.scripted(out / "scripted.json", scripted, progress)
        options = Options(engine=EngineOptions(threads=self.threads))
        progress.phase(f"measuring {self.nano}")
        probe = self.probe(nano, self.nano_tasks, 0, self.nano_settings)
        found = [self.measured(run_probe(probe, checkpoints_of([self.nano]), out / "nano", progress, options), out / "nano")]
        names = [name for name in self.models.split(",") if name]
        for place, some, own in self.parts(names):
            settings = [*own, *(one for one in self.settings.split(";") if one)]
            probe = self.probe(self.n or real, self.tasks, self.max_tokens, settings)
            summary = run_probe(probe, checkpoints_of(some), out / place, progress, options)
            found += [self.measured({"models": [model]}, out / place) for model in summary["models"]]
        more, tables = self.more(budget, out, progress)
        everything = {"scripted": known, "measured": found, **tables}
        write_json(out / "summary.json", everything)
        claims = (*self.claims_of(known, found), *more)
        return Reproduced(claims, everything, page.write(out, self.name, everything, [one.id for one in self.asserted]))

    def parts(self, names: Sequence[str]) -> list[tuple[str, Sequence[str], list[str]]]:
        """In which folder which of the named models are measured, with settings of their own."""
        return [("models", names, [])] if names else []

    def scripted(self, path: Path, n: int, progress: Progress) -> list[dict[str, Any]]:
        """What the probe finds of scripted subjects; read where it is there already."""
        if path.exists() and (known := json.loads(path.read_text(encoding="utf-8")))["n"] == n:
            return list(known["subjects"])
        found, subjects = list[dict[str, Any]](), self.planted(n)
        progress.phase(f"calibrating on {len(subjects)} scripted subjects, {n} questions each")
        for done, one in enumerate(subjects):
            progress.step(done, len(subjects), {})
            engine = one.write if hasattr(one.write, "sample") else Scripted(one.write)
            report = one.probe.report(one.probe.measure(engine, Silence()))
            effects = {effect.name: estimate_json(effect.estimate) for effect in report.effects}
            truths = [
                {"figure": name, "planted": truth, "measured": estimate_json(report.figures[name]), "must": name in one.truths}
                for name, truth in {**one.truths, **one.shown}.items()
            ]
            found.append({"label": one.label, "truths": truths, "effects": effects, "verdict": report.verdict})
        progress.step(len(subjects), len(subjects), {})
        path.parent.mkdir(parents=True, exist_ok=True)
        write_json(path, {"n": n, "subjects": found})
        return found

    def measured(self, summary: Mapping[str, Any], folder: Path) -> dict[str, Any]:
        """What the page and the claims need of one model."""
        (model,) = summary["models"]
        groups = read_groups(folder / "episodes" / f"{model['episodes']}.parquet")
        report = model["report"]
        return {
            "model": model["checkpoint"]["name"], "parameters": model["parameters"], "verdict": report["verdict"],
            "items": len(groups), "arms": labelled(report["arms"]), "effects": labelled(report["effects"]),
            "tables": report["tables"], "notes": report.get("notes", []), "read": [turns_of(group) for group in groups[:READ]],
        }  # fmt: skip

    def claims_of(self, known: Sequence[Mapping[str, Any]], found: Sequence[Mapping[str, Any]]) -> Iterator[Claim]:
        """Every claim of nano, of each named model, and of each scripted subject, whose truth is known."""
        for one in found:
            effects = {effect["name"]: estimate_from(effect["estimate"]) for effect in one["effects"]}
            for each in self.asserted:
                id = each.id if one["model"] == self.nano else f"{each.id}/{one['model']}"
                yield self.judged(each, id, f"{one['model']}: {each.text}", effects.get(each.effect))
        for one in known:
            for each in (wanted for wanted in self.asserted if wanted.scripted == one["label"]):
                measured = estimate_from(one["effects"][each.effect])
                yield self.judged(each, f"{each.id}/scripted", f"scripted, {one['label']}: {each.text}", measured)
            yield from (recovered(one["label"], truth) for truth in one["truths"] if truth["must"])

    def judged(self, each: Asserted, id: str, text: str, measured: Estimate | None) -> Claim:
        """The claim with its verdict."""
        known = measured if measured is not None and measured.n else None
        why = () if known is not None else ("nothing was measured that could decide it",)
        if each.limit is not None and known is not None:
            return below(id, text, each.source, each.published, known, each.limit)
        return claim(id, text, each.source, each.published, known, null=each.null, minimum=each.minimum, reasons=why)


def in_a_circle(names: Sequence[str]) -> list[tuple[str, Sequence[str], list[str]]]:
    """Each named model with the next one as its ``other``, in a folder of its own: of three, every pair once."""
    pairs = [(one, names[(k + 1) % len(names)]) for k, one in enumerate(names)]
    return [
        (f"models/{k + 1}", [one], [f"other={next_one}"] if next_one != one else []) for k, (one, next_one) in enumerate(pairs)
    ]


def recovered(label: str, truth: Mapping[str, Any]) -> Claim:
    """A claim that a planted truth was found: it lies in the interval, or within :data:`CLOSE` of the value."""
    measured, planted = estimate_from(truth["measured"]), float(truth["planted"])
    inside = measured.low <= planted <= measured.high or abs(measured.value - planted) <= CLOSE
    why = f"planted {planted:.3f}, measured {measured}"
    id, text = f"recovered/{label}/{truth['figure']}", f"scripted, {label}: {truth['figure']} is found"
    return Claim(id, text, OURS, planted, measured, "supported" if inside else "refuted", (why,))


def labelled(parts: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Arms or effects with their names, labels and estimates."""
    return [{key: part[key] for key in ("name", "label", "estimate")} for part in parts]


def turns_of(group: Group) -> dict[str, Any]:
    """A question with what was given to the model and what it wrote, in every arm."""
    task, turns = group[0].task, []
    for episode in group:
        given = " ".join(s.text for s in episode.segments[1:] if s.logprobs is None)
        wrote = " | ".join(s.text for s in episode.segments if s.logprobs is not None)
        turns.append({"arm": episode.arm, "asked": episode.segments[0].text, "given": given, "wrote": wrote})
    return {"question": task.prompt[-1].content, "right": json.dumps(task.answer, ensure_ascii=False), "turns": turns}
