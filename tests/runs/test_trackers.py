"""Other people's dashboards log what the journal logs, offline, and can fail without harm."""

from __future__ import annotations

import json
import math
import sqlite3
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from secondthought.errors import UserError
from secondthought.runs.trackers import TRACKERS, Trackers, chosen

CONFIG = {"name": "rrr", "lr": 1e-3}


class Recorded:
    """A progress that remembers."""

    def __init__(self) -> None:
        self.phases: list[str] = []

    def phase(self, text: str) -> None:
        self.phases.append(text)

    def step(self, step: int, steps: int, stats: Mapping[str, float]) -> None: ...

    def beat(self, done: int, of: int, stats: Mapping[str, float]) -> None: ...


def result(name: str, folder: Path, steps: range, start: int = 0) -> Recorded:
    """A short run with one tracker."""
    folder.mkdir(exist_ok=True)
    progress = Recorded()
    trackers = Trackers(chosen(name), folder, CONFIG, start, progress)
    for step in steps:
        trackers.log(step, {"reward/mean": step / 10, "loss/kl": math.nan})
    trackers.close({"after/second": 0.5})
    assert progress.phases == []
    return progress


def test_tensorboard(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    result("tensorboard", tmp_path / "run", range(1, 4))
    result("tensorboard", tmp_path / "run", range(3, 6), start=2)  # resumed after step 2: step 3 happens again
    events = EventAccumulator(str(tmp_path / "run" / "tensorboard"))
    events.Reload()
    found = {e.step: e.value for e in events.Scalars("reward/mean")}
    assert found == pytest.approx({step: step / 10 for step in range(1, 6)})
    assert "loss/kl" not in events.Tags()["scalars"]  # what is no number is left out
    assert events.Scalars("summary/after/second")[-1].value == 0.5


def test_wandb_offline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("wandb")
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_SILENT", "true")
    result("wandb", tmp_path / "run", range(1, 4))
    (written,) = (tmp_path / "run" / "wandb").glob("offline-run-*/run-*.wandb")
    deadline = time.monotonic() + 30
    while b"after/second" not in written.read_bytes():  # another process writes it
        assert time.monotonic() < deadline
        time.sleep(0.1)
    assert b"reward/mean" in written.read_bytes()


def test_trackio(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("trackio")
    import subprocess
    import sys

    script = (
        "import sys; from pathlib import Path; sys.path.insert(0, sys.argv[2]); from tests.runs.test_trackers import result; "
        "result('trackio', Path(sys.argv[1]), range(1, 4))"
    )
    root = str(Path(__file__).parents[2])
    monkeypatch.setenv("TRACKIO_DIR", str(tmp_path / "trackio"))
    run = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path / "run"), root], capture_output=True, text=True, check=False
    )
    assert run.returncode == 0, run.stderr
    assert json.loads((tmp_path / "run" / "trackio.json").read_text())["name"] == "run"
    (path,) = (tmp_path / "trackio").glob("*.db")
    with sqlite3.connect(path) as database:
        rows = [json.loads(row[0]) for row in database.execute("SELECT metrics FROM metrics ORDER BY step")]
    assert [row["reward/mean"] for row in rows if "reward/mean" in row] == [0.1, 0.2, 0.3]
    assert any(row.get("summary/after/second") == 0.5 for row in rows)


def test_mlflow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mlflow = pytest.importorskip("mlflow")
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    result("mlflow", tmp_path / "run", range(1, 4))
    result("mlflow", tmp_path / "run", range(4, 6), start=3)  # resumed: the same run goes on
    client = mlflow.MlflowClient()
    known = json.loads((tmp_path / "run" / "mlflow" / "run.json").read_text())["run_id"]
    assert [m.value for m in client.get_metric_history(known, "reward/mean")] == [0.1, 0.2, 0.3, 0.4, 0.5]
    found = client.get_run(known)
    assert found.data.metrics["summary/after/second"] == 0.5
    assert found.data.params["lr"] == "0.001"


class Broken:
    """A tracker whose server goes away at the second step."""

    def __init__(self, folder: Path, config: Mapping[str, Any], start: int) -> None:
        self.steps: list[int] = []

    def log(self, step: int, stats: Mapping[str, float]) -> None:
        if step == 2:
            raise ConnectionError("no route to host")
        self.steps.append(step)

    def close(self, summary: Mapping[str, float]) -> None:
        raise AssertionError("nobody talks to a dropped tracker")


def test_a_tracker_that_fails_is_dropped_with_one_note(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(TRACKERS, "wandb", ("json", Broken))
    progress = Recorded()
    trackers = Trackers(chosen("wandb"), tmp_path, CONFIG, 0, progress)
    for step in (1, 2, 3):
        trackers.log(step, {"loss": 1.0})
    trackers.close({})
    assert progress.phases == ["note: wandb failed and gets nothing more (ConnectionError: no route to host)"]


def test_names_are_checked_before_anything_starts(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UserError, match="there is no tracker 'wandbb'; choose tensorboard"):
        chosen("wandbb")
    monkeypatch.setitem(TRACKERS, "wandb", ("no_such_package", Broken))
    with pytest.raises(
        UserError, match=r"--track wandb needs the package no_such_package: pip install 'secondthought\[wandb\]'"
    ):
        chosen("tensorboard, wandb")
    assert chosen("") == ()
