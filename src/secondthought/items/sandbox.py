"""Untrusted programs run in a process of their own: no files, no network, no other processes, little time and memory."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

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
    """Define ``code`` and evaluate ``calls`` in a guarded process; never raises on what they do.

    ``steps``: how many lines of ``f`` are noted; fifty times as many may run. ``mutants``: in how many changed programs the
    first call is tried as well. ``seconds`` are of CPU time, and twice that of wall time.

    >>> run("def f(x):\\n    return x + 1", ["f(1)"]).calls[0].value
    '2'
    >>> run("def f(x):\\n    return open(x).read()", ["f('/etc/passwd')"]).calls[0].error
    'PermissionError: open is not allowed here'
    """
    job = {
        "code": code, "calls": list(calls), "mutants": mutants, "steps": steps, "seconds": seconds, "megabytes": megabytes,
    }  # fmt: skip
    process = subprocess.Popen(
        [sys.executable, "-I", "-S", str(SCRIPT)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env={}, cwd="/", start_new_session=True,
    )  # fmt: skip
    try:
        output, _ = process.communicate(json.dumps(job).encode("utf-8", "surrogatepass"), timeout=2 * seconds + 2)
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()
        return Ran(refused="it took too long")
    if process.returncode:
        return Ran(refused="it took too long" if process.returncode in (-signal.SIGXCPU, -signal.SIGKILL) else "it broke down")
    try:
        found = json.loads(output)
    except ValueError:
        return Ran(refused="it broke down")
    return Ran(
        tuple(_outcome(one) for one in found["runs"]),
        tuple(_outcome(one) for one in found["mutants"]),
        found.get("refused"),
    )


def _outcome(one: dict[str, Any]) -> Outcome:
    lines = tuple((int(number), dict(shown)) for number, shown in one.get("lines", ()))
    return Outcome(one.get("value"), one.get("error"), lines, one.get("kind", ""))
