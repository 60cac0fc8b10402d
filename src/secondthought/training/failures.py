"""The paper's data set of failures: attempts of the initial model that went wrong, recorded once and reflected on for ever.

Bensal et al. sample each training query several times with the initial model and keep the queries it fails. Which reading of
"fails" they meant is not settled; all attempts are kept as episodes in the run folder, so that both can be counted.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

from secondthought.engines.base import Engine
from secondthought.errors import UserError
from secondthought.protocols.answer import answer
from secondthought.protocols.base import BoundProtocol
from secondthought.runs.progress import Progress
from secondthought.tasks.base import distinct
from secondthought.training.recipe import Collect, Recipe
from secondthought.training.recorded import Recorded, sampled
from secondthought.types import Episode, Group, Segment, Task, TaskSet, seed_of


@dataclass(frozen=True)
class Failures(Collect):
    """Sample ``problems`` problems ``samples`` times each (0 problems: fail online, with the present model instead) and keep up
    to ``keep`` different wrong attempts at each. The protocol gets them as ``failed``, to be replayed token for token.
    """

    problems: int = 0
    samples: int = 8
    keep: int = 2

    @property
    def wanted(self) -> bool:
        """Whether failures are collected at all."""
        return self.problems > 0

    def make(self, engine: Engine, recipe: Recipe, progress: Progress) -> list[Group]:
        """Every attempt of the initial model, a group for each problem."""
        progress.phase(f"collecting failures: {self.problems} problems x {self.samples} attempts")
        problems = distinct(recipe.tasks, self.problems)
        protocol = partial(answer, grade=recipe.tasks.grade)
        return sampled(protocol, problems, self.samples, engine, recipe, progress, seed=seed_of("failures", recipe.seed))

    def use(self, recipe: Recipe, groups: Sequence[Group]) -> Recipe:
        """The recipe on recorded failures. Raises UserError if the model failed nothing."""
        failed = FailedTasks.of(recipe.tasks, groups, self.keep)
        if not len(failed):
            raise UserError(f"{recipe.model} failed none of the {self.problems} problems: there is nothing to reflect on")

        def bind(protocol: BoundProtocol) -> BoundProtocol:
            made: Callable[..., Any] = protocol
            return partial(made, failed=failed)

        return recipe.with_protocol(bind, failed)


class Failure(NamedTuple):
    """A wrong attempt, and a right one of the same model at the same problem if it made one."""

    wrong: Episode
    right: Segment | None


class FailedTasks(Recorded[Failure]):
    """Failed attempts as tasks: each has its own key, and calling with it gives the attempt back, token for token."""

    @classmethod
    def of(cls, tasks: TaskSet, groups: Sequence[Group], keep: int) -> FailedTasks:
        """Up to ``keep`` different wrong attempts from each group of attempts, with a right one where there is one."""
        found = []
        for group in groups:
            wrong = {tuple(s.tokens for s in e.turns("attempt")): e for e in group if e.verdicts["attempt"].score == 0}
            right = next((e["attempt"] for e in group if e.verdicts["attempt"].score == 1), None)
            found += [(e.task, Failure(e, right)) for e in list(wrong.values())[:keep]]
        return cls(tasks, found, plays=True)

    def __call__(self, task: Task) -> Episode:
        """The recorded wrong attempt, to be replayed."""
        return self.record(task).wrong

    def solved(self, task: Task) -> Segment | None:
        """A right attempt of the initial model at the same problem, if it made one."""
        return self.record(task).right
