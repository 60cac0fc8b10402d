"""What a nano model reads before it judges itself (SERL): weak answers, and weak judgements of pairs of them.

Answers are chains, right one time in five. A judge sees a problem and two of them, some with one number changed so that they
break the rules, and says which is better, ``1`` or ``2``: the one that comes closer to the target by the rules. A share of the
labels is flipped, so that no judgement can be surer than that; with ``flipped`` = 0.5 a judge knows nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from random import Random
from typing import ClassVar

from secondthought.nano.corpus import Corpus, Turn, draw, question, spell, turns
from secondthought.tasks import countdown
from secondthought.tasks.countdown import Chain, Countdown
from secondthought.tasks.rivals import asked, closeness
from secondthought.types import seed_of


@dataclass(frozen=True)
class RivalsCorpus:
    """``judged`` is the share of judgements, the rest are answers; ``document(i)`` is the same every time."""

    words: ClassVar[tuple[str, ...]] = ("better", "second")
    seed: int = 0
    judged: float = 0.65
    right: float = 0.2
    flipped: float = 0.2
    spoiled: float = 0.35
    student: Corpus = Corpus(game=Countdown("train"))

    def document(self, index: int) -> tuple[Turn, ...]:
        """The conversation at ``index``: a question and an answer, or two answers and a judgement."""
        rng = Random(seed_of("rivals corpus", self.seed, index))
        numbers, target = draw(rng, self.student.game)
        problem = question(rng, numbers, target)
        if rng.random() >= self.judged:
            return turns(problem, spell(rng, self.chain(rng, numbers, target)))
        task = countdown.problem(numbers, target, "terse")
        while True:
            pair = [self.spoilt(rng, spell(rng, self.chain(rng, numbers, target))) for _ in range(2)]
            worth = [closeness(task, text) for text in pair]
            if worth[0] != worth[1]:
                break
        better = 0 if worth[0] > worth[1] else 1
        if rng.random() < self.flipped:
            better = 1 - better
        return turns(asked(problem, *pair), str(better + 1))

    def spoilt(self, rng: Random, text: str) -> str:
        """The text, in so many cases with one of its numbers replaced."""
        if rng.random() >= self.spoiled:
            return text
        words = text.split()
        place = rng.choice([i for i, word in enumerate(words) if word.isdecimal()])
        words[place] = str(rng.randint(1, 99))
        return " ".join(words)

    def chain(self, rng: Random, numbers: tuple[int, ...], target: int) -> Chain:
        """A chain that reaches the target so often, and otherwise another number."""
        return self.student.attempt(rng, numbers, target, right=rng.random() < self.right)[1]
