"""R1-Zero and RLCR on a real language model: three true steps with adapters each."""

from __future__ import annotations

import json
import math
from pathlib import Path

from tests.real.steps import train

from secondthought.runs.reading import read_groups, read_metrics


def test_r1_zero_takes_true_steps(smollm2: Path, sums: Path, tmp_path: Path) -> None:
    out = train("r1_zero", smollm2, sums, tmp_path / "run", steps=3, kl=0.01, group_size=3)
    lines = read_metrics(out)
    assert len(lines) == 3
    assert all("loss/kl" in line for line in lines)  # the paper's pull towards the base model
    summary = json.loads((out / "summary.json").read_text())
    figures = summary["probes"]["unasked"]["after"]["figures"]
    assert figures["length/all"]["n"] == 2 * 8
    assert figures["keyword_rate"]["n"] == 2 * 8


def test_rlcr_takes_true_steps(smollm2: Path, sums: Path, tmp_path: Path) -> None:
    out = train("rlcr", smollm2, sums, tmp_path / "run", **{"reward.steps": 3, "group_size": 3})
    lines = read_metrics(out)
    assert len(lines) == 3
    episodes = [e for group in read_groups(out / "episodes" / "step_000001.parquet") for e in group]
    assert all("<confidence>" in e.task.prompt[-1].content for e in episodes)
    for e in episodes:  # a model that does not write the four tags is malformed, and says so
        if math.isnan(e.verdicts["confidence"].score):
            assert e.verdicts["attempt"].why.startswith("malformed")
    summary = json.loads((out / "summary.json").read_text())
    assert summary["probes"]["calibration"]["after"]["figures"]["accuracy"]["n"] == 2
