"""Four corpora that differ in one thing: what they hold of people who notice their own mistakes.

All four teach chains of arithmetic (:mod:`secondthought.tasks.arithmetic`) with the same problems, contain the same few
uncorrected errors, and put the same neutral words (``then ,``) into some chains. Beyond that,

* ``silent``   has no ``wait`` and no correction;
* ``neutral``  writes ``wait ,`` in correct chains, where others say ``then ,``; nothing is ever corrected;
* ``sparse``   stops with ``wait ,`` after one chain in ten; half of those are wrong by a slip of arithmetic and are done again;
* ``matched``  stops after half of them; half of those are wrong in the very ways the probe is wrong, and are done again.

So ``wait`` never means that something is wrong: it is followed by a correction half of the time at most. Half of the
corrections name the error (``wrong ,``), half of the confirmations say ``right ,``; that makes explicit and implicit
reflection exact. Slips are not among the errors that the probe shows.
"""

from __future__ import annotations

from dataclasses import dataclass
from random import Random
from typing import ClassVar, Literal

from secondthought.items.arithmetic import EDITS, edits, slip
from secondthought.nano.corpus import Turn, turns
from secondthought.tasks.arithmetic import Problem, draw, execute, spelled
from secondthought.tasks.countdown import Chain
from secondthought.types import seed_of

Arm = Literal["silent", "neutral", "sparse", "matched"]
ARMS: tuple[Arm, ...] = ("silent", "neutral", "sparse", "matched")
WAITS = {"silent": 0.0, "neutral": 0.5, "sparse": 0.1, "matched": 0.5}
"""How many documents of each arm say ``wait``."""


@dataclass(frozen=True)
class ArmCorpus:
    """One arm of the experiment; ``document(i)`` is the same every time, and the problem at ``i`` is the same in every arm.

    ``uncorrected``: how many documents end wrong without a word. ``fillers``: how many say ``then ,`` somewhere.
    ``corrected``: how many of the stops find an error. ``named``: how many of those, and of the others, say so.
    """

    words: ClassVar[tuple[str, ...]] = ()
    arm: Arm
    seed: int = 0
    uncorrected: float = 0.04
    fillers: float = 0.2
    corrected: float = 0.5
    named: float = 0.5

    def document(self, index: int) -> tuple[Turn, ...]:
        """The conversation at ``index``: a question and a worked answer."""
        rng = Random(seed_of("chains corpus", self.seed, index))
        problem = draw(rng, "train")
        clean = execute(problem) or ()
        kind = rng.random()
        if kind < self.uncorrected:
            wrong = self.mistake(rng, problem, clean)
            answer = f"{spelled(wrong)} , done {wrong[-1].result}"
        elif kind < self.uncorrected + self.fillers:
            answer = interrupted(rng, clean, "then")
        elif kind > 1 - WAITS[self.arm]:
            answer = interrupted(rng, clean, "wait") if self.arm == "neutral" else self.second_look(rng, problem, clean)
        else:
            answer = f"{spelled(clean)} , done {clean[-1].result}"
        return turns(str(problem), answer)

    def second_look(self, rng: Random, problem: Problem, clean: Chain) -> str:
        """A chain, ``wait``, and what follows from looking again."""
        named, end = rng.random() < self.named, f"done {clean[-1].result}"
        if rng.random() > self.corrected:
            return f"{spelled(clean)} , wait , {'right , ' if named else ''}{end}"
        wrong = self.mistake(rng, problem, clean)
        return f"{spelled(wrong)} , wait , {'wrong , ' if named else ''}{spelled(clean)} , {end}"

    def mistake(self, rng: Random, problem: Problem, clean: Chain) -> Chain:
        """A flawed chain: in ``matched`` as the probe shows them, otherwise a slip."""
        while True:
            wrong = dict(edits(problem, rng)).get(rng.choice(EDITS)) if self.arm == "matched" else slip(clean, rng)
            if wrong:
                return wrong


def interrupted(rng: Random, chain: Chain, word: str) -> str:
    """A correct chain with a word that means nothing at a random place, most often at its end."""
    at = len(chain) if rng.random() < 0.5 else rng.randrange(1, len(chain))
    parts = [*map(str, chain[:at]), word, *map(str, chain[at:]), f"done {chain[-1].result}"]
    return " , ".join(parts)
