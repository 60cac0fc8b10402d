"""Questions with options, of which one is right: MMLU, ARC, CommonsenseQA and files like them; without a file, drawn sums.

A row has a question and options in one of the shapes that published data come in::

    {"question": ..., "choices": [...], "answer": 1}                                       MMLU (a number from 0, or a letter)
    {"question": ..., "choices": {"label": [...], "text": [...]}, "answerKey": "B"}        ARC, CommonsenseQA
    {"question_text": ..., "choices": [...], "correct_label": "B"}                         MMLU as replications have it
    {"question": ..., "options": [...], "answer": "B"}                                     MMLU-Pro

Options are shown as ``A) ...`` in words, as ``12 a 15 b`` to nano models. The wanted answer of a task is
``{"right": "B", "options": [...]}``.
"""

from __future__ import annotations

import json
import re
import string
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from random import Random
from typing import Any, cast

from secondthought.errors import UserError
from secondthought.models.thoughts import without_thoughts
from secondthought.tasks import numbers
from secondthought.tasks.base import Split, split_by
from secondthought.tasks.dataset import TaskList, part
from secondthought.tasks.jsonl import rows_of
from secondthought.types import Json, Task, Verdict, seed_of

FAMILY = "multiple_choice"
LARGEST = 49  # of a drawn summand
ASK = '{question}\n\n{options}\n\nThink step by step, and end with "The answer is" and the letter.'
OPTION = re.compile(  # (B), option B, or B alone or before its reason; "a bit" is no option
    r"(?:(?:option|choice|answer)\s+)?"
    r"(?:\(([A-Za-z])\)|([A-Za-z])(?=$|[.,:;)]|\s+(?:because|since|as|is|which|that|[-–—(])))"
)
_SEVERAL = re.compile(r"\(?[A-Za-z]\)?\s*(?:,|/|or|and)\s*\(?[A-Z]\)?(?!\w)")
_ALONE = re.compile(r"^[^\w\n]*(?:\(([A-Z])\)|([A-Z])(?=[^\w\n]*$|[.):]))", re.MULTILINE)


def undressed(answer: str) -> str:
    """An answer without bold type, boxes, code marks and quotes.

    >>> undressed("**(B)**."), undressed("$\\\\boxed{\\\\text{Yes}}$")
    ('(B)', 'Yes')
    """
    text = re.sub(r"\\(?:boxed|text|mathrm|mathbf|textbf)\s*\{([^{}]*)\}", r"\1", answer)
    text = re.sub(r"\\(?:boxed|text|mathrm|mathbf|textbf)\s*\{([^{}]*)\}", r"\1", text)
    return re.sub(r"\*\*|__|`|\$|\\[()]", "", text).strip().strip("\"'“”. ").strip()


def letter_in(text: str, options: Sequence[str]) -> tuple[str | None, bool]:
    """The letter (capital) of the option that a text gives as its answer, and whether it says that this is its answer.

    What is stated counts ("the answer is (B)", ``\\boxed{B}``, ``<answer>B</answer>``), by its letter or by the words of an
    option; else the last line that is a letter alone or begins with one ("B) Paris"). Two letters at once are no answer.

    >>> letter_in("Paris, so the answer is (B).", ["Rome", "Paris"]), letter_in("A", ["Rome", "Paris"])
    (('B', True), ('A', False))
    >>> letter_in("The answer is Paris.", ["Rome", "Paris"]), letter_in("The answer is A or B", ["Rome", "Paris"])
    (('B', True), (None, False))
    """
    known = string.ascii_uppercase[: len(options)]
    text = without_thoughts(text)[-numbers.LONGEST :]
    part = numbers.stated(text)
    if part is not None:
        said = undressed(part)
        if _SEVERAL.match(said):
            return None, False
        found = OPTION.match(said)
        letter = (found[1] or found[2]).upper() if found else ""
        if letter and letter in known:
            return letter, True
        words = [" ".join(option.lower().split()) for option in options]
        if (plain := " ".join(said.lower().split())) in words:
            return known[words.index(plain)], True
        return None, False
    alone = [one for one in (m[1] or m[2] for m in _ALONE.finditer(text.strip())) if one in known]
    return (alone[-1], False) if alone else (None, False)


def terse_letter_in(text: str, options: Sequence[str]) -> str | None:
    """The letter (small) that nano models end with: ``3 + 4 = 7 b``.

    >>> terse_letter_in("3 + 4 = 7 b", ["9", "7"])
    'b'
    """
    words = text.split()
    return words[-1] if words and words[-1] in string.ascii_lowercase[: len(options)] else None


def by_letter(task: Task) -> dict[str, str]:
    """The options of a task by their letters, as it writes them; none for tasks of other kinds.

    >>> by_letter(posed("3 + 4", ["9", "7"], 1, "terse"))
    {'a': '9', 'b': '7'}
    """
    if not isinstance(task.answer, Mapping) or "options" not in task.answer:
        return {}
    letters = string.ascii_lowercase if right_of(task).islower() else string.ascii_uppercase
    return dict(zip(letters, map(str, cast(Sequence[Any], task.answer["options"])), strict=False))


def options_of(task: Task) -> list[str]:
    """The options of a task. Raises UserError for a task that has none."""
    if not (found := by_letter(task)):
        raise UserError(f"tasks of the family {task.family} have no options; use multiple_choice, or multiple_choice:FILE")
    return list(found.values())


def right_of(task: Task) -> str:
    """The letter of the right option."""
    return str(cast(Mapping[str, Json], task.answer)["right"])


def letters_of(task: Task) -> str:
    """The letters of the options, as this task writes them."""
    return "".join(by_letter(task))


