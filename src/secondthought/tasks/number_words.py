"""Numbers that are written in words."""

from __future__ import annotations

import re

_ONES = (
    "zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve", "thirteen",
    "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen",
)  # fmt: skip
_SMALL = dict(zip(_ONES, range(20), strict=True))
_TENS = {
    "twenty": 20, "thirty": 30, "forty": 40, "fifty": 50, "sixty": 60, "seventy": 70, "eighty": 80, "ninety": 90,
}  # fmt: skip
_LARGE = {"thousand": 10**3, "million": 10**6, "billion": 10**9}
_WORD = "|".join([*_ONES, *_TENS, "hundred", *_LARGE])
_RUN = re.compile(rf"\b(?:{'|'.join([*_ONES, *_TENS])})(?:(?:[ -]| and )(?:{_WORD}))*\b", re.IGNORECASE)


def in_digits(text: str) -> str:
    """The text with numbers in words as digits; "one" alone stays, since it seldom counts anything.

    >>> in_digits("Forty-two, twelve hundred, one thousand two hundred and five"), in_digits("three five, one of them")
    ('42, 1200, 1205', '3 5, one of them')
    """
    return _RUN.sub(lambda run: _digits(run[0]), text)


def _digits(run: str) -> str:
    if run.lower() == "one":
        return run
    found, whole, part, room = list[int](), 0, 0, 1000  # room: what may still be added to the part
    begun = False
    for word in re.split(r"[ -]", run.lower()):
        if word == "and":
            continue
        if word in _LARGE:
            whole, part, room = whole + max(part, 1) * _LARGE[word], 0, 1000
        elif word == "hundred":
            part, room = max(part, 1) * 100, 100
        else:
            value = _TENS.get(word, _SMALL.get(word, 0))
            if begun and value >= room:  # it begins another number
                found, whole, part = [*found, whole + part], 0, 0
            part, room = part + value, 10 if word in _TENS else 0
        begun = True
    return " ".join(map(str, [*found, whole + part]))
