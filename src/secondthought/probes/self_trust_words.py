"""How :mod:`secondthought.probes.self_trust` asks, of chat models and of nano models, and how stated confidence is read."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Protocol

from secondthought.models.thoughts import without_thoughts

Listed = Sequence[tuple[str, str, str]]
"""Candidates in the order in which they are shown: letter, text, reason ("" for none)."""


class Words(Protocol):
    """The wording for one kind of model: ``answer`` has a place for an answer, ``framings`` are the ways of saying whose it is,
    ``yes`` and ``no`` the words whose odds are confidence.
    """

    answer: str
    framings: tuple[str, ...]
    yes: str
    no: str

    def alone(self, *, scored: bool) -> str:
        """Asks for confidence behind an answer: in a word where it is ``scored``, else as a number."""
        ...

    def framed(self, question: str, who: str, answer: str, *, scored: bool) -> str:
        """Asks for confidence in somebody's answer."""
        ...

    def why(self, question: str, letter: str, text: str) -> str:
        """Asks why a candidate may be right."""
        ...

    def together(self, question: str, listed: Listed, *, scored: bool) -> str:
        """Asks which of the candidates is right."""
        ...


WHO = {"own": "Earlier you answered", "user": "I answered", "third": "Another person answered"}
ASK_TRUE = "Reply with one word: True or False."
ASK_PERCENT = "How likely is it to be right, in per cent? Reply with a number from 0 to 100 and nothing else."
ASK_LETTER = "Consider all of them. Which one is right? Reply with its letter and nothing else."
ASK_SHARES = (
    "Consider all of them. How likely is each to be the right one? Reply with a line for each, its letter and a probability "
    "from 0 to 1, such as: A: 0.2"
)


class Chat:
    """In words."""

    answer = "The answer is {}."
    framings = tuple(WHO)
    yes = "True"
    no = "False"

    def alone(self, *, scored: bool) -> str:
        """See :class:`Words`."""
        return f"Is the answer above right? {ASK_TRUE if scored else ASK_PERCENT}"

    def framed(self, question: str, who: str, answer: str, *, scored: bool) -> str:
        """See :class:`Words`."""
        ask = ASK_TRUE if scored else ASK_PERCENT
        return f"{bare(question)}\n\n{WHO[who]}: {answer}\n\nIs this answer right? {ask}"

    def why(self, question: str, letter: str, text: str) -> str:
        """See :class:`Words`."""
        return f"{bare(question)}\n\nExplain in one or two sentences why this may be the right answer: {letter}) {text}"

    def together(self, question: str, listed: Listed, *, scored: bool) -> str:
        """See :class:`Words`."""
        shown = "\n".join(
            f"{letter}) {text}" + (f"\n   A reason for it: {' '.join(reason.split())}" if reason else "")
            for letter, text, reason in listed
        )
        return f"{bare(question)}\n\nPossible answers:\n{shown}\n\n{ASK_LETTER if scored else ASK_SHARES}"


class Terse:
    """In nano's words."""

    answer = "{}"
    framings = tuple(WHO)
    yes = "right"
    no = "wrong"

    def alone(self, *, scored: bool) -> str:
        """See :class:`Words`."""
        return "right ? wrong ?"

    def framed(self, question: str, who: str, answer: str, *, scored: bool) -> str:
        """See :class:`Words`."""
        return f"{question} , {who} {answer} , right ? wrong ?"

    def why(self, question: str, letter: str, text: str) -> str:
        """See :class:`Words`."""
        return f"{question} , why {letter}"

    def together(self, question: str, listed: Listed, *, scored: bool) -> str:
        """See :class:`Words`."""
        shown = " ".join(f"{letter} {reason}".strip() for letter, _, reason in listed)
        return f"{question} , because {shown}" if any(reason for *_, reason in listed) else f"{question} , which"


WORDS: Mapping[str, Words] = {"chat": Chat(), "terse": Terse()}


def bare(question: str) -> str:
    """A question without what asks for a chain of thought and an answer in a form.

    >>> bare("Which?\\n\\nA) x\\nB) y\\n\\nThink step by step, and end with a letter.")
    'Which?\\n\\nA) x\\nB) y'
    """
    return re.sub(r"\s*Think step by step[^\n]*$", "", question.rstrip())


def percent_in(text: str) -> float | None:
    """The probability that a text states in per cent (from 0 to 1 with a point): its last number; None if there is none.

    >>> percent_in("About 80 %."), percent_in("0.8"), percent_in("I cannot say"), percent_in("180")
    (0.8, 0.8, None, None)
    """
    found = re.findall(r"(?<![\w.])(\d{1,3}(?:\.\d{1,4})?)(?![\w]|\.\d)", without_thoughts(text)[-2000:])
    if not found:
        return None
    value = float(found[-1])
    share = value if "." in found[-1] and value <= 1 and "%" not in text else value / 100
    return share if share <= 1 else None


def shares_in(text: str, names: Sequence[str]) -> dict[str, float]:
    """The probability of each candidate that is given one in lines like ``A: 0.6``; per cent are understood, and a sum above 1
    is brought down to it. One that is left out beside others has 0; where none is stated, nothing is.

    >>> shares_in("A: 0.6\\nB) 40%", "AB"), shares_in("A: 60\\nB: 60", "ABC"), shares_in("no idea", "AB")
    ({'A': 0.6, 'B': 0.4}, {'A': 0.5, 'B': 0.5, 'C': 0.0}, {})
    """
    found: dict[str, float] = {}
    for line in without_thoughts(text)[-4000:].splitlines():
        for name in names:
            match = re.match(rf"\W*{re.escape(name)}\W.*?(\d{{1,3}}(?:\.\d{{1,6}})?)\s*(%?)\s*\W*$", f"{line.strip()} ")
            if match:
                value = float(match[1])
                found[name] = value / 100 if match[2] or value > 1 else value
    if not found:
        return {}
    total = max(1.0, sum(found.values()))
    return {name: found.get(name, 0.0) / total for name in names}
