"""What probes on problems that are answered share: which problems, and how they are sampled."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, NamedTuple

from secondthought.engines.base import Engine, Sampling
from secondthought.items.load import tasks_of
from secondthought.probes.base import Probe
from secondthought.tasks.base import chosen
from secondthought.types import Task, TaskSet


class Posed(NamedTuple):
    """The problems of a measurement, as one model is asked them."""

    tasks: TaskSet
    problems: list[Task]
    sampling: Sampling
    style: str


@dataclass(frozen=True)
class OnTasks(Probe):
    """A probe on ``n`` problems of ``tasks`` (a SPEC, its test split unless it names another, or a task set), sampled with
    ``max_tokens`` for each turn (0: ``nano_tokens`` for nano models, else 512).
    """

    nano_tokens: ClassVar[int] = 32
    tasks: str | TaskSet = "countdown"
    grade: str = "exact"
    n: int = 500
    temperature: float = 1.0
    max_tokens: int = 0
    controls: bool = True
    seed: int = 0

    def posed(self, model: Engine) -> Posed:
        """What ``model`` is asked. Raises UserError for tasks and graders that do not exist."""
        style, spec = model.renderer.style, self.tasks
        tasks = tasks_of(spec, style=style, grade=self.grade, split="test") if isinstance(spec, str) else spec
        size = self.max_tokens or (self.nano_tokens if style == "terse" else 512)
        return Posed(tasks, chosen(tasks, self.n, self.seed), Sampling(self.temperature, max_tokens=size), style)
