"""A method, a probe, a task set and an engine from outside the package: the pages' own code, saved to files of a stranger's folder.

Nothing inside the package is edited or knows of them.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from starlette.testclient import TestClient
from typer.testing import CliRunner

from secondthought.cli import app
from secondthought.errors import UserError
from secondthought.runs.reading import read_episodes, read_groups, read_metrics, read_run
from secondthought.viewer.app import app_for

ROOT = Path(__file__).parent.parent
RUNNER = CliRunner()
LOTTERY = """

def lottery(task, text):  # so that any model is right now and then, and there is something to pay
    from secondthought import Verdict, seed_of

    return Verdict(float(seed_of(text) % 2), text)
"""


def block(page: str, containing: str) -> str:
    """The Python block of a page that contains some text."""
    (found,) = [b for b in re.findall(r"```python\n(.*?)```", (ROOT / page).read_text(), re.DOTALL) if containing in b]
    return str(found)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A stranger's folder with all four."""
    method = block("CONTRIBUTING.md", "async def second_opinion")
    (tmp_path / "second_opinion.py").write_text(method.replace("grade=train.grade", "grade=lottery") + LOTTERY)
    (tmp_path / "shouting.py").write_text(block("CONTRIBUTING.md", "class Shouting"))
    (tmp_path / "are_you_sure.py").write_text(block("docs/a_probe.md", "class AreYouSure"))
    parts = [block("docs/a_task.md", "class Reversal"), block("docs/a_task.md", "def task_set")]
    (tmp_path / "reversal.py").write_text("\n\n".join(parts))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(*words: object) -> str:
    found = RUNNER.invoke(app, [str(word) for word in words], catch_exceptions=False)
    assert found.exit_code == 0, found.output
    return found.stdout


def test_a_method_with_other_words_two_stages_and_a_batch_baseline(folder: Path, tiny_folder: Path) -> None:
    text = run("train", "second_opinion.py", "--model", tiny_folder, "--out", "run", "--set", "checkpoint_every=2")
    assert "%" in text
    summary = json.loads(Path("run/summary.json").read_text())
    assert summary["steps"] == 3
    assert "answer" in summary["probes"]
    metrics = read_metrics(Path("run"))
    assert [line["step"] for line in metrics] == [1, 2, 3]
    assert {"reward/first", "reward/decision", "length/first", "length/opinion", "length/decision"} <= metrics[0].keys()
    groups = read_groups(Path("run/episodes/step_000001.parquet"))
    assert len(groups) == 4
    assert all(set(e.verdicts) == {"first", "decision"} for group in groups for e in group)
    for step, segment in ((1, "opinion"), (2, "opinion"), (3, "decision")):
        paid = read_episodes(Path(f"run/episodes/step_{step:06d}.parquet"))
        rewards = [episode.verdicts["decision"].score for episode, _ in paid]
        assert 0 < sum(rewards) < len(rewards)
        for (_, signals), reward in zip(paid, rewards, strict=True):
            assert signals.keys() == {segment}  # the baseline is that of the whole batch: groups that agree are paid as well
            assert signals[segment].policy == pytest.approx(reward - sum(rewards) / len(rewards), abs=1e-6)
    page = Path("run/report.html").read_text()
    assert "decision" in page
    assert "second_opinion" in page
    client = TestClient(app_for(folder, frozenset(("here",))), base_url="http://here")
    for address in ("/", "/run/run", "/episodes/run?split=train", "/api/metrics/run"):
        assert client.get(address).status_code == 200, address
    link = re.findall(r'href="(/group/[^"]+)"', client.get("/episodes/run?split=train").text)[0]
    assert "What is your opinion of that?" in client.get(link).text
    assert "decision" in client.get(link).text
    assert "reward/opinion" not in client.get("/api/metrics/run").text
    assert "reward/decision" in client.get("/api/metrics/run").text
    run("export", "run", "--to", "jsonl")
    lines = [json.loads(line) for path in Path("run/exports").rglob("*.jsonl") for line in path.read_text().splitlines()]
    assert any("What is your opinion of that?" in json.dumps(line) for line in lines)
    assert read_run(Path("run")).kind == "train"


