"""Keys that stand in an address (its path, its query, before its host) are shown nowhere."""

from __future__ import annotations

import re
from urllib.parse import urlsplit

_ADDRESS = re.compile(r"https?://[^\s\"'<>\\]+")
_KEY = re.compile(
    r"(?:sk|pk|rk|gsk|hf|key|token)[-_][A-Za-z0-9_-]{8,}|(?=[A-Za-z_-]*[0-9])(?=[0-9_-]*[A-Za-z])[A-Za-z0-9_-]{24,}"
)
HIDDEN = "***"


def hide(text: str) -> str:
    """The text with what may be a key in its addresses hidden: a password, values of a query, odd parts of a path.

    >>> hide("http://me:secret@host:8000/v1/sk-abcdefgh1234/x?api_key=abc#m@chat")
    'http://***@host:8000/v1/***/x?api_key=***#m@chat'
    >>> hide("https://host/v1#Qwen/Qwen2.5-0.5B-Instruct")
    'https://host/v1#Qwen/Qwen2.5-0.5B-Instruct'
    """
    return _ADDRESS.sub(lambda found: _hidden(found[0]), text) if "://" in text else text


def _hidden(address: str) -> str:
    try:
        parts = urlsplit(address)
    except ValueError:
        return HIDDEN
    host = f"{HIDDEN}@{parts.netloc.rpartition('@')[2]}" if "@" in parts.netloc else parts.netloc
    path = "/".join(HIDDEN if _KEY.fullmatch(part) else part for part in parts.path.split("/"))
    query = re.sub(r"=[^&]*", f"={HIDDEN}", parts.query)
    shown = f"{parts.scheme}://{host}{path}"
    return shown + (f"?{query}" if query else "") + (f"#{parts.fragment}" if parts.fragment else "")
