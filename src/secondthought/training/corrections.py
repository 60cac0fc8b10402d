"""Offline traces of self-correction: a first attempt and a better second one, to be imitated.

``own`` are two-turn episodes of the model itself, as STaR keeps them (arXiv 2203.14465, in two turns); ``pairs`` put a wrong
and a right first attempt of the model at the same problem behind each other, drawn at random (Pair-SFT, after Welleck et al.,
arXiv 2211.00053). Both are baselines of SCoRe (arXiv 2409.12917, section 4), each without and with (``keep_right``) traces that
leave a right attempt right: the data sets D and D+.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from random import Random
from typing import Literal

from secondthought.engines.base import Engine
from secondthought.errors import UserError
from secondthought.protocols.answer import answer
from secondthought.protocols.self_correction import TERSE, Request, corrected, self_correction
from secondthought.runs.progress import Progress
from secondthought.tasks.base import distinct
from secondthought.training.recipe import Collect, Recipe
from secondthought.training.recorded import Recorded, sampled
from secondthought.types import Group, Segment, seed_of

Pair = tuple[Segment, Segment]


@dataclass(frozen=True)
class Corrections(Collect):
    """Sample ``problems`` problems ``samples`` times and keep what is worth imitating.

    source       own (both turns sampled) or pairs (first attempts only, paired)
    keep_right   keep right-to-right traces as well (D+)
    """

    source: Literal["own", "pairs"] = "own"
    keep_right: bool = False
    problems: int = 1000
    samples: int = 4
    request: Request = TERSE

    def make(self, engine: Engine, recipe: Recipe, progress: Progress) -> list[Group]:
        """Every episode that was sampled, a group for each problem."""
        progress.phase(f"collecting corrections: {self.problems} problems x {self.samples}")
        grade = recipe.tasks.grade
        protocol = (
            partial(answer, grade=grade) if self.source == "pairs"
            else partial(self_correction, grade=grade, request=self.request)
        )  # fmt: skip
        problems = distinct(recipe.tasks, self.problems)
        seed = seed_of("corrections", recipe.seed)
        return sampled(protocol, problems, self.samples, engine, recipe, progress, seed=seed)

    def use(self, recipe: Recipe, groups: Sequence[Group]) -> Recipe:
        """The recipe that imitates them. Raises UserError if there is nothing to imitate."""
        kept = [(group[0].task, pair) for group in groups for pair in self.pairs(group, recipe.seed)]
        if not kept:
            raise UserError(
                f"{recipe.model} mended none of its attempts at {len(groups)} problems: there is nothing to imitate; "
                "try easier tasks or more samples"
            )
        known: Recorded[Pair] = Recorded(recipe.tasks, kept)
        protocol = partial(corrected, grade=known.grade, request=self.request, pair=known.record)
        return recipe.with_protocol(lambda _: protocol, known)

    def pairs(self, group: Group, seed: int) -> list[Pair]:
        """First and second attempts at one problem: as they were sampled, or paired at random."""
        if self.source == "own":
            wanted = {(0.0, 1.0), (1.0, 1.0)} if self.keep_right else {(0.0, 1.0)}
            both = [e for e in group if "attempt_2" in e.verdicts]
            return [
                (e["attempt_1"], e["attempt_2"]) for e in both
                if (e.verdicts["attempt_1"].score, e.verdicts["attempt_2"].score) in wanted
            ]  # fmt: skip
        rng = Random(seed_of("pairs", seed, group[0].task.key))
        right, wrong = ([e["attempt"] for e in group if e.verdicts["attempt"].score == score] for score in (1, 0))
        if not right:
            return []
        kept = [(one, rng.choice(right)) for one in wrong]
        return kept + [(one, one) for one in right] if self.keep_right else kept
