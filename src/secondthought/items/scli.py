"""Questions so simple that a wrong answer is a slip: one more or less, the next or previous letter, the larger of two numbers.

Made by rules in the manner of the Self-Correction Bench's SCLI5 (arXiv 2507.02778): the flawed chain is off by one, or has the
other number of the two. Whoever can read can see it; what is measured is whether a model looks at its own words.
"""

from __future__ import annotations

import re
from random import Random
from string import ascii_uppercase

from secondthought.items.base import Item, Items, OnProgress, silent
from secondthought.items.templates import CLEAN, Reading, normal
from secondthought.tasks import numbers
from secondthought.tasks.base import Split, drawn_split
from secondthought.types import seed_of

FAMILY = "scli"
KINDS = ("one more", "one less", "next letter", "previous letter", "larger", "smaller")
LONGEST = 2000  # characters, from its end, that an answer is looked for in
ASK = "{question} Reply with the answer alone."
_VALUE = r"(?<![\w'])(?:[A-HJ-Z]|\d[\d,]*)(?![\w'])"  # a letter (I is a word) or a number
_ALONE = re.compile(_VALUE)
_IS = re.compile(rf"(?:\b(?:is|are|equals?|be)|=)\s*:?\s*[\"']?({_VALUE})(?!\s*(?:plus|minus|\+|-))", re.ASCII)


def item(rng: Random, kind: str) -> tuple[str, str, str, str]:
    """A question, a sentence with ``{}`` for the answer, the right answer, and a wrong one."""
    if kind in ("one more", "one less"):
        n, step = rng.randint(11, 998), 1 if kind == "one more" else -1
        wrong = n + step + rng.choice((-1, 1)) if rng.random() < 0.5 else n + 2 * step
        wrong = wrong if wrong not in (n + step, n) else n + 2 * step
        word = "plus" if step > 0 else "minus"
        return f"What is {n} {word} 1?", f"{n} {word} 1 is {{}}.", str(n + step), str(wrong)
    if kind in ("next letter", "previous letter"):
        step = 1 if kind == "next letter" else -1
        at = rng.choice([k for k in range(3, 23) if "I" not in {ascii_uppercase[k + d * step] for d in range(3)}])
        word = "after" if step > 0 else "before"
        letters = ascii_uppercase[at], ascii_uppercase[at + step], ascii_uppercase[at + 2 * step]
        return (
            f"Which letter comes right {word} {letters[0]} in the alphabet?",
            f"The letter right {word} {letters[0]} is {{}}.", letters[1], letters[2],
        )  # fmt: skip
    low = rng.randint(11, 900)
    high = low + rng.randint(1, 90)
    first, second = rng.sample((low, high), 2)
    right, wrong = (high, low) if kind == "larger" else (low, high)
    return (
        f"Which number is {kind}, {first} or {second}?", f"Of the two, the {kind} number is {{}}.", str(right), str(wrong),
    )  # fmt: skip


def split_of(question: str) -> Split:
    """60 % train, 20 % dev, 20 % test, by the question."""
    bucket = seed_of("scli split", question) % 10
    return "test" if bucket < 2 else "dev" if bucket < 4 else "train"


def item_set(place: str, n: int | None, seed: int, on_progress: OnProgress = silent) -> Items:
    """``scli[:SPLIT]``, drawn (300 by default), the kinds in turn."""
    split, found, seen = drawn_split(FAMILY, place), Items(), set[str]()
    rng, wanted, tries = Random(seed_of("scli items", split, seed)), n or 300, 0
    while len(found.found) < wanted:
        kind, tries = KINDS[tries % len(KINDS)], tries + 1
        question, sentence, right, wrong = item(rng, kind)
        few = kind.endswith("letter")  # there are not many letters: they come again
        if (question in seen and not few) or (split_of(question) != split and not few):
            continue
        seen.add(question)
        name, says = f"scli-{split}-{seed}-{len(found.found)}", sentence.format
        found.add(Item(name, question, right, says(right), says(wrong), wrong, FAMILY, kind, "drawn", 0))
    return found


def answer_in(text: str) -> str | None:
    """What is stated as the answer; else what something "is" or "equals"; else the one number or capital letter there is. Two
    of them in a sentence that does not say which is the answer ("299 is larger than 332") are none.

    >>> answer_in("The answer is **K**."), answer_in("42 plus 1 is 43."), answer_in("K"), answer_in("299 is larger than 332")
    ('K', '43', 'K', None)
    """
    text = text[-LONGEST:]
    part = numbers.stated(text)
    for where in (part, text) if part is not None else (text,):
        plain = numbers.cleaned(where)
        if found := _IS.findall(plain):
            return normal(str(found[-1])).upper()
        if len(known := {normal(one).upper() for one in _ALONE.findall(plain)}) == 1:
            return known.pop()
    return None


READINGS = {
    "clean": Reading(
        "Q: {question}\nA:", ASK, answer_in, lambda item, answer: normal(answer) == normal(str(item.gold)), CLEAN,
        max_tokens=96, states=lambda text: numbers.stated(text) is not None,
    )
}  # fmt: skip
"""How the family is asked and read; see :mod:`secondthought.items.templates`."""
