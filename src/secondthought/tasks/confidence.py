"""What confidence a text states: in tags, as RLCR has models write it, or as a number of tenths, as nano models do."""

from __future__ import annotations

import re
from collections.abc import Callable

from secondthought.types import Task, Verdict

_NUMBER = re.compile(r"\d+(?:\.\d*)?|\.\d+")
_BEGIN = re.compile(r"\s*<think>")
_FORM = tuple(map(re.compile, (r"</think>\s*<answer>", r"</answer>\s*<analysis>", r"</analysis>\s*<confidence>")))
_PART = re.compile(r"\s*(?:0(?:\.\d*)?|1(?:\.0*)?|\.\d+)\s*</confidence>\s*")


def in_tags(text: str) -> float | None:
    """The first number in the last ``<confidence>`` of a text, above 1 or before ``%`` taken as per cent; None without one
    between 0 and 100.

    The authors of RLCR read their models so (arXiv 2507.16806, damanimehul/RLCR).

    >>> in_tags("<confidence> 0.7 </confidence>"), in_tags("<confidence>50.</confidence>"), in_tags("sure")
    (0.7, 0.5, None)
    """
    stated = _last_tag(text)
    number = _NUMBER.search(stated)
    if number is None:
        return None
    value = float(number[0])
    if value > 1 or stated[number.end() :].lstrip().startswith("%"):
        value /= 100
    return value if value <= 1 else None


def _last_tag(text: str) -> str:
    """What stands in the last ``<confidence>``, each read from the first that is open to the next that closes it."""
    found, place = "", 0
    while (begin := text.find("<confidence>", place)) >= 0 and (end := text.find("</confidence>", begin)) >= 0:
        found, place = text[begin + len("<confidence>") : end], end
    return found


def well_formed(text: str) -> bool:
    """Whether a text is thought, answer, analysis and a confidence that is nothing but a number from 0 to 1: what RLCR's reward
    asks for.

    >>> well_formed("<think>a</think><answer>b</answer><analysis>c</analysis><confidence>0.5</confidence>")
    True
    """
    found = _BEGIN.match(text)
    for part in _FORM:  # each as early as it can be, which leaves most to the next
        found = found and part.search(text, found.end())
    return found is not None and _PART.fullmatch(text, found.end()) is not None


def in_tenths(text: str) -> float | None:
    """A number of tenths from 0 to 10 at the end of a text.

    >>> in_tenths("7"), in_tenths("sure 10"), in_tenths("11"), in_tenths("hm")
    (0.7, 1.0, None, None)
    """
    found = re.search(r"(?<!\d)(\d{1,2})\s*$", text)
    return int(found[1]) / 10 if found and int(found[1]) <= 10 else None


def if_well_formed(grade: Callable[[Task, str], Verdict]) -> Callable[[Task, str], Verdict]:
    """The same grader, for which a text that is not in the form of RLCR's four tags is wrong."""

    def strict(task: Task, text: str) -> Verdict:
        return grade(task, text) if well_formed(text) else Verdict(0.0, None, "malformed: not the four tags")

    return strict


def in_tags_if_well_formed(text: str) -> float | None:
    """The confidence of a text in RLCR's form; None for any other."""
    return in_tags(text) if well_formed(text) else None
