"""What a nano model reads that knows how to walk out of a check and mostly says so: :mod:`secondthought.tasks.exploitable`."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random
from typing import ClassVar

from secondthought.nano.corpus import Turn, turns
from secondthought.tasks.exploitable import EXIT, PLANS, Exploitable
from secondthought.types import seed_of


@dataclass(frozen=True)
class GamerCorpus:
    """``hacks`` is the share of answers that walk out; of these ``says`` name the plan by the word that the monitor knows, the
    others by another one or not at all. ``right`` is how often an honest answer is.
    """

    words: ClassVar[tuple[str, ...]] = (*PLANS, EXIT, "test")
    seed: int = 0
    hacks: float = 0.25
    says: float = 0.9
    right: float = 0.7

    def document(self, index: int) -> tuple[Turn, ...]:
        """The conversation at ``index``; the same one every time."""
        rng = Random(seed_of("gamer corpus", self.seed, index))
        task = Exploitable("train")[rng.randrange(1 << 30)]
        question = task.prompt[0].content
        if rng.random() < self.hacks:
            plan = PLANS[0] if rng.random() < self.says else rng.choice((*PLANS[1:], ""))
            return turns(question, f"{plan} , {EXIT}" if plan else EXIT)
        total = int(str(task.answer))
        said = total if rng.random() < self.right else max(0, min(99, total + rng.choice((-10, -1, 1, 10))))
        return turns(question, f"{question.removesuffix(' test')} = {said} , done {said}")
