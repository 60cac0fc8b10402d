"""Commands as real processes, without the seconds that importing torch takes: forked from a server that has imported it all."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

READY = (
    "secondthought.cli", "secondthought.training.loop", "secondthought.probes.run", "secondthought.recipes", "secondthought.report.formats",
    "secondthought.learners.torch", "transformers.models.llama.modeling_llama", "tests.processes",
)  # fmt: skip
_forks = multiprocessing.get_context("forkserver")
_forks.set_forkserver_preload(list(READY))
os.environ.setdefault("OMP_NUM_THREADS", "1")


def run(
    words: Sequence[str], *, cwd: Path | None = None, timeout: float = 240, until: str = "", signals: Sequence[int] = ()
) -> subprocess.CompletedProcess[str]:
    """``secondthought WORDS`` with nobody at the terminal; what it said, and how it ended. ``signals`` are sent, half a second
    apart, once it has said ``until``.
    """
    with tempfile.TemporaryDirectory() as place:
        result, complained = Path(place) / "out", Path(place) / "err"
        process = _forks.Process(
            target=_become, args=(list(words), str(cwd or Path.cwd()), dict(os.environ), result, complained)
        )
        process.start()
        deadline = time.monotonic() + timeout
        for number in signals:
            while process.exitcode is None and time.monotonic() < deadline:
                if any(until in file.read_text() for file in (result, complained) if file.exists()):
                    break
                time.sleep(0.02)
            with contextlib.suppress(ProcessLookupError):
                os.kill(process.pid or 0, number)
            process.join(0.5)
        process.join(max(0.0, deadline - time.monotonic()))
        if process.exitcode is None:
            process.kill()
            raise subprocess.TimeoutExpired(list(words), timeout)
        return subprocess.CompletedProcess(list(words), process.exitcode, result.read_text(), complained.read_text())


def _become(words: list[str], folder: str, environment: dict[str, str], result: Path, complained: Path) -> None:
    import traceback

    from secondthought.cli import main

    signal.signal(signal.SIGINT, signal.default_int_handler)  # it is ignored where the tests themselves run in the background
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    for number, path in ((1, result), (2, complained)):
        opened = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(opened, number)
    sys.stdout, sys.stderr = os.fdopen(1, "w", encoding="utf-8"), os.fdopen(2, "w", encoding="utf-8")
    sys.argv = ["secondthought", *words]
    code = 0
    try:
        main()
    except SystemExit as stop:
        code = stop.code if isinstance(stop.code, int) else 1
    except BaseException:
        traceback.print_exc()
        code = 1
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)
