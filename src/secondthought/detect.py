"""Texts in a CSV, and which of them reflect: any detector, and how far it agrees with labels."""

from __future__ import annotations

import csv
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

from secondthought.files import UserError
from secondthought.journal import estimate_json
from secondthought.probes.detectors import Agreement, Detector, agreement, named

YES, NO = {"yes", "true", "1", "y", "reflection"}, {"no", "false", "0", "n", "none"}


def detector_of(name: str) -> Detector:
    """A detector by its name, or a judge: ``judge:MODEL`` (a folder or hub name) or ``judge:URL#MODEL``.

    Raises UserError if there is none, or the judge cannot be loaded.
    """
    if not name.startswith("judge:"):
        return named(name)
    from secondthought.engines.openai import endpoint, far
    from secondthought.probes.judge import Judge

    place = name.removeprefix("judge:")
    if far(place):
        return Judge(endpoint(place, chat=True))
    from secondthought.engines.hub import engine_for

    return Judge(engine_for(place))


def read_texts(path: Path, text: str, label: str | None) -> tuple[list[str], list[bool] | None]:
    """A column of texts and, if ``label`` is given, one of labels. Raises UserError naming file, line or column."""
    csv.field_size_limit(sys.maxsize)
    texts, labels = [], []
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            rows = csv.DictReader(file)
            columns = rows.fieldnames or []
            for wanted in (text, label):
                if wanted is not None and wanted not in columns:
                    raise UserError(f"{path} has no column {wanted!r}; it has {', '.join(map(repr, columns))}")
            for row in rows:
                if row[text] is None:
                    raise UserError(f"{path}, line {rows.line_num}: the row ends before the column {text!r}")
                texts.append(row[text])
                if label is not None:
                    said = (row[label] or "").strip().lower()
                    if said not in YES | NO:
                        raise UserError(f"{path}, line {rows.line_num}: {row[label]!r} is no label; use Yes or No")
                    labels.append(said in YES)
    except FileNotFoundError as error:
        raise UserError(f"there is no file {path}") from error
    except IsADirectoryError as error:
        raise UserError(f"{path} is a folder; a CSV file is wanted") from error
    except UnicodeDecodeError as error:
        raise UserError(f"{path} is not UTF-8 text (byte {error.start})") from error
    except csv.Error as error:
        raise UserError(f"{path} is not a CSV file: {error}") from error
    if not texts:
        raise UserError(f"{path} has no rows")
    return texts, labels if label is not None else None


def detect(path: Path, text: str, label: str | None, detector: str) -> dict[str, Any]:
    """``{"predictions": [...]}`` in row order; with labels also precision, recall, specificity and F1 with 95 % intervals."""
    texts, labels = read_texts(path, text, label)
    found = detector_of(detector)(texts)
    result: dict[str, Any] = {"detector": detector, "n": len(texts), "predictions": [bool(one) for one in found]}
    if undecided := sum(one is None for one in found):
        result["undecided"] = undecided
    if labels is not None:
        result |= agreement_json(agreement(found, labels))
    return result


def agreement_json(found: Agreement) -> dict[str, Any]:
    """Precision, recall, specificity and F1 as JSON."""
    return {name: estimate_json(getattr(found, name)) for name in asdict(found) if name != "undecided"}
