"""CruxEval: what does this program return, and what must it have been given? With reasoning that misreads one thing.

The right reasoning is the program's own trace, line by line. For ``cruxeval_o`` the flawed one is the trace of the
program with one thing misread (an operator, a comparison, a constant, a method), against the original lines; it is kept
where it ends in another value, and where no misreading does, only the value at the end is misread. For ``cruxeval_i`` it tries
another input and claims at the end that this gives what was asked for. Programs are untrusted and only ever run in
:mod:`secondthought.items.sandbox`.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path
from random import Random
from typing import Any, Literal, cast

from secondthought.items.base import Item, Items, OnProgress, silent
from secondthought.items.sandbox import Outcome, run
from secondthought.items.templates import CLEAN, Reading, cut, released_items, triggers
from secondthought.tasks.jsonl import need, rows_of
from secondthought.types import Json, seed_of

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


def story(code: str, outcome: Outcome) -> str | None:
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


def items_of(path: str | Path, direction: Direction, *, on_progress: OnProgress = silent) -> Items:
    """One item for each program for which a wrong reasoning was found. ``on_progress(done, of)`` is called as programs are
    run.
    """
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
            on_progress(done, len(rows))
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
    clean = story(code, right)
    if clean is None:
        return "too long to show, or nothing to show"
    question = asked(code, inputs, output, direction)
    if direction == "cruxeval_o":
        wrong = [m for m in ran.mutants if m.value not in (None, right.value) and story(code, m)]
        slips = [
            Outcome(v, None, right.lines, "slip") for _ in range(TRIED) if (v := _slipped(right.value, rng)) != right.value
        ]
        if not wrong and not slips:
            return "no misreading changes the result"
        chosen = rng.choice(wrong or slips)
        return {
            "question": question, "gold": {"output": output}, "clean": clean, "flawed": story(code, chosen) or "",
            "wrong": chosen.value or "", "edit": chosen.kind, "first_wrong": _first_difference(right, chosen),
        }  # fmt: skip
    pairs = [
        (o, c) for o, c in zip(others, ran.calls[1:], strict=True) if c.value not in (None, right.value) and story(code, c)
    ]
    if not pairs:
        return "no other input gives another result"
    other, outcome = rng.choice(pairs)
    return {
        "question": question, "gold": {"code": code, "input": inputs, "output": output},
        "clean": f"Try f({inputs}).\n{clean}", "flawed": claimed(f"Try f({other}).\n{story(code, outcome)}", outcome, output),
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


def equal(left: str | None, right: str | None) -> bool:
    """Whether two literals are equal as ``assert f(x) == y`` decides it: 1 and 1.0 are, and the order of keys is nothing.

    >>> equal("{'b': 1, 'a': 2}", "{'a': 2, 'b': 1.0}"), equal("'1'", "1")
    (True, False)
    """
    if left is None or right is None or canonical(left) is None or canonical(right) is None:
        return False
    return bool(ast.literal_eval(left.strip()) == ast.literal_eval(right.strip()))


def returns(gold: dict[str, Any], inputs: str) -> bool:
    """Whether the program, given ``inputs``, returns what was asked for; run in the sandbox."""
    if len(inputs) > 2000 or canonical(f"({inputs},)") is None:
        return False
    ran = run(gold["code"], [f"f({inputs})"], steps=2000)
    return bool(ran.calls) and equal(ran.calls[0].value, gold["output"])


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


# --- asking and reading ----------------------------------------------------------------------------------------------

ASK = (
    "Complete the assertion so that it holds. Execute the program step by step in [THOUGHT], then give the full assertion in "
    "[ANSWER] and [/ANSWER] tags.\n\n[PYTHON]\n{question}\n[/PYTHON]\n[THOUGHT]"
)
_TAGGED = re.compile(r"\[ANSWER\](.*?)(?:\[/ANSWER\]|$)", re.DOTALL)
_RETURNS = re.compile(r"returns? ([^\n]+)")


def tagged(text: str, which: int) -> str | None:
    """What stands in the first (0) or last (-1) [ANSWER]."""
    found = [t.strip() for t in _TAGGED.findall(text)]
    return _unfenced(found[which]) if found else None


def _unfenced(text: str) -> str:
    found = re.fullmatch(r"```\w*\n?(.*?)\n?```|`([^`]*)`", text, re.DOTALL)
    return (found[1] or found[2] or "").strip() if found else text


def _sides(answer: str) -> tuple[str, str] | None:
    """The two sides of ``assert f(x) == y`` or ``f(x) == y``, as Python reads it; None if it is no such thing."""
    try:
        (line,) = ast.parse(answer.strip()).body
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return None
    test = line.test if isinstance(line, ast.Assert) else line.value if isinstance(line, ast.Expr) else None
    if not (isinstance(test, ast.Compare) and len(test.ops) == 1 and isinstance(test.ops[0], ast.Eq)):
        return None
    if not (isinstance(line, ast.Assert) or isinstance(test.left, ast.Call)):
        return None
    text = answer.strip()
    return ast.get_source_segment(text, test.left) or "", ast.get_source_segment(text, test.comparators[0]) or ""


def output_of(answer: str | None) -> str | None:
    """The right side of ``assert f(x) == y``, or the whole."""
    if answer is None:
        return None
    sides = _sides(answer)
    return sides[1] if sides else answer


def input_of(answer: str | None) -> str | None:
    """What stands in ``f(...)`` of ``assert f(x) == y``, or the whole."""
    if answer is None:
        return None
    sides = _sides(answer)
    left = (sides[0] if sides else answer).strip()
    begin = re.search(r"\bf\(", left)
    return left[begin.end() : -1].strip() if begin and left.endswith(")") else left


def final_output(text: str) -> str | None:
    """The last [ANSWER] before another problem, or the last "returns X"."""
    own = cut(text)
    if (answer := output_of(tagged(own, -1))) is not None:
        return answer
    found = _RETURNS.findall(own)
    return found[-1].strip().removesuffix(".").strip() if found else None


def output_is(item: Item, answer: str) -> bool:
    """Whether an answer is the program's output, as a literal."""
    wanted = cast(dict[str, Any], item.gold)["output"] if isinstance(item.gold, dict) else item.gold
    return equal(answer, str(wanted))


