"""A run's report in one file: a page, the same page as Markdown, or its pictures as one PNG fit for print."""

from __future__ import annotations

import io
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from secondthought.errors import UserError
from secondthought.report import figures, probe, skill, suite, training
from secondthought.report.pages import Page
from secondthought.runs.files import write_text
from secondthought.runs.reading import RunFolder, read_run

PAGES: dict[str, Callable[[RunFolder], Page]] = {
    "train": training.page,
    "probe": probe.page,
    "skill": skill.page,
    "suite": suite.page,
}
"""How the page of each kind of run is made."""
DOTS = 300  # to the inch, for print


def write(folder: Path, form: str = "html", out: Path | None = None) -> Path:
    """Write the report of a run folder, by default to ``report.html``, ``.md`` or ``.png`` in it; returns where.

    ``html`` also saves each picture beside the page as a PNG. Raises UserError for an unknown format, a folder that is no
    run, and where there is no picture.
    """
    if form not in FORMATS:
        raise UserError(f"there is no format {form!r}; choose {', '.join(FORMATS)}")
    run = read_run(folder)
    page = PAGES.get(run.kind, training.page)(run)
    path = out or folder / f"report.{form}"
    path.parent.mkdir(parents=True, exist_ok=True)
    FORMATS[form](page, path)
    return path


def to_html(page: Page, path: Path) -> None:
    """The page, and its pictures beside it."""
    for name, picture in page.pictures.items():
        figures.save(picture, path.parent / f"{name}.png")
    write_text(path, page.html)


def to_markdown(page: Page, path: Path) -> None:
    """The page without its pictures; what models wrote stands in code spans, where nothing is markup."""
    from markdownify import MarkdownConverter

    class Converter(MarkdownConverter):
        """Knows which of our spans hold what a model wrote."""

        def convert_span(self, element: Any, text: str, parent_tags: set[str]) -> str:
            """A code span for what was written, and for verdicts on it."""
            written = {"tokens", "right", "wrong"} & set(element.get("class") or ())
            return code(element.get_text()) if written else str(text)

    bare = re.sub(r"<(style|svg|title)\b.*?</\1>", "", page.html, flags=re.DOTALL)
    text = Converter(heading_style="ATX").convert(bare)
    write_text(path, re.sub(r"\n{3,}", "\n\n", text).strip() + "\n")


def code(text: str) -> str:
    """A code span on one line; its fence is longer than any run of backticks in it.

    >>> code("a `b`")
    '`` a `b` ``'
    """
    line = " ".join(text.split())
    fence = "`" * (1 + max((len(run) for run in re.findall("`+", line)), default=0))
    return f"{fence} {line} {fence}" if len(fence) > 1 else f"`{line}`" if line else ""


def to_png(page: Page, path: Path) -> None:
    """All pictures, one below the other, at 300 dots to the inch."""
    from PIL import Image

    if not page.pictures:
        raise UserError("this run has no picture yet; wait for its first step")
    drawn = []
    for picture in page.pictures.values():
        file = io.BytesIO()
        picture.savefig(file, format="png", dpi=DOTS)
        drawn.append(Image.open(file).convert("RGB"))
    width, gap = max(image.width for image in drawn), DOTS // 10
    whole = Image.new("RGB", (width, sum(image.height + gap for image in drawn) - gap), "white")
    top = 0
    for image in drawn:
        whole.paste(image, ((width - image.width) // 2, top))
        top += image.height + gap
    temporary = path.with_name(f".{path.name}.tmp")
    whole.save(temporary, format="png", dpi=(DOTS, DOTS))
    temporary.replace(path)


FORMATS: dict[str, Callable[[Page, Path], None]] = {"html": to_html, "md": to_markdown, "png": to_png}
