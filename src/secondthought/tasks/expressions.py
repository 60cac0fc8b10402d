"""Arithmetic expressions that a model wrote: read by our own parser (model text is never evaluated), worked out exactly."""

from __future__ import annotations

import operator
import re
from collections import Counter
from fractions import Fraction

_TOKEN = re.compile(r"\s*(?:([0-9]{1,6})|([-+*/()]))")
_SIGNS = str.maketrans({
    **dict.fromkeys("×·⋅∗∙✕✖", "*"), **dict.fromkeys("÷∕⁄", "/"), **dict.fromkeys("−–—‒﹣－", "-"), "＋": "+", "＝": "=",
    **dict.fromkeys("[{", "("), **dict.fromkeys("]}", ")"), "`": " ", "$": " ",
})  # fmt: skip
_LATEX = re.compile(r"\\(?:times|cdot|div|left|right|,|;|!|\(|\)|\[|\])")
_MEANS = {"\\times": "*", "\\cdot": "*", "\\div": "/"}


OPERATIONS = {"+": operator.add, "-": operator.sub, "*": operator.mul, "/": operator.truediv}


class Wrong(ValueError):
    """Model text that is not a right answer; the message says why and becomes the verdict's ``why``."""


def plain_signs(text: str) -> str:
    """A text with one sign for each operation, round brackets, and no LaTeX, bold type or code marks.

    >>> plain_signs("$3 \\\\times [5 − 2]$, **4 x 2**")
    ' 3 * (5 - 2) , 4 * 2'
    """
    text = _LATEX.sub(lambda found: _MEANS.get(found[0], " "), text).replace("**", "").translate(_SIGNS)
    return re.sub(r"(?<=\d) ?[xX] ?(?=[\d(])", " * ", text)


def evaluate(expression: str) -> tuple[Fraction, Counter[int]]:
    """The exact value of an arithmetic expression and the numbers in it.

    Shunting-yard without recursion, so that nesting cannot exhaust the stack. No unary operators and no powers.

    >>> evaluate("(1 + 2) / 3")
    (Fraction(1, 1), Counter({1: 1, 2: 1, 3: 1}))
    """
    values: list[Fraction] = []
    operators: list[str] = []
    used: Counter[int] = Counter()
    expect_number, position = True, 0
    expression = expression.strip()

    def reduce() -> None:
        op, right, left = operators.pop(), values.pop(), values.pop()
        if op == "/" and right == 0:
            raise Wrong("unparsable: division by zero")
        values.append(OPERATIONS[op](left, right))

    while position < len(expression):
        match = _TOKEN.match(expression, position)
        if match is None:
            raise Wrong(f"unparsable: {expression[position : position + 12]!r}")
        position = match.end()
        number, symbol = match.groups()
        if expect_number:
            if number is not None:
                values.append(Fraction(int(number)))
                used[int(number)] += 1
                expect_number = False
            elif symbol == "(":
                operators.append("(")
            else:
                raise Wrong(f"unparsable: {symbol!r} where a number should be")
        elif symbol == ")":
            while operators and operators[-1] != "(":
                reduce()
            if not operators:
                raise Wrong("unparsable: unbalanced parentheses")
            operators.pop()
        elif symbol is not None and symbol != "(":
            while operators and operators[-1] != "(" and (symbol in "+-" or operators[-1] in "*/"):
                reduce()
            operators.append(symbol)
            expect_number = True
        else:
            raise Wrong("unparsable: two numbers without an operator")
    if expect_number or "(" in operators:
        raise Wrong("unparsable: the expression ends too early")
    while operators:
        reduce()
    return values[0], used
