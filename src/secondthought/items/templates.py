"""How each family of items is asked, interrupted, and read: two profiles.

``paper`` is what "Rethinking Reflection in Pre-Training" did, by its code (arXiv 2504.04022, Essential-AI/reflection): another
trigger and another way to find the answer in every task. ``clean`` is one rule for all: the trigger is "Wait,", and the answer
is the last one stated before the text turns to another problem. Each family's own module holds its ``READINGS``.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, cast

from secondthought import catalog
from secondthought.errors import UserError
from secondthought.items.base import Item, Items
from secondthought.models.thoughts import without_thoughts
from secondthought.tasks.jsonl import rows_of
from secondthought.tasks.numbers import number, spelled
from secondthought.types import Json, Verdict

Profile = Literal["clean", "paper"]
TRIGGERS = ("wait", "mistake", "filler")
ACCEPTED = "accepted"


@dataclass(frozen=True)
class Reading:
    """``frame`` is the prompt of a base model, ``ask`` the user's turn of a chat model, both with ``{question}``.

    ``read`` finds the answer in what the model says (None: there is none), ``right`` judges it. ``before`` is what stands
    between a bare prompt and a chain, ``shown`` how a chain is put into a model's mouth. ``states`` says whether a text states
    an answer, rather than having something in it that could be one. ``candidate`` finds an answer in unfinished reasoning,
    where that is another rule; ``statement`` is what the statement of an answer begins with; ``runs_programs`` says that
    judging an answer runs a program. ``triggers``: ``wait``, ``mistake`` ("Wait, I made a mistake") and ``filler``, which says
    nothing.
    """

    frame: str
    ask: str
    read: Callable[[str], str | None]
    right: Callable[[Item, str], bool]
    triggers: Mapping[str, str]
    before: str = " "
    max_tokens: int = 256
    temperature: float = 0.0
    top_p: float = 1.0
    stop: tuple[str, ...] = ()
    candidate: Callable[[str], str | None] | None = None
    states: Callable[[str], bool] = lambda text: True
    shown: Callable[[str], str] = str
    runs_programs: bool = False
    statement: str = (
        r"(?<!\s)\s*(?:(?:so |thus,? |therefore,? )?the (?:final )?answer is|\*\*(?:Final )?Answer|####|\[ANSWER\]|\[/THOUGHT\]"
        r"|\bAnswer:)|\\boxed\{"
    )

    def answer_begins(self, text: str) -> int | None:
        """Where the last statement of an answer begins; None if there is none."""
        found = list(re.finditer(self.statement, text, re.IGNORECASE))
        return found[-1].start() if found else None

    def grade(self, item: Item, text: str) -> Verdict:
        """1 if the answer in ``text`` is right; ``why`` begins with ``no answer``, ``same wrong answer`` or ``other wrong
        answer``.
        """
        text = without_thoughts(text)
        answer = self.read(text)
        if answer is None:
            return Verdict(0.0, None, "no answer", stated=False)
        stated = self.states(text)
        if self.right(item, answer):
            return Verdict(1.0, answer, "right", stated)
        same = bool(item.wrong) and (normal(answer) == normal(item.wrong) or answer.endswith(f"= {item.wrong}"))
        return Verdict(0.0, answer, "same wrong answer" if same else "other wrong answer", stated)

    def grade_turn(self, item: Item, chain: str, rest: str, stands: Verdict) -> Verdict:
        """The verdict on a turn that begins with ``chain``, whose answer is ``stands``, and goes on with ``rest``.

        Where the rest states no answer of its own, the one that the chain leads to stands, if this reading finds one in it: a
        model that ends its turn behind a finished chain has accepted it (``why`` is then ``accepted``).
        """
        found = self.grade(item, rest)
        if found.answer is not None or stands.answer is None or self.read(chain) is None:
            return found
        return Verdict(stands.score, stands.answer, ACCEPTED, stated=False)


def plain(answer: str) -> str:
    """An answer as it is compared: lower case, one space, no full stop, no quotes.

    >>> plain(' "Valid". ')
    'valid'
    """
    return re.sub(r"\s+", " ", answer).strip().strip("\"'`. ").lower()


def normal(answer: str) -> str:
    """Numbers plainly written, everything else in lower case with single spaces.

    >>> normal("$1,200.0"), normal(" (B)")
    ('1200', '(b)')
    """
    value = number(answer)
    return plain(answer) if value is None else spelled(value)


_NEXT = re.compile(
    r"\n[^\S\n]*(?:(?:Question|Q|Problem|Passage)\s*\d*\s*:|#{1,6}\s*(?:Question|Problem|Exercise|Instruction|Example)\b|Human:|User:)"
    r"|\[PYTHON\]|\n{3,}|\b(?:Question|Problem)\s+\d+\s*:"
)


def cut(text: str) -> str:
    """The text up to where it turns to another problem."""
    found = _NEXT.search(text)
    return text[: found.start()].rstrip() if found else text


def triggers(wait: str, mistake: str, filler: str) -> Mapping[str, str]:
    """The triggers of one reading."""
    return {"wait": wait, "mistake": mistake, "filler": filler}


CLEAN = triggers(" Wait,", " Wait, I made a mistake.", " Now,")
TERSE = triggers(", wait ,", ", wait , wrong ,", ", then ,")


def reading_of(family: str, profile: Profile) -> Reading:
    """How a family is read, by the ``READINGS`` of its module. Nano's own families have one profile.

    Raises UserError for an unknown family.
    """
    if not catalog.exists("items", family):
        raise UserError(f"there is no family of items {family!r}; there is {', '.join(families())}")
    readings: Mapping[str, Reading] = catalog.module("items", family).READINGS
    return readings.get(profile) or readings["clean"]


def families() -> list[str]:
    """The names of all families."""
    return [entry.name for entry in catalog.entries("items")]


def not_wrong(item: Item) -> str | None:
    """What is wrong with an item whose flawed chain is not wrong. Raises UserError for an unknown family."""
    reading = reading_of(item.family, "clean")
    return "the flawed chain leads to the right answer" if item.wrong and reading.right(item, item.wrong) else None


Released = Callable[[dict[str, object], str], tuple[str, Json, str, str]]


def released_items(place: str, family: str, fields: Released) -> Items:
    """The data sets that the paper released (EssentialAI/*_adv); there is no clean chain in them."""
    items = Items()
    for line, row in rows_of(place):
        where = f"{place}, line {line}"
        question, gold, flawed, wrong = fields(cast(dict[str, object], row), where)
        item = Item(str(row.get("id", line)), question, gold, "", flawed, wrong, family, "released", Path(place).name)
        if why := not_wrong(item):
            items.leave_out(why, where)
        else:
            items.add(item, where)
    return items
