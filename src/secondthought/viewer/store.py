"""What a viewer asks of runs, answered from their folders while they may still be written to.

Episodes are indexed (DuckDB, in a temporary file): a row for each, with everything that one filters, sorts and searches by. New
files are added as they appear; a file that cannot be read is named and left out. What an episode holds is read from its own
file when it is looked at.
"""

from __future__ import annotations

import tempfile
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from secondthought.errors import UserError
from secondthought.runs.reading import RunFolder, episodes_from, read_run
from secondthought.types import OUTCOMES, Episode, Signal

SORTS = {
    "newest": "step DESC, file DESC, number", "oldest": "step, file, number",
    "advantage": "advantage DESC NULLS LAST, step DESC",
    "disadvantage": "advantage ASC NULLS LAST, step DESC", "longest": "tokens DESC", "shortest": "tokens ASC",
}  # fmt: skip
CHUNKS = (4, 20)  # files that are indexed at a time: the first time, and after that
MEMORY = "256MB"  # what the index may hold in memory; the rest is on disk
PAGE = 50  # episodes on a page
DEEPEST = 4  # folders below the root in which runs are looked for

INDEX = """
CREATE TABLE episode (
    file VARCHAR, number INTEGER, step BIGINT, split VARCHAR, arm VARCHAR, "group" INTEGER, task VARCHAR, family VARCHAR,
    path VARCHAR, final DOUBLE, outcome VARCHAR, advantage DOUBLE, tokens INTEGER, question VARCHAR, thought VARCHAR,
    content VARCHAR)
"""
# A segment belongs to the episode whose first row (index 0) stands last before it. An episode's outcome is read, as in
# secondthought.types.Episode.outcome, from the verdicts that bear the names of segments. What stands for an episode in a list
# is the first segment that was paid, else the last that the policy wrote.
ADD = """
INSERT INTO episode
WITH numbered AS (
    SELECT filename, index, step, split, arm, "group", task_key, family, path, name, author, text, policy, verdicts,
        CASE WHEN logprobs IS NOT NULL THEN len(tokens) END AS length,
        sum(CASE WHEN index = 0 THEN 1 ELSE 0 END) OVER (PARTITION BY filename ORDER BY file_row_number) - 1 AS number
    FROM read_parquet($files, filename = true, file_row_number = true)
), episodes AS (
    SELECT parse_filename(filename, true) AS file, number::INTEGER AS number, any_value(step) AS step,
        any_value(split) AS split, any_value(arm) AS arm, any_value("group") AS "group",
        any_value(task_key) AS task, any_value(family) AS family, any_value(array_to_string(path, '.')) AS path,
        max_by(policy, abs(policy)) FILTER (policy <> 0) AS advantage,
        coalesce(sum(length), 0)::INTEGER AS tokens,
        max(CASE WHEN index = 0 THEN text END) AS question,
        coalesce(min_by(text, index) FILTER (policy <> 0), max_by(text, index) FILTER (author = 'policy')) AS thought,
        string_agg(lower(text), chr(10) ORDER BY index) AS content,
        list(DISTINCT name) AS names,
        list(name ORDER BY index) AS ordered,
        any_value(verdicts) FILTER (index = 0) AS verdicts
    FROM numbered GROUP BY filename, number
), graded AS (
    SELECT *, list_transform(
        list_sort(list_transform(
            list_filter(verdicts, lambda v: list_contains(names, v.name) AND v.score IS NOT NULL AND NOT isnan(v.score)),
            lambda v: {'place': list_position(ordered, v.name), 'score': v.score}
        )), lambda v: v.score) AS scores
    FROM episodes
)
SELECT file, number, step, split, arm, "group", task, family, path, scores[-1],
    CASE WHEN len(scores) = 0 OR scores IS NULL THEN 'ungraded'
         WHEN len(scores) = 1 THEN CASE WHEN scores[1] = 1 THEN 'right' ELSE 'wrong' END
         WHEN scores[1] = 1 THEN CASE WHEN scores[-1] = 1 THEN 'stayed right' ELSE 'broken' END
         WHEN scores[-1] = 1 THEN 'fixed' ELSE 'stayed wrong' END,
    advantage, tokens, left(question, 300), left(thought, 300), content
FROM graded
"""

