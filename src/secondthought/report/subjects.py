"""What a reproduction of a probe found on its subjects, as a page of Markdown, and a page of turns to read."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from secondthought.report.rrr import show, table
from secondthought.report.words import on_one_line
from secondthought.runs.files import write_text

Json = Mapping[str, Any]
LONGEST = 600  # characters of a turn that is shown


def write(out: Path, name: str, found: Json, claims: Sequence[str]) -> Path:
    """Write ``results.md`` and ``episodes.md``."""
    write_text(out / "episodes.md", "\n".join(_episodes(name, found["measured"])) + "\n")
    write_text(path := out / "results.md", "\n".join(_lines(name, found)).rstrip() + "\n")
    return path


def _lines(name: str, found: Json) -> Iterator[str]:
    yield from (f"# The probe {name} on subjects of known truth, on nano and on models", "")
    yield f"Written by `secondthought reproduce {name}`. 95 % intervals clustered by question."
    yield from ("", "## Scripted subjects")
    rows = [
        [one["label"], truth["figure"], f"{truth['planted']:.3f}", _plain(truth["measured"]), one["verdict"]]
        for one in found["scripted"] for truth in one["truths"]
    ]  # fmt: skip
    yield from table(("subject", "figure", "planted", "measured", "verdict of the probe"), rows)
    models = found["measured"]
    yield from ("", "## Nano and models")
    yield from table(
        ("%", *(f"`{one['model']}`" for one in models)),
        [["questions", *(str(one["items"]) for one in models)], *_rows([_by_label(one["arms"]) for one in models])],
    )
    yield from table(
        ("differences, points", *(f"`{one['model']}`" for one in models)), _rows([_by_label(one["effects"]) for one in models])
    )
    for one in models:
        yield from ("", f"## `{one['model']}`", "", f"Verdict of the probe: {one['verdict']}.")
        for note in one["notes"]:
            yield from ("", f"- {note}")
        for each in one["tables"]:
            yield from ("", f"**{each['title']}**")
            yield from table(each["columns"], [[_cell(cell) for cell in row] for row in each["rows"]])
            if each.get("note"):
                yield from ("", each["note"])


def _plain(estimate: Json) -> str:
    """An estimate as a number between 0 and 1."""
    if estimate["value"] is None:
        return "-"
    bounds = "" if estimate["low"] is None else f" [{estimate['low']:.3f}, {estimate['high']:.3f}]"
    return f"{estimate['value']:.3f}{bounds}"


def _cell(cell: Any) -> str:
    if isinstance(cell, Mapping):
        return show(cell) if cell.get("value") is not None else "-"
    return "-" if cell is None else str(cell)


def _by_label(parts: Sequence[Json]) -> Json:
    return {part["label"]: part["estimate"] for part in parts}


def _rows(columns: Sequence[Json]) -> list[list[str]]:
    """A row for each label that any column has."""
    labels = dict.fromkeys(label for column in columns for label in column)
    return [[label, *(_cell(column.get(label)) for column in columns)] for label in labels]


def _episodes(name: str, found: Sequence[Json]) -> Iterator[str]:
    yield from (f"# Turns behind {name}", "", "The first questions of each subject as they were asked and answered.")
    for one in found:
        yield from ("", f"## `{one['model']}`")
        for item in one["read"]:
            yield from ("", f"**{on_one_line(item['question'])}** (right: {on_one_line(item['right'])})", "")
            for turn in item["turns"]:
                given = f" `{_short(turn['given'])}` then:" if turn["given"] else ""
                yield f"- *{turn['arm']}*:{given} {_short(turn['wrote']) or '(nothing)'}"


def _short(text: str) -> str:
    line = on_one_line(text)
    return line if len(line) <= LONGEST else f"{line[:LONGEST]} ..."
