"""Untrusted programs run in a process of their own: no files, no network, no other processes, little time and memory.

The kernel enforces it (:mod:`secondthought.items.seccomp`), since no guard that is written in Python holds. Where it cannot,
nothing is run, unless SECONDTHOUGHT_UNGUARDED=1 says that the programs are trusted.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from secondthought.errors import UserError
from secondthought.items.seccomp import filter_here

UNGUARDED = "SECONDTHOUGHT_UNGUARDED"
NO_FILTER = 73  # as in sandboxed.py
LONGEST_OUTPUT = 32 << 20  # bytes
SCRIPT = Path(__file__).with_name("sandboxed.py")


@dataclass(frozen=True)
class Outcome:
    """What one call came to: the ``repr`` of its value, or an error. ``lines`` are (line number, local variables) as it ran."""

    value: str | None
    error: str | None
    lines: tuple[tuple[int, dict[str, str]], ...] = ()
    kind: str = ""


@dataclass(frozen=True)
class Ran:
    """The outcomes of the calls, and of the first call in programs with one thing changed; or why nothing ran."""

    calls: tuple[Outcome, ...] = ()
    mutants: tuple[Outcome, ...] = ()
    refused: str | None = None


def run(code: str, calls: Sequence[str], *, mutants: int = 0, steps: int = 60, seconds: int = 2, megabytes: int = 512) -> Ran:
    """Define ``code`` and evaluate ``calls`` in a guarded process; nothing that they do raises.

    ``steps``: how many lines of ``f`` are noted; fifty times as many may run. ``mutants``: in how many changed programs the
    first call is tried as well. ``seconds`` are of CPU time; of wall time it is twice that and two more. Raises UserError
    where the system cannot guard it.

    >>> run("def f(x):\\n    return x + 1", ["f(1)"]).calls[0].value
    '2'
    >>> run("def f(x):\\n    return open(x).read()", ["f('/etc/passwd')"]).calls[0].error
    'PermissionError: open is not allowed here'
    """
    guard = filter_here()
    if guard is None and os.environ.get(UNGUARDED) != "1":
        raise UserError(f"programs of a benchmark cannot be run safely on this system; {UNGUARDED}=1 runs them unguarded")
    job = {
        "filter": guard.hex() if guard else "", "code": code, "calls": list(calls), "mutants": mutants, "steps": steps,
        "seconds": seconds, "megabytes": megabytes,
    }  # fmt: skip
    process = subprocess.Popen(
        [sys.executable, "-I", "-S", str(SCRIPT)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env={}, cwd="/", start_new_session=True,
    )  # fmt: skip
    output = _answer(process, json.dumps(job).encode("utf-8", "surrogatepass"), time.monotonic() + 2 * seconds + 2)
    if output is None:
        return Ran(refused="it took too long")
    if process.returncode == NO_FILTER:
        raise UserError(f"the kernel here takes no filter of system calls; {UNGUARDED}=1 runs a benchmark's programs unguarded")
    if len(output) > LONGEST_OUTPUT:
        return Ran(refused="it wrote too much")
    if process.returncode:
        return Ran(refused="it took too long" if process.returncode in (-signal.SIGXCPU, -signal.SIGKILL) else "it broke down")
    try:
        found = json.loads(output)
        ran, changed = (tuple(_outcome(one) for one in found[name]) for name in ("runs", "mutants"))
        return Ran(ran, changed, found.get("refused"))
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return Ran(refused="it broke down")


def _answer(process: subprocess.Popen[bytes], job: bytes, until: float) -> bytes | None:
    """What a process answers, at most a little more than :data:`LONGEST_OUTPUT`; None if it takes longer. It is over then, with
    all that it may have started.
    """
    found = bytearray()

    def talk() -> None:
        assert process.stdin is not None
        assert process.stdout is not None
        with contextlib.suppress(OSError, ValueError):
            process.stdin.write(job)
            process.stdin.close()
            while len(found) <= LONGEST_OUTPUT and (part := os.read(process.stdout.fileno(), 1 << 16)):
                found.extend(part)

    talking = threading.Thread(target=talk, daemon=True)
    talking.start()
    talking.join(max(0.0, until - time.monotonic()))
    late = talking.is_alive()
    with contextlib.suppress(subprocess.TimeoutExpired):
        if not late and len(found) <= LONGEST_OUTPUT:
            process.wait(max(0.1, until - time.monotonic()))
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    talking.join(1)
    for pipe in (process.stdin, process.stdout):
        with contextlib.suppress(OSError, ValueError):
            if pipe is not None and not talking.is_alive():
                pipe.close()
    return None if late else bytes(found)


def _outcome(one: dict[str, Any]) -> Outcome:
    lines = tuple((int(number), dict(shown)) for number, shown in one.get("lines", ()))
    return Outcome(one.get("value"), one.get("error"), lines, one.get("kind", ""))
