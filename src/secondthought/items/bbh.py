"""BIG-Bench Hard with chains of thought that a real model wrote, right and wrong.

A JSONL of ``task``, ``question``, ``target``, ``chain``, ``answer``, ``correct``. Wrong chains are the flawed ones; right ones
serve the controls, for other questions. A chain ends with "the answer is X"; the probe gets it without that sentence.
"""

from __future__ import annotations

import re
from pathlib import Path

from secondthought.errors import UserError
from secondthought.items.base import Item, Items, OnProgress, silent
from secondthought.items.templates import CLEAN, Reading, cut, plain, released_items, triggers
from secondthought.tasks.jsonl import need, rows_of
from secondthought.tasks.multiple_choice import OPTION, undressed
from secondthought.tasks.numbers import number, stated
from secondthought.types import Json

FAMILY = "bbh"
_STATED = re.compile(r"(?:so )?the answer is:?", re.IGNORECASE)
_FOUND = re.compile(r"answer is:?\s*(.+?)(?=\.(?:\s|$)|\n|$)", re.IGNORECASE)


def same(gold: str, answer: str) -> bool:
    """Whether two answers are the same; ``(B)`` and ``B`` are, and ``(B) the chef`` is ``(B)``.

    >>> same("(B)", "b"), same("(B)", "(B) It is the chef"), same("(B)", "(C)")
    (True, True, False)
    """
    wanted, found = plain(gold), undressed(answer)
    if option := re.fullmatch(r"\(([a-z])\)", wanted):
        letter = OPTION.match(found)
        return bool(letter and (letter[1] or letter[2]).lower() == option[1])
    value, right = number(found), number(gold)
    return value == right if value is not None and right is not None else wanted == plain(found)


def answers_in(text: str) -> list[str]:
    """Everything that is stated as the answer, in order; each up to the end of its sentence."""
    return [found.strip() for found in _FOUND.findall(text)]


def from_chains(path: str | Path) -> Items:
    """The chains of a real model, verified: the wrong ones end in another answer than the target, the right ones in it."""
    items = Items()
    for line, row in rows_of(path):
        where = f"{path}, line {line}"
        task, question, target, chain = need(row, ("task", "question", "target", "chain"), where)
        if not isinstance(row.get("correct"), bool):
            raise UserError(f"{where}: 'correct' must be true or false")
        stated = _STATED.search(chain)
        answer = chain[stated.end() :].strip().removesuffix(".").strip() if stated else ""
        body = chain[: stated.start()].rstrip() if stated else ""
        if not stated or not body or not answer:
            items.leave_out("no final answer", where)
        elif same(target, answer) != row["correct"]:
            items.leave_out("marked right or wrong, but its answer says otherwise", where)
        elif row["correct"]:
            items.add(Item(f"{task}-{line}", question, target, body, "", "", FAMILY, "", task), where)
        else:
            items.add(Item(f"{task}-{line}", question, target, "", body, answer, FAMILY, "model", task), where)
    return items


def first_answer_is(text: str) -> str | None:
    """What follows the first "answer is"."""
    found = answers_in(text)
    return plain(found[0]) if found else None


def last_answer_is(text: str) -> str | None:
    """What follows the last "answer is" before the text turns to another problem."""
    found = undressed(stated(cut(text)) or "")
    option = OPTION.match(found)
    return f"({(option[1] or option[2]).lower()})" if option else plain(found) or None


def _right(item: Item, answer: str) -> bool:
    return same(str(item.gold), answer)


ASK = '{question}\nThink step by step, and end with "The answer is" and your answer.'
READINGS = {
    "clean": Reading("Q: {question}\nA: Let's think step by step.", ASK, last_answer_is, _right, CLEAN, max_tokens=512),
    "paper": Reading(
        "Q: {question}\nA:", ASK, first_answer_is, _right,
        triggers(" Wait,", " Wait, I made a mistake", " Okay,"), max_tokens=1024, stop=("Q", "\n\n"),
    ),
}  # fmt: skip
"""How the family is asked and read; see :mod:`secondthought.items.templates`."""


def item_set(place: str, n: int | None, seed: int, on_progress: OnProgress = silent) -> Items:
    """``bbh:FILE`` or ``bbh:hf:DATASET``: chains of a real model, or rows with ``wrong_cot``."""
    first = rows_of(place)[0][1]
    return released_items(place, FAMILY, released) if "wrong_cot" in first else from_chains(place)


def released(row: dict[str, object], where: str) -> tuple[str, Json, str, str]:
    """Question, gold, flawed chain and wrong answer of a row of EssentialAI/bbh_adv."""
    question, target, wrong = need(row, ("input", "target", "wrong_cot"), where)
    stated = answers_in(wrong)
    chain = wrong.rpartition("answer is")[0].rpartition("\n")[0] or wrong
    return question, target, chain, stated[-1] if stated else ""
