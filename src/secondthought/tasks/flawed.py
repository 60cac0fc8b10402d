"""From a name to items: built from a published file, drawn, or read back."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import cast, get_args

from secondthought.files import UserError
from secondthought.tasks import bbh, chains, cruxeval, gsm8k, misses, triviaqa
from secondthought.tasks.countdown import Split
from secondthought.tasks.items import Item, Items, read_items
from secondthought.tasks.jsonl import need, rows_of
from secondthought.tasks.reading import FAMILIES, last_number, reading_of
from secondthought.types import Json, seed_of

Tell = Callable[[int, int], None]
RELEASED = ("messy_cot", "wrong_cot", "adversarial_answer")
"""Columns by which the data sets that the paper released (EssentialAI/*_adv) are recognised."""


def items_of(spec: str, *, n: int | None = None, seed: int = 0, tell: Tell = lambda done, of: None) -> Items:
    """The items that ``spec`` names; with ``n``, a random choice of so many.

    ``chains[:SPLIT]`` and ``countdown[:SPLIT]`` are drawn; ``FAMILY:FILE`` and ``FAMILY:hf:DATASET`` are built, FAMILY being
    gsm8k, bbh, cruxeval_o, cruxeval_i or triviaqa; ``FILE.jsonl`` holds items. Raises UserError for anything else, for a broken
    file, and if nothing is left.
    """
    name, _, rest = spec.partition(":")
    if name in ("chains", "countdown") and (not rest or rest in get_args(Split)):
        split = cast(Split, rest or "test")
        return chains.items(n or 500, split, seed=seed) if name == "chains" else misses.items(n or 500, split, seed=seed)
    if name in FAMILIES and rest:
        found = _built(name, rest, tell)
    elif spec.endswith((".jsonl", ".json")) or Path(spec).is_file():
        if rest and name not in FAMILIES and not Path(spec).is_file():
            raise UserError(f"there are no items {spec!r}: there is no family {name!r}; there is {', '.join(FAMILIES)}")
        found = read_items(spec, not_wrong)
    else:
        raise UserError(
            f"there are no items {spec!r}; use chains, countdown, FILE.jsonl, or FAMILY:FILE with {', '.join(FAMILIES[:5])}"
        )
    if not found.found:
        why = "; ".join([*found.left_out, *found.not_made]) or "it has no rows"
        raise UserError(f"{spec} gives no items: {why}")
    if n is not None and n < len(found.found):
        found.found = Random(seed_of("choice of items", seed)).sample(found.found, n)
    return found


def _built(family: str, place: str, tell: Tell) -> Items:
    first = rows_of(place)[0][1]
    if any(column in first for column in RELEASED):
        return _released(family, place)
    if family == "gsm8k":
        return gsm8k.from_models(place) if "ground_truth" in first else gsm8k.from_solutions(place, tell=tell)
    if family == "bbh":
        return bbh.from_chains(place)
    if family == "triviaqa":
        return triviaqa.from_passages(place)
    if family in ("cruxeval_o", "cruxeval_i"):
        return cruxeval.items_of(place, cast(cruxeval.Direction, family), tell=tell)
    raise UserError(f"{family} items are drawn, not read; use {family} or {family}:test")


def _released(family: str, place: str) -> Items:
    """The data sets that the paper released; there is no clean chain in them."""
    items = Items()
    for line, row in rows_of(place):
        where = f"{place}, line {line}"
        question, gold, flawed, wrong = _fields(family, row, where)
        item = Item(str(row.get("id", line)), question, gold, "", flawed, wrong, family, "released", Path(place).name)
        if why := not_wrong(item):
            items.leave_out(why, where)
        else:
            items.add(item, where)
    return items


def not_wrong(item: Item) -> str | None:
    """What is wrong with an item whose flawed chain is not wrong. Raises UserError for an unknown family."""
    reading = reading_of(item.family, "clean")
    return "the flawed chain leads to the right answer" if item.wrong and reading.right(item, item.wrong) else None


def _fields(family: str, row: dict[str, object], where: str) -> tuple[str, Json, str, str]:
    """Question, gold, flawed chain and wrong answer of a released row."""
    if family == "gsm8k":
        question, answer, messy = need(row, ("question", "answer", "messy_cot"), where)
        body, _, last = messy.partition("####")
        wrong = gsm8k.spelled(value) if (value := gsm8k.number(last.strip())) is not None else (last_number(body) or "")
        return question, gsm8k.answer_of(answer) or answer, body.rstrip(), wrong
    if family == "bbh":
        question, target, wrong_cot = need(row, ("input", "target", "wrong_cot"), where)
        said = bbh.answers_in(wrong_cot)
        return question, target, wrong_cot.rpartition("answer is")[0].rpartition("\n")[0] or wrong_cot, said[-1] if said else ""
    if family == "triviaqa":
        question, answer, adversarial = need(row, ("question", "answer", "adversarial_answer"), where)
        passage, _, last = question.rpartition("\nQuestion:")
        return (last or question).strip(), {"aliases": [answer]}, passage or f"Answer: {adversarial}", adversarial
    code, inputs, output, messy = need(row, ("code", "input", "output", "messy_cot"), where)
    direction = cast(cruxeval.Direction, family)
    gold: Json = {"output": output} if family == "cruxeval_o" else {"code": code, "input": inputs, "output": output}
    return cruxeval.asked(code, inputs, output, direction), gold, messy, _last_line(messy)


def _last_line(text: str) -> str:
    return text.strip().rpartition("\n")[2]
