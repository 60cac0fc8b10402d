"""Grade-school mathematics with flawed solutions: edited by program, or written by real models.

GSM8K's solutions carry their arithmetic as ``<<48/2=24>>``. :func:`program` reads it as a small program, :func:`edited` changes
one thing in it (the seven edits of "Rethinking Reflection in Pre-Training", arXiv 2504.04022, Table 2), runs it to the end
and writes every number that follows from the change back into the words. No language model is needed.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from random import Random

from secondthought.errors import UserError
from secondthought.items.base import Item, Items, OnProgress, silent
from secondthought.items.templates import CLEAN, Reading, cut, released_items, triggers
from secondthought.tasks.expressions import Wrong, evaluate
from secondthought.tasks.jsonl import need, rows_of
from secondthought.tasks.numbers import NUMBER, answer_number, equal, gold_number, last_number, number, spelled, states_number
from secondthought.types import Json, seed_of

FAMILY = "gsm8k"
EDITS = ("B1", "M1", "M2", "M3", "E1", "E2", "E3")
"""The first number; the first calculation with another operation, with an extraneous factor, or with a part left out; and the
same for the last calculation."""

_PLAIN = re.compile(r"\d+(?:\.\d+)?|\.\d+")
_CALCULATION = re.compile(r"<<([^<>=]*)=([^<>]*)>>")
MODELS = ("6b_finetuning", "6b_verification", "175b_finetuning", "175b_verification")


@dataclass(frozen=True)
class Calculation:
    """``expression = value`` on one line; ``words`` are what stands before it, ``after`` the rest up to the next one."""

    words: str
    expression: str
    value: Fraction
    after: str


def computed(expression: str) -> Fraction | None:
    """The value of an annotated expression (numbers, + - * /, parentheses, per cent), or None."""
    plain = re.sub(r"(\d+(?:\.\d+)?)%", r"(\1/100)", expression.replace(",", "").replace("$", "").replace("x", "*"))
    plain = re.sub(r"(?<![\d)])\.(\d)", r"0.\1", plain)
    scaled = re.sub(r"(\d+)\.(\d+)", lambda m: f"({m[1]}{m[2]}/1{'0' * len(m[2])})", plain)
    scaled = re.sub(r"(^|[(+*/-])\s*-\s*(\d+)", r"\1(0-\2)", scaled)
    try:
        return evaluate(scaled)[0]
    except Wrong:
        return None


def program(solution: str) -> tuple[Calculation, ...] | None:
    """The calculations of a solution in order, if every one can be run; None otherwise."""
    body = solution.split("####")[0].rstrip()
    matches = list(_CALCULATION.finditer(body))
    found = []
    for i, match in enumerate(matches):
        words = body[matches[i - 1].end() if i else 0 : match.start()]
        after = body[match.end() :] if i == len(matches) - 1 else ""
        value = computed(match[1])
        if value is None or (stated := number(match[2])) is None or abs(value - stated) > Fraction(1, 100):
            return None
        found.append(Calculation(words, match[1], value, after))
    return tuple(found) or None


def run(calculations: tuple[Calculation, ...], change: dict[int, str]) -> tuple[tuple[Calculation, ...], int] | None:
    """The program again with some expressions replaced: what it was, now with the consequences; and where it first differs.

    A number in a later expression that equals an earlier result is that result, the latest one where several fit.
    """
    moved: dict[Fraction, Fraction] = {}
    done: list[Calculation] = []
    first = None
    for i, old in enumerate(calculations):
        expression = _carried(change.get(i, old.expression), moved)
        value = computed(expression)
        if value is None or value < 0 or value > 10**9 or value.denominator > 10**6:
            return None
        words = _carried(old.words, moved)
        if i in change:
            words = _respelled(words, old.expression, expression)
        if first is None and expression != old.expression:
            first = i
        done.append(replace(old, words=words, expression=expression, value=value, after=old.after))
        moved[old.value] = value
    last = calculations[-1].value
    done[-1] = replace(done[-1], after=_carried(_after(done[-1].after, last), {**moved, last: done[-1].value}))
    return (tuple(done), first) if first is not None else None


def _after(text: str, value: Fraction) -> str:
    """The words behind the last calculation, which begin with its value; the value goes."""
    found = NUMBER.match(text)
    return text[found.end() :] if found and number(found[0]) == value else text


def _carried(text: str, moved: dict[Fraction, Fraction]) -> str:
    """Every number that is an earlier result, replaced by what that result is now."""

    def swap(match: re.Match[str]) -> str:
        value = number(match[0].lstrip("-"))
        if value is None or value not in moved or moved[value] == value or _in_fraction(match):
            return match[0]
        return ("-" if match[0].startswith("-") else "") + ("$" if "$" in match[0] else "") + spelled(moved[value])

    return NUMBER.sub(swap, text)


def _in_fraction(match: re.Match[str]) -> bool:
    """Whether a number is one half of a proper fraction such as 1/4, whose 4 is nobody's result."""
    over = re.match(r"/(\d+)", match.string[match.end() :])
    under = re.search(r"(?<![\d.])(\d+)/$", match.string[: match.start()])
    own = match[0].replace(",", "").strip("$-")
    if not own.isdigit():
        return False
    return bool((over and int(own) < int(over[1])) or (under and int(under[1]) < int(own)))


