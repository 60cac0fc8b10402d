"""Who may change the weights of a server: a secret that both sides have in their environment or, on one machine, in a file
that only this user can read.
"""

from __future__ import annotations

import os
import secrets
from pathlib import Path
from urllib.parse import urlsplit

VARIABLE = "SECONDTHOUGHT_TOKEN"


def made(port: int, *, local: bool) -> str:
    """The token of a server: that of the environment, else a new one, which is left in a file for other programs of this user
    where the server is ``local``.
    """
    if given := os.environ.get(VARIABLE):
        return given
    token = secrets.token_hex(32)
    if local:
        file = _file(port)
        file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        file.unlink(missing_ok=True)
        with open(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="ascii") as out:
            out.write(token)
    return token


def known(url: str) -> str:
    """The token for a server at ``url``; empty where none is known."""
    place = urlsplit(url)
    if given := os.environ.get(VARIABLE):
        return given
    if place.hostname not in ("127.0.0.1", "localhost", "::1"):
        return ""
    try:
        return _file(place.port or 80).read_text(encoding="ascii")
    except (OSError, ValueError):
        return ""


def forgotten(port: int) -> None:
    """Remove the file of a server that is gone."""
    _file(port).unlink(missing_ok=True)


def _file(port: int) -> Path:
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return cache / "secondthought" / "serve" / str(port)
