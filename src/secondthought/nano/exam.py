"""Is this nano model an honest subject? The exam every base model sits before anything is trained on it.

A subject for reflection must be able to solve (``textbook``), must obey a good hint (``oracle``) and not a strange one
(``stranger``), must not solve much unasked (``first``), and must write mediocre reflections of its own (``good_steps``).
"""

from __future__ import annotations

from collections.abc import Sequence
from random import Random
from typing import cast

from secondthought.nano.corpus import plan_of
from secondthought.protocols.reflect_retry import TERSE
from secondthought.rollout import rollout
from secondthought.scene import Draft, Engine, Sampling
from secondthought.stats import mean
from secondthought.tasks.countdown import Countdown, Step, solutions
from secondthought.types import Episode, Estimate, Group, Message, Task, seed_of


def first_steps(task: Task, largest: int = 99) -> set[Step]:
    """Every first step that some solution begins with."""
    fields = cast(dict[str, object], task.answer)
    numbers = tuple(sorted(cast(list[int], fields["nums"])))
    found = solutions(numbers, largest).get(cast(int, fields["target"]), ())
    return {chain[0] for chain in found}


def is_good(task: Task, text: str) -> float:
    """1 if the text begins a solution with ``start with a op b``, 0 if with another step, nan if with none."""
    words = text.replace(",", " ").split()
    for i in range(len(words) - 4):
        if words[i : i + 2] == ["start", "with"] and words[i + 2].isdigit() and words[i + 4].isdigit():
            left, op, right = int(words[i + 2]), words[i + 3], int(words[i + 4])
            good = {(s.left, s.op, s.right) for s in first_steps(task)}
            flipped = (right, op, left) in good and op in "+*"
            return float((left, op, right) in good or flipped)
    return float("nan")


def exam(engine: Engine, tasks: Countdown, problems: Sequence[Task], *, seed: int = 0) -> dict[str, Estimate]:
    """The figures of one base model on held-out problems, each with its interval."""
    sampling, greedy = Sampling(max_tokens=32), Sampling(temperature=0, max_tokens=32)

    async def attempt(task: Task, _: int) -> Group:
        draft = Draft(task)
        return (draft.close(attempt=tasks.grade(task, await draft.sample("attempt"))),)

    async def textbook(task: Task, _: int) -> Group:
        asked = Task(task.key, (Message("user", f"example {task.prompt[0].content}"),), task.answer, task.family)
        draft = Draft(asked)
        return (draft.close(attempt=tasks.grade(task, await draft.sample("attempt"))),)

    async def reflect(task: Task, _: int) -> Group:
        draft = Draft(task)
        draft.replay(*failures[task.key].segments[1:])
        draft.write("ask_reflection", TERSE.reflection)
        await draft.sample("reflection")
        return (draft.close(),)

    def hinted(hints: dict[str, str]) -> list[float]:
        async def script(task: Task, _: int) -> Group:
            draft = Draft(task)
            draft.replay(*failures[task.key].segments[1:])
            draft.write("ask_reflection", TERSE.reflection)
            draft.write("reflection", hints[task.key], role="assistant", author="intervention", end=True)
            draft.write("ask_retry", TERSE.retry)
            return (draft.close(retry=tasks.grade(task, await draft.sample("retry"))),)

        told = rollout(script, failed, 1, engine, sampling, seed=seed_of("exam retry", seed))
        return [group[0].verdicts["retry"].score for group in told]

    def scores(groups: Sequence[Group]) -> list[float]:
        return [group[0].verdicts["attempt"].score for group in groups]

    firsts = rollout(attempt, problems, 1, engine, sampling, seed=seed)
    failures: dict[str, Episode] = {g[0].task.key: g[0] for g in firsts if g[0].verdicts["attempt"].score == 0}
    failed = [failure.task for failure in failures.values()]
    rng = Random(seed_of("exam hints", seed))
    oracle = {t.key: plan_of(rng.choice(sorted(first_steps(t)))) for t in failed}
    stranger = {t.key: oracle[failed[(i + 1) % len(failed)].key] for i, t in enumerate(failed)}
    reflections = rollout(reflect, failed, 1, engine, sampling, seed=seed)
    own = [is_good(group[0].task, group[0]["reflection"].text) for group in reflections]
    book = rollout(textbook, problems, 1, engine, sampling, seed=seed)
    return {
        "first": mean(scores(firsts)),
        "first_greedy": mean(scores(rollout(attempt, problems, 1, engine, greedy))),
        "textbook": mean(scores(book)),
        "textbook_plan": mean([is_good(group[0].task, group[0]["attempt"].text) for group in book]),
        "oracle": mean(hinted(oracle)),
        "stranger": mean(hinted(stranger)),
        "own": mean(hinted({g[0].task.key: g[0]["reflection"].text for g in reflections})),
        "empty": mean(hinted({t.key: "" for t in failed})),
        "good_steps": mean(own),
    }
