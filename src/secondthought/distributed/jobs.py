"""Long jobs side by side: a process of one thread for each, so many at a time, all of them stopped if one fails."""

from __future__ import annotations

import multiprocessing
import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

from secondthought.errors import UserError
from secondthought.runs.progress import Progress


class Job(NamedTuple):
    """``run(*arguments)`` in a process of its own; ``share()`` says how much of it is done, from what it leaves on disk."""

    name: str
    run: Callable[..., Any]
    arguments: tuple[Any, ...]
    share: Callable[[], float] = lambda: 0.0


def side_by_side(jobs: Sequence[Job], workers: int, progress: Progress) -> None:
    """Run all jobs in order, ``workers`` at a time. Raises UserError, naming the job, if one of them fails."""
    context = multiprocessing.get_context("spawn")
    waiting, done = list(jobs), 0
    running: list[tuple[Job, Any]] = []
    with one_thread_each():
        try:
            while waiting or running:
                while waiting and len(running) < workers:
                    job = waiting.pop(0)
                    running.append((job, context.Process(target=_obey, args=(job.run, job.arguments), daemon=True)))
                    running[-1][1].start()
                time.sleep(0.5)
                for job, process in list(running):
                    if process.exitcode is None:
                        continue
                    if process.exitcode:
                        why = f"{job.name} ended with code {process.exitcode}"
                        raise UserError(f"{why}; what it did is kept, run the same command again to continue")
                    running.remove((job, process))
                    done += 1
                    progress.phase(f"{job.name}: done ({done} of {len(jobs)})")
                part = sum(min(0.99, job.share()) for job, _ in running)
                progress.step(round(100 * (done + part)), 100 * len(jobs), {})
        finally:
            for _, process in running:
                process.terminate()
                process.join()


@contextmanager
def one_thread_each() -> Iterator[None]:
    """Processes that are started meanwhile compute with one thread."""
    before = os.environ.get("OMP_NUM_THREADS")
    os.environ["OMP_NUM_THREADS"] = "1"
    try:
        yield
    finally:
        if before is None:
            del os.environ["OMP_NUM_THREADS"]
        else:
            os.environ["OMP_NUM_THREADS"] = before


def _obey(run: Callable[..., Any], arguments: tuple[Any, ...]) -> None:
    try:
        run(*arguments)
    except UserError as error:
        print(f"secondthought: {error}", file=sys.stderr)
        sys.exit(2)
