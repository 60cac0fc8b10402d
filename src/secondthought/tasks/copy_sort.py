"""Copying and sorting: plain tasks that no recipe trains on, so that forgetting them shows what training costs."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random
from typing import Literal

from secondthought.errors import UserError
from secondthought.tasks.base import Split
from secondthought.types import Task, Verdict, seed_of

Kind = Literal["copy", "sort"]
KINDS: tuple[Kind, ...] = ("copy", "sort")


def draw(rng: Random, kind: Kind, split: Split) -> tuple[str, str]:
    """A task and its answer: three to seven numbers of 0-99, to be written again as they are or in order."""
    while True:
        numbers = [rng.randrange(100) for _ in range(rng.randint(3, 7))]
        bucket = seed_of("drill split", tuple(sorted(numbers))) % 10
        if (bucket < 2) == (split == "test") and (bucket == 2) == (split == "dev"):
            answer = sorted(numbers) if kind == "sort" else numbers
            return f"{kind} {' '.join(map(str, numbers))}", " ".join(map(str, answer))


@dataclass(frozen=True)
class CopySort:
    """Endless tasks of one kind and split; splits are by the numbers, whatever their order.

    >>> task = CopySort("sort", "test")[0]
    >>> task.answer == " ".join(sorted(task.prompt[0].content.split()[1:], key=int))
    True
    """

    kind: Kind
    split: Split = "train"
    size: int = 1_000_000

    def __len__(self) -> int:
        return self.size

    def __getitem__(self, index: int) -> Task:
        if not 0 <= index < self.size:
            raise IndexError(index)
        asked, answer = draw(Random(seed_of(self.kind, self.split, index)), self.kind, self.split)
        return Task.of(asked, answer=answer, family=self.kind)

    def grade(self, task: Task, text: str) -> Verdict:
        """1 if the numbers are the right ones in the right order."""
        written = " ".join(text.split())
        return Verdict(1.0, written, "right") if written == task.answer else Verdict(0.0, written, "wrong numbers")


def task_set(place: str, split: Split | None, style: str) -> CopySort:
    """``copy_sort:copy`` or ``copy_sort:sort``, with a split where wanted."""
    if place not in KINDS:
        raise UserError(f"there is no kind {place!r} of copy_sort; write copy_sort:copy or copy_sort:sort")
    return CopySort(place, split or "test")
