"""What a report is: one page of HTML without any network, and the pictures that stand in it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import jinja2
from markupsafe import Markup
from matplotlib.figure import Figure

from secondthought.report import figures
from secondthought.report.tokens import inert
from secondthought.report.words import cell, show, verdict
from secondthought.types import Report


class Page(NamedTuple):
    """A page, and its pictures by the names of their files."""

    html: str
    pictures: Mapping[str, Figure]


def environment() -> jinja2.Environment:
    """Templates with everything escaped, and our way of showing estimates."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent), autoescape=True, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters |= {"show": show, "cell": cell, "inert": inert, "verdict": verdict}
    return environment


def drawn(pictures: Mapping[str, Figure]) -> dict[str, Markup]:
    """Pictures as inline SVG."""
    return {name: Markup(figures.svg(picture)) for name, picture in pictures.items()}


def pictures_of(report: Report, prefix: str = "") -> dict[str, Figure]:
    """The curves of a report by the names of their files."""
    return {f"{prefix}{file_name(curve.title)}": figures.curve(curve) for curve in report.curves}


def file_name(title: str) -> str:
    """A title as the name of a file.

    >>> file_name("What it does: gsm8k")
    'what_it_does_gsm8k'
    """
    return "_".join("".join(c if c.isalnum() else " " for c in title.lower()).split())


def render(template: str, run: str, resolved: Mapping[str, Any], **facts: Any) -> str:
    """A page from its template."""
    return environment().get_template(template).render(run=run, resolved=resolved, **facts)
