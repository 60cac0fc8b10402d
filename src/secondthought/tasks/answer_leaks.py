"""Whether a reflection gives away the answer of a task, however it is written, and only where it is meant as one."""

from __future__ import annotations

import re

from secondthought.tasks import numbers
from secondthought.tasks.grade import as_text
from secondthought.tasks.number_words import in_digits
from secondthought.types import Task

_LABEL = re.compile(  # what stands before a number that only counts: "in step 5", "#5", "line (5)"
    r"(?:\b(?:steps?|parts?|problems?|questions?|lines?|rules?|points?|equations?|exercises?|examples?|cases?|sections?|pages?"
    r"|figures?|tables?|chapters?|items?|attempts?|rounds?|tasks?|options?|no\.)|#)\s?#?\(?$",
    re.IGNORECASE,
)
_MARKER = re.compile(r"(?:^|\n)[^\S\n]*\(?$")  # a number at the beginning of a line may mark it
_MARKS = re.compile(r"[.)][^\S\n]+[^\s\d]|(?:st|nd|rd|th)\b")
_STATED = (
    r"(?:(?i:\b(?:answer|option|choice|choose|pick|letter|result|output)\b[^\w\n]{{0,3}}(?:(?:is|was|be|should be)\b)?"
    r"[^\w\n]{{0,3}}|\b(?:should|must|would) (?:have )?be(?:en)? [^\w\n]?)|\(){0}(?!\w)"
    r"|(?i:\bit(?:'s| is| was) ){0}(?=[^\w\s]|\s*$)"
)
"""How a word that stands in many texts (a letter, true) is meant as an answer."""
COMMON = ("true", "false", "yes", "no", "none", "null")


def answer_in_text(task: Task, text: str) -> str:
    """``full`` if the answer itself stands in the text, else ``none``: a number in any spelling, in words too, but not as the
    number of a step or a line; a letter or a common word only where the text says that it is the answer.

    >>> task = Task.of("How many?", answer="1,200", family="own")
    >>> answer_in_text(task, "it is twelve hundred"), answer_in_text(task, "see line 1200")
    ('full', 'none')
    """
    wanted = numbers.gold_number(task.answer)
    if wanted is not None:
        text = numbers.cleaned(in_digits(text))
        found = (one for one in numbers.numerals(text) if numbers.equal(one.value, wanted))
        return "full" if any(counts(text, one) for one in found) else "none"
    answer = "" if task.answer is None else as_text(task.answer).strip()
    if not answer:
        return "none"
    short = len(answer) == 1 and answer.isalpha()
    case = re.NOFLAG if short else re.IGNORECASE
    if short or answer.lower() in COMMON:
        alone = text.strip().strip("\"'“”*`. !").lower() == answer.lower()
        return "full" if alone or re.search(_STATED.format(re.escape(answer)), text, case) else "none"
    return "full" if re.search(rf"(?<!\w){re.escape(answer)}(?!\w)", text, case) else "none"


def counts(text: str, one: numbers.Numeral) -> bool:
    """Whether a number in a text does more than to number a step, a line or an item."""
    before = text[max(0, one.start - 16) : one.start]
    marker = _MARKER.search(before) if one.start < 16 or "\n" in before else None
    return not _LABEL.search(before) and not (_MARKS.match(text, one.end) and (marker or text[one.end] not in ".)"))
