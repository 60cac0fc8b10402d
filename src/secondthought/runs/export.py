"""Episodes of a run in other tools' formats: Inspect logs, messages in JSONL, a ``datasets`` folder, rows for TRL, and what
each token was paid for prime-rl and ART (:mod:`secondthought.runs.traces`).

Every export reads the run's own Parquet files, a file at a time, and writes beside the target first, so that a broken export
leaves nothing half done. An episode's ``outcome`` is :attr:`secondthought.types.Episode.outcome`.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import groupby, islice, product
from pathlib import Path
from typing import Any

from secondthought.errors import UserError
from secondthought.runs.reading import read_episodes, read_run, read_table
from secondthought.runs.traces import Json, Row, of_messages, write_art, write_verifiers
from secondthought.types import Episode


def export(run: Path, to: str, out: Path | None, *, split: str | None = None) -> Path:
    """Write the episodes of ``run`` as ``to`` (one of :data:`FORMATS`); returns where.

    Raises UserError for an unknown format, a folder that is no run, a split that has no episodes, and a target in use.
    """
    if to not in FORMATS:
        raise UserError(f"there is no format {to!r}; choose {', '.join(FORMATS)}")
    read_run(run)
    write, name = FORMATS[to]
    target = out or run / "exports" / name
    if target.exists():
        raise UserError(f"{target} exists already; choose another --out or move it away")
    rows = episodes_of(run, split)
    first = next(rows, None)
    if first is None:
        raise UserError(f"{run} has no episodes{f' of the split {split!r}' if split else ''}")
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = target.with_name(f".{target.stem}.tmp{target.suffix}")
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.unlink(missing_ok=True)
    write(run, _again(first, rows), temporary)
    os.replace(temporary, target)
    return target


def episodes_of(run: Path, split: str | None = None) -> Iterator[Row]:
    """Every episode of a run, file by file. Raises UserError for a damaged file."""
    for path in sorted((run / "episodes").glob("*.parquet")):
        heads = read_table(path, ["index", "step", "split", "group"]).to_pylist()
        starts = [row for row in heads if row["index"] == 0]
        if split is not None and all(row["split"] != split for row in starts):
            continue
        for (episode, signals), row in zip(read_episodes(path), starts, strict=True):
            if split in (None, row["split"]):
                yield episode, signals, row["step"], row["split"], row["group"]


def messages(episode: Episode, upto: int | None = None) -> list[dict[str, str]]:
    """The conversation (its first ``upto`` segments) as role and content, one message for each turn."""
    found = [message._asdict() for message in episode.task.prompt]
    for segment in episode.segments[1:upto]:
        if found and found[-1]["role"] == segment.role == "assistant":
            found[-1]["content"] += segment.text  # a prefill and what was written after it are one turn
        else:
            found.append({"role": segment.role, "content": segment.text})
    return found


# --- one by one ------------------------------------------------------------------------------------------------------


def row_of(row: Row) -> Json:
    """An episode as one row."""
    episode, signals, step, split, group = row
    return {
        "messages": messages(episode), "message_advantages": of_messages(episode, signals),
        "tools": json.dumps(episode.task.tools) if episode.task.tools else None,
        "task": episode.task.key, "family": episode.task.family, "answer": json.dumps(episode.task.answer),
        "split": split, "step": step, "arm": episode.arm, "group": group, "path": list(episode.path),
        "outcome": episode.outcome,
        "scores": {name: verdict.score for name, verdict in episode.verdicts.items()},
        "why": {name: verdict.why for name, verdict in episode.verdicts.items()},
        "advantages": {name: _mean(signal.policy) for name, signal in signals.items() if signal.policy},
    }  # fmt: skip


def to_jsonl(run: Path, rows: Iterable[Row], out: Path) -> None:
    """A line for each episode, OpenAI's ``messages`` first."""
    with out.open("w", encoding="utf-8") as file:
        for one in rows:
            file.write(json.dumps(row_of(one), ensure_ascii=False) + "\n")


def flat(row: Json) -> Json:
    """A row whose mappings are JSON, so that all rows have the same columns."""
    return {k: json.dumps(v) if k in ("scores", "why", "advantages") else v for k, v in row.items()}


def to_dataset(run: Path, rows: Iterable[Row], out: Path) -> None:
    """A folder for ``datasets.load_from_disk``. Raises UserError if ``datasets`` is not installed."""
    try:
        from datasets import Dataset
    except ImportError as error:
        raise UserError("--to hf-dataset needs the package datasets: pip install 'secondthought[data]'") from error

    Dataset.from_list([flat(row_of(one)) for one in rows]).save_to_disk(str(out))


