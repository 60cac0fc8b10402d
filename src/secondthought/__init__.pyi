"""What ``import secondthought`` offers, and where each name is defined; read at run time by lazy_loader."""

from .credit.base import BatchCredit, Step, by_step, normalised, scores
from .engines.base import Access, Engine, EngineOptions, Request, Sampled, Sampling
from .engines.factory import engine_for
from .engines.scripted import Scripted
from .errors import Interrupted, UserError
from .items.load import items_of, tasks_of
from .learners.optim import Optim
from .probes.base import Measured, Probe, arm_of, effect_of, reported, units_of
from .probes.run import run_probe
from .protocols.base import Draft, gather
from .reproduce.base import Reproduced, Reproduction, claim
from .rollouts import drive, rollout
from .runs.progress import Progress, Silence, show_progress
from .runs.reading import read_episodes, read_groups, read_metrics, read_run
from .stats import decide, difference, mean
from .training.loop import train
from .training.recipe import Recipe, Stage
from .types import (
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
)

__version__: str
__all__ = [
    "UNGRADED",
    "Access",
    "Arm",
    "BatchCredit",
    "Claim",
    "Curve",
    "Draft",
    "Effect",
    "Engine",
    "EngineOptions",
    "Episode",
    "Estimate",
    "Group",
    "Interrupted",
    "Measured",
    "Message",
    "Optim",
    "Probe",
    "Progress",
    "Recipe",
    "Report",
    "Reproduced",
    "Reproduction",
    "Request",
    "Sampled",
    "Sampling",
    "Scripted",
    "Segment",
    "Signal",
    "Signals",
    "Silence",
    "Stage",
    "Step",
    "Table",
    "Task",
    "TaskSet",
    "UserError",
    "Verdict",
    "__version__",
    "arm_of",
    "by_step",
    "claim",
    "decide",
    "difference",
    "drive",
    "effect_of",
    "engine_for",
    "gather",
    "items_of",
    "mean",
    "normalised",
    "read_episodes",
    "read_groups",
    "read_metrics",
    "read_run",
    "reported",
    "rollout",
    "run_probe",
    "scores",
    "seed_of",
    "show_progress",
    "tasks_of",
    "train",
    "units_of",
]
