"""Where data that others made lies, for the tests that look at it; absent from a user's clone."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

DATA = Path(os.environ.get("SECONDTHOUGHT_DATA", Path(__file__).parents[2] / "shared" / "data"))


def published(name: str) -> Path:
    """A published file or folder; skips the test where it is not there."""
    path = DATA / name
    if not path.exists():
        pytest.skip(f"published data is not here: {name} (set SECONDTHOUGHT_DATA to its folder)")
    return path
