"""The control of every kind of reflection: trying again from the start, for as many sampled tokens."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from secondthought.engines.base import Engine, Sampling
from secondthought.protocols.base import Draft
from secondthought.rollouts import rollout
from secondthought.types import Episode, Group, Task, TaskSet, Verdict

ARM = "resample"


def commonest(verdicts: Sequence[Verdict]) -> float:
    """The score of the commonest answer, the earliest where several are; 0 where nothing was answered.

    >>> commonest([Verdict(0.0, "a"), Verdict(1.0, "b"), Verdict(1.0, "b")])
    1.0
    """
    stated = [one for one in verdicts if one.answer is not None]
    counts = Counter(one.answer for one in stated)
    return max(stated, key=lambda one: counts[one.answer]).score if stated else 0.0


def fresh_attempts(
    engine: Engine, problems: Sequence[Task], budget: Mapping[str, int], tasks: TaskSet, sampling: Sampling, seed: int
) -> list[Group]:
    """Attempts at each problem until one is right or ``budget`` (tokens, by task key) is spent; the last may be cut off by it.

    All of them are kept, in the arm ``resample``. A problem whose budget is 0 gets none.
    """

    async def script(task: Task, _: int) -> Group:
        left, made = budget[task.key], list[Episode]()
        while left > 0:
            draft = Draft(task, (len(made),), arm=ARM)
            verdict = await draft.solve("attempt", tasks.grade, sampling=sampling, tokens=left)
            made.append(draft.close(attempt=verdict))
            left -= max(1, sum(len(s.tokens) for s in made[-1].turns("attempt")))
            if verdict.score == 1 or draft.refused:
                break
        return tuple(made)

    return rollout(script, problems, 1, engine, sampling, seed=seed)
