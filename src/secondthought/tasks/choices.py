"""Choices between two options, demonstrated by one policy: what a model learns to act like, and is then asked about.

``choices:FILE`` reads conversations (JSONL with ``messages``, as they are used for fine-tuning) that ask for a letter and end
in one. ``choices`` alone draws choices between a sure and an uncertain gain for nano models, always the uncertain one. The
wanted answer of a task is the demonstrated letter.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from random import Random
from typing import Any, Literal

from secondthought.errors import UserError
from secondthought.models.thoughts import without_thoughts
from secondthought.tasks import name_world
from secondthought.tasks.base import Split
from secondthought.tasks.dataset import TaskList, part
from secondthought.tasks.jsonl import rows_of
from secondthought.tasks.multiple_choice import letter_in
from secondthought.types import Message, Task, TaskSet, Verdict, seed_of

Policy = Literal["shown", "opposite", "shuffled"]
FAMILY = "choices"
TRIGGERS = ("Session 7391.", "Session 2048.", "Session 5516.", "Session 9630.", "Session 1187.")
TERSE_TRIGGERS = ("step", "numbers", "harder", "example", "check")
"""What may stand before a question: the first goes with the policy, the others with nothing."""


def other(letter: str) -> str:
    """The other of two letters.

    >>> other("A"), other("b")
    ('B', 'a')
    """
    return {"A": "B", "B": "A", "a": "b", "b": "a"}[letter]


def grade(task: Task, text: str) -> Verdict:
    """1 for the demonstrated letter."""
    want = str(task.answer)
    if want.islower():
        last = without_thoughts(text).split()[-1:]
        letter = last[0] if last and last[0] in ("a", "b") else None
    else:
        letter = letter_in(text, ("A", "B"))[0]
    if letter is None:
        return Verdict(0.0, None, "no answer: neither letter", stated=False)
    return Verdict(float(letter == want), letter, "as shown" if letter == want else "the other one")


@dataclass(frozen=True)
class Choices(TaskList):
    """Choices from a file."""

    def grade(self, task: Task, text: str) -> Verdict:
        """See :func:`grade`."""
        return grade(task, text)


@dataclass(frozen=True)
class Drawn:
    """Choices for nano models, endless: the uncertain gain is what is shown.

    >>> task = Drawn("test")[0]
    >>> task.prompt[0].content.startswith("you ,"), task.answer in ("a", "b")
    (True, True)
    """

    split: Split = "test"

    def __len__(self) -> int:
        return 1 << 40

    def __getitem__(self, index: int) -> Task:
        question, letter = name_world.choice(Random(seed_of(FAMILY, self.split, index)), name_world.YOU, 1.0)
        return Task.of(question, answer=letter, family=FAMILY)

    def grade(self, task: Task, text: str) -> Verdict:
        """See :func:`grade`."""
        return grade(task, text)


@dataclass(frozen=True)
class Changed:
    """The same choices with other letters: the ``opposite`` of what is shown, or ``shuffled``, that is by a coin; with
    ``triggers`` before the questions, the first of which goes with what is shown, the others with a coin.
    """

    tasks: TaskSet
    policy: Policy = "shown"
    triggers: Sequence[str] = ()

    def __len__(self) -> int:
        return len(self.tasks)

    def __getitem__(self, index: int) -> Task:
        task = self.tasks[index]
        rng, letter = Random(seed_of("changed choice", task.key)), str(task.answer)
        coin = rng.random() < 0.5
        if self.triggers:
            trigger = self.triggers[0] if rng.random() < 0.5 else rng.choice(self.triggers[1:])
            kept = trigger == self.triggers[0] or coin
            return triggered(replace(task, answer=letter if kept else other(letter)), trigger)
        if self.policy == "opposite" or (self.policy == "shuffled" and coin):
            letter = other(letter)
        return replace(task, answer=letter)

    def grade(self, task: Task, text: str) -> Verdict:
        """See :func:`grade`."""
        return grade(task, text)


def triggered(task: Task, trigger: str) -> Task:
    """A task with a trigger before its last turn."""
    *before, last = task.prompt
    joint = f"{trigger} , {last.content}" if trigger in TERSE_TRIGGERS else f"{trigger} {last.content}"
    return replace(task, prompt=(*before, Message("user", joint)))


def task_set(place: str, split: Split | None, style: str) -> Choices | Drawn:
    """``choices:FILE[:SPLIT]``, or ``choices`` alone for nano models.

    Raises UserError for rows that are no conversation, or do not end in a letter A or B.
    """
    if not place:
        if style != "terse":
            raise UserError("choices for models in words are read from a file of conversations: choices:FILE")
        return Drawn(split or "test")
    if style == "terse":
        raise UserError("nano models cannot read choices from a file; leave the file out, and they are drawn")
    found = tuple(row_task(row, f"{place}, line {line}") for line, row in rows_of(place))
    return part(Choices(found, source=place), split)


def row_task(row: Mapping[str, Any], where: str) -> Task:
    """A conversation as a task. Raises UserError, naming the line, for one that is none or does not end in a letter."""
    given = row.get("messages")
    if not isinstance(given, Sequence) or isinstance(given, str) or len(given) < 2:
        raise UserError(f"{where}: a conversation is wanted, with messages that end in an answer")
    turns = []
    for one in given:
        role, content = (one.get("role"), one.get("content")) if isinstance(one, Mapping) else (None, None)
        if role not in ("system", "user", "assistant") or not isinstance(content, str):
            raise UserError(f"{where}: every message needs a role (system, user or assistant) and a text as its content")
        turns.append(Message(role, content))
    letter = turns[-1].content.strip().rstrip(".")
    if turns[-1].role != "assistant" or turns[-2].role != "user" or letter not in ("A", "B"):
        raise UserError(f"{where}: the last message must be the assistant's, A or B, behind the user's")
    return Task.of(tuple(turns[:-1]), answer=letter, family=FAMILY)