# What was written is long, so it is looked through once, and only the rows of the page are fetched whole.
FIND = """
WITH fits AS MATERIALIZED (SELECT rowid AS place, file, number, step, advantage, tokens FROM episode WHERE {condition}),
    listed AS (SELECT place FROM fits ORDER BY {order} LIMIT {page} OFFSET {skipped})
SELECT {columns}, (SELECT count(*) FROM fits) FROM episode JOIN listed ON episode.rowid = place ORDER BY {order}
"""


@dataclass(frozen=True)
class Query:
    """Which episodes: every part narrows, an empty one does not. ``path`` is how the path ends."""

    split: str = ""
    arm: str = ""
    outcome: str = ""
    task: str = ""
    path: str = ""
    step: int | None = None
    text: str = ""
    sort: str = "newest"
    page: int = 0


@dataclass
class Found:
    """What a query found: a page of rows, how many there are in all, and how much of the run is indexed (0 to 1)."""

    rows: list[dict[str, Any]]
    total: int
    indexed: float


@dataclass
class Episodes:
    """The index of one run's episodes."""

    folder: Path
    unread: dict[str, str] = field(default_factory=dict)
    _known: dict[str, tuple[int, int]] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _work: threading.Thread | None = None
    _share: float = 1.0

    def __post_init__(self) -> None:
        self._place = tempfile.TemporaryDirectory(prefix="secondthought-view-")
        self.database = duckdb.connect(f"{self._place.name}/index.duckdb")
        self.database.execute(f"SET threads = 2; SET memory_limit = '{MEMORY}'")
        self.database.execute(INDEX)

    def files(self) -> dict[str, tuple[int, int]]:
        """The files there are, with size and time of change."""
        found = {}
        for path in sorted((self.folder / "episodes").glob("[!.]*.parquet")):
            try:
                stat = path.stat()
            except OSError:
                continue  # it was there a moment ago
            found[path.stem] = (stat.st_size, stat.st_mtime_ns)
        return found

    def refresh(self, wait: float | None = 0.3) -> float:
        """Index what is new in the background; waits a little (None: till it is done). Returns how much is indexed."""
        with self._lock:
            if self._work is None or not self._work.is_alive():
                now = self.files()
                new = [name for name, stamp in now.items() if self._known.get(name) != stamp]
                gone = [name for name in self._known if name not in now]
                if new or gone:
                    self._work = threading.Thread(target=self._index, args=(now, new, gone), daemon=True)
                    self._work.start()
                    self._work.join(wait)  # later questions do not wait for work that is long
        if self._work is not None and wait is None:
            self._work.join()
        return self._share

    def _index(self, now: Mapping[str, tuple[int, int]], new: Sequence[str], gone: Sequence[str]) -> None:
        with self.database.cursor() as cursor:
            for name in [*gone, *(n for n in new if n in self._known)]:
                cursor.execute("DELETE FROM episode WHERE file = ?", [name])
                self._known.pop(name, None)
            newest_first = sorted(new, key=lambda name: now[name][1], reverse=True)
            start, size = 0, CHUNKS[0]
            while start < len(newest_first):
                self._share = start / len(newest_first)
                self._add(cursor, newest_first[start : start + size], now)
                start, size = start + size, CHUNKS[1]
        self._share = 1.0

    def _add(self, cursor: Any, names: Sequence[str], now: Mapping[str, tuple[int, int]]) -> None:
        try:
            cursor.execute(ADD, {"files": [str(self.folder / "episodes" / f"{name}.parquet") for name in names]})
        except duckdb.Error as error:
            if len(names) > 1:
                for name in names:
                    self._add(cursor, [name], now)
                return
            self.unread[names[0]] = str(error).splitlines()[0][:200]
        else:
            for name in names:
                self.unread.pop(name, None)
        self._known.update({name: now[name] for name in names})

    def find(self, query: Query) -> Found:
        """A page of the episodes that fit."""
        indexed = self.refresh()
        where, values = ["true"], []
        for column, value in (
            ("split", query.split),
            ("arm", query.arm),
            ("outcome", query.outcome),
            ("task", query.task),
            ("step", query.step),
        ):
            if value not in ("", None):
                where.append(f"{column} = ?")
                values.append(value)
        if query.path:
            where.append("ends_with(path, ?)")
            values.append(query.path)
        if query.text:
            where.append("contains(content, ?)")
            values.append(query.text.lower())
        condition = " AND ".join(where)
        order = SORTS.get(query.sort, SORTS["newest"])
        columns = "file, number, step, split, arm, task, path, final, outcome, advantage, tokens, question, thought"
        asked = FIND.format(columns=columns, condition=condition, order=order, page=PAGE, skipped=PAGE * query.page)
        with self.database.cursor() as cursor:
            rows = cursor.execute(asked, values).fetchall()
            if rows:
                total = rows[0][-1]
            else:
                (total,) = cursor.execute(f"SELECT count(*) FROM episode WHERE {condition}", values).fetchone() or (0,)
        return Found([dict(zip(columns.split(", "), row[:-1], strict=True)) for row in rows], total, indexed)

    def choices(self) -> dict[str, list[Any]]:
        """What can be chosen from: splits, arms, outcomes, and the steps that have episodes (first and last)."""
        self.refresh()
        with self.database.cursor() as cursor:
            splits = [row[0] for row in cursor.execute("SELECT DISTINCT split FROM episode ORDER BY ALL").fetchall()]
            arms = [
                row[0] for row in cursor.execute("SELECT DISTINCT arm FROM episode WHERE arm <> '' ORDER BY ALL").fetchall()
            ]
            outcomes = [row[0] for row in cursor.execute("SELECT DISTINCT outcome FROM episode").fetchall()]
            steps = cursor.execute("SELECT min(step), max(step) FROM episode WHERE split = 'train'").fetchone() or (None, None)
        return {"splits": splits, "arms": arms, "outcomes": [o for o in OUTCOMES if o in outcomes], "steps": list(steps)}

    def group(self, file: str, task: str) -> list[tuple[Episode, dict[str, Signal], int]]:
        """All episodes of a task in a file, each with its signals and its number there. Empty if there are none."""
        path = self.folder / "episodes" / f"{file}.parquet"
        if file not in self.files():
            return []
        try:
            keys = pq.read_table(path, columns=["index", "task_key"]).to_pylist()
            table = pq.read_table(path, filters=[("task_key", "=", task)])
        except (pa.ArrowInvalid, OSError):
            return []
        starts = [row["task_key"] for row in keys if row["index"] == 0]
        numbers = [number for number, key in enumerate(starts) if key == task]
        return [(e, s, n) for (e, s), n in zip(episodes_from(table), numbers, strict=True)]


# --- runs ------------------------------------------------------------------------------------------------------------


def runs_in(root: Path) -> list[RunFolder]:
    """Every run at or below ``root``, by name; broken ones are left out."""
    found = []
    for known in _resolved_below(root, 0):
        folder = known.parent
        name = str(folder.relative_to(root)) if folder != root else folder.name
        run = run_at(folder, name)
        if run is not None:
            found.append(run)
    return sorted(found, key=lambda run: run.name)


def _resolved_below(folder: Path, depth: int) -> Iterator[Path]:
    try:
        if (folder / "resolved.json").is_file():
            yield folder / "resolved.json"
        if depth < DEEPEST:
            for inside in sorted(folder.iterdir()):
                skipped = inside.name in ("checkpoints", "episodes", "evaluations") or inside.name.startswith(".")
                if inside.is_dir() and not inside.is_symlink() and not skipped:
                    yield from _resolved_below(inside, depth + 1)
    except OSError:
        return


def run_at(folder: Path, name: str) -> RunFolder | None:
    """The run in a folder; None if it is none. A summary that is half written counts as not there yet."""
    try:
        return read_run(folder, name)
    except (UserError, OSError):
        return None
