"""The command line by itself: what it lists, what its help says, and how it refuses."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

import secondthought
from secondthought import catalog
from secondthought.cli import app
from secondthought.errors import UserError

RUNNER = CliRunner()
ROOMS = {"recipes": "recipes", "probes": "probes", "reproductions": "reproduce", "tasks": "tasks", "items": "items"}


def output(*words: str) -> str:
    found = RUNNER.invoke(app, list(words), catch_exceptions=False)
    assert found.exit_code == 0, found.output
    return found.stdout


def test_the_version() -> None:
    assert output("--version") == f"secondthought {secondthought.__version__}\n"


@pytest.mark.parametrize("what", [*ROOMS, "models"])
def test_what_there_is_has_a_sentence_each(what: str) -> None:
    found = json.loads(output("list", what, "--json"))
    assert found
    assert all(summary for summary in found.values())
    assert all(f"{name} " in output("list", what) for name in found)
    if what in ROOMS:
        assert {entry.name for entry in catalog.entries(ROOMS[what])} <= found.keys()


def test_nothing_else_can_be_listed() -> None:
    with pytest.raises(UserError, match="there are no engins to list; choose recipes, probes"):
        RUNNER.invoke(app, ["list", "engins"], catch_exceptions=False)


@pytest.mark.parametrize("name", [entry.name for entry in catalog.entries("probes")])
def test_the_help_of_a_probe_names_its_options_and_their_defaults(name: str) -> None:
    from secondthought.training.settings import options

    text = " ".join(output("probe", name, "--help").split())
    for option, (_, default) in options(catalog.find("probes", name)).items():
        shown = ",".join(map(str, default)) if isinstance(default, tuple) else default
        assert f"{option}={shown}".replace(" ", "") in text.replace(" ", ""), option


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["probe", "flawed_chian", "--model", "nano/countdown"], "the nearest is flawed_chain"),
        (["probe", "answer"], "Missing option"),
        (["probe", "answer", "--model", "nano/countdown", "--set", "sample=3"], "the nearest is samples"),
        (["probe", "superficial", "--model", "nano/countdown", "--frame", "bare"], "choose auto, chat, raw"),
        (["train", "rrr_cuontdown"], "the nearest is rrr_countdown"),
        (["train", "rrr:anser"], "answer"),
        (["reproduce", "rr"], "the nearest is rrr"),
        (["frobnicate"], "frobnicate"),
    ],
)
def test_a_mistake_is_one_sentence_and_exit_code_2(words: list[str], message: str, tmp_path: Path) -> None:
    full = [sys.executable, "-m", "secondthought.cli", *words]
    found = subprocess.run(full, capture_output=True, text=True, check=False, cwd=tmp_path, env=os.environ)
    assert found.returncode == 2, found.stderr
    assert message in found.stderr
    assert "Traceback" not in found.stderr
    assert len(found.stderr.strip().splitlines()) == 1, found.stderr


def test_the_shell_completes_names(tmp_path: Path) -> None:
    env = {
        **os.environ,
        "_SECONDTHOUGHT_COMPLETE": "complete_bash",
        "COMP_WORDS": "secondthought train rrr_c",
        "COMP_CWORD": "2",
    }
    command = Path(sys.executable).parent / "secondthought"
    found = subprocess.run([str(command)], capture_output=True, text=True, check=False, env=env, cwd=tmp_path)
    assert "rrr_countdown" in found.stdout.split()


REPRODUCTION = """
from dataclasses import dataclass
from typing import ClassVar
from secondthought import Estimate, Reproduced, Reproduction, claim

@dataclass(frozen=True)
class Paper(Reproduction):
    name: ClassVar[str] = "paper"

    def run(self, budget, out, progress):
        progress.phase("working")
        gain = Estimate(0.2, 0.1, 0.3, 100, "difference")
        return Reproduced((claim("gain", "it helps", "Table 1", "+18.1", gain), claim("loss", "it harms", "Table 2", None, None)))

reproduction = Paper
"""


def test_json_is_all_that_standard_output_gets(tmp_path: Path) -> None:
    (tmp_path / "paper.py").write_text(REPRODUCTION)

    def reproduce(name: str) -> subprocess.CompletedProcess[str]:
        full = [sys.executable, "-m", "secondthought.cli", "reproduce", name, "--json"]
        return subprocess.run(full, capture_output=True, text=True, check=False, cwd=tmp_path)

    found = reproduce("paper.py")
    assert "working" in found.stderr
    printed = json.loads(found.stdout)
    assert (printed["name"], printed["budget"]) == ("paper", "quick")
    gain, loss = printed["claims"]
    assert gain["measured"] == {"value": 0.2, "low": 0.1, "high": 0.3, "n": 100, "unit": "difference"}
    assert (gain["verdict"], loss["verdict"], loss["measured"]) == ("supported", "not applicable", None)
    assert gain.keys() == {"id", "text", "source", "published", "measured", "verdict", "reasons"}
    refused = reproduce("reflection_in_pretraining")
    assert (refused.returncode, refused.stdout) == (2, "")
    assert "--data" in refused.stderr
