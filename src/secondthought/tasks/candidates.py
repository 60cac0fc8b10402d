"""Candidate answers inside a chain of thought: where a text first says what the answer is, and says it again ("First Try
Matters", arXiv 2510.08308).

The paper asks a large model; these are rules of high precision, by the kind of the wanted answer. A line (or a nano model's
chain) is a candidate where it

* states an answer: "the answer is 7", ``\\boxed{7}``, ``#### 7``, ``<answer>7</answer>``, "so it is option B";
* concludes with a number: it begins with "so", "thus", "therefore", "hence" or "which means", and its last number, alone or
  behind "=" or "is", is not part of an expression that nobody worked out;
* is a whole chain of Countdown, which ``wait ,`` or ``then ,`` or the end follows.

Numbers that are on the way ("12 * 2 = 24") are none.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from fractions import Fraction
from functools import partial
from itertools import pairwise
from typing import NamedTuple

from secondthought.models.thoughts import unmarked
from secondthought.tasks import numbers
from secondthought.tasks.multiple_choice import by_letter, letter_in, letters_of, options_of, terse_letter_in
from secondthought.types import Task, TaskSet


class Candidate(NamedTuple):
    """An answer in a text: the line it stands in, from ``start`` to ``end`` (characters), and its ``value`` as a grader reads
    it.
    """

    start: int
    end: int
    value: str


Finder = Callable[[Task, str], list[Candidate]]

_LINE = re.compile(r"[^\n]+")
_SENTENCE = re.compile(r".+?(?:[.!?](?=\s|$)|$)", re.DOTALL)
_STATES = re.compile(
    r"####|\banswer\b[\s*_]*(?:is|=|:|would be|must be|should be|remains|stays)(?!\s+(?:not|n't)\b)|\\boxed\s*\{|<answer>",
    re.IGNORECASE,
)
_CONCLUDES = re.compile(
    r"^\W*(?:(?:and|but|wait|yes|ok(?:ay)?|right|hmm|no)\b[,. ]+)?"
    r"(?:so|thus|therefore|hence|which means|that means|this means|in total|altogether|this gives|that gives|giving)\b",
    re.IGNORECASE,
)
_CHOOSES = re.compile(r"\b(?:so|thus|therefore|hence|it(?:'s| is| must be| should be)|choose|pick|option|choice)\b")
_OPTION = re.compile(
    r"\(([A-Z])\)|\b(?:option|choice) ([A-Z])\b"
    r"|(?<=is )([A-Z])(?=[.,;)]|$)|(?<=be )([A-Z])(?=[.,;)]|$)|(?<=it's )([A-Z])(?=[.,;)]|$)"
)
_NEXT = re.compile(r"(?:^|\s),? ?(?:wait|then) , ")


def candidates_of(tasks: TaskSet) -> Finder:
    """How candidate answers to these tasks are found: by their own ``candidates(task, text)``, or by :func:`candidates`."""
    own: Finder | None = getattr(tasks, "candidates", None)
    return own or candidates


def candidates(task: Task, text: str) -> list[Candidate]:
    """The candidate answers in a text, in order, by the kind of the wanted answer.

    >>> task = Task.of("3 + 4?", answer="7", family="sums")
    >>> [one.value for one in candidates(task, "3 + 4 = 8. So it is 8.\\nWait, 3 + 4 = 7. The answer is 7.")]
    ['8', '7']
    """
    if task.family == "countdown" and isinstance(task.answer, dict) and task.answer.get("style") == "terse":
        return list(_chains(text))
    text, tags = unmarked(text), task.family == "countdown"
    if by_letter(task):
        return list(_options(task, text))
    find = _number if numbers.gold_number(task.answer) is not None else partial(_statement, tags=tags)
    return [Candidate(start, end, value) for start, end, line in parts(text) if (value := find(line)) is not None]


def parts(text: str) -> Iterator[tuple[int, int, str]]:
    """The sentences of a text with where they stand; a line ends a sentence.

    >>> [part for _, _, part in parts("It is 4.5. Or not?\\nNo.")]
    ['It is 4.5.', ' Or not?', 'No.']
    """
    for line in _LINE.finditer(text):
        for one in _SENTENCE.finditer(line[0]):
            yield line.start() + one.start(), line.start() + one.end(), one[0]


def _number(line: str) -> str | None:
    """The number that a sentence gives as the answer."""
    if not _STATES.search(line) and not _CONCLUDES.search(line):
        return None
    value = numbers.answer_number(line) if _STATES.search(line) else _last_free(line)
    return None if value is None else numbers.spelled(value)


def _last_free(line: str) -> Fraction | None:
    free = [one for one in numbers.numerals(numbers.cleaned(line[-numbers.LONGEST :])) if not one.linked]
    return free[-1].value if free else None


def _statement(line: str, tags: bool = False) -> str | None:
    """What a sentence states as the answer, in words; with ``tags``, only what stands in them, and in them."""
    if tags:
        found = numbers.tagged(line)
        return f"<answer>{found}</answer>" if found else None
    return (numbers.stated(line) or None) if _STATES.search(line) else None


def _options(task: Task, text: str) -> Iterator[Candidate]:
    """Letters: nano's last word, else what is stated or concluded."""
    options, letters = options_of(task), letters_of(task)
    if letters.islower():
        for start, end, part in _terse(text):
            if (letter := terse_letter_in(part, options)) is not None and (part == letter or "=" in part):
                yield Candidate(start, end, letter)
        return
    for start, end, line in parts(text):
        letter, stated = letter_in(line, options)
        if letter is None or not stated:
            chooses = _CHOOSES.search(line)
            found = _OPTION.search(line, chooses.start()) if chooses else None
            letter = next((one for one in found.groups() if one), None) if found else None
        if letter is not None and letter in letters and not re.search(r"\bnot\b|n't\b", line):
            yield Candidate(start, end, letter)


def _terse(text: str) -> Iterator[tuple[int, int, str]]:
    """The parts between a nano model's commas."""
    for one in re.finditer(r"[^,]+", text):
        yield one.start(), one.end(), one[0].strip()


def _chains(text: str) -> Iterator[Candidate]:
    """Chains of Countdown between the words that begin another one."""
    marks = [0, *(place for one in _NEXT.finditer(text) for place in (one.start(), one.end())), len(text)]
    for start, stop in list(pairwise(marks))[::2]:
        chain = text[start:stop].strip().removesuffix(", done").strip().strip(",").strip()
        if "=" in chain:
            yield Candidate(start, stop, chain)
