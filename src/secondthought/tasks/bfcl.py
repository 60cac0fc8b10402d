"""The Berkeley function-calling benchmark as one task set: ``bfcl:FOLDER``, split by function and by question.

The folder is that of the benchmark (``bfcl_eval/data`` of github.com/ShishirPatil/gorilla) with its
``BFCL_v4_simple_python.json``, ``_multiple`` and ``_live_multiple``, and the accepted answers beside them
(``NAME.answers.json`` or ``possible_answer/``). Each problem wants one call. Problems that want the same function, or ask the
same question, are always in one split (60 % train, 10 % dev, 30 % test of such families of problems), so that nothing wanted
in dev or test was wanted in training.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from secondthought.errors import UserError
from secondthought.tasks.base import Split
from secondthought.tasks.dataset import FunctionCallingList
from secondthought.tasks.function_calling import Row, read_rows
from secondthought.types import seed_of

PARTS = ("simple_python", "multiple", "live_multiple")
SHARES: tuple[Split, ...] = ("test",) * 3 + ("dev",) + ("train",) * 6


def task_set(place: str, split: Split | None, style: str) -> FunctionCallingList:
    """``bfcl:FOLDER[:SPLIT]``. Raises UserError for a folder without such files, and for rows that cannot be read."""
    folder = Path(place)
    found = [path for part in PARTS for path in sorted(folder.glob(f"BFCL_v*_{part}.json"))] if place else []
    if not found:
        raise UserError(
            f"there is no BFCL_v*_simple_python.json, _multiple or _live_multiple in {place or 'what was named'!r}; write "
            "bfcl:FOLDER with the folder of the benchmark's data (bfcl_eval/data of github.com/ShishirPatil/gorilla)"
        )
    rows = [row for path in found for row in read_rows(path, _answers(path))]
    splits = splits_of(rows)
    kept = {row.task.key: row.task for row, own in zip(rows, splits, strict=True) if split in (None, own)}
    if not kept:
        raise UserError(f"{place} has {len(rows)} rows and none of them falls into {split}; more rows are needed, or :all")
    return FunctionCallingList(tuple(kept.values()), source=f"bfcl:{place}")


def splits_of(rows: Sequence[Row]) -> list[Split]:
    """The split of each row: rows that share a wanted function or a question share it.

    >>> from secondthought.tasks.function_calling import Wanted
    >>> one, two = Row("1", "Rain?", (), (Wanted("weather", {}),)), Row("2", "Sun?", (), (Wanted("weather", {}),))
    >>> len(set(splits_of([one, two, Row("3", "sun?", (), (Wanted("sky", {}),))])))
    1
    """
    leader: dict[str, str] = {}

    def of(name: str) -> str:
        while leader.setdefault(name, name) != name:
            name = leader[name]
        return name

    for row in rows:
        first, *others = sorted({of(name) for name in _marks(row)})
        for other in others:
            leader[other] = first
    families: dict[str, str] = {}
    for name in sorted(leader):
        families.setdefault(of(name), name)
    return [SHARES[seed_of("bfcl split", families[of(_marks(row)[0])]) % len(SHARES)] for row in rows]


def _marks(row: Row) -> list[str]:
    """What a row has in common with others of its family."""
    return [*(f"function {wanted.name}" for wanted in row.wanted), f"question {' '.join(row.query.lower().split())}"]


def _answers(path: Path) -> Path | None:
    beside = (path.with_name(f"{path.stem}.answers.json"), path.parent / "possible_answer" / path.name)
    return next((one for one in beside if one.is_file()), None)