def _respelled(words: str, old: str, new: str) -> str:
    """The words before a calculation usually say it once more (``48/2 = <<48/2=24>>``); they must say the new one."""
    line = words.rpartition("\n")
    squeezed = re.sub(r"\s+", "", old)
    pattern = r"\s*".join(re.escape(c) for c in squeezed).replace(r"\*", r"[*x×]")
    again, count = re.subn(rf"\$?{pattern}(?=\s*=?\s*\$?\s*$)", lambda _: new, line[2], count=1)
    return line[0] + line[1] + (again if count else line[2])


def render(calculations: tuple[Calculation, ...]) -> str:
    """The solution in words again, annotations included.

    A calculation's value stands behind its annotation, as in the original.
    """
    parts: list[str] = []
    previous: Calculation | None = None
    for calculation in calculations:
        words = calculation.words
        if previous is not None:
            words = spelled(previous.value) + _behind(words)
        parts.append(f"{words}<<{calculation.expression}={spelled(calculation.value)}>>")
        previous = calculation
    last = calculations[-1]
    return "".join(parts) + spelled(last.value) + last.after


def _behind(words: str) -> str:
    """What stands behind the value of the calculation before."""
    found = NUMBER.match(words)
    return words[found.end() :] if found else words


def edited(calculations: tuple[Calculation, ...], kind: str, rng: Random) -> tuple[str, str, int] | None:
    """A flawed solution in words, the answer it leads to, and the calculation where it first goes wrong; None if that fails."""
    at = 0 if kind[0] in "BM" else len(calculations) - 1
    expression = calculations[at].expression
    numbers = list(_PLAIN.finditer(expression))
    operators = list(re.finditer(r"(?<=[\d)%.])\s*([-+*/x])\s*(?=[\d(.$])", expression))
    if kind == "B1" and numbers:
        one = rng.choice(numbers)
        factor = rng.choice((Fraction(1, 2), Fraction(2), Fraction(3), Fraction(3, 2)))
        new = expression[: one.start()] + spelled(Fraction(one[0]) * factor) + expression[one.end() :]
    elif kind[1] == "1" and operators:
        one = rng.choice(operators)
        new = expression[: one.start(1)] + rng.choice([op for op in "+-*/" if op != one[1]]) + expression[one.end(1) :]
    elif kind[1] == "2":
        new = f"({expression})*{rng.choice((2, 3, 4))}" if operators else f"{expression}*{rng.choice((2, 3, 4))}"
    elif kind[1] == "3" and operators:
        last = operators[-1]
        new = expression[: last.start()]
        if new.count("(") != new.count(")"):
            return None
    else:
        return None
    again = run(calculations, {at: new})
    if again is None or spelled(again[0][-1].value) == spelled(calculations[-1].value):
        return None
    return render(again[0]), spelled(again[0][-1].value), again[1]


def from_solutions(path: str | Path, *, seed: int = 0, on_progress: OnProgress = silent) -> Items:
    """Program edits of the worked solutions in a GSM8K file (``question``, ``answer``), one of each kind that works."""
    rows = []
    for line, row in rows_of(path):
        question, solution = need(row, ("question", "answer"), f"{path}, line {line}")
        rows.append((line, question, solution))
    return from_worked(rows, path, FAMILY, seed=seed, on_progress=on_progress)


