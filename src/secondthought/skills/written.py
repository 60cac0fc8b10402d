"""SKILL.md: notes as users of agent tools expect them, with a name and a description in front."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def skill_file(name: str, notes: str, summary: Mapping[str, Any]) -> str:
    """The file: front matter, the notes, and how they were chosen.

    >>> print(skill_file("rule-book-0", "- a @ b is a * b + 3", {"chosen": 2, "replay": [{"score": 0.2}] * 3, "model": "m"}))
    ---
    name: rule-book-0
    description: Notes on rule-book-0. Read them before answering questions about it.
    ---
    <BLANKLINE>
    # rule-book-0
    <BLANKLINE>
    - a @ b is a * b + 3
    <BLANKLINE>
    <!-- Written by m; round 2 of 2 was chosen by replay. -->
    <BLANKLINE>
    """
    rounds, chosen = len(summary["replay"]) - 1, summary["chosen"]
    how = f"round {chosen} of {rounds} was chosen by replay" if chosen else f"none of {rounds} rounds did better than no notes"
    body = notes.strip() or "There are no notes: none that were written did better in replay than none at all."
    return (
        f"---\nname: {name}\ndescription: Notes on {name}. Read them before answering questions about it.\n---\n\n# {name}\n\n"
        f"{body}\n\n<!-- Written by {summary['model'] or 'a model'}; {how}. -->\n"
    )
