"""How much of a Countdown solution a reflection gives away: in signs or in words, in one line or in steps."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from fractions import Fraction
from itertools import pairwise

from secondthought.tasks.expressions import OPERATIONS, Wrong, evaluate, plain_signs
from secondthought.tasks.number_words import in_digits

DEGREES = ("full", "first step", "hint", "none")
_N = r"([0-9]{1,6})"
_SAID = tuple((re.compile(pattern, re.IGNORECASE), signs) for pattern, signs in (
    (rf"\bmultipl(?:y|ied|ying) {_N} (?:by|with|and|times) {_N}\b", r"\1 * \2"),
    (rf"\bdivid(?:e|ed|ing) {_N} by {_N}\b", r"\1 / \2"),
    (rf"\badd(?:ed|ing)? {_N} (?:and|to) {_N}\b", r"\1 + \2"),
    (rf"\bsubtract(?:ed|ing)? {_N} from {_N}\b", r"\2 - \1"),
    (rf"\bproduct of {_N} and {_N}\b", r"\1 * \2"),
    (rf"\bsum of {_N} and {_N}\b", r"\1 + \2"),
    (rf"\bdifference (?:of|between) {_N} and {_N}\b", r"\1 - \2"),
    (rf"\bquotient of {_N} and {_N}\b", r"\1 / \2"),
    (r"(?<=[0-9]) (?:times|multiplied by) (?=[0-9(])", " * "),
    (r"(?<=[0-9)]) plus (?=[0-9(])", " + "),
    (r"(?<=[0-9)]) minus (?=[0-9(])", " - "),
    (r"(?<=[0-9)]) (?:divided by|over) (?=[0-9(])", " / "),
))  # fmt: skip
"""Two numbers and what is done with them, in words."""
_TOKEN = re.compile(r"[0-9]+(?:[.,][0-9]+)?|[-+*/()=]|[^\s0-9]")
_HINT = re.compile(r"use [-+*/] first|keep [0-9]+ for last|too (?:high|low) by", re.ASCII)
MOST = 400  # steps of a text that are put together


def degree(text: str, numbers: Sequence[int], target: int) -> str:
    """``full`` if the text spells a solution, ``first step`` if it names an operation on two of the given numbers, ``hint`` if
    it says something about this problem, else ``none``.

    >>> degree("Multiply 3 by 5, then add 2 to 15.", [3, 5, 2], 17), degree("3 × 5 is near", [3, 5, 2], 17)
    ('full', 'first step')
    """
    given, tokens = Counter(numbers), list(_TOKEN.findall(in_signs(text)))
    if any(_solves(stretch, given, target) for stretch in dict.fromkeys(_stretches(tokens, given))):
        return "full"
    bare = [token for token in tokens if token not in "()"]
    pairs = [
        (int(a), op, int(b), value) for a, op, b, value in zip(bare, bare[1:], bare[2:], _results(bare), strict=False)
        if _number(a) and _number(b) and op in "+-*/"
    ]  # fmt: skip
    if _chained(pairs[:MOST], given, target) or _chained(pairs[-MOST:], given, target):
        return "full"
    if any(not Counter((a, b)) - given for a, _, b, _ in pairs):
        return "first step"
    mentions = any(int(number) in given for number in re.findall(r"(?<![0-9])[0-9]{1,6}(?![0-9])", text))
    return "hint" if mentions or _HINT.search(text) else "none"


def in_signs(text: str) -> str:
    """Numbers and operations that are said in words, in signs.

    >>> in_signs("three times five, then subtract two from 15")
    '3 * 5, then 15 - 2'
    """
    text = " ".join(plain_signs(text).split())
    text = in_digits(text)
    for pattern, signs in _SAID:
        text = pattern.sub(signs, text)
    return text


def _number(token: str) -> bool:
    return token.isdecimal() and len(token) <= 6


def _stretches(tokens: Sequence[str], given: Counter[int]) -> Iterator[str]:
    """Every stretch of arithmetic on the given numbers, with as many brackets around it as it needs."""
    count = given.total()
    places = [i for i, token in enumerate(tokens) if _number(token)]
    ends = [i for i, token in enumerate(tokens) if not _number(token) and token not in "+-*/()"]
    blocked = iter([*ends, len(tokens)])
    stop = next(blocked)
    for k in range(len(places) - count + 1):
        first, last = places[k], places[k + count - 1]
        while stop < first:
            stop = next(blocked)
        if stop < last or last - first > 12 * count or Counter(int(tokens[i]) for i in places[k : k + count]) != given:
            continue
        depth = low = 0
        for token in tokens[first : last + 1]:
            depth += (token == "(") - (token == ")")
            low = min(low, depth)
        before = first + low
        if before >= 0 and all(token == "(" for token in tokens[before:first]):
            yield " ".join([*tokens[before : last + 1], *[")"] * (depth - low)])


def _solves(expression: str, given: Counter[int], target: int) -> bool:
    try:
        value, used = evaluate(expression)
    except Wrong:
        return False
    return value == target and used == given


def _results(bare: Sequence[str]) -> list[int | None]:
    """For each token, the number that is said to be what the operation that begins here comes to; None where none is said."""
    behind = pairwise([*bare[3:], "", "", "", ""][: len(bare) + 1])
    return [int(value) if equals == "=" and _number(value) else None for equals, value in behind]


def _chained(pairs: Sequence[tuple[int, str, int, int | None]], given: Counter[int], target: int) -> bool:
    """Whether some of these steps, in order, use every given number once and come to the target."""
    steps = [
        (left, right, int(value)) for left, op, right, said in pairs
        if not (op == "/" and right == 0) and (value := OPERATIONS[op](Fraction(left), Fraction(right))).denominator == 1
        and said in (None, value)
    ]  # fmt: skip
    for begin in range(len(steps)):
        if steps[begin][0] not in given or steps[begin][1] not in given:
            continue
        pool, result = Counter(given), None
        for left, right, value in steps[begin:]:
            if pool[left] < 1 + (left == right) or pool[right] < 1:
                continue
            pool[left] -= 1
            pool[right] -= 1
            pool[value] += 1
            result = value
            if pool.total() == 1:
                break
        if pool.total() == 1 and result == target:
            return True
    return False
