"""A hundred thousand characters of anything are read in no time: what a model writes must never stop a run."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from tests.attacks.readers import PIECES, READERS, texts

EVERY = os.environ.get("SECONDTHOUGHT_FUZZ") == "1"
LIMIT = 1.0  # seconds of the processor; on an idle machine all but a few take less than 0.05 (make fuzz lists those)
QUICK = ("again and again", "and spaces")  # one of the ways in turn; make fuzz tries them all
HUNG = ("\\frac{", "<confidence>", "\n", "\n#", "f(", "1", '[["a", ')  # pieces on which some reader once hung


class TooSlow(Exception):
    """A reader took longer than the limit."""


@contextmanager
def limited(what: str) -> Iterator[None]:
    """Raise TooSlow where the block takes longer than the limit of processor time."""

    def late(*_: object) -> None:
        raise TooSlow(what)

    before = signal.signal(signal.SIGVTALRM, late)
    signal.setitimer(signal.ITIMER_VIRTUAL, LIMIT)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        signal.signal(signal.SIGVTALRM, before)


SAME = ("first cue", "first sign", "detector rules")  # read by the patterns of "cues"


@pytest.mark.parametrize("name", READERS if EVERY else [name for name in READERS if name not in SAME])
def test_a_reader_is_quick(name: str) -> None:
    slow, turn = list[tuple[float, str, str]](), list(READERS).index(name)
    for i, piece in enumerate(PIECES):
        for way, text in texts(piece).items():
            if EVERY or (way in QUICK and piece in HUNG) or (way == QUICK[i % 2] and (i + turn) % 8 == 0):
                began = time.process_time()
                with limited(f"{name}: {piece!r} {way}"):
                    READERS[name](text)
                if (took := time.process_time() - began) > 0.05:
                    slow.append((round(took, 2), piece, way))
    if EVERY and slow:
        print(f"{name}: {len(slow)} texts over 50 ms, the slowest {max(slow)}")
