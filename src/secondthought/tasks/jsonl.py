"""Rows from a file (JSONL, one JSON array, CSV) or a ``datasets`` name, each with its line number, for complaints to name."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast

from secondthought.errors import UserError

LONGEST_INTEGER = 4_000  # digits
_SURROGATE = re.compile("[\ud800-\udfff]")


def rows_of(place: str | Path) -> list[tuple[int, dict[str, Any]]]:
    """The objects of a JSONL file, of one JSON array, or of a CSV (or the rows of ``hf:DATASET``) with their line numbers.

    Raises UserError with file and line for what is no UTF-8, no JSON or no object.
    """
    if str(place).startswith("hf:"):
        return list(enumerate(hub_rows(str(place).removeprefix("hf:")), 1))
    path = Path(place)
    try:
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError as error:
        raise UserError(f"there is no file {path}") from error
    except IsADirectoryError as error:
        raise UserError(f"{path} is a folder; a file is wanted") from error
    except UnicodeDecodeError as error:
        line = path.read_bytes()[: error.start].count(b"\n") + 1
        raise UserError(f"{path}, line {line} is not UTF-8 text") from error
    if path.suffix.lower() == ".csv":
        reader = csv.DictReader(io.StringIO(text))
        values: list[tuple[int, Any]] = [(reader.line_num, row) for row in reader]
    elif (whole := _whole_file(text)) is not None:
        values = list(enumerate(whole, 1))
    else:
        values = [(number, _read(one, path, number)) for number, one in enumerate(text.split("\n"), 1) if one.strip()]
    for number, row in values:
        if not isinstance(row, dict):
            raise UserError(f"{path}, line {number}: a JSON object is wanted, not {type(row).__name__}")
        if "\\u" in text and (half := _SURROGATE.search(json.dumps(row, ensure_ascii=False))) is not None:
            raise UserError(f"{path}, line {number}: half a character ({ascii(half[0])[1:-1]}), which is no text; mend the row")
    if not values:
        raise UserError(f"{path} has no rows")
    return values


def _whole_file(text: str) -> list[Any] | None:
    """The rows of a file that is one JSON array; None if it is none."""
    if not text.lstrip().startswith("["):
        return None
    try:
        rows = json.loads(text, parse_int=_whole)
    except (ValueError, RecursionError):
        return None
    return rows if isinstance(rows, list) and all(isinstance(row, dict) for row in rows) else None


def _read(line: str, path: Path, number: int) -> Any:
    try:
        return json.loads(line, parse_int=_whole)
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path}, line {number} is not JSON: {str(error)[:200]}") from error


def _whole(digits: str) -> int:
    if len(digits) > LONGEST_INTEGER:
        raise ValueError(f"an integer of {len(digits)} digits is longer than the {LONGEST_INTEGER} that are read")
    return int(digits)


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
    if isinstance(found, datasets.DatasetDict):
        if len(found) > 1 and "train" not in found:
            raise UserError(f"the data set {name} has the splits {', '.join(found)} and no train; save one of them by itself")
        found = found["train"] if "train" in found else next(iter(found.values()))
    return [dict(row) for row in found]
