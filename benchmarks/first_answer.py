"""How long a newcomer waits for the first answer: from the command to its end, where it is asked for one token only."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from benchmarks.clock import alternate
from benchmarks.setting import REAL, saved

TRAIN = ["steps=1", "groups=1", "group_size=2", "max_tokens=1", "eval_problems=1", "dev_problems=1"]


def commands(folder: Path) -> dict[str, list[str]]:
    """What is asked, by the name that the table gives it."""
    settings = [word for one in TRAIN for word in ("--set", one)]
    asked = ["--n", "1", "--max-tokens", "1"]
    return {
        "probe answer --model nano/countdown": ["probe", "answer", "--model", "nano/countdown", *asked],
        "train rrr_countdown": ["train", "rrr_countdown", *settings],
        "probe answer --model SmolLM2-135M": ["probe", "answer", "--model", str(folder), *asked, "--frame", "raw"],
        "--help": ["--help"],
    }  # fmt: skip


def measure(repeats: int, *, quick: bool = False) -> list[dict[str, Any]]:
    """One entry for each command."""
    import torch

    with tempfile.TemporaryDirectory() as place:
        folder = saved(REAL["SmolLM2-135M"], Path(place) / "model", torch.bfloat16)
        count = 0

        def run(words: list[str]) -> None:
            nonlocal count
            count += 1
            out = [] if words == ["--help"] else ["--out", str(Path(place) / f"run_{count}")]
            command = [sys.executable, "-m", "secondthought.cli", *words, *out]
            done = subprocess.run(command, env=dict(os.environ), capture_output=True, text=True)
            if done.returncode:
                raise RuntimeError(f"{' '.join(words)}: {done.stderr[-500:]}")

        asked = list(commands(folder).items())[:: 3 if quick else 1]
        figures = alternate({name: lambda words=words: run(words) for name, words in asked}, min(repeats, 3))  # type: ignore[misc]
    return [{"command": name, **one, "wall_s": round(one["wall_s"], 1)} for name, one in figures.items()]
