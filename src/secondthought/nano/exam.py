"""Is this nano model an honest subject? The exam every base model sits before anything is trained on it.

A subject for reflection must be able to solve (``textbook``), must obey a good hint (``oracle``) and not a strange one
(``stranger``), must not solve much unasked (``first``), and must write mediocre reflections of its own (``good_hints``).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from random import Random
from typing import cast

from secondthought.engines.base import Engine, Sampling
from secondthought.nano.corpus import plan_of
from secondthought.nano.tool_corpus import parts
from secondthought.protocols.base import Draft
from secondthought.protocols.reflect_retry import TERSE
from secondthought.rollouts import rollout
from secondthought.stats import mean
from secondthought.tasks.countdown import Countdown, solutions
from secondthought.tasks.tool_world import ToolWorld, asked_in, calls_of, last_calls
from secondthought.types import Episode, Estimate, Group, Message, Task, TaskSet, seed_of


@dataclass(frozen=True)
class Game:
    """What the exam knows of a game.

    ``helps``: the hints that help after an attempt (before any, it is ""). ``hint``: what a hint looks like. ``usual``: the
    same hint as ``helps`` would spell it.
    """

    helps: Callable[[Task, str], Sequence[str]]
    hint: re.Pattern[str]
    usual: Callable[[str], str] = str

    def good(self, task: Task, attempt: str, text: str) -> float:
        """1 if the text gives a hint that helps, 0 if another hint, nan if none."""
        found = self.hint.search(text)
        return float(self.usual(found.group()) in self.helps(task, attempt)) if found else float("nan")


def first_steps(task: Task, attempt: str, largest: int = 99) -> list[str]:
    """Every first step that some solution of a Countdown problem begins with, as a hint."""
    fields = cast(dict[str, object], task.answer)
    numbers = tuple(sorted(cast(list[int], fields["nums"])))
    found = solutions(numbers, largest).get(cast(int, fields["target"]), ())
    return sorted({plan_of(chain[0]) for chain in found})


def ascending(hint: str) -> str:
    """A Countdown hint with its operands in the order of the corpus, where the order changes nothing.

    >>> ascending("start with 7 + 3"), ascending("start with 7 - 3")
    ('start with 3 + 7', 'start with 7 - 3')
    """
    *opening, left, op, right = hint.split()
    low, high = sorted((left, right), key=int) if op in "+*" else (left, right)
    return " ".join((*opening, low, op, high))


def corrections(task: Task, attempt: str) -> list[str]:
    """What a hint after a wrong call has to name: the number of calls, else a tool, else a value."""
    wanted, made = calls_of(task), asked_in(last_calls(attempt))
    if made and len(made) != len(wanted):
        return [f"need {len(wanted)} calls"]
    missed = [part for part in dict.fromkeys(parts(wanted)) if part not in parts(made)] or list(dict.fromkeys(parts(wanted)))
    return [part for part in missed if part.startswith("use ")] if made and missed[0].startswith("use ") else missed


TOKENS = 48
COUNTDOWN = Game(first_steps, re.compile(r"start with [0-9]+ [-+*/] [0-9]+"), ascending)
TOOLS = Game(corrections, re.compile(r"use [a-z]+ \. [a-z]+|[a-z]+ is [a-z0-9]+|need [0-9] calls"))
GAMES: dict[str, tuple[Game, TaskSet]] = {
    "countdown": (COUNTDOWN, Countdown("dev")), "function_calling": (TOOLS, ToolWorld("dev")),
}  # fmt: skip
"""The games that nano models learn, and the problems of their exams."""


def exam(engine: Engine, game: Game, tasks: TaskSet, problems: Sequence[Task], *, seed: int = 0) -> dict[str, Estimate]:
    """The figures of one base model on held-out problems, each with its interval."""
    sampling, greedy = Sampling(max_tokens=TOKENS), Sampling(temperature=0, max_tokens=TOKENS)

    async def attempt(task: Task, _: int) -> Group:
        draft = Draft(task)
        return (draft.close(attempt=tasks.grade(task, await draft.sample("attempt"))),)

    async def textbook(task: Task, _: int) -> Group:
        asked = Task(task.key, (Message("user", f"example {task.prompt[0].content}"),), task.answer, task.family, task.tools)
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

        groups = rollout(script, failed, 1, engine, sampling, seed=seed_of("exam retry", seed))
        return [group[0].verdicts["retry"].score for group in groups]

    def scores(groups: Sequence[Group]) -> list[float]:
        return [group[0].verdicts["attempt"].score for group in groups]

    firsts = rollout(attempt, problems, 1, engine, sampling, seed=seed)
    failures: dict[str, Episode] = {g[0].task.key: g[0] for g in firsts if g[0].verdicts["attempt"].score == 0}
    failed = [failure.task for failure in failures.values()]
    attempts = {key: failure["attempt"].text for key, failure in failures.items()}
    rng = Random(seed_of("exam hints", seed))
    oracle = {t.key: rng.choice(game.helps(t, attempts[t.key])) for t in failed}
    stranger = {t.key: oracle[failed[(i + 1) % len(failed)].key] for i, t in enumerate(failed)}
    reflections = {g[0].task.key: g[0]["reflection"].text for g in rollout(reflect, failed, 1, engine, sampling, seed=seed)}
    book = rollout(textbook, problems, 1, engine, sampling, seed=seed)
    return {
        "first": mean(scores(firsts)),
        "first_greedy": mean(scores(rollout(attempt, problems, 1, engine, greedy))),
        "textbook": mean(scores(book)),
        "textbook_plan": mean([game.good(group[0].task, "", group[0]["attempt"].text) for group in book]),
        "oracle": mean(hinted(oracle)),
        "stranger": mean(hinted(stranger)),
        "own": mean(hinted(reflections)),
        "empty": mean(hinted({t.key: "" for t in failed})),
        "good_hints": mean([game.good(t, attempts[t.key], reflections[t.key]) for t in failed]),
    }
