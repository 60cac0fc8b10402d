"""The wheel, built and tried where nothing else of ours is: it has its models, its pages and its commands."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("dist")
    copy = tmp_path_factory.mktemp("source") / "secondthought"
    copy.mkdir()
    for path in ROOT.iterdir():
        if path.is_file():
            shutil.copy(path, copy)
        elif path.name in ("src", "tests", "docs", "examples", "benchmarks"):
            shutil.copytree(path, copy / path.name, ignore=shutil.ignore_patterns("__pycache__"))
    command = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(out), str(copy)]
    subprocess.run(command, check=True, capture_output=True, text=True)
    assert len(list(out.glob("*.tar.gz"))) == 1
    (found,) = out.glob("*.whl")
    return found


def test_everything_that_is_needed_is_in_it(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    inside = {str(path.relative_to(ROOT / "src")) for path in (ROOT / "src").rglob("*") if path.is_file()}
    missing = {name for name in inside if "__pycache__" not in name and not name.endswith(".so")} - names
    assert not missing
    assert "secondthought/py.typed" in names
    assert not any(name.startswith("tests") for name in names)


def test_it_works_where_nothing_else_of_ours_is(wheel: Path, tmp_path: Path) -> None:
    site = tmp_path / "site"
    zipfile.ZipFile(wheel).extractall(site)
    script = (
        "import sys; sys.path.insert(0, sys.argv.pop(1)); import secondthought;"
        "assert secondthought.__file__.startswith(sys.path[0]); from secondthought.cli import main; main()"
    )
    env = {**os.environ, "PYTHONPATH": ""}

    def command(*words: str) -> str:
        full = [sys.executable, "-P", "-c", script, str(site), *words]
        found = subprocess.run(full, capture_output=True, text=True, check=False, cwd=tmp_path, env=env)
        assert found.returncode == 0, found.stderr
        return found.stdout

    assert "secondthought" in command("--version")
    command("probe", "answer", "--model", "nano/countdown", "--n", "8")
    assert (tmp_path / "runs" / "answer" / "report.html").is_file()
