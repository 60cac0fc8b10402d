"""JSON over HTTP to a model somewhere else: retried with growing pauses, never for longer than it may take, and no error
without the address in it. A key is read from the environment when a call is made, goes to that address only, and stands nowhere
else.
"""

from __future__ import annotations

import http.client
import json
import os
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from secondthought.errors import UserError

RETRIED = (408, 409, 425, 429, 500, 502, 503, 504, 529)


class Again(Exception):
    """What a server sent is no answer, and it is asked again; the message says why."""


class Refused(UserError):
    """A server refuses what it is asked (4xx); asking again would not help."""


@dataclass(frozen=True)
class Place:
    """A server at ``url``. A call that fails is made again, up to ``retries`` times with pauses of ``pause``, 2 ``pause``, ...
    seconds (or what the server asks for); ``timeout`` seconds are enough, over all tries. ``key`` names the variable of the
    environment that holds the key, if there is one; ``token`` is sent where there is none.

    Every method raises UserError, with the address and the reason, where no answer came.
    """

    url: str
    timeout: float = 60.0
    retries: int = 4
    pause: float = 0.5
    key: str = ""
    token: str = field(default="", repr=False)

    def get(self, path: str) -> Any:
        """What is at ``path``."""
        return self._answer(path, None)

    def post(self, path: str, body: Any = None, read: Callable[[Any], Any] = lambda answer: answer) -> Any:
        """What the server answers to ``body``, as ``read`` understands it; if that raises :class:`Again`, it is asked again.
        Raises :class:`Refused` where it refuses.
        """
        return self._answer(path, json.dumps({} if body is None else body).encode(), read)

    def _answer(self, path: str, data: bytes | None, read: Callable[[Any], Any] = lambda answer: answer) -> Any:
        call = urllib.request.Request(f"{self.url.rstrip('/')}{path}", data, {"Content-Type": "application/json"})
        if key := os.environ.get(self.key) or self.token:
            call.add_unredirected_header("Authorization", f"Bearer {key}")
        began = time.monotonic()
        for attempt in range(self.retries + 1):
            wait, reached = self.pause * 2**attempt, False
            left = max(0.1, self.timeout - (time.monotonic() - began))
            try:
                with urllib.request.urlopen(call, timeout=left) as reply:
                    return read(_parsed(reply.read()))
            except Again as odd:
                why, reached = str(odd), True
            except urllib.error.HTTPError as error:
                why = f"HTTP {error.code} {error.reason}"
                if error.code not in RETRIED:
                    raise Refused(f"{self.url} refuses: {why}{_reason(error)}") from error
                wait = max(wait, _seconds(error.headers.get("Retry-After")))
            except TimeoutError:
                why = f"no answer in {self.timeout:g} s"
            except (OSError, http.client.HTTPException, ValueError) as error:
                cause = getattr(error, "reason", None) or error
                why = str(cause) or type(error).__name__
            if attempt == self.retries or time.monotonic() - began + wait > self.timeout:
                break
            time.sleep(wait)
        tries = "once" if attempt == 0 else f"{attempt + 1} times"
        what = "gave no answer that can be used" if reached else "could not be reached"
        raise UserError(f"{self.url} {what} (tried {tries}): {why}")


def _parsed(body: bytes) -> Any:
    """JSON; nothing is None. Raises :class:`Again` with the beginning of anything else (a page, a stream of events)."""
    try:
        return json.loads(body) if body else None
    except ValueError as error:
        begin = " ".join(body[:200].decode("utf-8", "replace").split())[:80]
        raise Again(f"it answered something that is no JSON: {begin!r}") from error


def _seconds(header: str | None) -> float:
    """How long a server asks to be left alone (0 where it names a date, or nothing)."""
    try:
        return float(header or 0)
    except ValueError:
        return 0.0


def _reason(error: urllib.error.HTTPError) -> str:
    """What the server says of it, if it says so in the usual form."""
    try:
        body = json.loads(error.read())
        found = body.get("error", body)
        message = found.get("message", "") if isinstance(found, dict) else found
        return f" ({' '.join(str(message).split())[:200]})" if message else ""
    except (OSError, ValueError, AttributeError):
        return ""
