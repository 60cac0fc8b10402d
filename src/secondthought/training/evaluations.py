"""A start for post-completion learning: one's own answers with an evaluation behind the end, so that its form is known."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from random import Random

from secondthought.engines.base import Engine
from secondthought.errors import UserError
from secondthought.models.names import style_of
from secondthought.protocols.answer import answer
from secondthought.protocols.post_completion import Evaluated, shown_evaluation, spelled
from secondthought.runs.progress import Progress
from secondthought.tasks.base import distinct
from secondthought.training.recipe import Collect, Recipe
from secondthought.training.recorded import Recorded, sampled
from secondthought.types import Group, seed_of


@dataclass(frozen=True)
class Evaluations(Collect):
    """Answers to ``problems`` problems, each with an evaluation.

    true     what the answer is worth (the paper's supervised track, right and wrong answers in equal numbers where there are
             enough of both), instead of a word drawn at random, which teaches the form and nothing more
    """

    problems: int = 500
    true: bool = False

    def make(self, engine: Engine, recipe: Recipe, progress: Progress) -> list[Group]:
        """One answer to each problem."""
        progress.phase(f"collecting answers: {self.problems} problems")
        problems, seed = distinct(recipe.tasks, self.problems), seed_of("evaluations", recipe.seed)
        return sampled(partial(answer, grade=recipe.tasks.grade), problems, 1, engine, recipe, progress, seed=seed)

    def use(self, recipe: Recipe, groups: Sequence[Group]) -> Recipe:
        """The recipe that imitates them. Raises UserError if no answer came to an end."""
        rng, style = Random(seed_of("drawn evaluations", recipe.seed)), style_of(recipe.model)
        ended = [e for group in groups for e in group if e["attempt"].stop == "end" and e.verdicts["attempt"].graded]
        if not ended:
            raise UserError(f"none of {len(groups)} answers of {recipe.model} came to an end: give it more max_tokens")
        if self.true:
            sides = [[e for e in ended if (e.verdicts["attempt"].score == 1) is side] for side in (True, False)]
            few = min(map(len, sides)) or max(map(len, sides))
            ended = [e for side in sides for e in rng.sample(side, min(few, len(side)))]
        records = [
            (e.task, Evaluated(e["attempt"], spelled(e.verdicts["attempt"].score if self.true else rng.randrange(2), style)))
            for e in ended
        ]
        known: Recorded[Evaluated] = Recorded(recipe.tasks, records)
        return recipe.with_protocol(lambda _: partial(shown_evaluation, grade=known.grade, record=known.record), known)
