"""Probes as Inspect tasks, Inspect's models as engines, and our engines as Inspect's models, against Inspect itself."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
import urllib.request
from functools import partial
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("inspect_ai", reason="Inspect is not installed: pip install 'secondthought[inspect]'")

import inspect_ai as inspect

from secondthought import catalog
from secondthought.cli.inspect_tasks import TASKS, arm_scores
from secondthought.engines.base import Access, EngineOptions
from secondthought.engines.factory import engine_for
from secondthought.engines.inspect import engine
from secondthought.errors import UserError
from secondthought.probes.second_try import SecondTry
from secondthought.protocols.answer import answer
from secondthought.rollouts import rollout
from secondthought.runs.progress import Silence
from secondthought.tasks.countdown import Countdown
from secondthought.types import UNGRADED, Episode, Segment, Task, Verdict


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> Any:
    place = tmp_path_factory.mktemp("inspect")
    (found,) = inspect.eval(
        "secondthought/second_try", model="secondthought/nano/countdown", task_args={"n": 12, "seed": 3}, log_dir=str(place),
        display="none",
    )  # fmt: skip
    return found


def test_every_probe_that_needs_answers_alone_is_a_task() -> None:
    kinds = {entry.name: catalog.find("probes", entry.name) for entry in catalog.entries("probes")}
    assert set(TASKS) == {name for name, kind in kinds.items() if kind.access == Access.SAMPLE}


def test_the_log_has_a_sample_for_each_unit_with_scores_for_each_arm_and_the_reports_figures(log: Any) -> None:
    assert log.status == "success"
    assert len(log.samples) == 12
    failed = [sample for sample in log.samples if len(sample.metadata["episodes"]) > 1]
    assert failed
    sample = failed[0]
    assert set(sample.scores["arms"].value) == {"own", "donor", "generic", "empty", "resample"}
    assert [m.role for m in sample.messages][:2] == ["user", "assistant"]
    assert {e["arm"] for e in sample.metadata["episodes"]} >= {"own", "empty"}
    metrics = {name: m.value for score in log.results.scores for name, m in score.metrics.items()}
    assert metrics["first_low"] <= metrics["first"] <= metrics["first_high"]
    own = [s.scores["arms"].value["own"] for s in failed]
    assert metrics["retry_after_failure"] == pytest.approx(sum(own) / len(own))
    assert log.stats.model_usage["secondthought/nano/countdown"].output_tokens > 0


def test_the_problems_are_those_that_the_probe_itself_would_ask(log: Any) -> None:
    groups = SecondTry(n=12, seed=3).measure(engine_for("nano/countdown"), Silence())
    tasks = {sample.metadata["task"] for sample in log.samples}
    assert tasks == {group[0].task.key for group in groups}


def test_the_log_opens_in_inspects_viewer(log: Any) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    place = Path(log.location.removeprefix("file://")).parent
    viewer = subprocess.Popen(
        [sys.executable, "-m", "inspect_ai", "view", "start", "--log-dir", str(place), "--port", str(port)],
        stdout=subprocess.DEVNULL, stderr=subprocess.STDOUT, env={**os.environ, "NO_COLOR": "1"},
    )  # fmt: skip
    try:
        found: Any = None
        for _ in range(120):
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{port}/api/logs", timeout=2) as reply:
                    found = json.loads(reply.read())
                break
            except OSError:
                time.sleep(0.5)
        assert found is not None, "the viewer did not start"
        assert [Path(one["name"]).name for one in found["files"]] == [Path(log.location).name]
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=5) as reply:
            assert b"Inspect" in reply.read()
    finally:
        viewer.terminate()
        viewer.wait(20)


def test_a_model_of_inspect_is_an_engine() -> None:
    made = engine_for("inspect:secondthought/nano/countdown")
    assert made.renderer.style == "terse"
    terse = Countdown("test", style="terse")
    groups = rollout(partial(answer, grade=terse.grade), [terse[i] for i in range(4)], 2, made)
    assert all(e["attempt"].text for g in groups for e in g)
    assert len({e["attempt"].text for g in groups for e in g}) > 1


def test_what_is_wrong_is_said_in_one_sentence() -> None:
    with pytest.raises(UserError, match="Inspect gives no model 'nobody/at-all'"):
        engine("nobody/at-all", EngineOptions())
    with pytest.raises(UserError, match="second_try has no 'colour' to set"):
        TASKS["second_try"](colour="red")


def test_the_scores_of_a_group_leave_out_what_nobody_could_grade() -> None:
    task = Task.of("2 + 2?", answer="4", family="sums")

    segments = (Segment("prompt", "task", "user", "2 + 2?"), Segment("attempt", "policy", "assistant", "4"))
    verdicts = {"own": Verdict(1.0), "other": UNGRADED}
    episodes = tuple(Episode(task, (0,), segments, {"attempt": verdict}, arm) for arm, verdict in verdicts.items())
    assert arm_scores(episodes) == {"own": 1.0}
