"""The card that is written beside a merged model."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from secondthought.cli import app
from secondthought.recipes.rrr import recipe
from secondthought.report import model_card
from secondthought.runs.progress import Silence
from secondthought.runs.reading import read_run
from secondthought.training.loop import train
from secondthought.training.settings import override

QUICK = ["steps=1", "groups=2", "group_size=2", "eval_problems=12", "eval_every=1", "checkpoint_every=1"]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "mine"
    command = {"model": None, "tasks": "frozen_lake", "grade": None, "settings": QUICK}
    train(override(recipe("frozen_lake"), QUICK), folder, Silence(), command=command)
    return folder


def test_merging_a_run_writes_what_came_of_it(run: Path, tmp_path: Path) -> None:
    done = CliRunner().invoke(app, ["merge", str(run), "--out", str(tmp_path / "model")])
    assert done.exit_code == 0, done.output
    card = (tmp_path / "model" / "README.md").read_text()
    summary = json.loads((run / "summary.json").read_text())
    assert card.startswith('---\nlibrary_name: "transformers"')
    for arm in summary["probes"]["second_try"]["after"]["arms"]:
        assert arm["label"] in card
        assert ("*control: " + arm["label"] in card) == arm["control"]
    shown = summary["probes"]["second_try"]["after"]["arms"][0]["estimate"]
    assert f"{100 * shown['value']:.1f} [{100 * shown['low']:.1f}, {100 * shown['high']:.1f}]" in card
    assert "secondthought train rrr --tasks frozen_lake --set steps=1" in card
    assert "Versions: python" in card
    again = CliRunner().invoke(app, ["merge", str(run / "checkpoints" / "step_1"), "--out", str(tmp_path / "other")])
    assert again.exit_code == 0, again.output
    assert (tmp_path / "other" / "README.md").is_file()


def test_what_trackio_calls_the_run_is_said(run: Path) -> None:
    file = run / model_card.TRACKIO
    file.write_text(json.dumps({"project": "secondthought", "name": "mine", "space": None}))
    assert "trackio show --project secondthought" in model_card.of_model(read_run(run))
    file.write_text(json.dumps({"project": "secondthought", "name": "mine", "space": "me/curves"}))
    assert "https://huggingface.co/spaces/me/curves" in model_card.of_model(read_run(run))
    file.unlink()


def test_a_run_that_goes_on_says_so(run: Path, tmp_path: Path) -> None:
    (tmp_path / "resolved.json").write_text((run / "resolved.json").read_text())
    assert "nothing is measured yet" in model_card.of_model(read_run(tmp_path))
