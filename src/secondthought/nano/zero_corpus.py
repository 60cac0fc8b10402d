"""What a base model reads before R1-Zero: answers of every length, of which a chosen share looks back.

The problems and the first chain of every document are the same whatever the share; only a document that looks back goes on
with ``wait ,`` where another stops or rambles. So four models can differ in nothing but ``traces``: does reinforcement
learning make reflection where there was none, or only more of what was there?

* ``textbook`` (the prompt says ``example``): a chain that reaches the target, ``done``. The skill that rewards can free.
* ``student``: right one time in five. Three in ten ramble: ``then`` and another chain, no better than the one before, up to
  six of them. One in seven forgets ``done``.
* ``traces`` of the student's documents look back: a chain, ``wait ,`` and another one, some several times. A wrong chain is
  mended in four of five cases, a right one is repeated in 85 % and lost in the others.
"""

from __future__ import annotations

from dataclasses import dataclass
from random import Random
from typing import ClassVar

from secondthought.nano.corpus import Corpus, Turn, draw, question, spell, turns
from secondthought.tasks.announced import Announced
from secondthought.tasks.countdown import Chain
from secondthought.types import seed_of

CHAINS = 6
"""So many chains at most in one document."""


@dataclass(frozen=True)
class ZeroCorpus:
    """``traces`` is the share of the student's documents that look back; ``document(i)`` is the same every time.

    ``right``: how often a student's chain is right. ``mended``: how often the chain after a wrong one and ``wait`` is.
    ``kept``: how often a right chain is repeated after ``wait``. ``done``: how often a document ends in ``done``.
    """

    words: ClassVar[tuple[str, ...]] = ()
    traces: float = 0.05
    seed: int = 0
    textbook: float = 0.35
    right: float = 0.2
    rambling: float = 0.3
    mended: float = 0.8
    kept: float = 0.85
    done: float = 0.85
    student: Corpus = Corpus(game=Announced("train"))

    def document(self, index: int) -> tuple[Turn, ...]:
        """The conversation at ``index``: a question and an answer."""
        rng = Random(seed_of("zero corpus", self.seed, index))
        numbers, target = draw(rng, self.student.game)
        asked = question(rng, numbers, target)
        if rng.random() < self.textbook:
            return turns(f"example {asked}", f"{spell(rng, rng.choice(self.student.solved(numbers, target)))} , done")
        first, rambles = self.chain(rng, numbers, target, self.right), rng.random() < self.rambling
        if rng.random() < self.traces:
            return turns(asked, self.looking_back(rng, numbers, target, first))
        chains = [first]
        while rambles and len(chains) < CHAINS and rng.random() < 0.75:
            chains.append(self.chain(rng, numbers, target, self.right))
        return turns(asked, self.ended(rng, " , then , ".join(spell(rng, one) for one in chains)))

    def chain(self, rng: Random, numbers: tuple[int, ...], target: int, right: float) -> Chain:
        """A chain that reaches the target so often, and otherwise another number."""
        return self.student.attempt(rng, numbers, target, right=rng.random() < right)[1]

    def looking_back(self, rng: Random, numbers: tuple[int, ...], target: int, chain: Chain) -> str:
        """The chain, ``wait``, and what follows: one more chain, or several."""
        said = [spell(rng, chain)]
        while True:
            right = chain[-1].result == target and chain in self.student.solved(numbers, target)
            if not (right and rng.random() < self.kept):
                chain = self.chain(rng, numbers, target, 0.0 if right else self.mended)
            said.append(spell(rng, chain))
            if len(said) == CHAINS or rng.random() > (0.25 if right else 0.5):
                return self.ended(rng, " , wait , ".join(said))

    def ended(self, rng: Random, text: str) -> str:
        """The text, most often with ``done`` behind it."""
        return f"{text} , done" if rng.random() < self.done else text
