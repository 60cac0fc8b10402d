"""CruxEval: what does this program return, and what must it have been given? With reasoning that misreads one thing.

The right reasoning is the program's own trace, told line by line. For ``cruxeval_o`` the flawed one is the trace of the
program with one thing misread (an operator, a comparison, a constant, a method), told against the original lines; it is kept
where it ends in another value, and where no misreading does, only the value at the end is misread. For ``cruxeval_i`` it tries
another input and claims at the end that this gives what was asked for. Programs are untrusted and only ever run in
:mod:`secondthought.tasks.sandbox`.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path
from random import Random
from typing import Any, Literal

from secondthought.tasks.items import Item, Items
from secondthought.tasks.jsonl import need, rows_of
from secondthought.tasks.sandbox import Outcome, run
from secondthought.types import seed_of

Direction = Literal["cruxeval_o", "cruxeval_i"]
LONGEST_STORY = 30  # lines
BROKEN = (
    "the program does not run", "the program takes too long", "the program does not return what is claimed",
)  # fmt: skip
TRIED = 24  # programs with one thing changed, or other inputs


def asked(code: str, inputs: str, output: str, direction: Direction) -> str:
    """The program and the assertion with its gap."""
    gap = f"assert f({inputs}) == ??" if direction == "cruxeval_o" else f"assert f(??) == {output}"
    return f"{code}\n{gap}"


def told(code: str, outcome: Outcome) -> str | None:
    """A trace in words, a line for each line that ran; None if it is too long to be read."""
    source = code.split("\n")
    if len(outcome.lines) > LONGEST_STORY or len(outcome.lines) < 2 or outcome.value is None:
        return None
    parts = []
    lines = outcome.lines[:-1] if outcome.lines[-1] == outcome.lines[-2] else outcome.lines  # a return is noted twice
    for number, ((line, before), (_, after)) in enumerate(pairwise(lines), 1):
        changed = [f"{name} = {value}" for name, value in after.items() if before.get(name) != value]
        words = source[line - 1].strip() if 0 < line <= len(source) else ""
        parts.append(f"{number}. `{words}`" + (f": {', '.join(changed)}" if changed else ""))
    last = source[lines[-1][0] - 1].strip()
    return "\n".join([*parts, f"{len(parts) + 1}. `{last}`: the function returns {outcome.value}."])


def items_of(path: str | Path, direction: Direction, *, tell: Callable[[int, int], None] = lambda done, of: None) -> Items:
    """One item for each program for which a wrong reasoning was found. ``tell(done, of)`` is called as programs are run."""
    items, rows = Items(), rows_of(path)
    parsed = [need(row, ("code", "input", "output"), f"{path}, line {line}") for line, row in rows]
    with ThreadPoolExecutor(2) as pool:
        made = pool.map(lambda fields: _item(fields[0], fields[1], fields[2], direction), parsed)
        for done, ((line, row), found) in enumerate(zip(rows, made, strict=True), 1):
            if isinstance(found, dict):
                where = f"{path}, line {line}"
                items.add(Item(str(row.get("id", line)), family=direction, source=Path(path).name, **found), where)
            elif found in BROKEN:
                items.leave_out(found, f"{path}, line {line}")
            else:
                items.not_made[found] += 1
            tell(done, len(rows))
    return items


def _item(code: str, inputs: str, output: str, direction: Direction) -> dict[str, Any] | str:
    """The fields of an item, or why there is none."""
    rng = Random(seed_of("cruxeval", code, inputs, direction))
    others = list(dict.fromkeys(changed_inputs(inputs, rng))) if direction == "cruxeval_i" else []
    ran = run(code, [f"f({inputs})", *(f"f({other})" for other in others)], mutants=TRIED if direction == "cruxeval_o" else 0)
    if ran.refused or not ran.calls or ran.calls[0].value is None:
        return BROKEN[ran.refused == "it took too long"]
    right = ran.calls[0]
    if right.value != canonical(output):
        return BROKEN[2]
    clean = told(code, right)
    if clean is None:
        return "too long to be told, or nothing to tell"
    question = asked(code, inputs, output, direction)
    if direction == "cruxeval_o":
        wrong = [m for m in ran.mutants if m.value not in (None, right.value) and told(code, m)]
        slips = [
            Outcome(v, None, right.lines, "slip") for _ in range(TRIED) if (v := _slipped(right.value, rng)) != right.value
        ]
        if not wrong and not slips:
            return "no misreading changes the result"
        chosen = rng.choice(wrong or slips)
        return {
            "question": question, "gold": {"output": output}, "clean": clean, "flawed": told(code, chosen) or "",
            "wrong": chosen.value or "", "edit": chosen.kind, "first_wrong": _first_difference(right, chosen),
        }  # fmt: skip
    pairs = [(o, c) for o, c in zip(others, ran.calls[1:], strict=True) if c.value not in (None, right.value) and told(code, c)]
    if not pairs:
        return "no other input gives another result"
    other, outcome = rng.choice(pairs)
    return {
        "question": question, "gold": {"code": code, "input": inputs, "output": output},
        "clean": f"Try f({inputs}).\n{clean}", "flawed": claimed(f"Try f({other}).\n{told(code, outcome)}", outcome, output),
        "wrong": other, "edit": "input", "first_wrong": len(outcome.lines) - 1,
    }  # fmt: skip


def claimed(story: str, outcome: Outcome, output: str) -> str:
    """The story of another input, with the wanted result claimed at its end."""
    return story.removesuffix(f"the function returns {outcome.value}.") + f"the function returns {output}."


def canonical(literal: str) -> str | None:
    """A literal as ``repr`` writes it; None if it is none. Nothing is executed."""
    if len(literal) > 4000:
        return None
    try:
        return repr(ast.literal_eval(literal.strip()))
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        return None


def returns(gold: dict[str, Any], inputs: str) -> bool:
    """Whether the program, given ``inputs``, returns what was asked for; run in the sandbox."""
    if len(inputs) > 2000 or canonical(f"({inputs},)") is None:
        return False
    ran = run(gold["code"], [f"f({inputs})"], steps=2000)
    return bool(ran.calls) and ran.calls[0].value == canonical(gold["output"])


def changed_inputs(inputs: str, rng: Random) -> Iterator[str]:
    """Other inputs of the same type, a little different."""
    try:
        values = ast.literal_eval(f"({inputs},)")
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        return
    for _ in range(TRIED):
        at = rng.randrange(len(values))
        changed = [_changed(v, rng) if i == at else v for i, v in enumerate(values)]
        yield ", ".join(map(repr, changed))


def _changed(value: Any, rng: Random) -> Any:
    if isinstance(value, bool):
        return not value
    if isinstance(value, int | float):
        return value + rng.choice((-2, -1, 1, 2))
    if isinstance(value, str):
        at = rng.randrange(len(value) + 1)
        return rng.choice((value[:at] + rng.choice("abz19 ") + value[at:], value[:at] + value[at + 1 :], value[::-1]))
    if isinstance(value, list | tuple) and value:
        at = rng.randrange(len(value))
        kind = type(value)
        parts: Sequence[Any] = rng.choice(
            ([*value[:at], _changed(value[at], rng), *value[at + 1 :]], [*value[:at], *value[at + 1 :]], [*value, value[at]])
        )
        return kind(parts)
    if isinstance(value, dict) and value:
        key = rng.choice(list(value))
        return {**value, key: _changed(value[key], rng)}
    return value


def _slipped(value: str | None, rng: Random) -> str | None:
    """The value with one thing changed, of the same type."""
    try:
        return repr(_changed(ast.literal_eval(value or ""), rng))
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        return value


def _first_difference(right: Outcome, wrong: Outcome) -> int:
    """The first line that runs otherwise or leaves something else behind."""
    for number, (one, other) in enumerate(zip(right.lines, wrong.lines, strict=False)):
        if one != other:
            return max(0, number - 1)
    return min(len(right.lines), len(wrong.lines)) - 1
