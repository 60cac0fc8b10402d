"""What ``reproduce flawed_chains`` found, as a page of Markdown, and a page of turns to read."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

from secondthought.report.rrr import show, table
from secondthought.report.words import on_one_line
from secondthought.runs.files import write_text

Json = Mapping[str, Any]


def write(out: Path, found: Sequence[Json]) -> Path:
    """Write ``results.md`` and ``episodes.md``."""
    write_text(out / "episodes.md", "\n".join(_episodes(found)) + "\n")
    write_text(path := out / "results.md", "\n".join(_lines(found)).rstrip() + "\n")
    return path


def _lines(found: Sequence[Json]) -> Iterator[str]:
    yield from (
        "# Flawed chains given to real language models",
        "",
        "Written by `secondthought reproduce flawed_chains`. Percent of items answered rightly at temperature 0, 95 % intervals"
        " clustered by question.",
    )
    for (profile, tasks), group in groupby(found, lambda one: (one["profile"], one["tasks"])):
        here = list(group)
        models = [f"`{one['model']}`" for one in here]
        yield from ("", f"## {tasks}, profile {profile}, {here[0]['items']} items")
        yield from table(("the model is given", *models), _rows([_by_label(one["arms"]) for one in here]))
        yield from table(("paired differences, points", *models), _rows([_by_label(one["effects"]) for one in here]))
        yield from table(("what became of the flawed chain's answer", *models), _rows([one["outcomes"] for one in here]))


def _by_label(parts: Sequence[Json]) -> Json:
    return {part["label"]: part["estimate"] for part in parts}


def _rows(columns: Sequence[Json]) -> list[list[str]]:
    """A row for each label that any column has."""
    labels = dict.fromkeys(label for column in columns for label in column)
    return [[label, *(show(column[label]) if label in column else "-" for column in columns)] for label in labels]


def _episodes(found: Sequence[Json]) -> Iterator[str]:
    yield from ("# Turns behind flawed chains", "", "The first items of each measurement as they were sampled.")
    for one in found:
        yield from ("", f"## {one['model']}, {one['tasks']}, profile {one['profile']}")
        for item in one["read"]:
            yield from ("", f"**{on_one_line(item['question'])}** (right: {on_one_line(item['right'])})", "")
            for turn in item["turns"]:
                said = on_one_line(turn["said"]) or "(nothing)"
                yield f"- {turn['cell']}: `{on_one_line(turn['given'])}` then: {said} (**{turn['outcome']}**)"
