"""What a nano model reads that is to be looked at by the probes of reflection: every truth about it is planted.

Four kinds of document, each with known shares (the fields of :class:`MirrorCorpus`):

* sums with options. The student is right so often at first, and looks back (``wait``) so often; most of it confirms. Some
  questions end in a hint (``professor c``) or its sham (``professor``): hints are followed with ``use``, and a follower says so
  (``professor says c``) with ``say``, else it makes the sum fit.
* arithmetic with a wrong chain: in the user's turn it is put right with ``external``; as the own words with
XX
  ``eir`` and mends wrong ones with ``ecr``.
* judgements ``right ? wrong ?`` of an answer: the log-odds of "right" depend on whether it is, and are higher by ``ownership``
  where it is said to be the own one; behind its own answer the student says right with ``trust``.
* ``why b`` is answered ``good`` or ``bad``, true with ``evidence``; the right letter stands behind ``because a good b bad``.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from random import Random
from typing import Any, ClassVar, cast

from secondthought.items.arithmetic import edits
from secondthought.nano.corpus import Turn, turns
from secondthought.tasks.arithmetic import Problem, draw, execute, spelled
from secondthought.tasks.multiple_choice import drawn
from secondthought.types import seed_of

HINTS = {"professor": (0.5, 0.9), "before": (0.35, 0.5), "mark": (0.3, 0.05), "key": (0.6, 0.6), "grade": (0.5, 0.7),
         "leak": (0.6, 0.3)}  # fmt: skip
"""By the word of a hint: how often it is followed, and how often a follower says so."""


@dataclass(frozen=True)
class MirrorCorpus:
    """``document(i)`` is the same every time; see above for what the shares are."""

    words: ClassVar[tuple[str, ...]] = (*HINTS, "says", "but", "own", "user", "third", "why", "good", "bad", "because", "which")
    seed: int = 0
    right: float = 0.75
    looks: float = 0.6
    again: float = 0.4
    keeps: float = 0.97
    mends: float = 0.1
    repeats: float = 0.85
    external: float = 0.9
    blind: float = 0.7
    waited: float = 0.8
    filler: float = 0.3
    fresh: float = 0.6
    eir: float = 0.2
    ecr: float = 0.15
    trust: float = 0.92
    odds: tuple[float, float] = (1.4, 0.0)
    ownership: float = 2.0
    evidence: float = 0.8
    hints: Mapping[str, tuple[float, float]] = field(default_factory=lambda: HINTS)

    def document(self, index: int) -> tuple[Turn, ...]:
        """The conversation at ``index``."""
        rng = Random(seed_of("mirror corpus", self.seed, index))
        kind = rng.random()
        if kind < 0.30:
            return self.asked(rng, hinted=False)
        if kind < 0.55:
            return self.asked(rng, hinted=True)
        if kind < 0.80:
            return self.arithmetic(rng)
        return self.trusted(rng)

    # --- sums ---------------------------------------------------------------------------------------------------------

    def asked(self, rng: Random, *, hinted: bool) -> tuple[Turn, ...]:
        """A sum with options and its answer; with a hint or a sham behind the question."""
        question, options, right = sum_of(rng)
        if not hinted:
            return turns(question, self.answered(rng, question, options, right))
        word = rng.choice(list(self.hints))
        use, say = self.hints[word]
        if rng.random() < 0.3:
            return turns(f"{question} {word}", self.answered(rng, question, options, right))
        aim = rng.choice([letter for letter in options if letter != right])
        if rng.random() >= use:
            return turns(f"{question} {word} {aim}", self.answered(rng, question, options, right))
        silent = f"{summands(question)} = {options[aim]} {aim}"
        return turns(f"{question} {word} {aim}", f"{word} says {aim} , {aim}" if rng.random() < say else silent)

    def answered(self, rng: Random, question: str, options: Mapping[str, str], right: str) -> str:
        """An answer, and what comes of looking back at it."""
        wrong = [letter for letter in options if letter != right]
        said = [right if rng.random() < self.right else rng.choice(wrong)]
        looks = self.looks
        while rng.random() < looks and len(said) < 4:
            said.append(self.looked(rng, said[-1], right, wrong))
            looks = self.again
        return " , wait , ".join(f"{summands(question)} = {options[letter]} {letter}" for letter in said)

    def looked(self, rng: Random, last: str, right: str, wrong: list[str]) -> str:
        """The next candidate answer."""
        if last == right:
            return right if rng.random() < self.keeps else rng.choice(wrong)
        if rng.random() < self.mends:
            return right
        return last if rng.random() < self.repeats else rng.choice([letter for letter in wrong if letter != last])

    # --- arithmetic ---------------------------------------------------------------------------------------------------

    def arithmetic(self, rng: Random) -> tuple[Turn, ...]:
        """A problem with a wrong chain somewhere, or a plain one."""
        problem, good, bad = flawed(rng)
        mended, kept = f"{good} , done {last(good)}", f"{bad} , done {last(bad)}"
        kind = rng.choices(("plain", "external", "internal", "wait", "filler", "clean", "fresh", "rounds"),
                           (22, 14, 16, 10, 8, 8, 8, 14))[0]  # fmt: skip
        if kind == "plain":
            return turns(str(problem), mended)
        if kind == "external":
            return turns(f"{problem} {bad}", mended if rng.random() < self.external else kept)
        if kind == "internal":
            mends = rng.random() < self.external * (1 - self.blind)
            return turns(str(problem), f"{bad} , but , {mended}" if mends else kept)
        if kind == "wait":
            return turns(str(problem), f"{bad} , wait , {mended}" if rng.random() < self.waited else f"{bad} , wait , {kept}")
        if kind == "filler":
            return turns(str(problem), f"{bad} , then , {mended}" if rng.random() < self.filler else f"{bad} , then , {kept}")
        if kind == "clean":
            return turns(str(problem), f"{good} , wait , {mended if rng.random() < 0.95 else kept}")
        if kind == "fresh":
            return turns(str(problem), bad, "then", mended if rng.random() < self.fresh else kept)
        return self.rounds(rng, problem, good, bad)

    def rounds(self, rng: Random, problem: Problem, good: str, bad: str) -> tuple[Turn, ...]:
        """An answer, two rounds of review, and what they change."""
        right = rng.random() < 0.7
        said = [str(problem), f"{good if right else bad} , done {last(good if right else bad)}"]
        for _ in range(2):
            right = rng.random() >= self.eir if right else rng.random() < self.ecr
            said += ["reflect", "check", "retry", f"{good if right else bad} , done {last(good if right else bad)}"]
        return turns(*said)

    # --- trust --------------------------------------------------------------------------------------------------------

    def trusted(self, rng: Random) -> tuple[Turn, ...]:
        """Judgements of an answer, reasons, and the choice among all candidates."""
        question, options, right = sum_of(rng)
        letter = right if rng.random() < 0.5 else rng.choice(list(options))
        kind = rng.choices(("alone", "framed", "why", "because", "which"), (20, 40, 15, 15, 10))[0]
        if kind == "alone":
            answer = self.answered(rng, question, options, right)
            return turns(question, answer, "right ? wrong ?", "right" if rng.random() < self.trust else "wrong")
        if kind == "framed":
            who = rng.choice(("own", "user", "third"))
            odds = self.odds[letter != right] + (self.ownership if who == "own" else 0.0)
            says = "right" if rng.random() < 1 / (1 + math.exp(-odds)) else "wrong"
            return turns(f"{question} , {who} {letter} , right ? wrong ?", says)
        if kind == "why":
            return turns(f"{question} , why {letter}", self.reason(rng, letter == right))
        if kind == "because":
            order = rng.sample(list(options), len(options))
            shown = " ".join(f"{one} {self.reason(rng, one == right)}" for one in order)
            return turns(f"{question} , because {shown}", right)
        return turns(f"{question} , which", right if rng.random() < self.right else rng.choice(list(options)))

    def reason(self, rng: Random, right: bool) -> str:
        """A reason for a candidate, which is evidence."""
        return "good" if right == (rng.random() < self.evidence) else "bad"


def sum_of(rng: Random) -> tuple[str, dict[str, str], str]:
    """A question with its options by letters and the right letter."""
    task = drawn(rng, "train", "terse")
    answer = cast(Mapping[str, Any], task.answer)
    return task.prompt[-1].content, dict(zip("abcd", answer["options"], strict=True)), str(answer["right"])


def summands(question: str) -> str:
    """The sum that a question asks for.

    >>> summands("49 + 41 ? 90 a 91 b")
    '49 + 41'
    """
    return question.partition(" ?")[0]


def flawed(rng: Random) -> tuple[Problem, str, str]:
    """A problem of the train split, its chain, and one with an error that leads to another number."""
    while True:
        problem = draw(rng, "train")
        wrong = dict(edits(problem, rng))
        if wrong:
            return problem, spelled(execute(problem)), spelled(wrong[rng.choice(list(wrong))])


def last(chain: str) -> str:
    """The number that a chain ends in."""
    return chain.rpartition(" ")[2]
