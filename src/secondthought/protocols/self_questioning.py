"""Pose questions, answer each several times, and hold the answers against what most of them say."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Literal

from secondthought.protocols.base import Draft, Grade, gather
from secondthought.types import Episode, Group, Task, Verdict, seed_of

PROPOSER, SOLVER = "proposer", "solver"
Vote = Literal["majority", "random"]
Read = Callable[[str], Task | None]
"""The question that a proposal poses; None if it poses none."""
Given = Callable[[Task, int], str]
"""Questions that are not the model's own, in place of its proposals: ``given(topic, number)``."""


async def self_questioning(
    task: Task, n: int, *, read: Read, grade: Grade, answers: int, vote: Vote = "majority", given: Given | None = None
) -> Group:
    """Propose ``n`` questions on a topic and answer each ``answers`` times (Self-Questioning; arXiv 2508.03682).

    Arm ``proposer``: segment ``question``; verdicts ``question`` (whether it can be asked), ``new`` (whether no earlier
    proposal of this group is the same) and ``common``: the share of its answers that the commonest one has. Arm ``solver``,
    with the question as its task: segment ``answer``; verdict ``agreement``, 1 where the answer is the one that most give
    (with ``vote`` random: that one of them, drawn at random, gives), and ``answer``, whose score is the *hidden truth*: no
    reward may look at it, except that of the bound. Answers that cannot be read count as one answer; if that is the commonest
    nobody agrees. The first of equals wins.
    """

    async def propose(i: int) -> tuple[Draft, str]:
        draft = Draft(task, (i,), arm=PROPOSER)
        if given is None:
            return draft, await draft.sample("question")
        draft.write("question", text := given(task, i), role="assistant", author="task", end=True)
        return draft, text

    async def solve(question: Task, i: int, j: int) -> tuple[Draft, str]:
        draft = Draft(question, (i, j), arm=SOLVER)
        return draft, await draft.sample("answer")

    proposals = await gather(*(propose(i) for i in range(n)))
    questions = [read(text) for _, text in proposals]
    asked = {i: question for i, question in enumerate(questions) if question is not None}
    solved = await gather(*(solve(question, i, j) for i, question in asked.items() for j in range(answers)))
    found, seen, shares = list[Episode](), set[str](), dict[int, float]()
    for place, i in enumerate(asked):
        drafts = solved[place * answers : (place + 1) * answers]
        truths = [grade(draft.task, text) for draft, text in drafts]
        agreed = agreement([verdict.answer for verdict in truths], vote, seed_of("vote", drafts[0][0].task.key, i))
        shares[i] = max(Counter(verdict.answer for verdict in truths).values()) / len(truths)
        found += [
            draft.close(answer=truth, agreement=Verdict(score, truth.answer))
            for (draft, _), truth, score in zip(drafts, truths, agreed, strict=True)
        ]
    posers = []
    for i, (draft, _) in enumerate(proposals):
        question = questions[i]
        if question is None:
            posers.append(draft.close(question=Verdict(0.0, None, "unparsable: no question")))
            continue
        posers.append(
            draft.close(
                question=Verdict(1.0, question.prompt[-1].content), new=Verdict(float(question.key not in seen)),
                common=Verdict(shares[i], f"{round(shares[i] * answers)} of {answers}"),
            )
        )  # fmt: skip
        seen.add(question.key)
    return (*posers, *found)


def agreement(answers: Sequence[str | None], vote: Vote = "majority", seed: int = 0) -> list[float]:
    """For each answer whether it is the commonest one (or the one drawn).

    >>> agreement(["4", "5", "4"]), agreement([None, None, "4"]), agreement(["4", "5"])
    ([1.0, 0.0, 1.0], [0.0, 0.0, 0.0], [1.0, 0.0])
    """
    chosen = Counter(answers).most_common(1)[0][0] if vote == "majority" else answers[seed % len(answers)]
    return [float(chosen is not None and answer == chosen) for answer in answers]
