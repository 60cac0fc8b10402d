"""One writer for each run folder: a second process is refused, and the first one is named."""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from secondthought.errors import UserError

NAME = ".lock"
_held: dict[str, tuple[int, int]] = {}
"""By folder: the open file, and how many in this process (and its forks) hold it."""


def hold(folder: Path) -> Callable[[], None]:
    """Hold a folder for this process, which may hold it several times; call what is returned to let go of it.

    The kernel lets go when the process ends, however it ends. Where files cannot be locked (some network file systems, Windows)
    nothing is held. Raises UserError if another process holds it.
    """
    key = str(folder.resolve())
    if key in _held:
        descriptor, count = _held[key]
        _held[key] = (descriptor, count + 1)
    else:
        taken = _taken(folder / NAME, folder)
        if taken is None:
            return lambda: None
        _held[key] = (taken, 1)
    return lambda: _let_go(key, folder / NAME)


def _taken(path: Path, folder: Path) -> int | None:
    try:
        import fcntl
    except ImportError:
        return None
    locks: Any = fcntl
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            locks.flock(descriptor, locks.LOCK_EX | locks.LOCK_NB)
        except OSError as error:
            owner = os.read(descriptor, 200).decode("utf-8", "replace").strip()
            os.close(descriptor)
            if error.errno not in (errno.EWOULDBLOCK, errno.EACCES):
                return None
            raise UserError(
                f"{folder} is being written by {owner or 'another process'}; wait for it to end, or choose another --out"
            ) from None
        if path.exists() and os.fstat(descriptor).st_ino == path.stat().st_ino:
            break
        os.close(descriptor)  # it was let go of, and removed, between opening and locking
    os.ftruncate(descriptor, 0)
    began = datetime.now(UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    os.write(descriptor, f"process {os.getpid()} on {socket.gethostname()} since {began}".encode())
    return descriptor


def _let_go(key: str, path: Path) -> None:
    if key not in _held:
        return
    descriptor, count = _held[key]
    if count > 1:
        _held[key] = (descriptor, count - 1)
        return
    del _held[key]
    path.unlink(missing_ok=True)
    os.close(descriptor)
