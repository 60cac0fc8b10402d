"""First attempts of the initial model, recorded once, from which second turns are trained besides the model's own."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from secondthought.engines.base import Engine
from secondthought.protocols.answer import answer
from secondthought.protocols.base import BoundProtocol
from secondthought.runs.progress import Progress
from secondthought.tasks.base import distinct
from secondthought.training.recipe import Recipe
from secondthought.training.recorded import Recorded, sampled
from secondthought.types import Episode, Group, seed_of


@dataclass(frozen=True)
class Attempts:
    """Sample ``problems`` problems ``samples`` times each. A ``share`` of every group then begins with such an attempt (SCoRe's
    offline prompts, arXiv 2409.12917, section 5.3), right or wrong as they come.
    """

    share: float = 0.5
    problems: int = 1000
    samples: int = 2

    @property
    def wanted(self) -> bool:
        """Whether any episode begins with one."""
        return self.share > 0

    def make(self, engine: Engine, recipe: Recipe, progress: Progress) -> list[Group]:
        """Every attempt, a group for each problem."""
        progress.phase(f"collecting first attempts: {self.problems} problems x {self.samples}")
        protocol, problems = partial(answer, grade=recipe.tasks.grade), distinct(recipe.tasks, self.problems)
        seed = seed_of("attempts", recipe.seed)
        return sampled(protocol, problems, self.samples, engine, recipe, progress, seed=seed)

    def use(self, recipe: Recipe, groups: Sequence[Group]) -> Recipe:
        """The recipe on these problems, some of whose second turns follow recorded attempts."""
        records = [(episode.task, episode) for group in groups for episode in group]
        known: Recorded[Episode] = Recorded(recipe.tasks, records, plays=True)

        def bind(protocol: BoundProtocol) -> BoundProtocol:
            made: Callable[..., Any] = protocol
            return partial(made, first=known.record, fixed=round(self.share * recipe.group_size))

        return recipe.with_protocol(bind, known)
