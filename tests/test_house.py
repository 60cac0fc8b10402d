"""The house stands as it was drawn: who may import whom, how long things may be, which words it uses, and docs that run."""

from __future__ import annotations

import ast
import doctest
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "src" / "secondthought"

# Each room and the rooms it may import: one way only.
MAY_IMPORT: dict[str, set[str]] = {
    "errors": set(),
    "types": set(),
    "stats": {"types"},
    "catalog": {"errors"},
    "runs": {"errors", "types"},
    "models": {"errors", "runs", "types"},
    "engines": {"catalog", "errors", "models", "types"},
    "protocols": {"engines", "models", "tasks", "types"},
    "rollouts": {"engines", "models", "protocols", "types"},
    "credit": {"types"},
    "distributed": {"engines", "errors", "runs"},
    "learners": {"distributed", "engines", "errors", "models", "types"},
    "tasks": {"errors", "models", "types"},
    "items": {"catalog", "errors", "models", "runs", "tasks", "types"},
    "probes": {"catalog", "engines", "errors", "items", "models", "protocols", "rollouts", "runs", "stats", "tasks", "types"},
    "skills": {"engines", "errors", "protocols", "rollouts", "runs", "stats", "tasks", "types"},
    "training": {
        "credit", "distributed", "engines", "errors", "learners", "models", "probes", "protocols", "rollouts", "runs", "tasks",
        "types",
    },
    "recipes": {
        "catalog", "credit", "engines", "errors", "items", "learners", "models", "probes", "protocols", "tasks", "training",
        "types",
    },
    "report": {"catalog", "errors", "models", "runs", "types"},
    "viewer": {"errors", "report", "runs", "types"},
    "nano": {"distributed", "engines", "errors", "items", "models", "protocols", "rollouts", "runs", "stats", "tasks", "types"},
    "reproduce": {
        "credit", "distributed", "engines", "errors", "items", "models", "nano", "probes", "protocols", "recipes", "report", "rollouts", "runs",
        "skills", "stats", "tasks", "training", "types",
    },
    "cli": {
        "catalog", "credit", "distributed", "engines", "errors", "items", "learners", "models", "nano", "probes", "protocols",
        "recipes", "report", "reproduce", "rollouts", "runs", "secondthought", "skills", "tasks", "training", "types", "viewer",
    },
    "secondthought": set(),  # its names are imported when they are asked for
}  # fmt: skip
BANNED = (  # private dialect; the field's words are episode, sampler, script, collate, copy, processes
    r"told|tells?|tellings?|voices?|clerks?|desks?|speakers?|shelf|shelves|lays?|elsewhere|twins?|crews?|scenes?|wordbooks?"
)


def module_of(path: Path, root: Path) -> str:
    parts = path.relative_to(root).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def arrows(root: Path, package: str) -> dict[str, set[str]]:
    """Every file below ``root`` / ``package`` and the files that it imports."""
    paths = {module_of(path, root): path for path in (root / package).rglob("*.py")}
    found: dict[str, set[str]] = {}
    for module, path in paths.items():
        names: set[str] = set()
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                names |= {alias.name for alias in node.names}
            if isinstance(node, ast.ImportFrom) and node.module:
                whole = {f"{node.module}.{alias.name}" for alias in node.names}
                names |= (whole & paths.keys()) or {node.module}
        found[module] = (names & paths.keys()) - {module}
    return found


def circle(graph: Mapping[str, set[str]]) -> list[str]:
    """Some nodes that lead back to the first of them; empty if there are none."""
    done: set[str] = set()

    def follow(path: list[str]) -> list[str]:
        for there in sorted(graph.get(path[-1], ())):
            if there in path:
                return [*path[path.index(there) :], there]
            if there not in done and (found := follow([*path, there])):
                return found
        done.add(path[-1])
        return []

    return next((found for node in sorted(graph) if (found := follow([node]))), [])


SOURCES = sorted(PACKAGE.rglob("*.py"))
FILES = arrows(ROOT / "src", "secondthought")


def room(module: str) -> str:
    return module.split(".")[1] if "." in module else module


def test_every_room_is_in_the_drawing_and_imports_what_it_says() -> None:
    rooms: dict[str, set[str]] = {}
    for module, imported in FILES.items():
        rooms.setdefault(room(module), set()).update({room(other) for other in imported} - {room(module)})
    assert rooms == MAY_IMPORT


def test_no_circles_between_rooms_or_files() -> None:
    assert circle(MAY_IMPORT) == []
    assert circle(FILES) == []
    assert circle(arrows(ROOT, "benchmarks")) == []
    assert circle({"a": {"b"}, "b": {"c"}, "c": {"b"}}) == ["b", "c", "b"]  # the check itself can fail


