"""CruxEval: what does this program return? See :mod:`secondthought.items.cruxeval`."""

from __future__ import annotations

from secondthought.items.base import Items, OnProgress, silent
from secondthought.items.cruxeval import from_place, readings

READINGS = readings("cruxeval_o")


def item_set(place: str, n: int | None, seed: int, on_progress: OnProgress = silent) -> Items:
    """``cruxeval_o:FILE`` or ``cruxeval_o:hf:DATASET``."""
    return from_place(place, "cruxeval_o", on_progress)
