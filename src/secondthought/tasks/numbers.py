"""Numbers in what people and models write."""

from __future__ import annotations

import re
from collections.abc import Iterator
from fractions import Fraction

NUMBER = re.compile(r"(?<![\w.])-?\$?\d[\d,]*(?:\.\d+)?|(?<![\w.])\.\d+")


def number(text: str) -> Fraction | None:
    """What a number in running text is worth.

    >>> number("$1,250.50")
    Fraction(2501, 2)
    """
    plain = text.replace(",", "").replace("$", "").rstrip(".")
    try:
        return Fraction(plain)
    except (ValueError, ZeroDivisionError):
        return None


def spelled(value: Fraction) -> str:
    """A number as people write it: whole, or with at most four decimals.

    >>> spelled(Fraction(5, 2)), spelled(Fraction(12))
    ('2.5', '12')
    """
    if value.denominator == 1:
        return str(value.numerator)
    return f"{float(value):.4f}".rstrip("0").rstrip(".")


def numbers_in(text: str) -> Iterator[Fraction]:
    """Every number in a text, in order."""
    return (value for match in NUMBER.finditer(text) if (value := number(match[0])) is not None)


def last_number(text: str) -> str | None:
    """The last number, wherever it stands, as :func:`spelled` writes it.

    >>> last_number("3 apples and 4 more: 7.")
    '7'
    """
    values = list(numbers_in(text[-20_000:]))
    return spelled(values[-1]) if values else None
