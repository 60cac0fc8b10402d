"""Rows from a JSONL file or from a ``datasets`` name, each with its line number, so that a complaint can name it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast

from secondthought.errors import UserError


def rows_of(place: str | Path) -> list[tuple[int, dict[str, Any]]]:
    """The JSON objects of a JSONL file (or the rows of ``hf:DATASET``) with their line numbers.

    Raises UserError with file and line for what is no UTF-8, no JSON or no object.
    """
    if str(place).startswith("hf:"):
        return list(enumerate(hub_rows(str(place).removeprefix("hf:")), 1))
    path = Path(place)
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError as error:
        raise UserError(f"there is no file {path}") from error
    except IsADirectoryError as error:
        raise UserError(f"{path} is a folder; a file is wanted") from error
    except UnicodeDecodeError as error:
        line = path.read_bytes()[: error.start].count(b"\n") + 1
        raise UserError(f"{path}, line {line} is not UTF-8 text") from error
    found = []
    for number, one in enumerate(text.split("\n"), 1):
        if not one.strip():
            continue
        try:
            row = json.loads(one)
        except (json.JSONDecodeError, RecursionError) as error:
            raise UserError(f"{path}, line {number} is not JSON: {error}") from error
        if not isinstance(row, dict):
            raise UserError(f"{path}, line {number}: a JSON object is wanted, not {type(row).__name__}")
        found.append((number, row))
    if not found:
        raise UserError(f"{path} has no rows")
    return found


def need(row: Mapping[str, Any], columns: Sequence[str], where: str) -> list[str]:
    """Those columns as strings. Raises UserError for one that is missing or no text."""
    for column in columns:
        if column not in row:
            raise UserError(f"{where}: there is no column {column!r}; {', '.join(columns)} are needed")
        if not isinstance(row[column], str):
            raise UserError(f"{where}: {column!r} must be text, not {type(row[column]).__name__}")
    return [cast(str, row[column]) for column in columns]


def hub_rows(name: str) -> list[dict[str, Any]]:
    """The ``train`` rows of a Hugging Face data set (or a folder saved by ``datasets``; or its only split)."""
    try:
        import datasets
    except ImportError as error:
        raise UserError("reading hf: data needs the datasets package: pip install 'secondthought[data]'") from error
    try:
        found = datasets.load_from_disk(name) if Path(name).is_dir() else datasets.load_dataset(name, split="train")
    except (OSError, ValueError, RuntimeError) as error:
        raise UserError(f"cannot load the data set {name}: {str(error).splitlines()[0]}") from error
    return [dict(row) for row in found]
