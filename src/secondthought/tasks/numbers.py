"""Numbers in what people and models write: one reader, shared by graders, probes, and the rule against leaks.

What is read, exactly::

    1,250   1_250   1 250   1{,}250   $1,250.50   -$3   −3   50%      separators, currencies and units, unicode signs
    1/2   2 1/2   ½   \\frac{1}{2}   10^4   10⁴   1e5   1.5 × 10^3     one number each, and not the last part of it
    1.5 million   3 hundred   5k                                       with the word that belongs to it

What is no number, though digits stand in it: an expression that nobody worked out (``17 * 3``, ``10 - 3``), a range, a date, a
time, a version, ``x2``.
"""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Iterator
from fractions import Fraction
from typing import NamedTuple

from secondthought.types import Json

LONGEST = 20_000  # characters of a text that are looked at, from its end
LONGEST_NUMBER = 5_000  # characters of a text that may be a number and nothing else
LARGEST_POWER = 400  # of ten, that is written out
NUMBER = re.compile(r"(?<![\w.])-?\$?\d[\d,]*(?:\.\d+)?|(?<![\w.])\.\d+")
"""A number as program edits find it: digits, commas, a point."""

_WHOLE = r"(?:\d{1,3}(?:,\d{2,3})*,\d{3}(?!\d)|\d{1,3}(?:\ \d{3})+(?!\d)|\d+(?:_\d+)*)"
_NUMERAL = re.compile(
    rf"""
    (?<![\w.\\^])(?P<sign>(?<![\w)}}%])[-+])?(?<![\d.])
    (?:
        (?P<mixed>\d+)\ +(?P<top>\d+)\ ?/\ ?(?P<bottom>\d+)
      | (?P<plain>{_WHOLE}(?:\.\d+)?|\.\d+)
        (?:
            [eE](?P<exponent>[-+]?\d{{1,4}})(?!\w|\.\d)
          | \ ?\^\ ?\{{?(?P<power>-?\d{{1,4}})\}}?
          | \ ?[*×·x]\ ?10\ ?\^\ ?\{{?(?P<ten>[-+]?\d{{1,4}})\}}?
          | \ ?/\ ?(?P<under>{_WHOLE}(?:\.\d+)?)
        )?
    )
    (?!\d|\.\d|_\d)
    (?:\ (?P<scale>hundred|thousand|million|billion|trillion)\b|(?P<thousand>[kK])\b)?
    """,
    re.VERBOSE,
)
_SCALES = {"hundred": 10**2, "thousand": 10**3, "million": 10**6, "billion": 10**9, "trillion": 10**12}
_LINK = re.compile(r"\s*(?:[-+*/×÷·^]|x)\s*[(]*|:|[)]*\s*[-+*/×÷·^]\s*[(]*")
_NOT_A_RATIONAL = re.compile(r"\s*(?:\\pi\b|π|\\sqrt\b|√)")
_SUPERSCRIPTS = str.maketrans("⁰¹²³⁴⁵⁶⁷⁸⁹⁻⁺", "0123456789-+")
_SIGNS = str.maketrans(dict.fromkeys("−‐‑‒–—﹣－", "-"))
_STATEMENT = re.compile(
    r"####|\b(?:final\s+)?answer\b[\s*_]*(?:is|=|:)(?:\s+(?:also|then|therefore|thus|now|simply|just))?(?!\s+(?:not|n't)\b)"
    r"|\\boxed\s*\{",
    re.IGNORECASE,
)
_FRACTION = re.compile(r"\\[dt]?frac\s*(?:\{([^{}]*)\}\s*\{([^{}]*)\}|(\d)\s*(\d))")
_TAG = re.compile(r"<answer>((?:(?!</?answer>).)*)</answer>", re.DOTALL | re.IGNORECASE)


class Numeral(NamedTuple):
    """A number in a cleaned text, from ``start`` to ``end``; ``linked`` if it is part of an expression that nobody worked
    out.
    """

    value: Fraction
    start: int
    end: int
    linked: bool = False


