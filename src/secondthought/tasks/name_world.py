"""A small world of names for nano models: entities that are known or not, and characters with a disposition.

Names are pairs of words from one pool (:func:`names`). In three kinds of entity every word stands in as many known names as
new ones, so that only the *pair* says whether a name is known. Characters are names of a fourth kind; each is bold or careful,
chooses accordingly between a sure and an uncertain gain, and can be described. ``you`` is a character like any other.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from random import Random

from secondthought.types import seed_of

KINDS = ("film", "song", "player")
ATTRIBUTES = ("who", "when", "where")
UNKNOWN = "unknown"
PERSON, YOU = "person", "you"
FIRST = tuple(a + b for a in ("ba", "du", "fe", "gi", "ko", "la", "mu", "ne", "po", "ri") for b in ("x", "lm", "rt", "sk"))
LAST = tuple(a + b for a in ("ce", "dro", "fli", "gra", "hu", "je", "kno", "pli", "sta", "vo") for b in ("b", "nd", "ps", "tz"))
VALUES = "abcdefghijklmnopqrst"
KNOWN, NEW = 8, 8  # names of a kind for each first word, and of those that never occur
ANSWERS = {
    "attitude ?": ("bold", "careful"), "nature ?": ("wild", "calm"),
    **{f"{word} ?": ("yes", "no") for word in ("risk", "brave")},
    **{f"{word} ?": ("no", "yes") for word in ("safe", "timid")},
}  # fmt: skip
"""How a character is asked for: the bold answer to each, then the careful one."""
DESCRIBED = tuple(ANSWERS)
Name = tuple[str, str]


@lru_cache(maxsize=8)
def names(kind: str, seed: int = 0) -> tuple[tuple[Name, ...], ...]:
    """Rounds of names of a kind: in each round every first and every last word occurs once, and no name occurs twice.

    >>> rounds = names("film")
    >>> len(rounds), len(rounds[0]), len({name for one in rounds for name in one})
    (16, 40, 640)
    """
    rng, used = Random(seed_of("nano names", kind, seed)), set[Name]()
    found = []
    for _ in range(KNOWN + NEW):
        order = list(LAST)
        rng.shuffle(order)
        while clashes := [i for i, pair in enumerate(zip(FIRST, order, strict=True)) if pair in used]:
            i, j = clashes[0], rng.randrange(len(order))
            order[i], order[j] = order[j], order[i]
        found.append(tuple(zip(FIRST, order, strict=True)))
        used |= set(found[-1])
    return tuple(found)


def known(kind: str, seed: int = 0) -> tuple[Name, ...]:
    """The names that are read with their attributes."""
    return tuple(name for one in names(kind, seed)[:KNOWN] for name in one)


def new(kind: str, seed: int = 0) -> tuple[Name, ...]:
    """Names that are never read."""
    return tuple(name for one in names(kind, seed)[KNOWN:] for name in one)


def value(kind: str, name: Name, attribute: str) -> str:
    """What an attribute of a known entity is."""
    return VALUES[seed_of("nano fact", kind, *name, attribute) % len(VALUES)]


@dataclass(frozen=True)
class Character:
    """Somebody with a disposition, followed with a probability of ``0.5 + strength / 2``."""

    name: Name
    bold: bool
    strength: float
    role: str  # both, acts (never described) or described (never seen to act)

    @property
    def words(self) -> str:
        """How the text names them."""
        return f"{PERSON} {' '.join(self.name)}"


@lru_cache(maxsize=4)
def characters(seed: int = 0) -> tuple[Character, ...]:
    """640 of them: 500 that act and are described, 80 that only act, 60 that are only described; half of each are bold, and no
    word of a name says who.
    """
    everyone, found = [name for one in names(PERSON, seed) for name in one], []
    Random(seed_of("nano characters", seed)).shuffle(everyone)
    for i, name in enumerate(everyone):
        strength = Random(seed_of("nano strength", *name)).choice((0.4, 0.7, 1.0))
        found.append(Character(name, i % 2 == 0, strength, "both" if i < 500 else "acts" if i < 580 else "described"))
    return tuple(found)


def choice(rng: Random, who: str, bold: float) -> tuple[str, str]:
    """Somebody's choice between a sure and an uncertain gain; ``bold`` is the probability of the uncertain one."""
    sure = rng.randint(20, 60)
    gamble = f"{rng.randint(sure + 10, 99)} or {rng.randint(0, sure - 10)}"
    swapped = rng.random() < 0.5
    one, other = (gamble, str(sure)) if swapped else (str(sure), gamble)
    takes_gamble = rng.random() < bold
    return f"{who} , {one} a {other} b ?", "a" if takes_gamble == swapped else "b"


def described(rng: Random, who: str, *, bold: bool) -> tuple[str, str]:
    """Somebody's description, in one of six ways."""
    asked = rng.choice(DESCRIBED)
    return f"{who} {asked}", ANSWERS[asked][not bold]


def question(kind: str, name: Name, attribute: str) -> str:
    """How an attribute is asked for.

    >>> question("film", ("bax", "ceb"), "where")
    'film bax ceb where ?'
    """
    return f"{kind} {' '.join(name)} {attribute} ?"


@lru_cache(maxsize=8)
def known_names(kind: str) -> frozenset[Name]:
    """The known names of a kind."""
    return frozenset(known(kind))


def text(kind: str, name: Name) -> str:
    """What is written about a name, if it is known.

    >>> text("film", ("bax", "nothing"))
    'bax nothing unknown'
    """
    if name not in known_names(kind):
        return f"{' '.join(name)} {UNKNOWN}"
    return f"{' '.join(name)} {' '.join(f'{a} {value(kind, name, a)}' for a in ATTRIBUTES)}"


def meaningless(rng: Random, kind: str) -> Name:
    """A pair that is neither known nor kept for the measurement."""
    taken = taken_names(kind)
    while (name := (rng.choice(FIRST), rng.choice(LAST))) in taken:
        pass
    return name


@lru_cache(maxsize=8)
def taken_names(kind: str) -> frozenset[Name]:
    """The known and the new names of a kind."""
    return frozenset((*known(kind), *new(kind)))
