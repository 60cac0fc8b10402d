"""A start for RLCR: answers with confidences that say nothing true, so that a small model knows the form and nothing more."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from random import Random

from secondthought.engines.base import Engine
from secondthought.models.names import style_of
from secondthought.protocols.answer import answer
from secondthought.protocols.confident import Shown, asked_for, shown_confidence
from secondthought.runs.progress import Progress
from secondthought.tasks.base import distinct
from secondthought.tasks.critic import solution_of
from secondthought.training.recipe import Collect, Recipe
from secondthought.training.recorded import Recorded, sampled
from secondthought.types import Group, Task, seed_of


@dataclass(frozen=True)
class Confidences(Collect):
    """Answers to ``problems`` problems, each with a number of tenths drawn from 0 to 10.

    Uniformly, or, where the tasks have strata, higher in half of them (the greater of two draws) and lower in the others; which
    half is drawn too. Confidences then depend on the problem, as those of any model do, and mean nothing: a small model that
    has learned to look at nothing when it says how sure it is needs far longer to begin.

    solved       the task set's own solutions instead of the model's answers (where the model cannot answer yet)
    always       this number of tenths for all (-1: at random); a start from which nothing can be learned
    """

    problems: int = 1000
    solved: bool = False
    always: int = -1

    def make(self, engine: Engine, recipe: Recipe, progress: Progress) -> list[Group]:
        """One answer to each problem."""
        progress.phase(f"collecting answers: {self.problems} problems")
        problems, seed = distinct(recipe.tasks, self.problems), seed_of("confidences", recipe.seed)
        return sampled(partial(answer, grade=recipe.tasks.grade), problems, 1, engine, recipe, progress, seed=seed)

    def use(self, recipe: Recipe, groups: Sequence[Group]) -> Recipe:
        """The recipe that imitates answers and drawn confidences."""
        episodes, solution = [e for group in groups for e in group], solution_of(recipe.tasks)
        drawn = self.drawn([e.task for e in episodes], recipe)
        records = [
            (e.task, Shown(solution(e.task) if self.solved else e["attempt"], str(tenths)))
            for e, tenths in zip(episodes, drawn, strict=True)
        ]
        known: Recorded[Shown] = Recorded(recipe.tasks, records)
        asked = asked_for(style_of(recipe.model))
        protocol = partial(shown_confidence, grade=recipe.tasks.grade, asked=asked, record=known.record)
        return recipe.with_protocol(lambda _: protocol, known)

    def drawn(self, tasks: Sequence[Task], recipe: Recipe) -> list[int]:
        """A number of tenths for each task."""
        if self.always >= 0:
            return [self.always] * len(tasks)
        rng, stratum = Random(seed_of("drawn confidences", recipe.seed)), getattr(recipe.tasks, "stratum", None)
        if stratum is None:
            return [rng.randint(0, 10) for _ in tasks]
        found = sorted({stratum(task) for task in tasks})
        surer = set(rng.sample(found, len(found) // 2))
        return [(max if stratum(task) in surer else min)(rng.randint(0, 10), rng.randint(0, 10)) for task in tasks]
