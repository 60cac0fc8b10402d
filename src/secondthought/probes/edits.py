"""How far one sequence is from another."""

from __future__ import annotations

from collections.abc import Sequence


def edit_distance(one: Sequence[object], two: Sequence[object]) -> int:
    """The least number of insertions, deletions and substitutions (Levenshtein).

    >>> edit_distance("kitten", "sitting"), edit_distance("", "abc"), edit_distance("same", "same")
    (3, 3, 0)
    """
    row = list(range(len(two) + 1))
    for i, left in enumerate(one, 1):
        before, row[0] = row[0], i
        for j, right in enumerate(two, 1):
            before, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, before + (left != right))
    return row[-1]


def edit_ratio(one: Sequence[object], two: Sequence[object]) -> float:
    """``distance / (len(one) + len(two))`` (SCoRe, arXiv 2409.12917, figure 4); 0 for two empty ones.

    >>> edit_ratio("ab", "ab"), edit_ratio("", "ab"), round(edit_ratio("ab", "cd"), 2)
    (0.0, 1.0, 0.5)
    """
    total = len(one) + len(two)
    return edit_distance(one, two) / total if total else 0.0
