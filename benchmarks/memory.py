"""Peak memory of a whole step, each contender in a process of its own: freed memory of one would hide the peak of another."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from benchmarks.setting import REAL, SIZES, saved

CONTENDERS = ("ours", "three generate calls")
BIG = "SmolLM2-135M"  # in bfloat16, as in :mod:`benchmarks.real_sizes`


def measure(repeats: int, *, quick: bool = False) -> list[dict[str, Any]]:
    """MiB above what the process held before its first step."""
    del repeats
    found = []
    for size in ("1.5M",) if quick else ("1.5M", "7M", BIG):
        for contender in (*CONTENDERS, "TRL") if size == BIG else CONTENDERS:
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

    from benchmarks import real_sizes
    from benchmarks.whole_step import Ours, ThreeCalls

    torch.set_num_threads(1)
    name, contender = sys.argv[1:3]
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place) / "model"
        step: Any
        if name == BIG:
            makers = real_sizes.makers(REAL[name], torch.bfloat16, 0, folder)
            before = held("VmRSS")
            if contender == "TRL":
                real_sizes.trl_alone(REAL[name], torch.bfloat16, folder, steps=2)
            else:
                step = makers[contender]()
                before = held("VmRSS")
                step()
                step()
        else:
            step = Ours(saved(SIZES[name], folder)) if contender == "ours" else ThreeCalls(SIZES[name])
            before = held("VmRSS")
            step()
            step()
    print(held("VmHWM") - before)


if __name__ == "__main__":
    main()
