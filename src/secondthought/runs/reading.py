"""Reading a run folder: what it says of itself, its metrics, its groups and episodes, exactly as they were written."""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from secondthought.errors import UserError
from secondthought.types import Episode, Group, Message, Segment, Signal, Task, Verdict

LAYOUT = 2  # of run folders; those written in another one are refused
COLUMNS = (
    "step", "split", "task_key", "family", "arm", "group", "path", "index", "name", "author", "role", "text", "tokens",
    "logprobs", "version", "stop", "policy", "kl", "imitate", "policy_tokens", "verdicts", "task",
)  # fmt: skip
"""What a file of episodes holds (:data:`secondthought.runs.journal.SCHEMA`)."""
RECENT = 120  # seconds after which a run that writes nothing is taken to have stopped
Paid = tuple[Episode, dict[str, Signal]]
"""An episode and the signals that its segments got."""


@dataclass(frozen=True)
class RunFolder:
    """One run folder: ``resolved`` says how it was made, ``summary`` what came out (empty while it goes on)."""

    name: str
    folder: Path
    resolved: Mapping[str, Any]
    summary: Mapping[str, Any]

    @property
    def kind(self) -> str:
        """``train`` or ``probe``."""
        return str(self.resolved.get("kind", "train"))

    @property
    def recipe(self) -> Mapping[str, Any]:
        """What was asked for, down to the last default."""
        found = self.resolved.get("recipe")
        return found if isinstance(found, Mapping) else {}

    @property
    def live(self) -> bool:
        """Whether it still goes on: no summary yet, and something was written lately."""
        if self.summary:
            return False
        stamps = [p.stat().st_mtime for p in (self.folder / "metrics.jsonl", self.folder / "episodes") if p.exists()]
        return bool(stamps) and time.time() - max(stamps) < RECENT


def read_run(folder: Path, name: str = "") -> RunFolder:
    """The run in a folder. Raises UserError if it is none, or if its resolved.json or summary.json is broken.

    >>> read_run(Path("nowhere"))
    Traceback (most recent call last):
        ...
    secondthought.errors.UserError: nowhere is not a run: there is no resolved.json in it
    """
    if not (folder / "resolved.json").is_file():
        raise UserError(f"{folder} is not a run: there is no resolved.json in it")
    found: list[dict[str, Any]] = []
    for file in ("resolved.json", "summary.json"):
        try:
            read = json.loads((folder / file).read_text(encoding="utf-8")) if (folder / file).exists() else {}
        except (ValueError, RecursionError, OSError) as error:
            raise UserError(
                f"{folder / file} is broken ({error}); run the command that wrote it again with --resume"
            ) from error
        if not isinstance(read, dict):
            raise UserError(f"{folder / file} is broken (no object); run the command that wrote it again with --resume")
        found.append(read)
    if found[0].get("layout") != LAYOUT:
        raise UserError(f"{folder} was written by another version of secondthought, whose runs this one cannot read")
    return RunFolder(name or folder.name, folder, found[0], found[1])


def read_metrics(folder: Path) -> list[dict[str, Any]]:
    """The lines of metrics.jsonl; a last line cut short by a crash is left out.

    >>> read_metrics(Path("nowhere"))
    []
    """
    try:
        text = (folder / "metrics.jsonl").read_bytes().decode("utf-8", "replace")
    except OSError:
        return []
    found = []
    for line in text.splitlines():
        with contextlib.suppress(ValueError, RecursionError):
            found.append(json.loads(line))
    return found


# --- episodes --------------------------------------------------------------------------------------------------------


def read_groups(path: Path, split: str | None = None) -> list[Group]:
    """The groups of a run folder, or of one of its Parquet files, in the order in which they were written; those of one
    ``split`` only, if one is named. Raises UserError if there are no episodes.

    >>> [group[0].task.prompt for group in read_groups(Path("runs/mine"), split="train")]  # doctest: +SKIP
    """
    found: dict[tuple[Path, str, int], list[Episode]] = {}
    for file, table in _tables(path):
        for rows in _by_episode(table):
            head = rows[0]
            if split in (None, head["split"]):
                found.setdefault((file, head["split"], head["group"]), []).append(_episode(rows)[0])
    return [tuple(group) for group in found.values()]


