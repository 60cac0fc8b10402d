"""BIG-Bench Hard with chains of thought that a real model wrote, right and wrong.

A JSONL of ``task``, ``question``, ``target``, ``chain``, ``answer``, ``correct``. Wrong chains are the flawed ones; right ones
serve the controls, for other questions. A chain ends with "the answer is X"; the probe gets it without that sentence.
"""

from __future__ import annotations

import re
from pathlib import Path

from secondthought.files import UserError
from secondthought.tasks.items import Item, Items
from secondthought.tasks.jsonl import need, rows_of

FAMILY = "bbh"
_SAID = re.compile(r"(?:so )?the answer is:?\s*(.+?)\.?\s*$", re.IGNORECASE | re.DOTALL)
_FOUND = re.compile(r"answer is:?\s*(.+?)(?=\.(?:\s|$)|\n|$)", re.IGNORECASE)


def plain(answer: str) -> str:
    """An answer as it is compared: lower case, one space, no full stop, no quotes.

    >>> plain(' "Valid". ')
    'valid'
    """
    return re.sub(r"\s+", " ", answer).strip().strip("\"'`. ").lower()


def same(gold: str, answer: str) -> bool:
    """Whether two answers are the same; ``(B)`` and ``B`` are, and ``(B) the chef`` is ``(B)``.

    >>> same("(B)", "b"), same("(B)", "(B) It is the chef"), same("(B)", "(C)")
    (True, True, False)
    """
    left, right = plain(gold), plain(answer)
    option = re.fullmatch(r"\(([a-z])\)", left)
    if option:
        told = re.match(r"\(?([a-z])\)?(?=$|[\s.,:;)])", right)
        return bool(told and told[1] == option[1])
    return left == right


def answers_in(text: str) -> list[str]:
    """Everything that is said to be the answer, in order; each up to the end of its sentence."""
    return [found.strip() for found in _FOUND.findall(text)]


def from_chains(path: str | Path) -> Items:
    """The chains of a real model, verified: the wrong ones end in another answer than the target, the right ones in it."""
    items = Items()
    for line, row in rows_of(path):
        where = f"{path}, line {line}"
        task, question, target, chain = need(row, ("task", "question", "target", "chain"), where)
        if not isinstance(row.get("correct"), bool):
            raise UserError(f"{where}: 'correct' must be true or false")
        said = _SAID.search(chain)
        answer = said[1].strip() if said else ""
        body = chain[: said.start()].rstrip() if said else ""
        if not said or not body or not answer:
            items.leave_out("no final answer", where)
        elif same(target, answer) != row["correct"]:
            items.leave_out("marked right or wrong, but its answer says otherwise", where)
        elif row["correct"]:
            items.add(Item(f"{task}-{line}", question, target, body, "", "", FAMILY, "", task), where)
        else:
            items.add(Item(f"{task}-{line}", question, target, "", body, answer, FAMILY, "model", task), where)
    return items