def test_few_files_lie_at_the_root() -> None:
    assert {path.stem for path in PACKAGE.glob("*.py")} == {"__init__", "catalog", "errors", "rollouts", "stats", "types"}


def test_nothing_grows_out_of_hand() -> None:
    for path in SOURCES:
        text = path.read_text()
        assert len(text.splitlines()) < 500, f"{path} is too long to be read"
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                length = (node.end_lineno or node.lineno) - node.lineno
                assert length < 80, f"{path.name}: {node.name} has {length} lines"


def written_by_us() -> Iterator[Path]:
    for pattern in ("src/**/*.py", "src/**/*.html", "src/**/*.js", "tests/**/*.py", "benchmarks/*.py", "docs/**/*.md"):
        yield from ROOT.glob(pattern)
    yield from (path for path in (*ROOT.glob("*.md"), ROOT / "Makefile") if path.name not in ("LOG.md", "CHANGELOG.md"))


def test_the_words_are_those_of_the_field() -> None:
    allowed = {
        ("tool_world.py", "desk"),
        ("open_ended.py", "Tell"),
        ("test_house.py", "*"),
    }  # a piece of furniture; a prompt; this list
    for path in written_by_us():
        for number, line in enumerate(path.read_text().splitlines(), 1):
            for found in re.findall(rf"(?<![\w/.-])(?:{BANNED})(?![\w/-])", line, re.IGNORECASE):
                assert {(path.name, found), (path.name, "*")} & allowed, f"{path}:{number}: {found!r} is private dialect"


def test_importing_costs_nothing_that_is_not_used() -> None:
    script = (
        "import sys, secondthought; heavy = {'torch', 'transformers', 'numpy', 'typer'} & set(sys.modules);"
        "import secondthought.training.loop, secondthought.cli;"
        "print(sorted(heavy), [m for m in ('datasets', 'ray', 'vllm', 'pandas') if m in sys.modules])"
    )
    found = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[] []"


def python_blocks(path: Path) -> list[str]:
    return re.findall(r"```python\n(.*?)```", path.read_text(), re.DOTALL)


DOCS = [
    path
    for path in [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
    if python_blocks(path)
]


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


def test_links_between_pages_lead_somewhere() -> None:
    for path in [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")]:
        for link in re.findall(r"\]\(([^)#\s]+)", path.read_text()):
            if "://" not in link and not link.startswith("mailto:"):
                assert (path.parent / link).exists(), f"{path}: {link}"


def test_every_command_that_a_page_shows_exists() -> None:
    from typer.main import get_command

    from secondthought.cli import app

    group = get_command(app)
    for path in [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")]:
        if path.name in ("LOG.md", "CHANGELOG.md"):
            continue
        shown = "".join(re.findall(r"```bash\n(.*?)```", path.read_text(), re.DOTALL))
        for line in re.findall(r"^secondthought (.+)$", shown, re.MULTILINE):
            words = re.sub(r"^launch (?:--\S+(?: \S+)? )*(?=train)", "", line).split()
            command = group.commands.get(words[0])  # type: ignore[attr-defined]
            assert words[0].startswith("-") or command is not None, f"{path}: secondthought {line}"
            if words[0] in ("probe", "data", "reproduce") and len(words) > 1 and not words[1].startswith(("-", "[")):
                known = getattr(command, "list_commands", None)
                if known is not None and words[1].replace("_", "").isalnum() and words[1].islower():
                    assert words[1] in known(None), f"{path}: secondthought {line}"


def test_every_probe_has_its_page_and_its_tests() -> None:
    from secondthought import catalog

    for entry in catalog.entries("probes"):
        assert (ROOT / "docs" / "probes" / f"{entry.name}.md").is_file(), entry.name
        assert (ROOT / "tests" / "probes" / f"test_{entry.name}.py").is_file(), entry.name


def test_nothing_names_a_path_of_somebodys_machine() -> None:
    for path in [*SOURCES, *ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), ROOT / "Makefile"]:
        assert not re.search(r"/(work|home|root|Users)/", path.read_text()), path


def test_every_command_is_there() -> None:
    from typer.main import get_command

    from secondthought.cli import app

    expected = {
        "train", "launch", "plan", "merge", "serve", "pretrain", "probe", "reproduce", "data", "skill", "list", "view", "report",
        "export", "doctor",
    }  # fmt: skip
    assert set(get_command(app).commands) == expected  # type: ignore[attr-defined]