def to_hub(run: Path, rows: Iterable[Row], out: Path) -> None:
    """A folder as the hub wants a data set: ``data/*.parquet``, thousands of rows at a time; its card is written beside."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    turn = pa.struct([("role", pa.string()), ("content", pa.string())])
    texts = ("tools", "task", "family", "answer", "split", "arm", "outcome", "scores", "why", "advantages")
    schema = pa.schema(
        [("messages", pa.list_(turn)), ("message_advantages", pa.list_(pa.float64())), ("step", pa.int64())]
        + [("group", pa.int64()), ("path", pa.list_(pa.int64()))] + [(name, pa.string()) for name in texts]
    )  # fmt: skip
    (out / "data").mkdir(parents=True)
    writer: Any = None
    rest = iter(rows)
    while part := list(islice(rest, 4096)):
        table = pa.Table.from_pylist([flat(row_of(one)) for one in part], schema=schema)
        writer = writer or pq.ParquetWriter(out / "data" / "episodes.parquet", schema)
        writer.write_table(table)
    writer.close()


def to_trl(run: Path, rows: Iterable[Row], out: Path) -> None:
    """A folder of two files: ``preferences.jsonl`` (prompt, chosen, rejected) has pairs of texts that followed the same
    conversation, of which one ended right and the other wrong; ``completions.jsonl`` (prompt, completion) those that ended
    right.
    """
    out.mkdir()
    with (out / "preferences.jsonl").open("w") as pairs, (out / "completions.jsonl").open("w") as single:
        for group in _groups(rows):
            place = parting(group)
            if place is None:
                continue
            won, lost = ([e for e in group if e.final is not None and e.final.score == score] for score in (1, 0))
            for episode in won:
                single.write(json.dumps({"prompt": messages(episode, place), "completion": _written(episode, place)}) + "\n")
            for best, other in product(won, lost):
                row = {"prompt": messages(best, place), "chosen": _written(best, place), "rejected": _written(other, place)}
                pairs.write(json.dumps(row) + "\n")


def parting(group: Sequence[Episode]) -> int | None:
    """Where the episodes of a group part: the place of the first segment that differs, if a model wrote it in all of them."""
    for place in range(min(len(e.segments) for e in group)):
        here = [e.segments[place] for e in group]
        if any(segment != here[0] for segment in here):
            return place if all(segment.logprobs is not None for segment in here) else None
    return None


def _groups(rows: Iterable[Row]) -> Iterator[list[Episode]]:
    """The episodes of one group and one arm, that follow each other in a file."""
    group: list[Episode] = []
    known: Any = None
    for episode, _, step, split, number in rows:
        place = (step, split, number, episode.task.key, episode.arm)
        if place != known and group:
            yield group
            group = []
        known = place
        group.append(episode)
    if group:
        yield group


def _written(episode: Episode, place: int) -> list[dict[str, str]]:
    return [{"role": "assistant", "content": episode.segments[place].text}]


def to_inspect(run: Path, rows: Iterable[Row], out: Path) -> None:
    """An Inspect log (``inspect view``). Raises UserError if Inspect is not installed."""
    try:
        from inspect_ai import log as inspect
        from inspect_ai.model import ChatMessageAssistant, ChatMessageSystem, ChatMessageUser, ModelOutput
        from inspect_ai.scorer import Score
    except ImportError as error:
        raise UserError("--to inspect needs the package inspect-ai: pip install 'secondthought[inspect]'") from error
    kinds = {"assistant": ChatMessageAssistant, "system": ChatMessageSystem, "user": ChatMessageUser}
    model = str(read_run(run).recipe.get("model", "unknown"))
    samples = []
    for number, (episode, _, step, split, _) in enumerate(rows, 1):
        turns = [kinds[turn["role"]](content=turn["content"]) for turn in messages(episode)]
        scores = {
            name: Score(value=verdict.score, answer=verdict.answer, explanation=verdict.why)
            for name, verdict in episode.verdicts.items() if verdict.graded
        }  # fmt: skip
        samples.append(
            inspect.EvalSample(
                id=f"{split}-{step}-{episode.task.key}-{'.'.join(map(str, episode.path))}-{number}", epoch=1,
                input=episode.task.prompt[-1].content, target=json.dumps(episode.task.answer), messages=turns,
                output=ModelOutput.from_content(model, turns[-1].text), scores=scores,
                metadata={
                    "split": split, "step": step, "arm": episode.arm, "task": episode.task.key, "outcome": episode.outcome,
                },
            )
        )  # fmt: skip
    from datetime import UTC, datetime

    spec = inspect.EvalSpec(
        created=datetime.now(UTC).isoformat(), task=run.name, model=model,
        dataset=inspect.EvalDataset(name=run.name, samples=len(samples)), config=inspect.EvalConfig(),
    )  # fmt: skip
    results = inspect.EvalResults(total_samples=len(samples), completed_samples=len(samples))
    inspect.write_eval_log(
        inspect.EvalLog(status="success", eval=spec, results=results, samples=samples), str(out), format="eval"
    )


def to_verifiers(run: Path, rows: Iterable[Row], out: Path) -> None:
    """Traces with the advantage of every token."""
    write_verifiers(rows, out, str(read_run(run).recipe.get("model", "unknown")))


def to_art(run: Path, rows: Iterable[Row], out: Path) -> None:
    """Groups of trajectories."""
    write_art((list(group) for _, group in groupby(rows, key=lambda row: (row[2], row[3], row[4]))), out)


RowSampler = Callable[[Path, Iterable[Row], Path], None]
FORMATS: dict[str, tuple[RowSampler, str]] = {
    "jsonl": (to_jsonl, "episodes.jsonl"), "hf-dataset": (to_dataset, "dataset"), "trl": (to_trl, "trl"),
    "inspect": (to_inspect, "episodes.eval"), "hub": (to_hub, "hub"),
    "verifiers": (to_verifiers, "traces.jsonl"), "art": (to_art, "groups.jsonl"),
}  # fmt: skip
"""How each format is written, and what it is called where no --out is given."""


def _again(first: Row, others: Iterable[Row]) -> Iterator[Row]:
    yield first
    yield from others


def _mean(policy: float | Sequence[float]) -> float:
    return policy if isinstance(policy, int | float) else sum(policy) / max(1, len(policy))
