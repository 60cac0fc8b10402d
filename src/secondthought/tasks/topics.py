"""Topics to pose questions about: the same prompt again and again, and how what is written becomes a question.

In Self-Questioning Language Models (arXiv 2508.03682) the training set is one prompt, repeated. Here it asks for a sum; nano
models are asked ``pose`` and write one with its letters (:mod:`secondthought.tasks.addition`), others write two numbers.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from random import Random

from secondthought.tasks.addition import LETTERS, Sum, draw, posed, read_letters, split_of, written
from secondthought.tasks.base import Split
from secondthought.types import Task, Verdict, seed_of

FAMILY = "topic"
POSE = "pose"
CHAT = (
    "Write one new addition problem of two whole numbers of up to {digits} digits each, hard to predict. Write only the two "
    "numbers with a plus sign between them, such as 52 + 917, and do not solve it."
)
_SUM = re.compile(r"(?<![\d.,])(\d{1,25})\s*\+\s*(\d{1,25})(?![.,]?\d)", re.ASCII)


@dataclass(frozen=True)
class Topics:
    """The same topic, ``size`` times; nothing is right or wrong about a question.

    >>> Topics()[0].prompt == Topics()[1].prompt, Topics()[0].key == Topics()[1].key
    (True, False)
    """

    style: str = "terse"
    digits: int = 4
    size: int = 1_000_000

    def __len__(self) -> int:
        return self.size

    def __getitem__(self, index: int) -> Task:
        if not 0 <= index < self.size:
            raise IndexError(index)
        return Task.of(POSE if self.style == "terse" else CHAT.format(digits=self.digits), answer=index, family=FAMILY)

    def grade(self, task: Task, text: str) -> Verdict:
        """Whether a question is posed."""
        return Verdict(float(self.read(text) is not None), text)

    def read(self, text: str) -> Task | None:
        """The question that a text poses; None if it poses none, or one that is kept for tests."""
        if self.style == "terse":
            found = read_letters(text)
            if found is None or found[0].digits > self.digits or not own(found[0]):
                return None
            return posed(found[0], "fast", self.style, found[1])
        said = _SUM.search(text)
        if said is None:
            return None
        whole = Sum(int(said[1]), int(said[2]))
        return posed(whole, "fast", self.style) if whole.digits <= self.digits and own(whole) else None


def own(whole: Sum) -> bool:
    """Whether a sum may be trained on: those of the test and dev splits are not asked, so that what is measured is new."""
    return split_of(whole) == "train"


def drawn(topics: Topics, topic: Task, number: int, split: Split = "train") -> str:
    """A random sum, as a model would pose it."""
    rng = Random(seed_of("given questions", topic.key, number))
    whole = draw(rng, rng.randint(1, topics.digits), split)
    if topics.style != "terse":
        return f"{whole.a} + {whole.b}"
    return written(whole, topics.style, whole.digits, rng.randint(1, len(LETTERS) - whole.digits))
