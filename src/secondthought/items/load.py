"""From ``--tasks`` to problems: a task set that can be answered, or items with chains of thought.

    SPEC = NAME[:PLACE][:SPLIT]      tasks or items by name: countdown, gsm8k:FILE, bbh:hf:DATASET, mine.py:PLACE, ...
         | FILE[:SPLIT]              rows of your own (``prompt`` and ``answer``, or items), or of a benchmark
         | hf:DATASET[:SPLIT]        the same from ``datasets``

SPLIT is train, dev or test (80, 10 and 10 % of rows, by a hash of the question), or all. It means the same
wherever tasks are named.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Literal, cast, get_args

from secondthought import catalog
from secondthought.errors import UserError
from secondthought.items.base import Item, Items, OnProgress, read_items, silent
from secondthought.items.templates import not_wrong, reading_of
from secondthought.tasks import countdown
from secondthought.tasks.base import Split, split_of
from secondthought.tasks.dataset import TaskList, from_datasets, from_rows, part
from secondthought.tasks.grade import grader
from secondthought.tasks.jsonl import rows_of
from secondthought.types import Message, Task, TaskSet, Verdict, seed_of

Wanted = Split | Literal["all"]
FILES = (".jsonl", ".json")
COUNTDOWN = "nano/countdown"


def parsed(spec: str) -> tuple[str, str, Wanted | None]:
    """The name, the place and the split of a SPEC; a file or ``hf:DATASET`` has no name.

    >>> parsed("gsm8k:test.jsonl:dev"), parsed("mine.jsonl"), parsed("countdown")
    (('gsm8k', 'test.jsonl', 'dev'), ('', 'mine.jsonl', None), ('countdown', '', None))
    """
    rest, _, last = spec.rpartition(":")
    split = cast(Wanted, last) if rest and last in (*get_args(Split), "all") else None
    whole = rest if split else spec
    name, _, place = whole.partition(":")
    if name == "hf" or (whole.endswith(FILES) and ":" not in whole) or (Path(whole).is_file() and not whole.endswith(".py")):
        return "", whole, split
    return name, place, split


def tasks_of(spec: str, *, style: str = "chat", grade: str = "exact", split: Split | None = None) -> TaskSet:
    """The tasks that ``spec`` names, asked in ``style``; ``split`` is used where the spec names none (None: all).

    ``style`` is ``chat`` (in words) or ``terse`` (as nano models are asked). Raises UserError for an unknown name or style, a
    missing or broken file, or an empty split.

    >>> tasks_of("countdown", split="test").grade(tasks_of("countdown", split="test")[0], "no idea").score
    0.0
    """
    if style not in get_args(countdown.Style):
        raise UserError(f"tasks are asked in the style {' or '.join(get_args(countdown.Style))}, not {style!r}")
    name, place, wanted = parsed(spec)
    chosen = None if wanted == "all" else wanted or split
    if name and catalog.exists("tasks", name):
        return cast(TaskSet, catalog.find("tasks", name)(place, chosen, style))
    if name and catalog.exists("items", name):
        return part(Questions.of(items_of(spec)), chosen)
    if name:
        raise UserError(f"there are no tasks {spec!r}; use {_known()}, FILE.jsonl or hf:DATASET, each with :SPLIT where wanted")
    if place.startswith("hf:"):
        rows = from_datasets(place.removeprefix("hf:"), grader(grade), cast(countdown.Style, style))
    else:
        lines = [row for _, row in rows_of(place)]
        if {"question", "gold", "family"} <= lines[0].keys():
            return part(Questions.of(read_items(place, not_wrong)), chosen)
        rows = from_rows(lines, place, grader(grade), cast(countdown.Style, style))
    return part(rows, chosen)


def model_for(spec: str) -> str:
    """The nano model that knows the tasks of ``spec``: what their module calls MODEL, else the one that knows Countdown.

    >>> model_for("tool_world"), model_for("mine.jsonl")
    ('nano/duo-1m', 'nano/countdown')
    """
    name = parsed(spec)[0]
    return str(getattr(catalog.module("tasks", name), "MODEL", COUNTDOWN)) if catalog.exists("tasks", name) else COUNTDOWN


def _known() -> str:
    return ", ".join(dict.fromkeys(entry.name for room in ("tasks", "items") for entry in catalog.entries(room)))


@dataclass(frozen=True)
class Questions(TaskList):
    """The questions of items, asked without any chain and graded as their family is read."""

    golds: dict[str, Item] = field(default_factory=dict, repr=False)

    @classmethod
    def of(cls, items: Items) -> Questions:
        """Each question once."""
        known = {item.task.key: item for item in items.found}
        tasks = []
        for key, item in known.items():
            asked = reading_of(item.family, "clean").ask.replace("{question}", item.question)
            tasks.append(Task(key, (Message("user", asked),), item.gold, item.family))
        return cls(tuple(tasks), source="the items", golds=known)

    def grade(self, task: Task, text: str) -> Verdict:
        """As the family's clean profile reads an answer."""
        return reading_of(task.family, "clean").grade(self.golds[task.key], text)

    def split(self, name: Split) -> Questions:
        """By the bare question, as for any rows."""
        kept = tuple(task for task in self.tasks if split_of(self.golds[task.key].task) == name)
        return Questions(kept, self.grader, f"{self.source}:{name}", self.golds)


def items_of(spec: str, *, n: int | None = None, seed: int = 0, on_progress: OnProgress = silent) -> Items:
    """The items that ``spec`` names; with ``n``, a random choice of so many.

    ``arithmetic`` and ``countdown`` are drawn; ``FAMILY:FILE`` and ``FAMILY:hf:DATASET`` are built; ``FILE.jsonl`` holds items.
    Raises UserError for anything else, for a broken file, and if nothing is left.

    >>> items_of("arithmetic", n=2).found[0].family
    'arithmetic'
    """
    name, place, split = parsed(spec)
    if name and catalog.exists("items", name):
        drawn = not place
        found: Items = catalog.find("items", name)(split or place if drawn else place, n, seed, on_progress)
        if drawn:
            return found
    elif name or place.startswith("hf:"):
        why = "have no chains of thought, which items need" if name and catalog.exists("tasks", name) else "are not known"
        known = ", ".join(entry.name for entry in catalog.entries("items"))
        raise UserError(f"there are no items {spec!r} (such tasks {why}); use FILE.jsonl of items, or FAMILY:FILE with {known}")
    else:
        found = read_items(place, not_wrong)
    if split and split != "all":
        found.found = [item for item in found.found if split_of(item.task) == split]
    if not found.found:
        why = "; ".join([*found.left_out, *found.not_made]) or "it has no rows"
        raise UserError(f"{spec} gives no items: {why}")
    if n is not None and n < len(found.found):
        found.found = Random(seed_of("choice of items", seed)).sample(found.found, n)
    return found
