"""Countdown whose answers count only if they are announced: a chain of steps and ``done`` behind it.

The nano game with the format of R1-Zero: what a base model must first learn there is to end its answer as asked, before it
learns to be right (sail-sg/oat-zero pays 0.1 for an answer in tags and 1 for a right one). Without ``done`` there is no answer.
"""

from __future__ import annotations

from dataclasses import dataclass

from secondthought.errors import UserError
from secondthought.tasks.base import Split, nowhere
from secondthought.tasks.candidates import Candidate, candidates
from secondthought.tasks.countdown import Countdown, grade
from secondthought.types import Task, Verdict

FAMILY = "announced"
END = ", done"


@dataclass(frozen=True)
class Announced(Countdown):
    """Countdown problems of one split with numbers of 1-12, answered as ``3 * 5 = 15 , 15 + 2 = 17 , done``.

    >>> task = Announced("test")[0]
    >>> Announced().grade(task, "3 * 5 = 15").why
    'unparsable: it is not done'
    """

    high: int = 12

    def grade(self, task: Task, text: str) -> Verdict:
        """1 for a chain that reaches the target before ``done`` at the end; an answer of None without it."""
        text = text.strip()
        if not text.endswith(END):
            return Verdict(0.0, None, "unparsable: it is not done")
        found = grade(task, text.removesuffix(END))
        return found if found.answer is not None else Verdict(0.0, "", found.why)

    def candidates(self, task: Task, text: str) -> list[Candidate]:
        """The chains in an answer, each as if it had been announced."""
        return [one._replace(value=f"{one.value} {END}") for one in candidates(task, text)]

    def so_far(self, task: Task, text: str) -> Verdict:
        """What an answer has come to that goes on: the last chain, announced or not."""
        return grade(task, text.strip().removesuffix(",").removesuffix(END))


def task_set(place: str, split: Split | None, style: str) -> Announced:
    """``announced[:SPLIT]``, for nano models; endless. Raises UserError for others."""
    nowhere(FAMILY, place)
    if style != "terse":
        raise UserError("the tasks announced are for nano models; countdown asks others for an answer in tags")
    return Announced(split or "test")