def input_is(item: Item, answer: str) -> bool:
    """Whether the program returns its output for an answer."""
    return returns(cast(dict[str, Any], item.gold), answer)


def readings(direction: Direction) -> Mapping[str, Reading]:
    """How a direction is asked and read; see :mod:`secondthought.items.templates`."""
    if direction == "cruxeval_o":
        wait, mistake, filler = "\nwait!", "\nwait! I made a mistake", "\nokay!"
        clean, paper, right = final_output, lambda text: output_of(tagged(text, 0)), output_is
    else:
        wait, mistake, filler = "\nNo, wait", "\nNo, wait, I made a mistake", "\nYes, okay"
        clean, paper = lambda text: input_of(tagged(cut(text), -1)), lambda text: input_of(tagged(text, -1))
        right = input_is
    stop, runs = ("[PYTHON]",), direction == "cruxeval_i"
    words = triggers(wait, mistake, filler)
    return {
        "clean": Reading(ASK, ASK, clean, right, CLEAN, "\n", 512, stop=stop, runs_programs=runs),
        "paper": Reading(ASK, ASK, paper, right, words, "\n", 800, 0.2, 0.9, stop, runs_programs=runs),
    }


def from_place(place: str, direction: Direction, on_progress: OnProgress = silent) -> Items:
    """``FILE`` or ``hf:DATASET``: programs with their input and output, or rows with ``messy_cot``."""
    if "messy_cot" not in rows_of(place)[0][1]:
        return items_of(place, direction, on_progress=on_progress)

    def released(row: dict[str, object], where: str) -> tuple[str, Json, str, str]:
        code, inputs, output, messy = need(row, ("code", "input", "output", "messy_cot"), where)
        gold: Json = {"output": output} if direction == "cruxeval_o" else {"code": code, "input": inputs, "output": output}
        return asked(code, inputs, output, direction), gold, messy, messy.strip().rpartition("\n")[2]

    return released_items(place, direction, released)
