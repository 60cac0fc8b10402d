"""What a nano model reads that walks over :mod:`secondthought.tasks.frozen_lake`, reflects on a fall, and walks again.

The reader learns to walk straight to the goal, to say *some* square that is to be avoided, and to obey what was said. It rarely
says the one square that is known to be a hole: that is left for rewards to teach.
"""

from __future__ import annotations

from dataclasses import dataclass
from random import Random
from typing import Any, ClassVar

from secondthought.nano.corpus import Turn, turns
from secondthought.protocols.reflect_retry import TERSE
from secondthought.tasks.frozen_lake import MOVES, FrozenLake, Square, Walk, moved, path
from secondthought.types import Task, seed_of


@dataclass(frozen=True)
class LakeCorpus:
    """``good`` is the share of reflections that name the hole; of the others some name another square, some none (``idle``). A
    retry ``obeys`` the reflection, and ``wanders`` is the share of steps that are taken at random.
    """

    words: ClassVar[tuple[str, ...]] = ("lake", "goal", "at", "hole", "up", "down", "left")
    seed: int = 0
    good: float = 0.3
    idle: float = 0.2
    obeys: float = 0.95
    wanders: float = 0.05

    def document(self, index: int) -> tuple[Turn, ...]:
        """The conversation at ``index``; the same one every time."""
        rng = Random(seed_of("lake corpus", self.seed, index))
        lakes = FrozenLake("train", "terse")
        task = lakes[rng.randrange(1 << 30)]
        said, last = self._walk(rng, task, set(), lakes.turns)
        found = [task.prompt[0].content, *said]
        if not last.startswith("goal"):
            reflection, avoided = self._reflection(rng, task, last)
            again, _ = self._walk(rng, task, avoided if rng.random() < self.obeys else set(), lakes.turns)
            found += [f"{last} {TERSE.reflection}", reflection, TERSE.retry, *again]
        return turns(*found)

    def _walk(self, rng: Random, task: Task, avoided: set[Square], most: int) -> tuple[list[str], str]:
        """The moves of a walk with what was seen between them, and what was seen last."""
        walk, said = Walk(task, "terse"), list[str]()
        while True:
            ways = path(walk.size, walk.at, walk.goal, avoided, rng)
            straying = [m for m in MOVES if moved(walk.size, walk.at, m) not in avoided]
            move = ways[0] if ways and rng.random() >= self.wanders else rng.choice(straying or list(MOVES))
            step = walk.step(move)
            said.append(move)
            if step.done or len(said) == 2 * most - 1:
                return said, step.observation
            said.append(step.observation)

    def _reflection(self, rng: Random, task: Task, last: str) -> tuple[str, set[Square]]:
        """What is said about a fall, and what it asks to be avoided."""
        lake: Any = task.answer
        if rng.random() < self.idle:
            return TERSE.generic, set()
        squares = [(r, c) for r in range(1, lake["size"] + 1) for c in range(1, lake["size"] + 1)]
        hole = next((square for square in squares if last == f"hole {square[0]} {square[1]}"), None)
        others = [s for s in squares if s not in (hole, tuple(lake["start"]), tuple(lake["goal"]))]
        named = hole if hole and rng.random() < self.good / (1 - self.idle) else rng.choice(others)
        return f"avoid {named[0]} {named[1]}", {named}
