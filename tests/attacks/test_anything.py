"""Whatever a model writes, no reader raises: texts put together by hypothesis from what the readers look for."""

from __future__ import annotations

import os

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.attacks.readers import PIECES, READERS

EXAMPLES = 3000 if os.environ.get("SECONDTHOUGHT_FUZZ") == "1" else 40
WRITTEN = st.lists(st.one_of(st.sampled_from(PIECES), st.text(max_size=8), st.integers().map(str)), max_size=30).map("".join)


FOUND = ("\\frac{1}{}", "\\frac{}{}", "answer is \\frac{}{2}")  # by coverage-guided fuzzing (make fuzz), each once a traceback


@pytest.mark.parametrize("name", READERS)
def test_a_reader_takes_anything(name: str) -> None:
    @settings(max_examples=EXAMPLES, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    @given(WRITTEN)
    def check(text: str) -> None:
        READERS[name](text)

    for text in FOUND:
        READERS[name](text)
    check()
