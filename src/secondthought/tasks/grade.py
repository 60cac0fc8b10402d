"""Graders for anybody's own tasks, by a short name: ``exact``, ``number``, ``regex:PATTERN``, ``module:function``.

What a model writes can only ever score 0 with a reason; an error inside a user's own grading function is a bug and raises.
"""

from __future__ import annotations

import importlib
import math
import os
import re
import sys
from collections.abc import Callable
from typing import Any

from secondthought.errors import UserError
from secondthought.types import Json, Verdict

Grader = Callable[[Json, str], Verdict]
_NUMBER = re.compile(r"[-+]?(?:[0-9][0-9,]*\.?[0-9]*|\.[0-9]+)(?:[eE][-+]?[0-9]{1,3})?", re.ASCII)
_ANSWER = re.compile(r"<answer>((?:(?!</?answer>).)*)</answer>", re.DOTALL)


def grader(name: str) -> Grader:
    """The grader called ``name``. Raises UserError if there is none, or its function cannot be imported.

    >>> grader("number")("42", "so it is 41, no, 42.0").score
    1.0
    """
    if name == "exact":
        return exact
    if name == "number":
        return number
    if name.startswith("regex:"):
        return regex(name.removeprefix("regex:"))
    if ":" in name:
        return custom(name)
    raise UserError(f"there is no grader {name!r}; use exact, number, regex:PATTERN or module:function")


def exact(answer: Json, text: str) -> Verdict:
    """Right if the text, or what stands in its last ``<answer>``, is the answer, white space aside."""
    found = " ".join(final(text).split())
    wanted = " ".join(str(answer).split())
    return Verdict(1.0, found, "right") if found == wanted else Verdict(0.0, found, f"wrong answer: want {wanted!r}")


def number(answer: Json, text: str) -> Verdict:
    """Right if the last number in the text (or in its last ``<answer>``) equals the answer."""
    found = _NUMBER.findall(final(text)[-2000:])
    if not found:
        return Verdict(0.0, None, "unparsable: no number")
    value, wanted = _value(found[-1]), _value(str(answer))
    if math.isclose(value, wanted, rel_tol=1e-9, abs_tol=1e-12):
        return Verdict(1.0, found[-1], "right")
    return Verdict(0.0, found[-1], f"wrong answer: want {answer}")


def regex(pattern: str) -> Grader:
    """Right if the last match (its first group, where there is one) is the answer; with a null answer, if anything matches."""
    try:
        compiled = re.compile(pattern)
    except re.error as error:
        raise UserError(f"the pattern in regex:{pattern} is not a regular expression: {error}") from error

    def grade(answer: Json, text: str) -> Verdict:
        matches = list(compiled.finditer(text))
        if not matches:
            return Verdict(0.0, None, "unparsable: no match")
        found = (matches[-1].group(1) if compiled.groups else matches[-1].group(0)) or ""
        if answer is None or found.strip() == str(answer).strip():
            return Verdict(1.0, found, "right")
        return Verdict(0.0, found, f"wrong answer: want {answer!r}")

    return grade


def custom(name: str) -> Grader:
    """``module:function``, called as ``function(answer, text)``; it returns a bool, a score in [0, 1], or a Verdict."""
    module_name, _, function_name = name.partition(":")
    sys.path.insert(0, os.getcwd())
    try:
        function: Any = getattr(importlib.import_module(module_name), function_name)
    except (ImportError, AttributeError) as error:
        raise UserError(f"cannot import the grader {name}: {error}") from error
    finally:
        sys.path.pop(0)

    def grade(answer: Json, text: str) -> Verdict:
        found = function(answer, text)
        if isinstance(found, Verdict):
            return found
        score = float(found)
        return Verdict(score, text, "right" if score == 1 else f"{name} says {found}")

    return grade


def final(text: str) -> str:
    """What stands in the last ``<answer>``, or the whole text."""
    found = _ANSWER.findall(text)
    return str(found[-1]).strip() if found else text


def _value(text: str) -> float:
    try:
        return float(text.replace(",", ""))
    except ValueError:
        return math.nan
