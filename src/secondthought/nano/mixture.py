"""The corpus of the family that learns both tasks: Countdown, calls, and a little copying and sorting."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random
from typing import ClassVar

from secondthought.nano.corpus import Corpus, Turn, turns
from secondthought.nano.tool_corpus import WORDS, ToolCorpus
from secondthought.tasks.copy_sort import KINDS, draw
from secondthought.types import seed_of

STUDY = 50_000
"""Documents in which to learn the tasks before the first student appears."""


@dataclass(frozen=True)
class Mixture:
    """``countdown`` and ``tools`` are shares of the documents; the rest are drills."""

    words: ClassVar[tuple[str, ...]] = (*WORDS, *KINDS)
    seed: int = 0
    countdown: float = 0.5
    tools: float = 0.44
    numbers: Corpus = Corpus(study=STUDY)
    calls: ToolCorpus = ToolCorpus(study=STUDY)

    def part(self, index: int) -> str:
        """Which part of the corpus the document at ``index`` belongs to: ``countdown``, ``tools`` or ``drills``."""
        return self._part(Random(seed_of("mixture", self.seed, index)))

    def document(self, index: int) -> tuple[Turn, ...]:
        """The conversation at ``index``; the same one every time."""
        rng = Random(seed_of("mixture", self.seed, index))
        part = self._part(rng)
        if part == "countdown":
            return self.numbers.document(index)
        return self.calls.document(index) if part == "tools" else turns(*draw(rng, rng.choice(KINDS), "train"))

    def _part(self, rng: Random) -> str:
        drawn = rng.random()
        return "countdown" if drawn < self.countdown else "tools" if drawn < self.countdown + self.tools else "drills"
