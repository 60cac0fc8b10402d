"""Writing without ever leaving half a file: everything goes to a temporary name and is renamed when complete."""

from __future__ import annotations

import errno
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from secondthought.runs.redaction import hide

COMPLETE = "COMPLETE"
LEAST_FREE = 1 << 20  # bytes, below which a disk is full


def write_text(path: Path, text: str) -> None:
    """Replace ``path`` with ``text`` in one step; a reader sees the old file or the new one."""
    temporary = path.with_name(f".{path.name}.tmp")
    temporary.write_text(text, encoding="utf-8")
    os.replace(temporary, path)


def write_json(path: Path, value: object) -> None:
    """Replace ``path`` with indented JSON in one step, keys in addresses hidden."""
    write_text(path, hide(json.dumps(value, indent=2, allow_nan=False)) + "\n")


@contextmanager
def new_folder(path: Path) -> Iterator[Path]:
    """A folder to fill; it appears as ``path``, marked COMPLETE, only when the block ends without an error.

    Raises OSError (ENOSPC) for whatever a library makes of a full disk; what was written of the folder is gone then.
    """
    temporary = path.with_name(f".{path.name}.tmp")
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir(parents=True)
    try:
        yield temporary
        (temporary / COMPLETE).touch()
    except Exception as error:
        full = shutil.disk_usage(temporary).free < LEAST_FREE
        shutil.rmtree(temporary, ignore_errors=True)
        if full and not isinstance(error, OSError):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path)) from error
        raise
    if path.exists():
        shutil.rmtree(path)
    os.replace(temporary, path)


def complete_folders(parent: Path, prefix: str = "step_") -> list[Path]:
    """The complete numbered folders under ``parent``, in order of their number."""
    found = (folder for folder in parent.glob(f"{prefix}*") if (folder / COMPLETE).exists())
    return sorted(found, key=lambda folder: int(folder.name.removeprefix(prefix)))


def cache_folder() -> Path:
    """Where this user's converted models and answers of critics are kept."""
    return Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "secondthought"
