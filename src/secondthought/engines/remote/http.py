"""JSON over HTTP to a model somewhere else: retried with growing pauses, never for longer than it may take, and no error
without the address in it. A key is read from the environment when a call is made, goes to that address only, and stands nowhere
else.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import socket
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from secondthought.errors import UserError

LARGEST = 64 << 20  # bytes of an answer
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
                with _opened(call, left) as reply:
                    return read(_parsed(_whole(reply)))
            except Again as odd:
                why, reached = str(odd), True
            except urllib.error.HTTPError as error:
                why = f"HTTP {error.code} {error.reason}"
                if 300 <= error.code < 400:
                    raise Refused(
                        f"{self.url} sends its callers to {error.headers.get('Location')}: name that address"
                    ) from error
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


class _Stay(urllib.request.HTTPRedirectHandler):
    """Nobody is followed to another address: an answer, and a key, belong to the one that was named."""

    def redirect_request(self, *_: Any, **__: Any) -> None:
        return None


class _Timed(urllib.request.HTTPHandler, urllib.request.HTTPSHandler):
    """Hangs up after so many seconds, however slowly the other side still drips."""

    def __init__(self, seconds: float) -> None:
        super().__init__()
        self.seconds = seconds
        self.clocks: list[threading.Timer] = []
        self.late = False

    def http_open(self, req: urllib.request.Request) -> Any:
        return self.do_open(partial(self._timed, http.client.HTTPConnection), req)

    def https_open(self, req: urllib.request.Request) -> Any:
        return self.do_open(partial(self._timed, http.client.HTTPSConnection), req)

    def _timed(self, kind: Callable[..., http.client.HTTPConnection], host: str, **settings: Any) -> http.client.HTTPConnection:
        connection = kind(host, **settings)
        connect = connection.connect

        def connected() -> None:
            connect()
            clock = threading.Timer(self.seconds, self._hang_up, (connection.sock,))
            clock.daemon = True
            self.clocks.append(clock)
            clock.start()

        connection.connect = connected  # type: ignore[method-assign]
        return connection

    def _hang_up(self, connected: socket.socket) -> None:
        self.late = True
        with contextlib.suppress(OSError):
            connected.shutdown(socket.SHUT_RDWR)


@contextlib.contextmanager
def _opened(call: urllib.request.Request, seconds: float) -> Iterator[Any]:
    """The reply to a call. Raises TimeoutError in the end if not all of it has come in so many seconds."""
    timed = _Timed(seconds)
    try:
        with urllib.request.build_opener(_Stay, timed).open(call, timeout=seconds) as reply:
            yield reply
    except Exception as error:
        if timed.late:
            raise TimeoutError from error
        raise
    finally:
        for clock in timed.clocks:
            clock.cancel()
    if timed.late:
        raise TimeoutError


def _whole(reply: Any) -> bytes:
    """All of a reply. Raises Again for one without end, and HTTPException for one that was cut off."""
    body: bytes = reply.read(LARGEST + 1)
    if len(body) > LARGEST:
        raise Again(f"it answered more than {LARGEST >> 20} MB")
    if reply.length:
        raise http.client.IncompleteRead(body, reply.length)
    return body


def _parsed(body: bytes) -> Any:
    """JSON; nothing is None. Raises :class:`Again` with the beginning of anything else (a page, a stream of events)."""
    try:
        return json.loads(body) if body else None
    except (ValueError, RecursionError) as error:
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
    except (OSError, ValueError, AttributeError, RecursionError):
        return ""