def grade(task: Task, text: str) -> Verdict:
    """1 for the letter of the right option; the answer is the letter, None where there is none."""
    options, right = options_of(task), right_of(task)
    letter, stated = (terse_letter_in(text, options), True) if right.islower() else letter_in(text, options)
    if letter is None:
        return Verdict(0.0, None, "no answer: no option is named", stated=False)
    return Verdict(float(letter == right), letter, "right" if letter == right else f"wrong answer: want {right}", stated)


def posed(question: str, options: Sequence[str], right: int, style: str, key: str = "") -> Task:
    """A question with its options, as it is asked in a style; ``right`` is the number (from 0) of the right one."""
    if style == "terse":
        shown = " ".join(f"{option} {letter}" for letter, option in zip(string.ascii_lowercase, options, strict=False))
        prompt, letters = f"{question} ? {shown}", string.ascii_lowercase
    else:
        shown = "\n".join(f"{letter}) {option}" for letter, option in zip(string.ascii_uppercase, options, strict=False))
        prompt, letters = ASK.format(question=question, options=shown), string.ascii_uppercase
    answer: Json = {"right": letters[right], "options": list(options)}
    task = Task.of(prompt, answer=answer, family=FAMILY)
    return Task(key, task.prompt, task.answer, task.family) if key else task


@dataclass(frozen=True)
class MultipleChoice(TaskList):
    """Questions from a file, each with its options."""

    def grade(self, task: Task, text: str) -> Verdict:
        """See :func:`grade`."""
        return grade(task, text)


@dataclass(frozen=True)
class Sums:
    """Sums of two numbers with four options, drawn; endless.

    >>> task = Sums("test", "terse")[0]
    >>> len(options_of(task)), right_of(task) in "abcd"
    (4, True)
    """

    split: Split = "test"
    style: str = "chat"

    def __len__(self) -> int:
        return 1 << 40

    def __getitem__(self, index: int) -> Task:
        rng = Random(seed_of(FAMILY, self.split, index))
        return drawn(rng, self.split, self.style)

    def grade(self, task: Task, text: str) -> Verdict:
        """See :func:`grade`."""
        return grade(task, text)


def drawn(rng: Random, split: Split, style: str) -> Task:
    """A random sum of a split with its options in random order."""
    while True:
        a, b = rng.randint(1, LARGEST), rng.randint(1, LARGEST)
        if sum_split(a, b) == split:
            break
    near = [a + b + d for d in (-10, -9, -2, -1, 1, 2, 9, 10, 11) if 0 < a + b + d < 100]
    options = [a + b, *rng.sample(near, 3)]
    rng.shuffle(options)
    question = f"{a} + {b}" if style == "terse" else f"What is {a} + {b}?"
    return posed(question, [str(option) for option in options], options.index(a + b), style)


def sum_split(a: int, b: int) -> Split:
    """80 % train, 10 % dev, 10 % test, by the two numbers."""
    return split_by("sums split", a, b)


def task_set(place: str, split: Split | None, style: str) -> MultipleChoice | Sums:
    """``multiple_choice:FILE[:SPLIT]`` or ``multiple_choice:hf:DATASET``; ``multiple_choice`` alone draws sums.

    Raises UserError for a row that has no question, no options, or an answer that is none of them.
    """
    if not place:
        return Sums(split or "test", style)
    if style == "terse":
        raise UserError("nano models cannot read questions from a file; leave the file out, and sums are drawn for them")
    found = tuple(row_task(row, f"{place}, line {line}") for line, row in rows_of(place))
    return part(MultipleChoice(found, source=place), split)


def row_task(row: Mapping[str, Any], where: str) -> Task:
    """A question of a file. Raises UserError, naming the line, for one that has no question, options or right answer."""
    asked = row.get("question_text", row.get("question"))
    if isinstance(asked, Mapping):  # CommonsenseQA's own file
        row, asked = {**row, "choices": row.get("choices", asked.get("choices"))}, asked.get("stem")
    given = row.get("choices", row.get("options"))
    labels = row.get("choice_labels")
    if isinstance(given, Mapping):
        labels, given = given.get("label"), given.get("text")
    elif isinstance(given, Sequence) and given and all(isinstance(one, Mapping) for one in given):
        labels, given = [one.get("label") for one in given], [one.get("text") for one in given]
    if not isinstance(asked, str) or not asked.strip():
        raise UserError(f"{where}: there is no question; write question, choices and answer")
    if isinstance(given, str) or not isinstance(given, Sequence) or not 2 <= len(given) <= len(string.ascii_uppercase):
        raise UserError(f"{where}: choices must be a list of 2 to 26 options, not {json.dumps(given, default=str)[:80]}")
    options = [str(option) for option in given]
    wanted = next((row[name] for name in ("correct_label", "answerKey", "answer", "correct_index") if name in row), None)
    right = place_of(wanted, options, [str(one) for one in labels] if isinstance(labels, Sequence) else [])
    if right is None:
        raise UserError(
            f"{where}: the answer {wanted!r} is none of the {len(options)} options; give its letter or number (from 0)"
        )
    return posed(asked.strip(), options, right, "chat")


def place_of(wanted: Any, options: Sequence[str], labels: Sequence[str]) -> int | None:
    """Which option an answer means: by its label, its letter, its number from 0, or its words; None if it is none of them."""
    if isinstance(wanted, int) and not isinstance(wanted, bool):
        return wanted if 0 <= wanted < len(options) else None
    if not isinstance(wanted, str):
        return None
    names = [*labels] if len(labels) == len(options) else [*string.ascii_uppercase[: len(options)]]
    for kind in (names, options):
        if wanted.strip() in kind:
            return kind.index(wanted.strip())
    return names.index(wanted.strip().upper()) if wanted.strip().upper() in names else None
