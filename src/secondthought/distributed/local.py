"""Several processes on this machine that run one command as one training; if one dies, all end, and one sentence says which."""

from __future__ import annotations

import ctypes
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence

from secondthought.errors import Interrupted, UserError

GRACE = 20.0  # seconds between being asked to stop and being made to


def launch(words: Sequence[str], processes: int) -> None:
    """Run ``secondthought WORDS`` in so many processes, each with its share of the threads.

    Raises UserError, naming the process, if one of them dies, and :class:`Interrupted` after a clean stop (Ctrl-C).
    """
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    threads = os.environ.get("OMP_NUM_THREADS") or str(max(1, (os.cpu_count() or 1) // processes))
    common = {
        "WORLD_SIZE": str(processes), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "OMP_NUM_THREADS": threads,
        "LOCAL_WORLD_SIZE": str(processes),
    }  # fmt: skip
    command = [sys.executable, "-m", "secondthought.cli", *words]
    running = [
        subprocess.Popen(  # in groups of their own: a Ctrl-C of the terminal reaches this process, which hands it on
            command, env={**os.environ, **common, "RANK": str(rank), "LOCAL_RANK": str(rank)}, preexec_fn=_die_together,
            process_group=0,
        )
        for rank in range(processes)
    ]  # fmt: skip
    asked = False
    try:
        while any(process.poll() is None for process in running):
            try:
                time.sleep(0.1)
            except KeyboardInterrupt:  # the first asks them to stop after this step, a second one at once
                asked = True
                for process in running:
                    if process.poll() is None:
                        process.send_signal(signal.SIGINT)
            failed = failures([process.poll() for process in running], asked=asked)
            if 2 in failed.values():  # a user's mistake, which the process has reported
                raise SystemExit(2)
            for rank, code in failed.items():
                raise UserError(f"process {rank} of {processes} {ended(code)}; continue with --resume")
    finally:
        _stop(running)
    if asked:
        raise Interrupted("stopped; continue with --resume")


def failures(codes: Sequence[int | None], *, asked: bool) -> dict[int, int]:
    """The processes that have ended badly, by rank, those that were killed first: the others fail for want of them.

    >>> failures([1, -9], asked=False), failures([0, None], asked=False), failures([130, 1], asked=True)
    ({1: -9, 0: 1}, {}, {1: 1})
    """
    bad = {rank: code for rank, code in enumerate(codes) if code not in (None, 0) and not (asked and code == 130)}
    return dict(sorted(bad.items(), key=lambda item: item[1] >= 0))


def _die_together() -> None:
    """In the new process: end when the one that started it ends, however that happens (Linux)."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(1, signal.SIGTERM)  # PR_SET_PDEATHSIG


def ended(code: int) -> str:
    """How a process ended, in words.

    >>> ended(-9), ended(2)
    ('was killed (SIGKILL)', 'ended with code 2')
    """
    return f"was killed ({signal.Signals(-code).name})" if code < 0 else f"ended with code {code}"


def _stop(running: Sequence[subprocess.Popen[bytes]]) -> None:
    for process in running:
        if process.poll() is None:
            process.terminate()
    deadline = time.monotonic() + GRACE
    for process in running:
        try:
            process.wait(max(0.1, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
