"""How thinking models mark their thoughts, which are no part of an answer and are never graded."""

from __future__ import annotations

import re

_CLOSED = re.compile(r"</(?:think|thinking|thought|reasoning)>|\[/THINK\]|<\|channel\|>final<\|message\|>", re.IGNORECASE)
_OPENED = re.compile(r"<(?:think|thinking|thought|reasoning)>|\[THINK\]|<\|channel\|>analysis<\|message\|>", re.IGNORECASE)


def without_thoughts(text: str) -> str:
    """What stands behind the last thought; nothing where a thought was never closed. The template may have opened it.

    >>> without_thoughts("<think>2 + 2, hm, 5?</think>It is 4."), without_thoughts("so 5.</think>It is 4.")
    ('It is 4.', 'It is 4.')
    >>> without_thoughts("<think>2 + 2, so 4"), without_thoughts("It is 4.")
    ('', 'It is 4.')
    """
    closed = None
    for one in _CLOSED.finditer(text):
        closed = one
    rest = text[closed.end() :] if closed else text
    opened = _OPENED.search(rest)
    return rest[: opened.start()] if opened else rest
