"""The process behind ``--grade math``: reads one JSON line for each question, and answers each with another.

    {"gold": "\\\\frac{1}{2}", "text": "so it is 0.5"}  ->  {"gold": true, "found": "0.5", "right": true}

What is read was written by a model, and what reads it (sympy) may take for ever on some of it: so it stands in a process of its
own, which whoever asks can end (:mod:`secondthought.tasks.math_answers`).
"""

from __future__ import annotations

import json
import logging
import os
import re
import sys
from typing import Any

NUMERAL = re.compile(r"[-+]?[\d.,  ]+")
UNGUARDED = {"parsing_timeout": None}  # the process itself is what has a time limit


def parsed_gold(gold: str) -> list[Any]:
    """What a wanted answer may be: as LaTeX where it says nothing else of itself."""
    from math_verify import parse

    bare = gold.rpartition("####")[2].strip()
    if NUMERAL.fullmatch(bare):
        return list(parse(bare, **UNGUARDED))
    marked = "$" in bare or "\\boxed" in bare or "\\(" in bare or "\\[" in bare
    found: list[Any] = parse(bare if marked else f"\\boxed{{{bare}}}", **UNGUARDED) or parse(bare, **UNGUARDED)
    return found


def verdict(gold: str, text: str | None) -> dict[str, Any]:
    """Whether ``gold`` is an answer that can be compared; with a text, what that gives as its answer, and whether it is it."""
    from math_verify import parse, verify

    wanted = parsed_gold(gold)
    if text is None or not wanted:
        return {"gold": bool(wanted), "found": None, "right": False}
    found = parse(text, **UNGUARDED)
    right = bool(found) and bool(verify(wanted, found, timeout_seconds=None))
    return {"gold": True, "found": str(found[-1]) if found else None, "right": right}


def main() -> None:
    """Answer until there is nothing more to read; what the libraries print goes to stderr."""
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    logging.disable(logging.CRITICAL)
    for line in sys.stdin:
        asked = json.loads(line)
        try:
            said = verdict(asked["gold"], asked.get("text"))
        except Exception as error:  # whatever sympy meets in what a model wrote
            readable = asked.get("text") is not None  # else it was the wanted answer that it failed on
            said = {"gold": readable, "found": None, "right": False, "error": type(error).__name__}
        answers.write(json.dumps(said) + "\n")
        answers.flush()


if __name__ == "__main__":
    main()
