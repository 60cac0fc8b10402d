"""A start for RLCR: answers with confidences that say nothing, so that a small model knows the form and nothing more."""

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
from secondthought.types import Group, seed_of


@dataclass(frozen=True)
class Confidences(Collect):
    """Answers to ``problems`` problems, each with a number of tenths drawn uniformly from 0 to 10.

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
        rng, solution = Random(seed_of("drawn confidences", recipe.seed)), solution_of(recipe.tasks)
        records = [
            (
                e.task,
                Shown(
                    solution(e.task) if self.solved else e["attempt"],
                    str(rng.randint(0, 10) if self.always < 0 else self.always),
                ),
            )
            for group in groups for e in group
        ]  # fmt: skip
        known: Recorded[Shown] = Recorded(recipe.tasks, records)
        asked = asked_for(style_of(recipe.model))
        protocol = partial(shown_confidence, grade=recipe.tasks.grade, asked=asked, record=known.record)
        return recipe.with_protocol(lambda _: protocol, known)