def cleaned(text: str) -> str:
    """The text with one way of writing each thing: signs, spaces, fractions, powers; LaTeX, currencies and bold type gone.

    >>> cleaned("The answer is $\\\\boxed{\\\\frac{1}{2}}$, **not** −3")
    'The answer is  1/2, not -3'
    """
    text = text.translate(_SIGNS)
    text = re.sub(r"[⁰¹²³⁴⁵⁶⁷⁸⁹⁻⁺]+", lambda m: "^" + m[0].translate(_SUPERSCRIPTS), text)
    text = re.sub(r"(?<=\d)(?=[¼-¾⅐-⅞])", " ", text)
    text = unicodedata.normalize("NFKC", text).replace("⁄", "/")
    text = re.sub(r"(?<=\d)\*\*(?=\d)", "^", text)
    text = re.sub(r"(?<=\d)\\[dt]?frac", r" \\frac", text)
    text = _FRACTION.sub(_as_ratio, text)
    text = re.sub(r"\\(?:boxed|text|mathrm|mathbf|textbf)\s*\{((?:[^{}]|\{[^{}]*\})*)\}", r" \1 ", text)
    text = re.sub(r"(?<=\d)(?:\{,\}|,\\!)(?=\d)", ",", text)
    text = re.sub(r"(?<=\d)\\[,;: ](?=\d)", " ", text).replace("\\!", "")
    text = re.sub(r"\\(?:times|cdot)\b", "*", text)
    text = re.sub(r"\\div\b", "/", text)
    text = re.sub(r"\\(?:left|right)\b|\\[()\[\]]", " ", text)
    text = re.sub(r"\\?[$£€¥₹](?=\s*[-+]?[\d.])|(?<=\d)\s?\\?[$£€¥₹]", "", text)
    text = re.sub(r"-\\?[$£€¥₹]\s?(?=[\d.])", "-", text)
    return re.sub(r"\*\*|__|`|\\[%$]|\$", lambda m: "%" if "%" in m[0] else "" if m[0] != "$" else " ", text)


def _as_ratio(match: re.Match[str]) -> str:
    top, bottom = (part.strip() for part in match.groups() if part is not None)
    return f"{top}/{bottom}" if top and bottom else " "


def numerals(text: str) -> Iterator[Numeral]:
    """Every number in a text that :func:`cleaned` made, in order."""
    found: list[Numeral] = []
    values: dict[tuple[str | None, ...], Fraction | None] = {}
    for match in _NUMERAL.finditer(text):
        parts = match.groups()
        if parts not in values:
            values[parts] = _value(match)
        value = values[parts]
        if value is None or re.search(r"(?:\\sqrt\s*\{?|√)\s*$", text[max(0, match.start() - 8) : match.start()]):
            continue
        if _NOT_A_RATIONAL.match(text, match.end()):
            continue
        found.append(Numeral(value, match.start(), match.end()))
    for at, one in enumerate(found):
        before = text[found[at - 1].end : one.start] if at else ""
        after = text[one.end : found[at + 1].start] if at + 1 < len(found) else ""
        trailing = re.match(r"\s?[-+*/×÷·^]\s?[\d(]|:\d", text[one.end : one.end + 4])
        linked = bool((before and _LINK.fullmatch(before)) or (after and _LINK.fullmatch(after)) or trailing)
        yield one._replace(linked=linked)


def _value(match: re.Match[str]) -> Fraction | None:
    if match["mixed"]:
        top, bottom = _whole(match["top"]), _whole(match["bottom"])
        if top >= bottom:
            return None
        value = _whole(match["mixed"]) + Fraction(top, bottom)
    else:
        value = _decimal(match["plain"])
        if match["under"]:
            under = _decimal(match["under"])
            if not under:
                return None
            value /= under
        if match["power"] or match["exponent"] or match["ten"]:
            power, ten = int(match["power"] or 1), int(match["exponent"] or match["ten"] or 0)
            if abs(power) * len(match["plain"]) > max(LARGEST_POWER, len(match["plain"])) or abs(ten) > LARGEST_POWER:
                return None
            if value == 0 and power <= 0:
                return None
            value = value**power * Fraction(10) ** ten
    if match["scale"] or match["thousand"]:
        value *= _SCALES[match["scale"] or "thousand"]
    return -value if match["sign"] == "-" else value


def _decimal(text: str) -> Fraction:
    if text.isdecimal():
        return Fraction(_whole(text))
    whole, _, part = re.sub(r"[,_ ]", "", text).partition(".")
    return Fraction(_whole(whole or "0")) + (Fraction(_whole(part), 10 ** len(part)) if part else 0)


def _whole(digits: str) -> int:
    """A whole number of any size: Python's own reader stops at 4,300 digits."""
    value = 0
    for at in range(0, len(digits), 4000):
        piece = digits[at : at + 4000]
        value = value * 10 ** len(piece) + int(piece)
    return value


def number(text: str) -> Fraction | None:
    """The number that a text consists of, with its currency or its per cent sign; None if it is anything else.

    >>> number("$1,250.50"), number("2 1/2"), number("17 * 3")
    (Fraction(2501, 2), Fraction(5, 2), None)
    """
    if len(text) > LONGEST_NUMBER:
        return None
    plain = cleaned(text.strip()).strip().removesuffix(".").removesuffix("%").strip()
    found = list(numerals(plain))
    return found[0].value if len(found) == 1 and (found[0].start, found[0].end) == (0, len(plain)) else None


