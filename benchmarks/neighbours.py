"""A training step alone and beside a busy process: what waiting without spinning and the number of threads do.

    python -m benchmarks.neighbours

Each case is ``train rrr_countdown`` for a few steps in a process of its own; the median of its steps, in seconds. The
neighbours are other trainings or busy loops. Cases follow each other in one run, since machines differ from hour to hour.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median

STEPS = 8
CASES = {
    "spinning (OMP_WAIT_POLICY=ACTIVE)": {"OMP_WAIT_POLICY": "ACTIVE"},
    "as shipped": {},
    "one thread": {"OMP_NUM_THREADS": "1"},
}


def command(out: Path, steps: int) -> list[str]:
    """A short training that measures next to nothing."""
    settings = f"steps={steps} eval_problems=4 dev_problems=2 eval_every=1000 checkpoint_every=1000".split()
    words = [word for setting in settings for word in ("--set", setting)]
    return [sys.executable, "-m", "secondthought.cli", "train", "rrr_countdown", "--out", str(out), *words]


def seconds(place: Path, more: dict[str, str]) -> float:
    """The median time of a step."""
    out = place / f"run_{len(list(place.iterdir()))}"
    environment = {k: v for k, v in os.environ.items() if not k.startswith("OMP_")} | more
    subprocess.run(command(out, STEPS), env=environment, stdout=subprocess.DEVNULL, check=True)
    lines = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    return float(median(line["speed/seconds"] for line in lines[1:]))


def main() -> None:
    """Print a table."""
    loop = [sys.executable, "-c", "while True: pass"]
    for name, neighbours in (
        ("alone", 0),
        ("beside one busy loop", 1),
        ("beside two busy loops", 2),
        ("beside another training", -1),
    ):
        for case, more in CASES.items():
            with tempfile.TemporaryDirectory() as place:
                environment = {k: v for k, v in os.environ.items() if not k.startswith("OMP_")} | more
                others = [subprocess.Popen(loop) for _ in range(neighbours)]
                if neighbours < 0:
                    words = command(Path(place) / "other", 100_000)
                    others = [subprocess.Popen(words, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)]
                try:
                    print(f"{name:26} {case:36} {seconds(Path(place), more):6.2f} s", flush=True)
                finally:
                    for other in others:
                        other.kill()
                        other.wait()


if __name__ == "__main__":
    main()
