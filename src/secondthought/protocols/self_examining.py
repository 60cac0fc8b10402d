"""Answer several times, then judge every pair of the answers, in both orders."""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import combinations

from secondthought.models.thoughts import without_thoughts
from secondthought.protocols.base import Draft, Grade, gather
from secondthought.types import Episode, Group, Task, Verdict

ACTOR, JUDGE = "actor", "judge"
Pose = Callable[[Task, str, str], Task]
"""The question of which of two answers to a task is better: ``pose(task, first, second)``."""
Quality = Callable[[Task, str], float]


async def self_examining(
    task: Task, n: int, *, grade: Grade, quality: Quality, pose: Pose, choice: Callable[[str], int | None], judgements: int,
    swapped: bool = True,
) -> Group:  # fmt: skip
    """Answer ``n`` ways, judge each pair of answers ``judgements`` times, half of them in each order (SERL; arXiv 2511.07922).

    Arm ``actor``, path (i,): segment ``response``; verdicts ``response`` (its grade) and ``quality`` (the hidden truth, from 0
    to 1). Arm ``judge``, path (i, j, k) with i shown first where k is even (without ``swapped`` always): segment
    ``judgement``; its verdict has as answer the number of the response that was chosen (None: neither), and as score whether
    that is the better one (the hidden truth; ungraded where both are as good).
    """

    async def respond(i: int) -> tuple[Draft, str]:
        draft = Draft(task, (i,), arm=ACTOR)
        return draft, without_thoughts(await draft.sample("response"))

    answers = await gather(*(respond(i) for i in range(n)))
    worth = [quality(task, text) for _, text in answers]

    async def judge(i: int, j: int, k: int) -> Episode:
        shown = (j, i) if swapped and k % 2 else (i, j)
        draft = Draft(pose(task, *(answers[place][1] for place in shown)), (i, j, k), arm=JUDGE)
        chosen = choice(await draft.sample("judgement"))
        if chosen is None:
            return draft.close(judgement=Verdict(0.0, None, "unparsable: neither 1 nor 2"))
        winner, loser = shown[chosen - 1], shown[2 - chosen]
        return draft.close(judgement=found(winner, worth[winner], worth[loser]))

    judged = await gather(*(judge(i, j, k) for i, j in combinations(range(n), 2) for k in range(judgements)))
    actors = (
        draft.close(response=grade(task, text), quality=Verdict(value, text.strip()))
        for (draft, text), value in zip(answers, worth, strict=True)
    )
    return (*actors, *judged)


def found(winner: int, better: float, worse: float) -> Verdict:
    """The verdict on a judgement that names a winner: 1 if it is the better one, ungraded where neither is."""
    if math.isnan(better) or math.isnan(worse) or better == worse:
        return Verdict(math.nan, str(winner), "both are as good")
    return Verdict(float(better > worse), str(winner), "right" if better > worse else "the other one is better")
