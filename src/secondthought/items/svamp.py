"""One- and two-step word problems with flawed solutions: SVAMP (Patel et al. 2021), within reach of models of 0.5B.

A row names its equation (``( 290.0 / 2.0 )``). It is written out as a worked solution, one calculation to a line, which is then
edited by program as GSM8K's are.
"""

from __future__ import annotations

import ast
from fractions import Fraction

from secondthought.errors import UserError
from secondthought.items.base import Items, OnProgress, silent
from secondthought.items.gsm8k import READINGS, from_worked
from secondthought.tasks.jsonl import need, rows_of
from secondthought.tasks.numbers import gold_number, spelled

__all__ = ["READINGS", "item_set"]

FAMILY = "svamp"
OPERATORS = {ast.Add: "+", ast.Sub: "-", ast.Mult: "*", ast.Div: "/"}


def worked(equation: str, where: str) -> str | None:
    """An equation in GSM8K's notation, or None where it divides by zero. Raises UserError for anything but + - * / on numbers.

    >>> worked("( ( 8.0 - 3.0 ) * 2.0 )", "here")
    '8 - 3 = <<8-3=5>>5\\n5 * 2 = <<5*2=10>>10\\n#### 10'
    """
    lines: list[str] = []

    def value(node: ast.expr) -> Fraction:
        if isinstance(node, ast.Constant) and isinstance(node.value, int | float):
            return Fraction(str(node.value))
        if not isinstance(node, ast.BinOp) or type(node.op) not in OPERATORS:
            raise UserError(f"{where}: {equation} is no equation of + - * / on numbers")
        left, right, op = value(node.left), value(node.right), OPERATORS[type(node.op)]
        found = {"+": left.__add__, "-": left.__sub__, "*": left.__mul__, "/": left.__truediv__}[op](right)
        a, b, result = spelled(left), spelled(right), spelled(found)
        lines.append(f"{a} {op} {b} = <<{a}{op}{b}={result}>>{result}")
        return found

    try:
        end = value(ast.parse(equation.strip(), mode="eval").body)
    except (SyntaxError, ValueError, MemoryError, RecursionError) as error:
        raise UserError(f"{where}: {equation} is no equation of + - * / on numbers") from error
    except ZeroDivisionError:
        return None
    return "\n".join([*lines, f"#### {spelled(end)}"])


def item_set(place: str, n: int | None, seed: int, on_progress: OnProgress = silent) -> Items:
    """``svamp:FILE`` or ``svamp:hf:DATASET``: rows of ``question``, ``Equation`` and ``answer``; those whose equation does not
    lead to the answer are left out.
    """
    rows, odd = [], []
    for line, row in rows_of(place):
        where = f"{place}, line {line}"
        question, equation, answer = need(row, ("question", "Equation", "answer"), where)
        solution, gold = worked(equation, where), gold_number(answer)
        if gold is None or solution is None or solution.rpartition("#### ")[2] != spelled(gold):
            odd.append(where)
        else:
            rows.append((line, question, solution))
    items = from_worked(rows, place, FAMILY, on_progress=on_progress)
    for where in odd:
        items.leave_out("the equation does not lead to the answer", where)
    return items
