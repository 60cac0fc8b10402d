"""The viewer over a long run: how soon the first page is there, how soon a filter answers, how much memory it takes.

A generator writes a run of ``steps`` x 512 episodes of six segments each (3 million at 1,000 steps), as the training loop would
have written it. The viewer is started as a user starts it, and asked over HTTP.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import Any
from urllib.request import urlopen

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from secondthought.runs.files import write_json
from secondthought.runs.journal import SCHEMA

STEPS, EPISODES, GROUP = 1_000, 512, 8
SEGMENTS = (
    ("prompt", "task", "user"), ("attempt", "policy", "assistant"), ("ask_reflection", "task", "user"),
    ("reflection", "policy", "assistant"), ("ask_retry", "task", "user"), ("retry", "policy", "assistant"),
)  # fmt: skip
LENGTHS = (20, 40, 12, 60, 8, 40)
"""Tokens of the six segments; a word stands for a token."""
RUN = "long"
FILTERS = {
    "newest first": "", "outcome": "outcome=broken", "step": "step=417", "task": "task=task-17-3",
    "text": "text=somewhere", "text that is nowhere": "text=zyzzyva", "highest advantage": "sort=advantage",
    "outcome and text": "outcome=fixed&text=word7+word8", "the thousandth page": "page=1000",
}  # fmt: skip


def written(folder: Path, steps: int) -> Path:
    """A run of so many steps."""
    (folder / "episodes").mkdir(parents=True)
    write_json(
        folder / "resolved.json",
        {
            "kind": "training",
            "layout": 2,
            "recipe": {"name": "rrr", "model": "none", "steps": steps},
            "seed": 0,
            "versions": {},
        },
    )
    lines = [
        {"step": s, "reward/attempt": 0.2, "reward/retry": 0.2 + s / (2 * steps), "loss/kl": s / steps, 
         "length/reflection": 60.0, "speed/tokens_per_second": 5e3, "groups/zero_signal": 3.0, "groups/count": 64.0}
        for s in range(1, steps + 1)
    ]  # fmt: skip
    (folder / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    draw = np.random.default_rng(0)
    words = np.array([f"word{i}" for i in range(400)])
    for step in range(1, steps + 1):
        pq.write_table(table(step, draw, words), folder / "episodes" / f"step_{step:06d}.parquet", compression="zstd")
    return folder


def table(step: int, draw: np.random.Generator, words: np.ndarray[Any, Any]) -> pa.Table:
    """The rows of one step."""
    count = len(SEGMENTS)
    rows = EPISODES * count
    lengths = np.tile(LENGTHS, EPISODES)
    starts = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32)
    ids = draw.integers(0, len(words), starts[-1]).astype(np.int32)
    text = [" ".join(words[ids[a:b]]) for a, b in pairwise(starts)]
    text[3] += " somewhere"
    groups = [f"task-{step}-{i // GROUP}" for i in range(EPISODES) for _ in range(count)]
    right = draw.random((EPISODES, 2)) < 0.4
    score = np.full((EPISODES, count), np.nan)
    score[:, 1], score[:, 5] = right[:, 0], right[:, 1]
    policy = np.zeros((EPISODES, count))
    policy[:, 3] = draw.normal(size=EPISODES)
    sampled = np.tile([name in ("attempt", "reflection", "retry") for name, _, _ in SEGMENTS], EPISODES)
    task = json.dumps({"prompt": [["user", "a question"]], "answer": 7, "tools": []})
    verdicts = [
        [
            {"name": SEGMENTS[at][0], "score": float(score[episode, at]), "answer": None, "why": "right"}
            for at in range(count) if not np.isnan(score[episode, at])
        ]
        for episode in range(EPISODES)
    ]  # fmt: skip
    columns = {
        "run": [RUN] * rows, "step": [step] * rows, "split": ["train"] * rows, "task_key": groups, "family": ["f"] * rows,
        "arm": [""] * rows, "group": [i // GROUP for i in range(EPISODES) for _ in range(count)],
        "path": [[i % GROUP] for i in range(EPISODES) for _ in range(count)], "index": list(range(count)) * EPISODES,
        **{key: [s[at] for s in SEGMENTS] * EPISODES for at, key in enumerate(("name", "author", "role"))},
        "text": text, "tokens": pa.ListArray.from_arrays(starts, ids),
        "logprobs": pa.ListArray.from_arrays(starts, -draw.random(starts[-1], dtype=np.float32), mask=pa.array(~sampled)),
        "version": [step] * rows, "stop": [None] * rows, "policy": policy.ravel(), "kl": [0.0] * rows,
        "imitate": [0.0] * rows, "policy_tokens": [None] * rows,
        "verdicts": [verdicts[i] if at == 0 else None for i in range(EPISODES) for at in range(count)],
        "task": [task if i == 0 else None for i in range(count)] * EPISODES,
    }  # fmt: skip
    return pa.table([pa.array(columns[field.name], type=field.type) for field in SCHEMA], schema=SCHEMA)


@contextmanager
def viewer_of(folder: Path) -> Iterator[tuple[str, int]]:
    """The viewer's address and process number."""
    command = [sys.executable, "-m", "secondthought.cli", "view", str(folder), "--no-open"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        found = re.search(r"http://\S+", process.stdout.readline())
        assert found is not None
        yield found.group(), process.pid
    finally:
        process.terminate()
        process.wait()


def held(process: int, name: str) -> float:
    """MiB that a process holds (``VmRSS``) or held at most (``VmHWM``)."""
    lines = Path(f"/proc/{process}/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith(name)).split()[1]) / 1024


def seconds(address: str) -> float:
    """How long a page takes to arrive whole."""
    began = time.perf_counter()
    with urlopen(address, timeout=120) as answer:
        answer.read()
    return time.perf_counter() - began


def measure(repeats: int, *, quick: bool = False) -> list[dict[str, Any]]:
    """First pages while nothing is indexed yet, then every filter when all of it is."""
    steps = 20 if quick else STEPS
    place = Path(tempfile.mkdtemp(prefix="viewing-"))
    try:
        folder = written(place / RUN, steps)
        size = sum(path.stat().st_size for path in folder.rglob("*.parquet")) / 2**20
        with viewer_of(place) as (address, process):
            first = {name: seconds(address + page) for name, page in
                     {"list of runs": "", "curves": f"run/{RUN}", "episodes": f"episodes/{RUN}"}.items()}  # fmt: skip
            early = [seconds(f"{address}episodes/{RUN}?{result}") for result in FILTERS.values()]
            began = time.perf_counter()
            while "Still reading" in urlopen(f"{address}episodes/{RUN}", timeout=120).read().decode():
                time.sleep(0.5)
            indexing = time.perf_counter() - began
            later = {
                name: median(seconds(f"{address}episodes/{RUN}?{result}") for _ in range(repeats))
                for name, result in FILTERS.items()
            }
            group = median(seconds(f"{address}group/step_{steps:06d}/task-{steps}-3/{RUN}") for _ in range(repeats))
            memory = held(process, "VmHWM")
    finally:
        shutil.rmtree(place, ignore_errors=True)
    found = {
        "steps": steps, "segments": steps * EPISODES * len(SEGMENTS), "parquet_mib": round(size),
        "first_s": {k: round(v, 3) for k, v in first.items()}, "slowest_filter_while_indexing_s": round(max(early), 3),
        "indexing_s": round(indexing, 1), "filter_s": {k: round(v, 3) for k, v in later.items()},
        "group_s": round(group, 3), "peak_mib": round(memory),
    }  # fmt: skip
    print(found, flush=True)
    return [found]
