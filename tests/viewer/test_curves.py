"""Curves of long runs: read once, thinned, and read on as they grow."""

from __future__ import annotations

import json
import os
import tracemalloc
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path

from secondthought.viewer.curves import MOST, curves_of


def line(step: int, **more: float) -> str:
    return json.dumps({"step": step, "loss/policy": 1 / step, "reward/attempt": 0.5, **more}) + "\n"


def test_two_hundred_thousand_steps_under_fifty_clients(tmp_path: Path) -> None:
    evaluated = {"second_try/second": 0.5, "second_try/second/low": 0.4, "second_try/second/high": 0.6}
    with (tmp_path / "metrics.jsonl").open("w") as file:
        for step in range(1, 200_001):
            file.write(line(step, **(evaluated if step % 5_000 == 0 else {})))
    tracemalloc.start()
    with ThreadPoolExecutor(50) as pool:
        found = list(pool.map(lambda _: curves_of(tmp_path).lines(), range(50)))
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert most < 60 << 20
    curves = curves_of(tmp_path)
    assert (curves.count, curves.last, curves.broken) == (200_000, 200_000, 0)
    assert all(one == found[0] for one in found)
    assert len(found[0]) <= MOST + 42
    steps = [one["step"] for one in found[0]]
    assert steps == sorted(steps)
    assert steps[-1] == 200_000
    assert {5_000 * k for k in range(1, 41)} <= set(steps)  # every line with an interval
    assert max(b - a for a, b in pairwise(steps)) <= 2 * curves.stride


def test_what_is_written_later_is_read_on_and_what_is_done_again_replaced(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    path.write_text(line(1) + line(2) + '{"step": 3, "lo')
    assert ([one["step"] for one in curves_of(tmp_path).lines()], curves_of(tmp_path).broken) == ([1, 2], 1)
    with path.open("a") as file:
        file.write('ss/policy": 2.0}\n' + line(4))
    assert [one["step"] for one in curves_of(tmp_path).lines(after=2)] == [3, 4]
    assert curves_of(tmp_path).broken == 0
    with path.open("a") as file:
        file.write(line(3, extra=1.0))
    assert [(one["step"], one.get("extra")) for one in curves_of(tmp_path).lines()] == [(1, None), (2, None), (3, 1.0)]
    (tmp_path / "new").write_text(line(1) * 1 + line(2) + line(3) + line(4) + line(5))
    os.replace(tmp_path / "new", path)  # a resume writes the file anew
    assert [one["step"] for one in curves_of(tmp_path).lines()] == [1, 2, 3, 4, 5]
    path.unlink()
    assert curves_of(tmp_path).lines() == []
