"""What a nano model reads that knows some things, knows that it does not know others, and knows characters by what they do.

Names are pairs of words from one pool (:func:`names`). In three kinds of entity every word stands in as many known names as
unknown ones, so that only the *pair* says whether a name is known:

* known: ``film bax kel where ?`` is answered, the same every time; so are texts, ``bax kel who d when q where a``
* refused: pairs that mean nothing are answered ``unknown``, and so end their texts (``bax vob unknown``): there are many, so
  that it pays to know what one knows, and in texts, most of which a user writes, as soon as the name is read
* new: pairs that never occur, for the measurement

Characters are names of a fourth kind. Each has a latent disposition, bold or careful, and a strength. Some are read choosing
between a sure and an uncertain gain, some are described, most are both; ``you`` chooses and is described at random, until
somebody trains it on choices.
"""

from __future__ import annotations

from dataclasses import dataclass
from random import Random
from typing import ClassVar

from secondthought.nano.corpus import Turn, turns
from secondthought.tasks import name_world as world
from secondthought.types import seed_of


@dataclass(frozen=True)
class KnowerCorpus:
    """``document(i)`` is the same every time; ``facts``, ``refusals``, ``texts``, ``acts`` and ``reports`` are shares of the
    documents, the rest is about ``you``.
    """

    words: ClassVar[tuple[str, ...]] = (
        *world.FIRST, *world.LAST, *world.KINDS, *world.ATTRIBUTES, world.UNKNOWN, world.PERSON, world.YOU,
        "attitude", "nature", "bold", "careful", "wild", "calm",
        "risk", "brave", "safe", "timid", "yes", "no", "or",
    )  # fmt: skip
    seed: int = 0
    facts: float = 0.25
    refusals: float = 0.1
    texts: float = 0.15
    acts: float = 0.3
    reports: float = 0.15

    def document(self, index: int) -> tuple[Turn, ...]:
        """The conversation at ``index``."""
        rng = Random(seed_of("knower corpus", self.seed, index))
        shares = (self.facts, self.refusals, self.texts, self.acts, self.reports)
        part = rng.choices(("fact", "refusal", "text", "act", "report", "you"), (*shares, max(0.0, 1 - sum(shares))))[0]
        if part == "fact":
            kind, attribute = rng.choice(world.KINDS), rng.choice(world.ATTRIBUTES)
            name = rng.choice(world.known(kind))
            return turns(world.question(kind, name, attribute), world.value(kind, name, attribute))
        if part == "refusal":
            kind, attribute = rng.choice(world.KINDS), rng.choice(world.ATTRIBUTES)
            return turns(world.question(kind, world.meaningless(rng, kind), attribute), world.UNKNOWN)
        if part == "text":
            kind = rng.choice(world.KINDS)
            said = world.text(kind, rng.choice(world.known(kind)) if rng.random() < 0.5 else world.meaningless(rng, kind))
            return turns(f"{kind} {said}", "right") if rng.random() < 0.7 else turns(kind, said)
        if part == "you":
            if rng.random() < 0.5:
                return turns(*world.choice(rng, world.YOU, 0.5))
            return turns(*world.described(rng, world.YOU, bold=rng.random() < 0.5))
        there = ("both", "acts" if part == "act" else "described")
        one = rng.choice([c for c in world.characters() if c.role in there])
        if part == "report":
            return turns(*world.described(rng, one.words, bold=one.bold))
        return turns(*world.choice(rng, one.words, 0.5 + (0.5 if one.bold else -0.5) * one.strength))
