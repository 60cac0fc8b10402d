"""CruxEval: what must this program have been given? See :mod:`secondthought.items.cruxeval`."""

from __future__ import annotations

from secondthought.items.base import Items, OnProgress, silent
from secondthought.items.cruxeval import from_place, readings

READINGS = readings("cruxeval_i")


def item_set(place: str, n: int | None, seed: int, on_progress: OnProgress = silent) -> Items:
    """``cruxeval_i:FILE`` or ``cruxeval_i:hf:DATASET``."""
    return from_place(place, "cruxeval_i", on_progress)
