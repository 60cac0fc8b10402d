"""SCoRe and critique fine-tuning on a real language model: three true steps with adapters each."""

from __future__ import annotations

import json
from pathlib import Path

from tests.real.steps import train

from secondthought.runs.reading import read_groups, read_metrics


def test_score_takes_true_steps(smollm2: Path, sums: Path, tmp_path: Path) -> None:
    out = train("score", smollm2, sums, tmp_path / "run", **{"stage_one.steps": 1, "stage_two.steps": 2, "best_by": ""})
    lines = read_metrics(out)
    assert len(lines) == 3
    assert all("loss/kl" in line for line in lines)
    episode = read_groups(out / "episodes" / "step_000001.parquet")[0][0]
    assert "There might be an error in the solution above" in episode["ask_correction"].text
    summary = json.loads((out / "summary.json").read_text())
    assert summary["probes"]["self_correction"]["after"]["figures"]["attempt_2"]["n"] == 2


def test_critiques_are_learned(smollm2: Path, sums: Path, tmp_path: Path) -> None:
    more = {"imitate.steps": 3, "imitate.problems": 6, "imitate.samples": 1, "imitate.replay": 0, "lr": 1e-3}
    out = train("cft", smollm2, sums, tmp_path / "run", **more)
    losses = [line["loss/imitate"] for line in read_metrics(out)]
    assert losses[-1] < losses[0]
    episode = read_groups(out / "episodes" / "step_000001.parquet")[0][0]
    assert episode["critique"].text.endswith(("Conclusion: right", "Conclusion: wrong"))
    assert len(episode["critique"].tokens) > 4