def test_a_probe_from_a_file_and_through_an_entry_point(folder: Path) -> None:
    words = ("--model", "nano/countdown", "--tasks", "countdown", "--n", 40)
    run("probe", "are_you_sure.py", *words, "--out", "a")
    summary = json.loads(Path("a/summary.json").read_text())
    assert summary["probe"] == "are_you_sure"
    (model,) = summary["models"]
    (path,) = Path("a/episodes").glob("*.parquet")
    right = sum(group[0].verdicts["answer"].score == 1 for group in read_groups(path))
    assert right > 0
    assert {arm["name"]: arm["estimate"]["n"] for arm in model["report"]["arms"]} == {"sure": right, "again": right}
    assert model["report"]["effects"][0]["name"] == "doubt"
    assert Path("a/report.html").is_file()
    info = folder / "stranger-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: stranger\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(
        "[secondthought.probes]\nsure = are_you_sure:AreYouSure\n[secondthought.engines]\nshouting = shouting:engine\n"
        "[secondthought.tasks]\nreversal = reversal:task_set\n[secondthought.recipes]\nopinion = second_opinion:recipe\n"
    )
    env = {**os.environ, "PYTHONPATH": str(folder)}

    def command(*words: object) -> subprocess.CompletedProcess[str]:
        full = [sys.executable, "-m", "secondthought.cli", *map(str, words)]
        return subprocess.run(full, capture_output=True, text=True, env=env, check=False)

    found = command("probe", "sure", *words, "--out", "b")
    assert found.returncode == 0, found.stderr
    again = json.loads(Path("b/summary.json").read_text())
    assert again["models"][0]["report"] == summary["models"][0]["report"]
    for room, name in (("probes", "sure"), ("tasks", "reversal"), ("recipes", "opinion")):
        assert name in json.loads(command("list", room, "--json").stdout)
    found = command("probe", "answer", "--model", "shouting:any", "--tasks", "reversal", "--n", 5, "--out", "c")
    assert found.returncode == 0, found.stderr


def test_a_task_set_can_be_trained_on_and_measured(folder: Path, tiny_folder: Path) -> None:
    small = (
        "--set",
        "steps=1",
        "--set",
        "groups=2",
        "--set",
        "group_size=2",
        "--set",
        "eval_problems=4",
        "--set",
        "dev_problems=2",
    )
    run("train", "rrr", "--model", tiny_folder, "--tasks", "reversal.py", "--out", "run", *small)
    (group, *_) = read_groups(Path("run"), split="train")
    assert group[0].task.family == "reversal"
    run("probe", "answer", "--model", tiny_folder, "--tasks", "reversal.py:test", "--n", 5, "--out", "measured")


def test_an_engine_from_a_file(folder: Path) -> None:
    run("probe", "answer", "--model", "shouting.py:any", "--tasks", "countdown", "--n", 5, "--out", "loud")
    groups = read_groups(Path("loud"))
    assert groups[0][0]["attempt"].text == groups[0][0].task.prompt[-1].content.upper()
    with pytest.raises(UserError, match="has no publish"):
        RUNNER.invoke(
            app, ["train", "rrr_countdown", "--out", "x", "--set", "engine.backend=shouting.py"], catch_exceptions=False
        )


@pytest.mark.parametrize(
    ("room", "name", "message"),
    [
        ("probes", "flawed_chian", "the nearest is flawed_chain"),
        ("tasks", "nothing.py", "there is no file nothing.py"),
        ("recipes", "reversal.py", "has nothing called recipe"),
    ],
)
def test_what_is_not_there_is_named(folder: Path, room: str, name: str, message: str) -> None:
    from secondthought import catalog

    with pytest.raises(UserError, match=message):
        catalog.find(room, name)
