"""A time limit for what users bring along: their grading functions may hang on what a model writes."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable
from typing import Any, TypeVar

R = TypeVar("R")


class _Late(BaseException):
    """Time is up. No Exception, so that the function that is interrupted does not swallow it."""


def within(seconds: float, call: Callable[[], R]) -> R:
    """What ``call`` returns. Raises TimeoutError if it takes longer: it is interrupted in the main thread, and left to itself
    in any other.

    >>> within(1.0, lambda: 2 + 2)
    4
    """
    if threading.current_thread() is threading.main_thread() and hasattr(signal, "setitimer"):
        return _interrupted(seconds, call)
    found: list[tuple[bool, Any]] = []

    def run() -> None:
        try:
            found.append((True, call()))
        except BaseException as error:
            found.append((False, error))

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(seconds)
    if not found:
        raise TimeoutError
    right, value = found[0]
    if not right:
        raise value
    return value  # type: ignore[no-any-return]


def _interrupted(seconds: float, call: Callable[[], R]) -> R:
    def late(*_: object) -> None:
        raise _Late

    handler = signal.signal(signal.SIGALRM, late)
    left, again = signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        return call()
    except _Late:
        raise TimeoutError from None
    finally:
        signal.setitimer(signal.ITIMER_REAL, left, again)
        signal.signal(signal.SIGALRM, handler)
