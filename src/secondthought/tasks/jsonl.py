"""Rows from a file (JSONL, one JSON array, CSV) or a ``datasets`` name, each with its line number, for complaints to name."""

from __future__ import annotations

import csv
import io
import json
import math
import re
import sys
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
    if path.suffix.lower() == ".csv":
        return list(csv_rows(path))
    text = _text(path)
    if (whole := _whole_file(text)) is not None:
        values: list[tuple[int, Any]] = list(enumerate(whole, 1))
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


def csv_rows(path: Path, columns: Sequence[str] = ()) -> list[tuple[int, dict[str, str]]]:
    """The rows of a CSV by its first line's columns, with the line numbers on which they end.

    Raises UserError, naming file, line or column, for what is no UTF-8 or no CSV, a column of ``columns`` that is not there or
    not in a row, a row that is longer than the first, and a file without rows.
    """
    csv.field_size_limit(sys.maxsize)
    reader = csv.DictReader(io.StringIO(_text(path), newline=""))
    try:
        for column in columns:
            if column not in (reader.fieldnames or ()):
                has = ", ".join(map(repr, reader.fieldnames or ())) or "no columns"
                raise UserError(f"{path}: there is no column {column!r}; it has {has}")
        found = [(reader.line_num, row) for row in reader]
    except csv.Error as error:
        raise UserError(f"{path} is not a CSV file: {error}") from error
    for line, row in found:
        if None in row:
            raise UserError(f"{path}, line {line}: the row has more fields than the first line")
        for column in columns:
            if row[column] is None:
                raise UserError(f"{path}, line {line}: the row ends before the column {column!r}")
    if not found:
        raise UserError(f"{path} has no rows")
    return [(line, {column: value for column, value in row.items() if value is not None}) for line, row in found]


def number_of(row: Mapping[str, str], column: str, where: str) -> float:
    """A finite number in a column. Raises UserError for anything else."""
    try:
        value = float(row[column])
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise UserError(f"{where}: {column!r} must be a number, not {row[column][:40]!r}")
    return value


def _text(path: Path) -> str:
    try:
        return path.read_bytes().decode("utf-8-sig")
    except FileNotFoundError as error:
        raise UserError(f"there is no file {path}") from error
    except IsADirectoryError as error:
        raise UserError(f"{path} is a folder; a file is wanted") from error
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        line = path.read_bytes()[: error.start].count(b"\n") + 1
        raise UserError(f"{path}, line {line} is not UTF-8 text") from error


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
