"""The documentation as a site: every page is in the menu, every link and anchor leads somewhere, the API has its docstrings."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("mkdocs", reason="mkdocs is not installed: make setup")
pytest.importorskip("material", reason="mkdocs-material is not installed: make setup")

ROOT = Path(__file__).parents[1]


def build(root: Path, out: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--config-file", str(root / "mkdocs.yml"), "--site-dir", str(out)],
        capture_output=True, text=True, check=False, env={**os.environ, "NO_MKDOCS_2_WARNING": "1", "NO_COLOR": "1"},
    )  # fmt: skip


def test_the_site_is_built_and_no_link_is_broken(tmp_path: Path) -> None:
    done = build(ROOT, tmp_path / "site")
    assert done.returncode == 0, done.stderr
    assert "not included in the" not in done.stderr, done.stderr  # pages that no menu leads to
    first = (tmp_path / "site" / "index.html").read_text()
    assert "reflect" in first.lower()
    assert 'href="docs/' not in first
    api = (tmp_path / "site" / "api.html").read_text()
    for name in ("Environment", "Draft", "Estimate", "run_probe", "dr_grpo_length"):
        assert name in api
    assert not (tmp_path / "site" / "_site").exists()
    assert ":func:" not in api
    assert 'class="language-pycon' in api or "&gt;&gt;&gt; " in api
    pages = list((tmp_path / "site" / "probes").glob("*.html"))
    assert len(pages) == len(list((ROOT / "docs" / "probes").glob("*.md")))


def test_a_broken_link_is_found(tmp_path: Path) -> None:
    root = tmp_path / "repo"
    root.mkdir()
    for name in ("mkdocs.yml", "README.md", "docs", "src"):
        whole = ROOT / name
        if name == "docs":
            shutil.copytree(whole, root / name)
        else:
            (root / name).symlink_to(whole)
    page = root / "docs" / "viewing.md"
    page.write_text(page.read_text() + "\n[nowhere](there_is_no_such_page.md)\n")
    done = build(root, tmp_path / "site")
    assert done.returncode != 0
    assert re.search(r"viewing\.md.*there_is_no_such_page\.md", done.stderr)
