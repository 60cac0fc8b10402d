"""A folder has one writer: a second process is refused in a sentence, and a dead one holds nothing."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from secondthought.errors import UserError
from secondthought.runs.journal import Journal
from secondthought.runs.lock import NAME

HOLD = "import sys, time; from pathlib import Path; from secondthought.runs.lock import hold; let_go = hold(Path(sys.argv[1])); print('held', flush=True); time.sleep(60)"
RESOLVED = {"kind": "train", "recipe": {"steps": 1}, "versions": {}, "seed": 0}


def another(folder: Path) -> subprocess.Popen[str]:
    """Another process that holds a folder."""
    child = subprocess.Popen([sys.executable, "-c", HOLD, str(folder)], stdout=subprocess.PIPE, text=True)
    assert child.stdout is not None
    assert child.stdout.readline().strip() == "held"
    return child


def refused(folder: Path) -> bool:
    """Whether another process cannot hold a folder."""
    words = [sys.executable, "-c", HOLD.replace("time.sleep(60)", "0"), str(folder)]
    found = subprocess.run(words, capture_output=True, text=True, check=False)
    return found.returncode != 0 and "is being written by process" in found.stderr


def test_a_second_process_is_refused_and_the_first_is_named(tmp_path: Path) -> None:
    child = another(tmp_path)
    try:
        with pytest.raises(UserError, match=f"is being written by process {child.pid} on ") as refused:
            Journal(tmp_path, RESOLVED, resume=True)
        assert "\n" not in str(refused.value)
        assert [path.name for path in tmp_path.iterdir()] == [NAME]  # nothing was harmed
    finally:
        child.send_signal(signal.SIGKILL)
        child.wait()
    Journal(tmp_path, RESOLVED, resume=True)  # who was killed holds nothing


def test_one_process_may_open_it_again_and_lets_go_at_the_end(tmp_path: Path) -> None:
    one = Journal(tmp_path, RESOLVED)
    two = Journal(tmp_path, RESOLVED, resume=True)
    assert (tmp_path / NAME).read_text().startswith(f"process {os.getpid()} on ")
    del one
    assert refused(tmp_path)
    del two
    assert not refused(tmp_path)
    child = another(tmp_path)
    child.kill()
    child.wait()


def test_who_only_reads_does_not_wait(tmp_path: Path) -> None:
    Journal(tmp_path, RESOLVED)
    child = another(tmp_path)
    try:
        assert Journal(tmp_path, RESOLVED, resume=True, reads=True).folder == tmp_path
    finally:
        child.kill()
        child.wait()


def test_many_processes_and_never_two_at_once(tmp_path: Path) -> None:
    """Each counts up a file while it holds the folder; nothing is counted twice."""
    work = (
        "import sys, time; from pathlib import Path; from secondthought.runs.lock import hold; from secondthought.errors import UserError\n"
        "done = 0\nplace = Path(sys.argv[1]); file = place / 'count'\n"
        "while done < 20:\n"
        "    try:\n        let_go = hold(place)\n"
        "    except UserError:\n        time.sleep(0.001); continue\n"
        "    n = int(file.read_text()); time.sleep(0.0005); file.write_text(str(n + 1)); let_go(); done += 1\n"
    )
    (tmp_path / "count").write_text("0")
    children = [subprocess.Popen([sys.executable, "-c", work, str(tmp_path)]) for _ in range(4)]
    assert [child.wait(timeout=60) for child in children] == [0] * 4
    assert (tmp_path / "count").read_text() == "80"
