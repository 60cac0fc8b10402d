"""A run that was killed at a write goes on to the same bytes; ``python tests/training/kills.py`` tries every point."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from tests.training import kills
from tests.training.test_runs import call, refused

from secondthought.runs.journal import Journal


@pytest.mark.parametrize(("name", "every", "first"), [("training", 61, 5), ("probe", 9, 0)])
def test_a_kill_at_a_write_loses_nothing(name: str, every: int, first: int, tmp_path: Path) -> None:
    words = (
        "import sys, torch; from pathlib import Path; from tests.training import kills; torch.set_num_threads(1);"
        f"print(*kills.faults(kills.RUNS[{name!r}], Path({str(tmp_path)!r}), every={every}, first={first}), sep='|')"
    )
    found = subprocess.run(
        [sys.executable, "-c", words], capture_output=True, text=True, check=True, cwd=Path(__file__).parents[2]
    )
    tried, wrong = found.stdout.strip().split("|")
    assert int(tried) > 1
    assert wrong == "[]"


def test_every_point_of_opening_a_folder(tmp_path: Path) -> None:
    def opens(out: Path) -> None:
        Journal(out, {"kind": "train", "recipe": {"steps": 3}, "versions": {}, "seed": 0}, resume=True)

    tried, wrong = kills.faults(opens, tmp_path)
    assert tried >= 8
    assert wrong == []


def test_a_resume_need_not_repeat_the_settings_and_may_ask_for_more_steps(tiny_folder: Path, tmp_path: Path) -> None:
    settings = "steps=2 groups=2 group_size=2 max_tokens=6 eval_every=9 eval_problems=6 checkpoint_every=1"
    words: list[Any] = ["train", "rrr_countdown", "--out", tmp_path / "run"]
    given = [word for setting in settings.split() for word in ("--set", setting)]
    assert call(*words, "--model", tiny_folder, *given).returncode == 0
    assert "another --out" in refused(*words, *given)
    assert "was started with" in refused(*words, "--resume", "--set", "groups=3")
    again = call(*words, "--resume")
    assert again.returncode == 0, again.stderr
    longer = call(*words, "--resume", "--set", "steps=4")
    assert longer.returncode == 0, longer.stderr
    summary = json.loads((tmp_path / "run" / "summary.json").read_text())
    assert summary["steps"] == 4
    assert json.loads((tmp_path / "run" / "resolved.json").read_text())["recipe"]["steps"] == 4
    assert [json.loads(line)["step"] for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()] == [1, 2, 3, 4]
    assert "steps = 4, not 3" in refused(*words, "--resume", "--set", "steps=3")
