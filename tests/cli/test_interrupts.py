"""Ctrl-C ends every command with code 130 and a sentence that says how to go on; SIGTERM leaves nothing behind."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest
from tests.processes import run

MEASURING = ["train", "rrr_countdown", "--set", "eval_problems=100000", "--out", "OUT"]
COMMANDS = {
    "probe": (
        ["probe", "answer", "--model", "nano/countdown", "--n", "100000", "--out", "OUT"],
        "sampling in",
        "the same command",
    ),
    "probe all": (["probe", "all", "--model", "nano/countdown", "--n", "5000", "--out", "OUT"], "counting", "the same command"),
    "train, measuring": (MEASURING, "measuring before", "--resume"),
    "reproduce": (["reproduce", "score", "--set", "problems=100000", "--out", "OUT"], "measuring before", "the same command"),
    "pretrain": (["pretrain", "--out", "OUT"], "pre-training", "--resume"),
}


@pytest.mark.parametrize("name", COMMANDS)
def test_ctrl_c_is_130_and_a_sentence(name: str, tmp_path: Path) -> None:
    words, until, how = COMMANDS[name]
    found = run([str(tmp_path / "out") if word == "OUT" else word for word in words], until=until, signals=[signal.SIGINT])
    assert found.returncode == 130, found.stderr
    assert found.stderr.strip().splitlines()[-1].startswith("secondthought: stopped")
    assert how in found.stderr.strip().splitlines()[-1]
    assert "Traceback" not in found.stderr


def test_a_ctrl_c_in_a_destructor_is_not_lost(tmp_path: Path) -> None:
    """Python swallows what is raised there; once a test of the above found such a moment by chance."""
    script = tmp_path / "destroyed.py"
    script.write_text(
        "import os, signal, sys, time\n"
        "from secondthought.cli import interrupted\n"
        "class Object:\n"
        "    def __del__(self):\n"
        "        os.kill(os.getpid(), signal.SIGINT)\n"
        "        time.sleep(0.001)\n"
        "signal.signal(signal.SIGINT, interrupted)\n"
        "try:\n"
        "    Object()\n"
        "    time.sleep(5)\n"
        "except KeyboardInterrupt:\n"
        "    sys.exit(130)\n"
    )
    done = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 130, done.stderr
    assert "Exception ignored" not in done.stderr


def test_a_second_ctrl_c_stops_a_training_at_once(tmp_path: Path) -> None:
    words = ["train", "rrr_countdown", "--set", "eval_problems=4", "--set", "groups=2000", "--out", str(tmp_path / "out")]
    found = run(words, until=" steps of ", signals=[signal.SIGINT] * 2, timeout=60)
    assert found.returncode == 130, found.stderr
    assert found.stderr.strip().splitlines()[-1] == "secondthought: stopped; continue with --resume"


def test_being_asked_to_end_leaves_no_temporary_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path / "tmp"))
    (tmp_path / "tmp").mkdir()
    words = [str(tmp_path / "out") if word == "OUT" else word for word in MEASURING]
    found = run(words, until="measuring before", signals=[signal.SIGTERM])
    assert found.returncode == 128 + signal.SIGTERM
    assert not [path for path in (tmp_path / "tmp").iterdir() if path.name.startswith("secondthought")]