def from_worked(
    rows: Sequence[tuple[int, str, str]], path: str | Path, family: str, *, seed: int = 0, on_progress: OnProgress = silent
) -> Items:
    """Program edits of questions with solutions in GSM8K's notation, each with its line in ``path``."""
    items = Items()
    for done, (line, question, solution) in enumerate(rows, 1):
        where = f"{path}, line {line}"
        gold, steps = answer_of(solution), program(solution)
        on_progress(done, len(rows))
        if gold is None:
            items.leave_out("no final answer", where)
            continue
        if steps is None or spelled(steps[-1].value) != gold:
            items.not_made["the solution's arithmetic does not lead to its answer"] += len(EDITS)
            continue
        rng, clean = Random(seed_of(f"{family} edits", seed, question)), solution.split("####")[0].rstrip()
        for kind in EDITS:
            flawed = next((f for _ in range(6) if (f := edited(steps, kind, rng))), None)
            if flawed is None:
                items.not_made[f"edit {kind} changes nothing or cannot be run"] += 1
                continue
            text, wrong, first = flawed
            items.add(Item(f"{line}-{kind}", question, gold, clean, text, wrong, family, kind, Path(path).name, first), where)
    return items


def from_models(path: str | Path) -> Items:
    """Real models' wrong solutions in the released GSM8K solutions of four models, beside the right one of the data set."""
    items = Items()
    for line, row in rows_of(path):
        where = f"{path}, line {line}"
        question, truth = need(row, ("question", "ground_truth"), where)
        clean, gold = _cut(truth)
        for model in MODELS:
            found = row.get(model)
            if not isinstance(found, dict) or not isinstance(found.get("solution"), str):
                raise UserError(f"{where}: there is no solution by {model!r}")
            flawed, wrong = _cut(found["solution"])
            if wrong is None or gold is None:
                items.leave_out("no final answer", f"{where}, {model}")
            elif wrong == gold:
                items.not_made["the model was right"] += 1
            else:
                items.add(Item(f"{line}-{model}", question, gold, clean, flawed, wrong, FAMILY, "model", model), where)
    return items


def _cut(solution: str) -> tuple[str, str | None]:
    """A solution without its last line ``A: 18``, and what that line says."""
    body, _, last = solution.strip().rpartition("\n")
    found = re.fullmatch(r"A:\s*(.*)", last.strip())
    value = number(found[1].strip()) if found else None
    return body, spelled(value) if value is not None else None


def answer_of(solution: str) -> str | None:
    """What stands behind ``####``, plainly written."""
    value = number(solution.rpartition("####")[2].strip()) if "####" in solution else None
    return spelled(value) if value is not None else None


def stated_number(text: str) -> str | None:
    """The number that the text gives as its answer before it turns to another problem."""
    value = answer_number(cut(text))
    return None if value is None else spelled(value)


def states_answer(text: str) -> bool:
    """Whether the text states its answer, or has turned to another problem, with which the first one is over."""
    kept = cut(text)
    return kept != text or states_number(kept)


def without_marks(solution: str) -> str:
    """A solution without the calculator marks of the data set, which no model writes.

    >>> without_marks("She has 3*2 = <<3*2=6>>6 eggs.")
    'She has 3*2 = 6 eggs.'
    """
    return _CALCULATION.sub("", solution)


def last_digits(text: str) -> str | None:
    """The last digits, whatever they belong to: the paper's reading."""
    found = [value for match in NUMBER.finditer(text[-20_000:]) if (value := number(match[0])) is not None]
    return spelled(found[-1]) if found else None


def _right(item: Item, answer: str) -> bool:
    value, wanted = number(answer), gold_number(item.gold)
    return value is not None and wanted is not None and equal(value, wanted)


FRAME = "Question: {question}\nAnswer: Let's solve this step by step."
ASK = '{question}\nThink step by step, and end with "The answer is" and the number.'
READINGS = {
    "clean": Reading(FRAME, ASK, stated_number, _right, CLEAN, states=states_answer, shown=without_marks),
    "paper": Reading(FRAME, ASK, last_digits, _right, triggers(" Wait, ", " Wait, I made a mistake. ", " Okay, ")),
}
"""How the family is asked and read; see :mod:`secondthought.items.templates`."""


def item_set(place: str, n: int | None, seed: int, on_progress: OnProgress = silent) -> Items:
    """``gsm8k:FILE`` or ``gsm8k:hf:DATASET``: worked solutions edited by program, released models' solutions, or
    ``messy_cot``.
    """
    first = rows_of(place)[0][1]
    if "messy_cot" in first:
        return released_items(place, FAMILY, released)
    return from_models(place) if "ground_truth" in first else from_solutions(place, on_progress=on_progress)


def released(row: dict[str, object], where: str) -> tuple[str, Json, str, str]:
    """Question, gold, flawed chain and wrong answer of a row of EssentialAI/gsm8k_adv."""
    question, answer, messy = need(row, ("question", "answer", "messy_cot"), where)
    body, _, last = messy.partition("####")
    wrong = spelled(value) if (value := number(last.strip())) is not None else (last_number(body) or "")
    return question, answer_of(answer) or answer, body.rstrip(), wrong
