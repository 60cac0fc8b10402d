"""What the site needs beyond the pages: README as its first page, the pages of methods and probes in its menu, and links to
files of the repository that are no part of it as names.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File

ROOT = Path(__file__).parents[2]
_LINK = re.compile(r"\[([^\]\[]+)\]\(([^)\s#]+)(#[^)\s]*)?\)")


def on_config(config: Any) -> Any:
    """``Methods: methods`` becomes a list of the pages in that folder."""
    for entry in config["nav"]:
        for title, place in entry.items():
            if isinstance(place, str) and (ROOT / "docs" / place).is_dir():
                entry[title] = [f"{place}/{page.name}" for page in sorted((ROOT / "docs" / place).glob("*.md"))]
    return config


def on_files(files: Any, config: Any) -> Any:
    """README is the first page; its links lead from the root into docs."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    files.append(File.generated(config, "index.md", content=text.replace("](docs/", "](")))
    return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Links to what is in the repository and not on the site become its name."""
    here = (ROOT if page.file.src_uri == "index.md" else ROOT / "docs" / page.file.src_uri).resolve()

    def named(found: re.Match[str]) -> str:
        place = found[2]
        there = (here if here.is_dir() else here.parent) / place
        outside = there.exists() and not there.resolve().is_relative_to((ROOT / "docs").resolve())
        return found[1] if outside and "://" not in place else found[0]

    return _LINK.sub(named, markdown)
