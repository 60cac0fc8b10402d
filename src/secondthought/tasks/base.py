"""What task sets share: splits, distinct tasks, and how much of an answer a text gives away."""

from __future__ import annotations

import json
from collections.abc import Callable
from random import Random
from typing import Literal, cast, get_args

from secondthought.errors import UserError
from secondthought.tasks.answer_leaks import answer_in_text
from secondthought.types import Environment, Task, TaskSet, Verdict, seed_of

Split = Literal["train", "dev", "test"]


def split_of(task: Task) -> Split:
    """The split of a task, by its prompt alone."""
    return split_by("split", json.dumps(task.prompt))


def split_by(*parts: str | int | tuple[int, ...]) -> Split:
    """The split of what these parts define: 80 % train, 10 % dev, 10 % test.

    >>> [split_by("numbers", i) for i in range(4)]
    ['train', 'train', 'train', 'train']
    """
    bucket = seed_of(*parts) % 10
    return "test" if bucket == 0 else "dev" if bucket == 1 else "train"


def distinct(tasks: TaskSet, n: int) -> list[Task]:
    """The first ``n`` different tasks; fewer where the set has fewer."""
    return _first(tasks, range(min(len(tasks), 20 * n)), n)


def chosen(tasks: TaskSet, n: int, seed: int) -> list[Task]:
    """``n`` different tasks: the first of an endless set, whose order is random, else a random choice by ``seed``."""
    if len(tasks) >= ENDLESS:
        return distinct(tasks, n)
    order = list(range(len(tasks)))
    Random(seed_of("choice of tasks", seed)).shuffle(order)
    return _first(tasks, order, n)


ENDLESS = 1_000_000  # sets of so many tasks are drawn, not read


def _first(tasks: TaskSet, order: range | list[int], n: int) -> list[Task]:
    found: dict[str, Task] = {}
    for index in order:
        if len(found) == n:
            break
        task = tasks[index]
        found.setdefault(task.key, task)
    return list(found.values())


def leak_of(tasks: TaskSet) -> Callable[[Task, str], str]:
    """How these tasks grade what a reflection gives away: by their own ``leak``, or ``full`` if it spells the answer."""
    own: Callable[[Task, str], str] | None = getattr(tasks, "leak", None)
    return own or answer_in_text


def answers_of(tasks: TaskSet) -> Callable[[Task, str], str]:
    """What these tasks take for the same answer: by their own ``canonical``, or the answer that is graded, in small letters and
    single spaces; where there is none, the text itself.
    """

    def graded(task: Task, text: str) -> str:
        answer = tasks.grade(task, text).answer
        return " ".join((text if answer is None else answer).lower().split())

    own: Callable[[Task, str], str] | None = getattr(tasks, "canonical", None)
    return own or graded


def one_action(environment: Environment, task: Task, text: str) -> Verdict:
    """What a play of one action is worth: how an environment grades a text that stands alone."""
    play = environment.reset(task)
    step = play.step(text)
    if close := getattr(play, "close", None):
        close()
    score = min(1.0, max(0.0, step.reward))
    return Verdict(score, text.strip(), "solved" if score == 1 else "over" if step.done else "not over")


def nowhere(name: str, place: str) -> None:
    """Raise UserError for a place given to tasks that are drawn, not read."""
    if place:
        raise UserError(
            f"{name} tasks are drawn, not read: write {name} or {name}:SPLIT (train, dev, test), not {name}:{place}"
        )


def drawn_split(name: str, place: str) -> Split:
    """The split of items that are drawn. Raises UserError for anything else behind the colon."""
    if place and place not in get_args(Split):
        raise UserError(f"{name} items are drawn, not read; use {name} or {name}:test")
    return cast(Split, place or "test")
