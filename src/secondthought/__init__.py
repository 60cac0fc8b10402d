"""Train language models to reflect on their own mistakes, and measure whether the reflection is real.

What a user needs to write a task, a protocol, a credit, a recipe or a probe stands here, and is imported when it is asked for:

>>> import secondthought
>>> secondthought.Task.of("2 + 2?", answer="4", family="sums").answer
'4'
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from secondthought.credit.base import BatchCredit, Step, by_step, normalised, scores
    from secondthought.engines.base import Access, Engine, EngineOptions, Request, Sampled, Sampling
    from secondthought.engines.factory import engine_for
    from secondthought.engines.scripted import Scripted
    from secondthought.errors import Interrupted, UserError
    from secondthought.items.load import items_of, tasks_of
    from secondthought.learners.optim import Optim
    from secondthought.probes.base import Measured, Probe, arm_of, effect_of, reported, units_of
    from secondthought.probes.run import run_probe
    from secondthought.protocols.base import Draft, gather
    from secondthought.reproduce.base import Reproduced, Reproduction, claim
    from secondthought.rollout import drive, rollout
    from secondthought.runs.progress import Progress
    from secondthought.runs.reading import read_episodes, read_groups, read_metrics, read_run
    from secondthought.stats import decide, difference, mean
    from secondthought.training.loop import train
    from secondthought.training.recipe import Recipe, Stage
    from secondthought.types import (
        UNGRADED,
        Arm,
        Claim,
        Curve,
        Effect,
        Episode,
        Estimate,
        Group,
        Message,
        Report,
        Segment,
        Signal,
        Signals,
        Table,
        Task,
        TaskSet,
        Verdict,
        seed_of,
    )  # fmt: skip

__version__: str
HOMES = {
    "credit.base": ("BatchCredit", "Step", "by_step", "normalised", "scores"),
    "engines.base": ("Access", "Engine", "EngineOptions", "Request", "Sampled", "Sampling"),
    "engines.factory": ("engine_for",),
    "engines.scripted": ("Scripted",),
    "errors": ("Interrupted", "UserError"),
    "items.load": ("items_of", "tasks_of"),
    "learners.optim": ("Optim",),
    "probes.base": ("Measured", "Probe", "arm_of", "effect_of", "reported", "units_of"),
    "probes.run": ("run_probe",),
    "protocols.base": ("Draft", "gather"),
    "reproduce.base": ("Reproduced", "Reproduction", "claim"),
    "rollout": ("drive", "rollout"),
    "runs.progress": ("Progress",),
    "runs.reading": ("read_episodes", "read_groups", "read_metrics", "read_run"),
    "stats": ("decide", "difference", "mean"),
    "training.loop": ("train",),
    "training.recipe": ("Recipe", "Stage"),
    "types": (
        "UNGRADED", "Arm", "Claim", "Curve", "Effect", "Episode", "Estimate", "Group", "Message", "Report", "Segment", "Signal",
        "Signals", "Table", "Task", "TaskSet", "Verdict", "seed_of",
    ),
}  # fmt: skip
_HOME = {name: home for home, names in HOMES.items() for name in names}
__all__ = ["__version__", *_HOME]


def __getattr__(name: str) -> Any:
    """Import a public name when it is asked for."""
    if name == "__version__":
        from importlib.metadata import version

        return version("secondthought")
    if name not in _HOME:
        raise AttributeError(f"module 'secondthought' has no attribute {name!r}")
    return getattr(importlib.import_module(f"secondthought.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)
