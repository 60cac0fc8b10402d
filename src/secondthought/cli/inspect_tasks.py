"""Every probe that needs nothing but answers, as an Inspect task: ``inspect eval secondthought/NAME --model PROVIDER/MODEL``.

A probe's options are the task's (``-T n=50``). A sample of the log is a unit of the probe (a problem, an item); its messages
are those of its first episode, the other arms stand in its metadata, its scores are one for each arm. The metrics
are the figures of the probe's own report, each with the ends of its 95 % interval.

The probe runs once, in a thread, and asks Inspect's model; so limits, retries, usage and ``--cache`` are Inspect's.
"""

from __future__ import annotations

import asyncio
import inspect
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import fields
from typing import Any

from secondthought import catalog
from secondthought.cli.inspect_provider import secondthought
from secondthought.engines.base import Access
from secondthought.engines.inspect import InspectEngine
from secondthought.probes.base import Probe
from secondthought.runs.export import messages
from secondthought.runs.progress import Silence
from secondthought.training.settings import made
from secondthought.types import Episode, Group, Report

PLAIN = (bool, int, float, str)
UNITS = 100  # of a probe that has no n


class Measurement:
    """One run of a probe for one evaluation: started by the first sample that needs it, waited for by the others."""

    def __init__(self, probe: Probe) -> None:
        self.probe, self.groups = probe, list[Group]()
        self._lock = asyncio.Lock()
        self._done = False

    async def group(self, index: int) -> Group | None:
        """The group at ``index``; None where the probe has fewer."""
        async with self._lock:
            if not self._done:
                from inspect_ai.model import get_model

                engine = InspectEngine(get_model(), asyncio.get_running_loop())
                self.groups = list(await asyncio.to_thread(self._measure, engine))
                self._done = True
        return self.groups[index] if index < len(self.groups) else None

    def _measure(self, engine: InspectEngine) -> Sequence[Group]:
        ready = self.probe.prepare(Silence())
        return ready.measure(engine, Silence())

    def report(self) -> Report:
        """The probe's own report."""
        return self.probe.report(self.groups)


def inspect_task(kind: type[Probe], given: Mapping[str, Any]) -> Any:
    """A probe with these options as an Inspect task. Raises UserError for an option that it does not have."""
    from inspect_ai import Task
    from inspect_ai.dataset import Sample

    settings = [f"{name}={value}" for name, value in given.items()]
    probe = made(kind, settings)
    measurement = Measurement(probe)
    units = int(getattr(probe, "n", UNITS) or UNITS)
    samples = [Sample(id=i + 1, input=f"{probe.name}, unit {i + 1}") for i in range(units)]
    return Task(
        dataset=samples, solver=_solver(measurement), scorer=_scorer(measurement), name=probe.name,
        metadata={"probe": probe.name, "asks": probe.asks, "options": dict(given)},
    )  # fmt: skip


def _solver(measurement: Measurement) -> Any:
    from inspect_ai.model import ChatMessageAssistant, ChatMessageSystem, ChatMessageUser, ModelOutput
    from inspect_ai.solver import solver

    kinds = {"assistant": ChatMessageAssistant, "system": ChatMessageSystem, "user": ChatMessageUser}

    @solver
    def measured() -> Any:
        async def solve(state: Any, generate: Any) -> Any:
            group = await measurement.group(int(state.sample_id) - 1)
            if group is None:
                return state
            first = group[0]
            turns = messages(first)
            state.messages = [kinds[turn["role"]](content=turn["content"]) for turn in turns]
            state.output = ModelOutput.from_content(str(state.model), turns[-1]["content"])
            state.metadata |= {
                "task": first.task.key,
                "answer": json.dumps(first.task.answer),
                "outcome": first.outcome,
                "episodes": [
                    {
                        "arm": episode.arm,
                        "messages": messages(episode),
                        "scores": {name: verdict.why or verdict.score for name, verdict in episode.verdicts.items()},
                    }
                    for episode in group
                ],
            }
            return state

        return solve

    return measured()


def _scorer(measurement: Measurement) -> Any:
    from inspect_ai.scorer import Score, metric, scorer

    @metric
    def figures() -> Any:
        def compute(scores: Any) -> dict[str, float]:
            """The figures, that which decides the claim first."""
            report = measurement.report()
            found: dict[str, float] = {}
            for name, one in sorted(report.figures.items(), key=lambda item: item[0] != report.decides):
                found |= {name: one.value, f"{name}_low": one.low, f"{name}_high": one.high}
            return {name: value for name, value in found.items() if math.isfinite(value)}

        return compute

    @scorer(metrics=[figures()])
    def arms() -> Any:
        async def score(state: Any, target: Any) -> Any:
            group = await measurement.group(int(state.sample_id) - 1)
            values = arm_scores(group) if group else {}
            if not group or not values:
                return Score(value=float("nan"), explanation="the probe has no such unit, or nothing to score in it")
            final = group[0].final
            said = "; ".join(f"{v.why}" for v in group[0].verdicts.values() if v.why)
            return Score(value=values, answer=final.answer if final else None, explanation=said or None)

        return score

    return arms()


def arm_scores(group: Group) -> dict[str, float]:
    """The last graded verdict of each arm's last episode."""
    found: dict[str, Episode] = {episode.arm or "episode": episode for episode in group}
    return {arm: episode.final.score for arm, episode in found.items() if episode.final is not None and episode.final.graded}


def _register() -> dict[str, Any]:
    """One Inspect task for each probe that asks for answers alone."""
    from inspect_ai import task

    found = {}
    for entry in catalog.entries("probes"):
        kind = catalog.find("probes", entry.name)
        if kind.access > Access.SAMPLE:
            continue

        def maker(kind: Any = kind, **options: Any) -> Any:
            return inspect_task(kind, options)

        maker.__name__ = maker.__qualname__ = entry.name
        maker.__doc__ = kind.asks or entry.summary
        options = [f for f in fields(kind) if type(f.default) in PLAIN]
        maker.__signature__ = inspect.Signature(  # type: ignore[attr-defined]
            [inspect.Parameter(f.name, inspect.Parameter.KEYWORD_ONLY, default=f.default) for f in options]
        )
        found[entry.name] = task(maker)
    return found


TASKS = _register()
"""What Inspect finds by the entry point ``inspect_ai`` of this package, and its provider of models."""
PROVIDERS = (secondthought,)
