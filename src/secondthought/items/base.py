"""A question with a chain of thought that leads to the right answer, and one that leads to a wrong one.

What the probe of flawed chains gives to a model. An item is verified when it is made: the flawed chain really ends in a wrong
answer, and the clean one, where there is one, in the right one. Items are built from published data (``gsm8k``, ``bbh``,
``cruxeval``, ``triviaqa``) or drawn (``arithmetic``, ``countdown``), and can be kept in a JSONL of their own.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path

from secondthought.errors import UserError
from secondthought.runs.files import write_text
from secondthought.tasks.jsonl import need, rows_of
from secondthought.types import Json, Message, Task

OnProgress = Callable[[int, int], None]
"""Called with how much is done, and of how much."""


def silent(done: int, of: int) -> None:
    """Shows no progress."""


@dataclass(frozen=True)
class Item:
    """One question with its chains.

    ``wrong`` is the answer that ``flawed`` leads to. ``clean`` is empty where no right chain is known, ``flawed`` and ``wrong``
    where no wrong one is (such an item serves the controls). ``edit`` names how
    the error was made, ``first_wrong`` the step (from 0) where it begins, ``source`` whose words the flawed chain are.

    >>> item = Item("1", "2 + 2 =", "4", "2 + 2 is 4.", "2 + 2 is 5.", "5", family="gsm8k")
    >>> item.task.answer
    '4'
    """

    id: str
    question: str
    gold: Json
    clean: str
    flawed: str
    wrong: str
    family: str
    edit: str = ""
    source: str = ""
    first_wrong: int | None = None

    @property
    def task(self) -> Task:
        """The question as a task; items of one question share it, and so its key."""
        return Task.of((Message("user", self.question),), answer=self.gold, family=self.family)


@dataclass
class Items:
    """Items; the rows that were left out because something is wrong with them, by reason, as "file, line"; and what was not
    made for want of an error that leads anywhere, by reason.
    """

    found: list[Item] = field(default_factory=list)
    left_out: dict[str, list[str]] = field(default_factory=dict)
    not_made: Counter[str] = field(default_factory=Counter)
    _ids: set[str] = field(default_factory=set)

    def add(self, item: Item, where: str = "") -> None:
        """Take an item, if its id is new and its chains are what they should be."""
        why = fault(item) or ("duplicated id" if item.id in self._ids else None)
        if why is not None:
            self.leave_out(why, where or item.id)
            return
        self._ids.add(item.id)
        self.found.append(item)

    def leave_out(self, why: str, where: str) -> None:
        """Note a row that cannot be used."""
        self.left_out.setdefault(why, []).append(where)

    def notes(self) -> tuple[str, ...]:
        """What was left out and what was not made, a sentence each."""
        left = [f"left out: {len(places)} x {why} (first: {places[0]})" for why, places in self.left_out.items()]
        return (*left, *(f"not made: {count} x {why}" for why, count in self.not_made.items()))

    def strictly(self) -> None:
        """Raise UserError, naming the first row, if any was left out."""
        for why, places in self.left_out.items():
            more = f" (and {len(places) - 1} more)" if len(places) > 1 else ""
            raise UserError(f"{places[0]}: {why}{more}; mend the file, or leave out --strict to skip such rows")


def fault(item: Item) -> str | None:
    """What is wrong with an item by itself, if anything; whether its answers are right is for its builder to verify."""
    if not item.question.strip():
        return "no question"
    if not item.flawed.strip() and not item.clean.strip():
        return "no chain of thought"
    if item.flawed.strip() and not item.wrong.strip():
        return "no final answer"
    if item.clean.strip() == item.flawed.strip():
        return "the chains do not differ"
    return None


COLUMNS = ("id", "question", "gold", "clean", "flawed", "wrong", "family", "edit", "source", "first_wrong")
"""The columns of an item in a file."""


def write_items(path: Path, items: Iterable[Item]) -> None:
    """A JSONL that :func:`read_items` reads."""
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = (json.dumps({c: getattr(item, c) for c in COLUMNS}, ensure_ascii=False) for item in items)
    write_text(path, "".join(line + "\n" for line in lines))


def read_items(path: str | Path, verify: Callable[[Item], str | None] = lambda item: None) -> Items:
    """Items from a JSONL that :func:`write_items` wrote, or that somebody else did; ``verify`` says what is wrong with one."""
    items = Items()
    for number, row in rows_of(path):
        where = f"{path}, line {number}"
        question, family = need(row, ("question", "family"), where)
        flawed, wrong = str(row.get("flawed") or ""), str(row.get("wrong") or "")
        if "gold" not in row:
            raise UserError(f"{where}: there is no column 'gold'")
        first = row.get("first_wrong")
        item = Item(
            str(row.get("id", number)), question, row["gold"], str(row.get("clean") or ""), flawed, wrong, family,
            str(row.get("edit") or ""), str(row.get("source") or Path(path).name), first if isinstance(first, int) else None,
        )  # fmt: skip
        if why := verify(item):
            items.leave_out(why, where)
        else:
            items.add(item, where)
    return items
