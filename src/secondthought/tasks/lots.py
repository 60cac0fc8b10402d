"""Lots: one of a few numbers was drawn, and nobody can know which. The best confidence in any guess is known exactly.

The prompt shows 1, 2, 5 or 10 different numbers (``try 2 numbers 4 17``); one of them, chosen at random when the task was
made, is right. Whoever says one of them is right with probability 1 over their number, whoever says anything else never. So it
can be tested whether a stated confidence is the true one, stratum by stratum: the question of "Beyond Binary Rewards" (RLCR,
arXiv 2507.16806), whose own data have paragraphs taken away so that some questions cannot be answered.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from random import Random

from secondthought.tasks.base import Split, nowhere
from secondthought.types import Task, Verdict, seed_of

FAMILY = "lots"
COUNTS = (1, 2, 5, 10)  # so that every chance is a number of tenths, as confidences are


@dataclass(frozen=True)
class Lots:
    """Endless tasks of one split; splits are by the numbers, whatever their order.

    >>> task = Lots("test")[0]
    >>> Lots("test").grade(task, task.answer).score, Lots("test").grade(task, "100").why
    (1.0, 'none of the numbers')
    """

    split: Split = "train"
    size: int = 1_000_000

    def __len__(self) -> int:
        return self.size

    def __getitem__(self, index: int) -> Task:
        if not 0 <= index < self.size:
            raise IndexError(index)
        rng = Random(seed_of(FAMILY, self.split, index))
        while True:
            numbers = rng.sample(range(100), rng.choice(COUNTS))
            bucket = seed_of("lots split", tuple(sorted(numbers))) % 10
            if {0: "test", 1: "test", 2: "dev"}.get(bucket, "train") == self.split:
                break
        text = f"try {len(numbers)} numbers {' '.join(map(str, numbers))}"
        return Task.of(text, answer=str(rng.choice(numbers)), family=FAMILY)

    def grade(self, task: Task, text: str) -> Verdict:
        """1 for the number that was drawn, if nothing else is said."""
        said = text.strip()
        if said not in shown(task):
            return Verdict(0.0, said, "none of the numbers")
        return Verdict(1.0, said, "right") if said == task.answer else Verdict(0.0, said, "another number was drawn")

    def stratum(self, task: Task) -> str:
        """How many numbers there are to choose from."""
        return str(len(shown(task)))

    def solution(self, task: Task) -> str:
        """A guess as good as any: one of the numbers, chosen at random once and for all."""
        return Random(seed_of("guess", task.key)).choice(shown(task))


def shown(task: Task) -> list[str]:
    """The numbers that a task shows."""
    return re.findall(r"\d+", task.prompt[-1].content.rpartition("numbers")[2])


def chance(task: Task) -> float:
    """How likely the best guess is right.

    >>> chance(Task.of("try 4 numbers 4 17 9 60", answer="9", family="lots"))
    0.25
    """
    return 1 / len(shown(task))


def task_set(place: str, split: Split | None, style: str) -> Lots:
    """``lots[:SPLIT]``, endless."""
    nowhere(FAMILY, place)
    return Lots(split or "test")
