"""Kill a run at every write, and see what a resume makes of it.

    python tests/training/kills.py              all points of a small training and of a probe (some minutes)
    python tests/training/kills.py --every 9    every ninth

A *point* is a moment before something in the run's folder is made, opened for writing, renamed or deleted. At a point the process
is killed (SIGKILL) before it happens (``clean``), or after half of it was written (``half``).
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import shutil
import signal
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

Run = Callable[[Path], None]
EVENTS = {"open", "os.rename", "os.mkdir", "os.remove", "os.rmdir"}


def in_a_child(work: Callable[[], None]) -> int:
    """What ended a forked process that did the work: its exit code, or minus the signal."""
    sys.stdout.flush()
    child = os.fork()
    if child == 0:
        try:
            null = os.open(os.devnull, os.O_WRONLY)
            os.dup2(null, 1)
            work()
            os._exit(0)
        except BaseException:
            import traceback

            traceback.print_exc()
            os._exit(1)
    status = os.waitpid(child, 0)[1]
    return os.waitstatus_to_exitcode(status)


def watched(folder: Path, at: int, half: bool, points: Path | None = None) -> None:
    """From now on this process is killed at point number ``at`` under ``folder``; or all points are written down."""
    seen = [0]
    busy = [False]

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        if busy[0] or event not in EVENTS or not arguments or not isinstance(arguments[0], str | bytes | os.PathLike):
            return
        if event == "open" and not (isinstance(arguments[1], str) and set(arguments[1]) & set("wax")):
            return
        path = Path(os.fsdecode(arguments[0]))
        if folder not in (path, *path.parents):
            return
        if points is not None:
            busy[0] = True
            with points.open("a") as file:
                file.write(f"{event} {path.relative_to(folder)}\n")
            busy[0] = False
        if seen[0] == at:
            busy[0] = True
            if half and event == "open" and "a" in arguments[1]:
                with path.open("a") as file:
                    file.write('{"step": 1, "half')
            elif half and event == "open":
                path.write_text('{"half')
            elif half and event == "os.rename" and path.is_file():
                os.truncate(path, path.stat().st_size // 2)
            os.kill(os.getpid(), signal.SIGKILL)
        seen[0] += 1

    sys.addaudithook(hook)


def content(folder: Path) -> dict[str, str]:
    """A digest of everything that must be the same whatever happened: episodes, reports, weights, optimiser, curve."""
    import pyarrow.parquet as pq
    import torch

    found = {}
    for file in sorted(path for path in folder.rglob("*") if path.is_file()):
        name = str(file.relative_to(folder))
        if file.suffix == ".parquet":
            made: Any = [{k: v for k, v in row.items() if k != "run"} for row in pq.read_table(file).to_pylist()]
        elif file.suffix == ".pt":
            made = exact(torch.load(file, weights_only=True))
        elif file.name == "metrics.jsonl":
            lines = [json.loads(line) for line in file.read_text().splitlines()]
            made = [{k: v for k, v in line.items() if "second" not in k} for line in lines]
        elif file.suffix in (".safetensors",) or (file.parent.name == "reports" and "facts" not in name):
            made = hashlib.sha256(file.read_bytes()).hexdigest()
        else:
            continue
        found[name] = hashlib.sha256(json.dumps(made).encode()).hexdigest()
    return found


def exact(value: Any) -> Any:
    """The same as JSON, tensors to the bit."""
    import torch

    if isinstance(value, torch.Tensor):
        raw = value.detach().cpu().contiguous().flatten().view(torch.uint8).numpy()
        return [str(value.dtype), list(value.shape), hashlib.sha256(raw.data).hexdigest()]
    if isinstance(value, dict):
        return [[repr(key), exact(one)] for key, one in value.items()]
    return [exact(one) for one in value] if isinstance(value, list | tuple) else repr(value)


def faults(run: Run, place: Path, *, every: int = 1, first: int = 0) -> tuple[int, list[str]]:
    """How many kills were tried, and what was wrong after the resumes: a sentence for each."""
    whole = place / "whole"
    listed = place / "points"

    def write_down() -> None:
        watched(whole, -1, False, listed)
        run(whole)

    assert in_a_child(write_down) == 0
    expected, points = content(whole), listed.read_text().splitlines()
    wrong, tried = [], 0
    for number in range(first, 2 * len(points), every):
        at, half = divmod(number, 2)
        out = place / "killed"
        shutil.rmtree(out, ignore_errors=True)

        def dies(out: Path = out, at: int = at, half: int = half) -> None:
            watched(out, at, bool(half))
            run(out)

        what = f"{'half of' if half else 'before'} {points[at]} (point {at})"
        tried += 1
        if (ended := in_a_child(dies)) != -signal.SIGKILL:
            wrong.append(f"{what}: it was not killed but ended with {ended}")
        elif (ended := in_a_child(lambda out=out: run(out))) != 0:  # type: ignore[misc]
            wrong.append(f"{what}: the resume failed with {ended}")
        elif (now := content(out)) != expected:
            other = sorted(name for name in {*now, *expected} if now.get(name) != expected.get(name))
            wrong.append(f"{what}: other bytes in {', '.join(other)}")
    return tried, wrong


def training(out: Path) -> None:
    """Four steps of the nano recipe with everything that a run writes."""
    from secondthought import recipes
    from secondthought.report import formats
    from secondthought.runs.progress import Silence
    from secondthought.training.loop import train
    from secondthought.training.settings import override

    words = "steps=3 groups=2 group_size=2 max_tokens=8 checkpoint_every=1 checkpoints_kept=1 eval_every=2 eval_problems=6"
    recipe = override(recipes.load("rrr_countdown"), [*words.split(), "dev_problems=4", "engine.threads=1"])
    train(recipe, out, Silence(), resume=True)
    formats.write(out)


def probe(out: Path) -> None:
    """A small measurement."""
    from secondthought.probes.answer import Answer
    from secondthought.probes.checkpoints import checkpoints_of
    from secondthought.probes.run import run_probe
    from secondthought.runs.progress import Silence

    run_probe(Answer(n=6, max_tokens=6), checkpoints_of(["nano/countdown"]), out, Silence())


RUNS: dict[str, Run] = {"training": training, "probe": probe}


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--every", type=int, default=1)
    options = parser.parse_args()
    import torch

    torch.set_num_threads(1)
    failed = 0
    for name, run in RUNS.items():
        with tempfile.TemporaryDirectory() as place:
            tried, wrong = faults(run, Path(place), every=options.every)
        print(f"{name}: {tried} kills, {len(wrong)} resumes that went wrong", *wrong, sep="\n    ")
        failed += len(wrong)
    sys.exit(bool(failed))