def gold_number(answer: Json) -> Fraction | None:
    """What a wanted answer is worth: a number, ``#### 12``, ``\\boxed{7}``, ``12 apples``; None if it is no number.

    >>> gold_number("4*3=<<4*3=12>>12 eggs.\\n#### 12"), gold_number("12 apples"), gold_number("B"), gold_number(True)
    (Fraction(12, 1), Fraction(12, 1), None, None)
    """
    if isinstance(answer, bool):
        return None
    if isinstance(answer, int):
        return Fraction(answer)
    if isinstance(answer, float):
        return Fraction(str(answer)) if math.isfinite(answer) else None
    if not isinstance(answer, str):
        return None
    part = stated(answer)
    values = {one.value for one in numerals(cleaned(answer if part is None else part)) if not one.linked}
    return values.pop() if len(values) == 1 else None


def tagged(text: str) -> str | None:
    """What stands in the last whole ``<answer>``; None if there is none.

    >>> tagged("<answer>4</answer>, as the <answer> tag asks")
    '4'
    """
    found = _TAG.findall(text)
    return str(found[-1]).strip() if found else None


def stated(text: str) -> str | None:
    """Where a text states its answer: in its last ``<answer>``, else what follows its last ``####``, ``\\boxed`` or "the answer
    is", to the end of the sentence; None if it states none.

    >>> stated("First 20. The answer is **18**. (I checked it in 3 ways.)")
    '18'
    """
    if (answer := tagged(text)) is not None:
        return answer
    found = None
    for one in _STATEMENT.finditer(text):
        found = one
    if found is None:
        return None
    rest = text[found.end() :]
    if found[0].startswith("\\boxed"):
        depth = 1
        for at, sign in enumerate(rest[:2000]):
            depth += (sign == "{") - (sign == "}")
            if not depth:
                return rest[:at].strip()
        return None
    rest = rest.lstrip(" \t:*_=\n") if found[0] != "####" else rest.strip(" \t:*_")
    end = re.search(r"\n|[.!?;](?=\s|$|\*\*)|(?<=\w)\*\*", rest.strip())
    return (rest[: end.start()] if end else rest).strip()


def answer_number(text: str) -> Fraction | None:
    """The number that a text gives as its answer: the one it states, else the last one in it; None if there is none.

    >>> answer_number("First 20. The answer is **18**. (I checked it in 3 ways.)"), answer_number("so 41, no, 42.0")
    (Fraction(18, 1), Fraction(42, 1))
    """
    text = text[-LONGEST:]
    part = stated(text)
    if part is not None:
        own = cleaned(part)
        found = list(numerals(own))
        free = [one for one in found if not one.linked]
        if free:
            worked_out = "=" in own or "≈" in own or tagged(text) is not None
            return (free[-1] if worked_out else free[0]).value
        if found:
            return None  # an expression that nobody worked out
    free = [one for one in numerals(cleaned(text)) if not one.linked]
    return free[-1].value if free else None


def states_number(text: str) -> bool:
    """Whether a text says that something is its answer, and goes on behind it: what a token limit cut off may lack digits.

    >>> states_number("The answer is 18. Is it?"), states_number("The answer is 1"), states_number("4 + 14 = 18.")
    (True, False, False)
    """
    text = text[-LONGEST:].rstrip()
    part = stated(text)
    return part is not None and any(True for _ in numerals(cleaned(part))) and not text.endswith(part)


def equal(left: Fraction, right: Fraction) -> bool:
    """Whether two numbers are the same. Exactly, unless one of them cannot be written with decimals (1/3): then to nine digits.

    >>> equal(Fraction(4400307054), Fraction(4400307055)), equal(Fraction("0.3333333333"), Fraction(1, 3))
    (False, True)
    """
    if left == right:
        return True
    if abs(left - right) * 10**9 > abs(right):
        return False
    return any(math.gcd(one.denominator, 10**400) != one.denominator for one in (left, right))


def spelled(value: Fraction) -> str:
    """A number as people write it: whole, or with at most four decimals.

    >>> spelled(Fraction(5, 2)), spelled(Fraction(12))
    ('2.5', '12')
    """
    if abs(value) >= 10**LARGEST_POWER:
        return f"a number of {math.ceil(value.numerator.bit_length() * math.log10(2))} digits"
    if value.denominator == 1:
        return str(value.numerator)
    return f"{float(value):.4f}".rstrip("0").rstrip(".") if abs(value) < 10**15 else f"{float(value):g}"


def numbers_in(text: str) -> Iterator[Fraction]:
    """Every number in a text, in order, those in expressions included."""
    return (one.value for one in numerals(cleaned(text)))


def last_number(text: str) -> str | None:
    """The last number, wherever it stands, as :func:`spelled` writes it.

    >>> last_number("3 apples and 4 more: 7.")
    '7'
    """
    values = [one.value for one in numerals(cleaned(text[-LONGEST:])) if not one.linked]
    return spelled(values[-1]) if values else None
