"""Tasks from a file or a ``datasets`` name: rows of ``prompt`` (or ``question``) and ``answer``, of Countdown, or of function
calling.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar, cast

from secondthought.errors import UserError
from secondthought.tasks import countdown, function_calling
from secondthought.tasks.base import Split, split_of
from secondthought.tasks.grade import Grader, exact, gold_fault
from secondthought.tasks.jsonl import hub_rows
from secondthought.types import Message, Messages, Task, Verdict

LARGEST = 999_999  # of the numbers in a Countdown problem: longer ones are not read in an answer


@dataclass(frozen=True)
class TaskList:
    """Tasks that stand in a list, with their grader.

    >>> tasks = TaskList((Task.of("2 + 2 =", answer="4", family="sums"),), exact)
    >>> tasks.grade(tasks[0], "4").score
    1.0
    """

    tasks: Sequence[Task] = field(repr=False)
    grader: Grader = exact
    source: str = ""

    @property
    def digest(self) -> str:
        """Of the rows: whether a file holds what it held when a run began."""
        rows = json.dumps([(task.key, task.answer) for task in self.tasks], sort_keys=True, default=str)
        return hashlib.sha256(rows.encode("utf-8", "surrogatepass")).hexdigest()[:16]

    def __len__(self) -> int:
        return len(self.tasks)

    def __getitem__(self, index: int) -> Task:
        return self.tasks[index]

    def grade(self, task: Task, text: str) -> Verdict:
        """The grader's verdict."""
        return self.grader(task.answer, text)

    def split(self, name: Split) -> TaskList:
        """The part of the rows that belongs to a split: 80 % train, 10 % dev, 10 % test, by the prompt alone."""
        kept = tuple(task for task in self.tasks if split_of(task) == name)
        return replace(self, tasks=kept, source=f"{self.source}:{name}")


L = TypeVar("L", bound=TaskList)


def part(rows: L, split: Split | None) -> L:
    """A split that is not empty; all rows without one. Raises UserError for a split that no row falls into."""
    if split is None:
        return rows
    kept = cast(L, rows.split(split))
    if not len(kept):
        raise UserError(
            f"{rows.source} has {len(rows)} rows and none of them falls into {split}; more rows are needed, or :all"
        )
    return kept


@dataclass(frozen=True)
class CountdownList(TaskList):
    """Countdown problems from rows; splits are by number multiset, as everywhere in Countdown."""

    def grade(self, task: Task, text: str) -> Verdict:
        """Exact arithmetic; see :func:`secondthought.tasks.countdown.grade`."""
        return countdown.grade(task, text)

    def leak(self, task: Task, text: str) -> str:
        """How much of a solution a reflection gives away."""
        return countdown.leak(task, text)

    def split(self, name: Split) -> TaskList:
        """The rows whose numbers belong to a split."""
        kept = tuple(t for t in self.tasks if countdown.split_of(t.answer["nums"]) == name)  # type: ignore[index, call-overload, arg-type]
        return replace(self, tasks=kept, source=f"{self.source}:{name}")


@dataclass(frozen=True)
class FunctionCallingList(TaskList):
    """Function-calling problems from rows of APIGen/xLAM or of the Berkeley benchmark."""

    def grade(self, task: Task, text: str) -> Verdict:
        """The right calls with the right arguments; see :func:`secondthought.tasks.function_calling.grade`."""
        return function_calling.grade(task, text)

    def leak(self, task: Task, text: str) -> str:
        """``full`` if a reflection spells the right calls."""
        return function_calling.leak(task, text)


def from_rows(rows: Sequence[dict[str, Any]], source: str, grader: Grader = exact, style: countdown.Style = "chat") -> TaskList:
    """Tasks from rows of ``prompt`` and ``answer``, of ``nums`` and ``target`` (Countdown), or of function calling."""
    if function_calling.is_row(rows[0]):
        calls = function_calling.rows_from(list(enumerate(rows, 1)), source, function_calling.answers_beside(source))
        return FunctionCallingList(_distinct([row.task for row in calls]), grader, source)
    if {"nums", "target"} <= rows[0].keys():
        tasks = [_countdown(row, source, number, style) for number, row in enumerate(rows, 1)]
        _reachable(tasks, source)
        return CountdownList(_distinct(tasks), grader, source)
    return TaskList(_distinct([_task(row, source, number, grader) for number, row in enumerate(rows, 1)]), grader, source)


def _distinct(tasks: list[Task]) -> tuple[Task, ...]:
    return tuple({task.key: task for task in tasks}.values())


def _task(row: dict[str, Any], source: str, number: int, grader: Grader) -> Task:
    for column, other in (("prompt", "question"), ("answer", "answer")):
        if column not in row and other not in row:
            raise UserError(
                f"{source}, line {number}: there is no column {column!r} (prompt or question, and answer are needed)"
            )
    prompt = row["prompt"] if "prompt" in row else row["question"]
    if isinstance(prompt, str):
        turns: Messages = (Message("user", prompt),)
    else:
        try:
            turns = tuple(Message(turn["role"], turn["content"]) for turn in prompt)
        except (TypeError, KeyError) as error:
            raise UserError(f"{source}, line {number}: a prompt is a string or a list of role and content") from error
    if not turns or any(t.role not in ("system", "user", "assistant") or not isinstance(t.content, str) for t in turns):
        raise UserError(f"{source}, line {number}: a prompt's roles are system, user or assistant, its contents strings")
    if fault := gold_fault(grader, row["answer"]):
        raise UserError(f"{source}, line {number}: {fault}")
    return Task.of(turns, answer=row["answer"], family=str(row.get("family", Path(source).stem)))


def _countdown(row: dict[str, Any], source: str, number: int, style: countdown.Style) -> Task:
    listed, target = row["nums"], _whole(row["target"])
    numbers = [_whole(one) for one in listed] if isinstance(listed, list | tuple) else []
    if len(numbers) < 2 or None in numbers or target is None:
        raise UserError(
            f"{source}, line {number}: nums must be a list of two or more whole numbers from 0 to {LARGEST}, target one too"
        )
    return countdown.problem(tuple(cast(list[int], numbers)), target, style)


def _whole(value: Any) -> int | None:
    """A whole number that Countdown can have, also as text or as 3.0; None for anything else."""
    if isinstance(value, str):
        value = int(value) if value.strip().isdecimal() and len(value) <= 20 else None
    if isinstance(value, bool) or not isinstance(value, int | float) or value != value // 1:
        return None
    return int(value) if 0 <= value <= LARGEST else None


def _reachable(tasks: Sequence[Task], source: str) -> None:
    """Raise UserError for the first problem that has no solution (of those that can be searched through in reasonable time)."""
    by_count: dict[int, list[tuple[int, Any]]] = {}
    for number, task in enumerate(tasks, 1):
        by_count.setdefault(len(cast(Any, task.answer)["nums"]), []).append((number, task.answer))
    for rows in by_count.values():
        found = countdown.reachable([one["nums"] for _, one in rows], [one["target"] for _, one in rows])
        if (first := next((row for row, right in zip(rows, found, strict=True) if not right), None)) is not None:
            number, one = first
            shown = ", ".join(map(str, one["nums"]))
            raise UserError(f"{source}, line {number}: {one['target']} cannot be made of {shown}, each used once")


def from_datasets(name: str, grader: Grader = exact, style: countdown.Style = "chat") -> TaskList:
    """The ``train`` rows of a Hugging Face data set (or a folder saved by ``datasets``)."""
    return from_rows(hub_rows(name), name, grader, style)
