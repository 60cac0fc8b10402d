"""Peak memory of a whole step, each contender in a process of its own: freed memory of one would hide the peak of another."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from benchmarks.setting import SIZES, saved

CONTENDERS = ("ours", "three generate calls")


def measure(repeats: int, *, quick: bool = False) -> list[dict[str, Any]]:
    """MiB above what the process held before its first step."""
    del repeats
    found = []
    for size in ("1.5M",) if quick else ("1.5M", "7M"):
        for contender in CONTENDERS:
            command = [sys.executable, "-m", "benchmarks.memory", size, contender]
            done = subprocess.run(command, check=True, capture_output=True, text=True)
            found.append({"model": size, "contender": contender, "peak_mib": round(float(done.stdout.split()[-1]), 1)})
            print(found[-1], flush=True)
    return found


def held(name: str) -> float:
    """VmRSS (now) or VmHWM (the most so far), in MiB; Linux only."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith(name)).split()[1]) / 1024


def main() -> None:
    """Two steps of one contender."""
    import torch

    from benchmarks.whole_step import Ours, ThreeCalls

    torch.set_num_threads(1)
    size, contender = SIZES[sys.argv[1]], sys.argv[2]
    with tempfile.TemporaryDirectory() as place:
        step = Ours(saved(size, Path(place) / "model")) if contender == "ours" else ThreeCalls(size)
        before = held("VmRSS")
        step()
        step()
    print(held("VmHWM") - before)


if __name__ == "__main__":
    main()