def read_episodes(path: Path) -> list[Paid]:
    """Episodes of a run folder, or of one of its Parquet files, with their signals, exactly as they were written. Raises
    UserError if there are none.

    >>> read_episodes(Path("nowhere"))
    Traceback (most recent call last):
        ...
    secondthought.errors.UserError: there are no episodes in nowhere
    """
    return [episode for _, table in _tables(path) for episode in episodes_from(table)]


def _tables(path: Path) -> Iterator[tuple[Path, Any]]:
    files = sorted((path / "episodes").rglob("*.parquet")) if path.is_dir() else [path]
    if not files or not files[0].is_file():
        raise UserError(f"there are no episodes in {path}")
    for file in files:
        yield file, read_table(file)


def read_table(file: Path, columns: Sequence[str] | None = None) -> Any:
    """The rows of a file of episodes, as a table. Raises UserError for a damaged file, and for one that holds none."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        known = pq.read_schema(file).names
        if lacking := [name for name in COLUMNS if name not in known]:
            raise UserError(f"{file} holds no episodes: there is no column {lacking[0]!r}")
        table = pq.read_table(file, columns=columns, page_checksum_verification=True)
        table.validate(full=True)
        return table
    except (OSError, ValueError, pa.ArrowException) as error:
        raise UserError(f"the episodes in {file} cannot be read: {str(error).splitlines()[0]}") from error


def episodes_from(table: Any) -> list[Paid]:
    """The same from rows in the order in which they were written."""
    return [_episode(rows) for rows in _by_episode(table)]


def _by_episode(table: Any) -> Iterator[list[dict[str, Any]]]:
    batch: list[dict[str, Any]] = []
    for row in table.to_pylist():
        if row["index"] == 0 and batch:
            yield batch
            batch = []
        batch.append(row)
    if batch:
        yield batch


def task_json(task: Task) -> dict[str, Any]:
    """A task as it is kept, but for its key and family."""
    return {"prompt": task.prompt, "answer": task.answer, "tools": task.tools}


def task_from(kept: Mapping[str, Any], key: str, family: str) -> Task:
    """The task that :func:`task_json` kept."""
    return Task(key, tuple(Message(*m) for m in kept["prompt"]), kept["answer"], family, tuple(kept.get("tools", ())))


def _episode(rows: list[dict[str, Any]]) -> Paid:
    try:
        return _made(rows)
    except (AttributeError, KeyError, RecursionError, TypeError, ValueError) as error:
        where = f"step {rows[0]['step']}, {rows[0]['split']}, group {rows[0]['group']}"
        raise UserError(f"an episode is not what was written ({where}): {error}") from error


def _made(rows: list[dict[str, Any]]) -> Paid:
    head = rows[0]
    task = task_from(json.loads(head["task"]), head["task_key"], head["family"])
    segments = tuple(
        Segment(
            r["name"], r["author"], r["role"], r["text"], tuple(r["tokens"]),
            None if r["logprobs"] is None else tuple(r["logprobs"]), r["version"], r["stop"],
        )
        for r in rows
    )  # fmt: skip
    verdicts = {v["name"]: Verdict(v["score"], v["answer"], v["why"]) for v in head["verdicts"]}
    signals = {
        r["name"]: Signal(tuple(r["policy_tokens"]) if r["policy_tokens"] else r["policy"], r["kl"], r["imitate"])
        for r in rows
        if r["policy"] or r["kl"] or r["imitate"] or r["policy_tokens"]
    }
    return Episode(task, tuple(head["path"]), segments, verdicts, head["arm"]), signals
