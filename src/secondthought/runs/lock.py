"""One writer for each run folder: a second process is refused, and the first one is named."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from filelock import FileLock, Timeout

from secondthought.errors import UserError

NAME = ".lock"


def hold(folder: Path) -> Callable[[], None]:
    """Hold a folder for this process, which may hold it several times; keep what is returned, and call it to let go.

    The kernel lets go when the process ends, however it ends. Raises UserError if another process holds it.
    """
    path = folder / NAME
    lock = FileLock(path, timeout=0, thread_local=False, is_singleton=True)
    try:
        lock.acquire()
    except Timeout:
        owner = path.read_text(encoding="utf-8").strip() or "another process"
        raise UserError(f"{folder} is being written by {owner}; wait for it to end, or choose another --out") from None
    began = datetime.now(UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    path.write_text(f"process {os.getpid()} on {socket.gethostname()} since {began}", encoding="utf-8")
    return lock.release
