"""From a name or a file to a set of tasks.

A SPEC is ``countdown[:SPLIT]``, ``function_calling[:SPLIT]`` (the world of tools), ``FILE.jsonl[:SPLIT]`` or
``hf:DATASET[:SPLIT]``; SPLIT is train, dev or test.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import cast, get_args

from secondthought.files import UserError
from secondthought.tasks import countdown, tool_world
from secondthought.tasks.grade import grader
from secondthought.tasks.jsonl import rows_of
from secondthought.tasks.lists import Split, TaskList, from_datasets, from_rows
from secondthought.types import Task, TaskSet


def tasks_of(spec: str, *, style: str = "chat", grade: str = "exact", split: Split | None = None) -> TaskSet:
    """The tasks that ``spec`` names, asked in ``style``. ``split`` is used where the spec names none.

    Raises UserError for an unknown name, a missing or broken file, or an empty split.
    """
    name, _, last = spec.rpartition(":")
    chosen = cast(Split, last) if name and last in get_args(Split) else split
    place = name if name and last in get_args(Split) else spec
    words: countdown.Style = "terse" if style == "terse" else "chat"
    if place == "countdown":
        return countdown.Countdown(chosen or "test") if words == "terse" else countdown.chat(chosen or "test")
    if place == "function_calling":
        return tool_world.ToolWorld(chosen or "test")
    if place.startswith("hf:"):
        found = from_datasets(place.removeprefix("hf:"), grader(grade), words)
    elif place.endswith((".jsonl", ".json")) or Path(place).is_file():
        found = from_rows([row for _, row in rows_of(place)], place, grader(grade), words)
    else:
        known = "countdown, function_calling, FILE.jsonl or hf:DATASET, each with :SPLIT where wanted"
        raise UserError(f"there are no tasks {spec!r}; use {known}")
    return part(found, chosen) if chosen else found


def leak_of(tasks: TaskSet) -> Callable[[Task, str], str]:
    """How these tasks grade what a reflection gives away: by their own ``leak``, or ``full`` if it spells the answer."""
    own: Callable[[Task, str], str] | None = getattr(tasks, "leak", None)
    return own or answer_in_text


def answer_in_text(task: Task, text: str) -> str:
    """``full`` if the answer itself stands in the text, else ``none``."""
    answer = str(task.answer).strip()
    spelled = answer and re.search(rf"(?<!\w){re.escape(answer)}(?!\w)", text)
    return "full" if spelled else "none"


def part(rows: TaskList, split: Split) -> TaskList:
    """A split that is not empty."""
    kept = rows.split(split)
    if not len(kept):
        raise UserError(f"{rows.source} has {len(rows)} rows and none of them falls into {split}; more rows are needed")
    return kept
