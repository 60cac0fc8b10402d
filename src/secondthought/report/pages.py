"""What a report is: one page of HTML without any network, and the pictures that stand in it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import jinja2
from matplotlib.figure import Figure

from secondthought.files import UserError
from secondthought.report.spelling import inert
from secondthought.report.table import show


class Page(NamedTuple):
    """A page, and its pictures by the names of their files."""

    html: str
    pictures: Mapping[str, Figure]


def environment() -> jinja2.Environment:
    """Templates with everything escaped, and our way of showing estimates."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent), autoescape=True, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters |= {"show": show, "signed": partial(show, signed=True), "inert": inert}
    return environment


def told_in(folder: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """What a run says of how it was made, and of what came out (nothing, while it goes on).

    Raises UserError if the folder is no run, or if its resolved.json or summary.json is broken.
    """
    if not (folder / "resolved.json").is_file():
        raise UserError(f"{folder} is not a run: there is no resolved.json in it")
    found = []
    for name in ("resolved.json", "summary.json"):
        try:
            found.append(json.loads((folder / name).read_text(encoding="utf-8")) if (folder / name).exists() else {})
        except ValueError as error:
            raise UserError(
                f"{folder / name} is broken ({error}); run the command that wrote it again with --resume"
            ) from error
    return found[0], found[1]
