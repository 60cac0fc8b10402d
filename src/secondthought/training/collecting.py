"""What a training collects before it begins, or before one of its stages: made once, kept as episodes, and counted."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from secondthought.engines.watched import Watched
from secondthought.learners.torch import TorchLearner
from secondthought.runs.files import write_json
from secondthought.runs.journal import Journal
from secondthought.runs.progress import Progress
from secondthought.runs.reading import read_groups, read_metrics
from secondthought.tasks.base import distinct
from secondthought.training.recipe import Collect, Recipe, Stage
from secondthought.types import Group


def stocked(recipe: Recipe, learner: TorchLearner, journal: Journal, progress: Progress) -> Recipe:
    """The recipe with what it collects before training, and on ``train_problems`` only."""
    if recipe.collect is None or not recipe.collect.wanted:
        few: Any = distinct(recipe.tasks, recipe.train_problems)
        return recipe.with_protocol(lambda protocol: protocol, few) if few else recipe
    return recipe.collect.use(recipe, collected(recipe.collect, "collected", recipe, learner, journal, progress))


def stocked_stage(
    recipe: Recipe, stage: Stage, learner: TorchLearner, journal: Journal, progress: Progress
) -> tuple[Recipe, dict[str, float]]:
    """The recipe with what one of its stages collects when it begins, other stages as they are; and the figures of it."""
    assert stage.collect is not None
    alone = replace(recipe, stages=(replace(stage, collect=None),), collect=None)
    groups = collected(stage.collect, f"collected_{stage.name}", alone, learner, journal, progress)
    made = stage.collect.use(alone, groups)
    (ready,) = made.stages
    stages = tuple(replace(ready, tasks=made.tasks) if one is stage else one for one in recipe.stages)
    figures = {f"collected/{name}": value for name, value in stage.collect.figures(groups).items()}
    return replace(recipe, stages=stages), figures


def collected(
    collect: Collect, label: str, recipe: Recipe, learner: TorchLearner, journal: Journal, progress: Progress
) -> list[Group]:
    """What is collected, made once and kept as episodes beside the number of tokens that this sampled."""
    path, cost = (journal.folder / "episodes" / f"{label}.{kind}" for kind in ("parquet", "json"))
    if learner.world.first and not path.exists():
        groups = collect.make(Watched(learner.sampler, progress.beat), recipe, progress)
        write_json(cost, {"sampled_tokens": sum(map(sum, lengths_of(groups).values()))})
        journal.episodes(label, learner.step_count, "collected", groups)
    learner.world.wait()
    return read_groups(path)


@dataclass(frozen=True)
class Budget:
    """How many tokens were sampled and learned from, and how many may be (0: any number)."""

    sampled: int
    learned: int
    most_sampled: int
    most_learned: int

    @classmethod
    def of(cls, recipe: Recipe, journal: Journal) -> Budget:
        """What the steps of the journal and all that was collected have taken."""
        costs = [json.loads(path.read_text(encoding="utf-8")) for path in (journal.folder / "episodes").glob("collected*.json")]
        lines = read_metrics(journal.folder)
        sampled = sum(cost["sampled_tokens"] for cost in costs) + sum(line.get("tokens/sampled", 0) for line in lines)
        learned = sum(line.get("tokens/learned", 0) for line in lines)
        return cls(int(sampled), int(learned), recipe.token_budget, recipe.loss_budget)

    def after(self, stats: Mapping[str, float]) -> Budget:
        """After one more step."""
        sampled, learned = (int(stats[f"tokens/{name}"]) for name in ("sampled", "learned"))
        return replace(self, sampled=self.sampled + sampled, learned=self.learned + learned)

    @property
    def spent(self) -> bool:
        """Whether one of them is at its end."""
        limits = ((self.sampled, self.most_sampled), (self.learned, self.most_learned))
        return any(most and used >= most for used, most in limits)


def lengths_of(groups: Sequence[Group]) -> dict[str, list[int]]:
    """The tokens of every segment that was sampled, by its name; what episodes share counts once."""
    segments = {id(s): s for group in groups for episode in group for s in episode.segments if s.logprobs is not None}
    lengths: dict[str, list[int]] = {}
    for segment in segments.values():
        lengths.setdefault(segment.name, []).append(len(segment.tokens))
    return lengths
