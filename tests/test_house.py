"""The house stands as it was drawn: who may import whom, how long things may be, and docs that run."""

from __future__ import annotations

import ast
import doctest
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "src" / "secondthought"

# Each room and the rooms it may import. Arrows run one way.
MAY_IMPORT: dict[str, set[str]] = {
    "types": set(),
    "files": set(),
    "scene": {"types"},
    "stats": {"types"},
    "chat": {"types"},
    "rollout": {"types", "scene"},
    "tasks": {"types", "files"},
    "detect": {"files", "journal", "probes", "engines"},
    "sweep": {
        "types", "files", "scene", "journal", "evaluate", "detect", "engines", "probes", "progress", "tasks",
    },
    "reproduce": {
        "types", "files", "stats", "progress", "nano", "probes", "sweep", "tasks", "recipes", "ablate", "engines", "evaluate",
        "journal", "protocols", "rollout", "train", "workers",
    },
    "protocols": {"types", "scene", "rollout", "files"},
    "credit": {"types"},
    "rows": {"types"},
    "loss": {"rows"},
    "engines": {"types", "scene", "chat", "files"},
    "learners": {"world", "types", "scene", "chat", "files", "rows", "loss", "engines"},
    "probes": {"types", "files", "scene", "rollout", "stats", "tasks", "protocols"},
    "nano": {"types", "files", "scene", "rollout", "stats", "tasks", "protocols", "engines", "progress", "workers"},
    "journal": {"types", "files"},
    "evaluate": {
        "types", "files", "scene", "rollout", "stats", "tasks", "protocols", "engines", "probes", "journal", "progress",
    },
    "train": {
        "types", "files", "scene", "rollout", "stats", "tasks", "protocols", "credit", "rows", "engines", "learners", "probes",
        "journal", "evaluate", "progress", "trackers", "world",
    },
    "recipes": {"files", "train", "tasks", "protocols", "credit", "engines", "learners"},
    "report": {"types", "files", "journal", "engines", "probes"},
    "ablate": {"files", "recipes", "train", "evaluate", "journal", "probes", "progress", "protocols", "engines", "rollout", "stats", "report"},
    "plan": {"files", "engines", "learners", "train"},
    "world": {"files"},
    "launch": {"files"},
    "cluster": {"cli", "engines", "files"},
    "progress": set(),
    "workers": {"files", "progress"},
    "trackers": {"files", "progress"},
    "export": {"types", "files", "journal"},
    "viewer": {"types", "journal", "export", "report", "probes"},
    "doctor": {"credit", "learners", "protocols", "rollout", "rows", "scene", "tasks"},
}  # fmt: skip


def room(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imported(path: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        names = [a.name for a in node.names] if isinstance(node, ast.Import) else []
        if isinstance(node, ast.ImportFrom) and node.module:
            names = [node.module] if node.module != "secondthought" else [f"secondthought.{a.name}" for a in node.names]
        found |= {name.split(".")[1] for name in names if name.startswith("secondthought.")}
    return found


SOURCES = sorted(PACKAGE.rglob("*.py"))


@pytest.mark.parametrize("path", SOURCES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_arrows_run_one_way(path: Path) -> None:
    here = room(path)
    if here in ("cli", "__init__"):
        return
    assert imported(path) - {here} <= MAY_IMPORT[here]


def test_every_room_is_in_the_drawing() -> None:
    assert {room(path) for path in SOURCES} - {"cli", "__init__"} == MAY_IMPORT.keys()


def test_nothing_grows_out_of_hand() -> None:
    for path in SOURCES:
        text = path.read_text()
        assert len(text.splitlines()) < 500, f"{path} is too long to be read"
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                length = (node.end_lineno or node.lineno) - node.lineno
                assert length < 80, f"{path.name}: {node.name} has {length} lines"


def test_optional_packages_are_imported_lazily() -> None:
    script = "import sys, secondthought.training.loop, secondthought.cli; print([m for m in ('datasets', 'ray', 'vllm', 'pandas') if m in sys.modules])"
    found = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"


def python_blocks(path: Path) -> list[str]:
    return re.findall(r"```python\n(.*?)```", path.read_text(), re.DOTALL)


DOCS = [path for path in [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))] if python_blocks(path)]


@pytest.mark.parametrize("path", DOCS, ids=lambda p: p.name)
def test_the_docs_code_runs(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    namespace: dict[str, object] = {"__name__": "__main__"}
    for block in python_blocks(path):
        if ">>>" in block:
            test = doctest.DocTestParser().get_doctest(block, namespace, path.name, str(path), 0)
            runner = doctest.DocTestRunner()
            runner.run(test, clear_globs=False)
            assert runner.failures == 0
            namespace = dict(test.globs)
        else:
            exec(compile(block, str(path), "exec"), namespace)


def test_nothing_names_a_path_of_somebodys_machine() -> None:
    for path in [*SOURCES, *ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), ROOT / "Makefile"]:
        assert not re.search(r"/(work|home|root|Users)/", path.read_text()), path


def test_every_command_is_there() -> None:
    from typer.main import get_command

    from secondthought.cli import app

    expected = {
        "train", "eval", "ablate", "pretrain", "reproduce", "probe", "sweep", "build", "detect", "grade", "view", "report", "export",
        "doctor", "launch", "merge", "plan", "serve",
    }  # fmt: skip
    assert set(get_command(app).commands) == expected  # type: ignore[attr-defined]
