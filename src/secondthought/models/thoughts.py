"""How thinking models mark their thoughts, which are no part of an answer and are never graded."""

from __future__ import annotations

import re

_CLOSED = re.compile(r"</(?:think|thinking|thought|reasoning)>|\[/THINK\]|<\|channel\|>final<\|message\|>", re.IGNORECASE)
_OPENED = re.compile(r"<(?:think|thinking|thought|reasoning)>|\[THINK\]|<\|channel\|>analysis<\|message\|>", re.IGNORECASE)


OPENING = 8
"""Tokens of a prompt in which a template may have opened the thoughts."""


def opens_thoughts(text: str) -> bool:
    """Whether a text ends where thoughts begin.

    >>> opens_thoughts("<|assistant|>\\n<think>\\n"), opens_thoughts("<think></think>\\n")
    (True, False)
    """
    last = None
    for one in _OPENED.finditer(text):
        last = one
    return last is not None and not text[last.end() :].strip()


def thoughts_end(text: str, *, opened: bool = False) -> int:
    """How many characters of a text are the thoughts that it begins with; 0 where it does not. ``opened``: the template has
    opened them.

    >>> thoughts_end("<think>hm</think>4"), thoughts_end("4"), thoughts_end("<think>hm"), thoughts_end("hm", opened=True)
    (17, 0, 9, 2)
    """
    begins = _OPENED.match(text.lstrip())
    if _CLOSED.search(text):
        rest = without_thoughts(text)
        return len(text) - len(rest) if rest and text.endswith(rest) else 0 if rest else len(text)
    return len(text) if begins or opened else 0


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


def unmarked(text: str) -> str:
    """The text with spaces where its marks of thoughts stand, so that everything keeps its place.

    >>> unmarked("<think>so 4</think>4")
    '       so 4        4'
    """
    for pattern in (_CLOSED, _OPENED):
        text = pattern.sub(lambda mark: " " * len(mark[0]), text)
    return text


def closing(text: str) -> str:
    """What closes the thoughts that a text has opened, in the way it opened them; ``</think>`` where it does not say.

    >>> closing("[THINK]so 4"), closing("so 4")
    ('[/THINK]', '\\n</think>\\n\\n')
    """
    found = list(_OPENED.finditer(text))
    opened = found[-1][0] if found else "<think>"
    if opened.startswith("["):
        return "[/THINK]"
    if opened.startswith("<|"):
        return "<|end|><|start|>assistant<|channel|>final<|message|>"
    return f"\n</{opened[1:]}\n\n"
