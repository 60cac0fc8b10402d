"""What is sampled before a training or a stage, and tasks with something that was recorded about them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Generic, TypeVar

from secondthought.engines.base import Engine
from secondthought.errors import UserError
from secondthought.protocols.base import BoundProtocol, Grade
from secondthought.rollouts import rollout
from secondthought.runs.progress import Progress
from secondthought.training.recipe import Recipe
from secondthought.types import Environment, Group, Task, TaskSet, seed_of

T = TypeVar("T")


class Recorded(Generic[T]):
    """A task set in which each task has a key of its own and one record; a problem with several records stands in it as often.
    Raises UserError for an environment, unless what is recorded are whole ``plays``.

    >>> from secondthought.tasks.countdown import Countdown
    >>> tasks = Countdown("dev")
    >>> kept = Recorded(tasks, [(tasks[0], "first"), (tasks[0], "second")])
    >>> [kept.record(kept[i]) for i in range(len(kept))]
    ['first', 'second']
    """

    def __init__(self, tasks: TaskSet, records: Sequence[tuple[Task, T]], *, plays: bool = False) -> None:
        if isinstance(tasks, Environment) and not plays:
            raise UserError("answers of one turn are recorded here, and these tasks are played turn by turn")
        self.base = tasks
        self.tasks: list[Task] = []
        self._by_key: dict[str, T] = {}
        seen: dict[str, int] = {}
        for task, record in records:
            number = seen[task.key] = seen.get(task.key, -1) + 1
            known = replace(task, key=f"{seed_of(task.key, number):016x}")
            self.tasks.append(known)
            self._by_key[known.key] = record

    def __len__(self) -> int:
        return len(self.tasks)

    def __getitem__(self, index: int) -> Task:
        return self.tasks[index]

    @property
    def grade(self) -> Grade:
        """That of the task set that the records are about."""
        return self.base.grade

    def record(self, task: Task) -> T:
        """What was recorded about a task of this set."""
        return self._by_key[task.key]


PART = 256  # problems at a time, so that progress can be seen


def sampled(
    protocol: BoundProtocol, problems: Sequence[Task], n: int, engine: Engine, recipe: Recipe, progress: Progress, *, seed: int
) -> list[Group]:
    """A group of ``n`` for each problem, as the recipe samples, with progress."""
    found: list[Group] = []
    for begin in range(0, len(problems), PART):
        found += rollout(protocol, problems[begin : begin + PART], n, engine, recipe.sampling, seed=seed)
        progress.step(len(found), len(problems), {})
    return found
