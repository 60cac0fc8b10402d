"""The command line: ``secondthought train | probe | reproduce | list | data | view | ...``."""

from __future__ import annotations

import errno
import os
import signal
import sys
import threading
import time
from types import FrameType
from typing import Any

import typer

from secondthought.cli.base import app
from secondthought.errors import Interrupted, UserError
from secondthought.runs.redaction import hide

# The order is that of --help.
from secondthought.cli import train  # noqa: F401
from secondthought.cli import measure  # noqa: F401
from secondthought.cli import skill  # noqa: F401
from secondthought.cli import look  # noqa: F401

__all__ = ["app", "main"]

INTERRUPTED = 130
AFTER_THE_FIRST = 3.0
"""Seconds that the others wait with their sentence; whoever started them ends them when the first has spoken."""


def main() -> None:
    """The entry point: a user's mistake is one sentence and exit code 2, a clean stop 130."""
    # Threads that wait without spinning: with one busy neighbour a spinning pool makes a step ten times slower.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    if os.environ.get("WORLD_SIZE", "1") in ("", "1"):
        signal.signal(signal.SIGTERM, terminated)
        if signal.getsignal(signal.SIGINT) is signal.default_int_handler:  # not where somebody chose to ignore it
            signal.signal(signal.SIGINT, interrupted)
        command()
    else:
        from secondthought.distributed.world import member

        member(command)


def command() -> None:
    """What the words on the command line ask for. Raises SystemExit with the exit code where it is not 0."""
    try:
        code = app(standalone_mode=False)
    except UserError as error:
        fail(str(error))
    except Interrupted as stop:
        stopped(str(stop))
    except (typer.Abort, KeyboardInterrupt):
        stopped()
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            fail(f"the disk is full ({error.filename or 'while writing'}); free some space and continue with --resume")
        if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
            fail(f"cannot write {error.filename}: {error.strerror}; choose another --out")
        raise
    except Exception as error:
        _usage(error)
        raise
    if code == INTERRUPTED:  # typer makes a Ctrl-C a number
        stopped()
    if isinstance(code, int) and code:
        sys.exit(code)


def stopped(sentence: str = "") -> None:
    """A sentence about a Ctrl-C, and exit code 130."""
    words = [word for word in sys.argv[1:] if not word.startswith("-")]
    known: Any = getattr(typer.main.get_command(app), "commands", {}).get(words[0] if words else "")
    resumes = any(option.name == "resume" for option in getattr(known, "params", ()))
    how = "continue with --resume" if resumes else "the same command goes on from what is written"
    print(f"secondthought: {sentence or f'stopped; {how}'}", file=sys.stderr)
    sys.exit(INTERRUPTED)


def interrupted(_: int, frame: FrameType | None) -> None:
    """A Ctrl-C. One that comes while an object is destroyed, where Python would swallow it, comes again a moment later."""
    while frame is not None:
        if frame.f_code.co_name == "__del__":
            threading.Timer(0.02, os.kill, (os.getpid(), signal.SIGINT)).start()
            return
        frame = frame.f_back
    raise KeyboardInterrupt


def terminated(*_: object) -> None:
    """Being asked to end (SIGTERM) is met as any other end: what was opened is closed, and temporary folders go."""
    sys.exit(128 + signal.SIGTERM)


def fail(message: str) -> None:
    """One sentence on standard error, exit code 2. Of several processes the first one speaks first."""
    who = "secondthought" if (rank := os.environ.get("RANK", "0")) == "0" else f"secondthought, process {rank}"
    if rank != "0":
        time.sleep(AFTER_THE_FIRST)
    print(f"{who}: {hide(message)}", file=sys.stderr)
    sys.exit(2)


def _usage(error: Any) -> None:
    """Typer's own complaints about arguments carry their own sentences."""
    if hasattr(error, "format_message") and hasattr(error, "exit_code"):
        fail(error.format_message() or "a command is wanted; --help lists them")
