"""Episodes of a run in other tools' formats: Inspect logs, messages in JSONL, a ``datasets`` folder, rows for TRL.

Every export reads the run's own Parquet files, a file at a time, and writes beside the target first, so that a broken export
leaves nothing half done. An episode's ``outcome`` is what reflecting did: ``stayed right``, ``fixed``, ``broken``, ``stayed
wrong``, or just ``right`` or ``wrong`` where there was one verdict.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import product
from pathlib import Path
from typing import Any

import pyarrow as pa

from secondthought.files import UserError
from secondthought.journal import read_episodes
from secondthought.types import Episode, Signal

Told = tuple[Episode, Mapping[str, Signal], int, str]
"""An episode, its signals, its step and its split."""
Json = dict[str, Any]


def export(run: Path, to: str, out: Path | None, *, split: str | None = None) -> Path:
    """Write the episodes of ``run`` as ``to`` (one of :data:`FORMATS`); returns where.

    Raises UserError for an unknown format, a folder that is no run, a split that has no episodes, and a target in use.
    """
    if to not in FORMATS:
        raise UserError(f"there is no format {to!r}; choose {', '.join(FORMATS)}")
    if not (run / "resolved.json").is_file():
        raise UserError(f"{run} is no run: there is no resolved.json in it")
    write, name = FORMATS[to]
    target = out or run / "exports" / name
    if target.exists():
        raise UserError(f"{target} exists already; choose another --out or move it away")
    told = episodes_of(run, split)
    first = next(told, None)
    if first is None:
        raise UserError(f"{run} has no episodes{f' of the split {split!r}' if split else ''}")
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = target.with_name(f".{target.stem}.tmp{target.suffix}")
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.unlink(missing_ok=True)
    write(run, _again(first, told), temporary)
    os.replace(temporary, target)
    return target


def episodes_of(run: Path, split: str | None = None) -> Iterator[Told]:
    """Every episode of a run, file by file; files that are still being written are left out."""
    import pyarrow.parquet as pq

    for path in sorted((run / "episodes").glob("*.parquet")):
        try:
            heads = pq.read_table(path, columns=["index", "step", "split"]).to_pylist()
        except (pa.ArrowInvalid, OSError):
            continue
        starts = [row for row in heads if row["index"] == 0]
        if split is not None and all(row["split"] != split for row in starts):
            continue
        for (episode, signals), row in zip(read_episodes(path), starts, strict=True):
            if split in (None, row["split"]):
                yield episode, signals, row["step"], row["split"]


def outcome(episode: Episode) -> str:
    """What reflecting did to the answer."""
    scores = {name: verdict.score for name, verdict in episode.verdicts.items() if verdict.graded}
    if {"attempt", "retry"} <= scores.keys():
        pair = (scores["attempt"] == 1, scores["retry"] == 1)
        return {(True, True): "stayed right", (False, True): "fixed", (True, False): "broken"}.get(pair, "stayed wrong")
    return "ungraded" if not scores else "right" if all(score == 1 for score in scores.values()) else "wrong"


def messages(episode: Episode, upto: int | None = None) -> list[dict[str, str]]:
    """The conversation (its first ``upto`` segments) as role and content, one message for each turn."""
    found = [message._asdict() for message in episode.task.prompt]
    for segment in episode.segments[1:upto]:
        if found and found[-1]["role"] == segment.role == "assistant":
            found[-1]["content"] += segment.text  # a prefill and what was said after it are one turn
        else:
            found.append({"role": segment.role, "content": segment.text})
    return found


# --- one by one ------------------------------------------------------------------------------------------------------


def row_of(told: Told) -> Json:
    """An episode as one row."""
    episode, signals, step, split = told
    return {
        "messages": messages(episode), "tools": json.dumps(episode.task.tools) if episode.task.tools else None,
        "task": episode.task.key, "family": episode.task.family, "answer": json.dumps(episode.task.answer),
        "split": split, "step": step, "path": list(episode.path), "outcome": outcome(episode),
        "scores": {name: verdict.score for name, verdict in episode.verdicts.items()},
        "why": {name: verdict.why for name, verdict in episode.verdicts.items()},
        "advantages": {name: _mean(signal.policy) for name, signal in signals.items() if signal.policy},
    }  # fmt: skip


def to_jsonl(run: Path, told: Iterable[Told], out: Path) -> None:
    """A line for each episode, OpenAI's ``messages`` first."""
    with out.open("w", encoding="utf-8") as file:
        for one in told:
            file.write(json.dumps(row_of(one), ensure_ascii=False) + "\n")


def to_dataset(run: Path, told: Iterable[Told], out: Path) -> None:
    """A folder for ``datasets.load_from_disk``. Raises UserError if ``datasets`` is not installed."""
    try:
        from datasets import Dataset
    except ImportError as error:
        raise UserError("--to hf-dataset needs the package datasets: pip install 'secondthought[data]'") from error

    def flat(row: Json) -> Json:
        return {k: json.dumps(v) if k in ("scores", "why", "advantages") else v for k, v in row.items()}

    Dataset.from_list([flat(row_of(one)) for one in told]).save_to_disk(str(out))


def to_trl(run: Path, told: Iterable[Told], out: Path) -> None:
    """A folder of two files: ``preferences.jsonl`` (prompt, chosen, rejected) has pairs of reflections on one failure, of which
    one led to a right retry; ``completions.jsonl`` (prompt, completion) the reflections that did.
    """
    out.mkdir()
    with (out / "preferences.jsonl").open("w") as pairs, (out / "completions.jsonl").open("w") as single:
        for group in _groups(told):
            won, lost = ([e for e in group if e.verdicts["retry"].score == score] for score in (1, 0))
            for episode in won:
                single.write(json.dumps({"prompt": _asked(episode), "completion": _said(episode)}) + "\n")
            for best, other in product(won, lost):
                row = {"prompt": _asked(best), "chosen": _said(best), "rejected": _said(other)}
                pairs.write(json.dumps(row) + "\n")


def _groups(told: Iterable[Told]) -> Iterator[list[Episode]]:
    """Tellings that reflect on the same failure, token for token."""
    group: list[Episode] = []
    known: Any = None
    for episode, _, step, split in told:
        if "retry" not in episode.verdicts or "reflection" not in episode:
            continue
        failure = (step, split, episode.task.key, tuple(s.tokens for s in episode.segments[: _place(episode)]))
        if failure != known and group:
            yield group
            group = []
        known = failure
        group.append(episode)
    if group:
        yield group


def _place(episode: Episode) -> int:
    return next(i for i, segment in enumerate(episode.segments) if segment.name == "reflection")


def _asked(episode: Episode) -> list[dict[str, str]]:
    return messages(episode, _place(episode))


def _said(episode: Episode) -> list[dict[str, str]]:
    return [{"role": "assistant", "content": episode["reflection"].text}]


def to_inspect(run: Path, told: Iterable[Told], out: Path) -> None:
    """An Inspect log (``inspect view``). Raises UserError if Inspect is not installed."""
    try:
        from inspect_ai import log as inspect
        from inspect_ai.model import ChatMessageAssistant, ChatMessageSystem, ChatMessageUser, ModelOutput
        from inspect_ai.scorer import Score
    except ImportError as error:
        raise UserError("--to inspect needs the package inspect-ai: pip install 'secondthought[inspect]'") from error
    kinds = {"assistant": ChatMessageAssistant, "system": ChatMessageSystem, "user": ChatMessageUser}
    resolved = json.loads((run / "resolved.json").read_text(encoding="utf-8"))
    model = str(resolved["recipe"].get("model", "unknown"))
    samples = []
    for number, (episode, _, step, split) in enumerate(told, 1):
        said = [kinds[turn["role"]](content=turn["content"]) for turn in messages(episode)]
        scores = {
            name: Score(value=verdict.score, answer=verdict.answer, explanation=verdict.why)
            for name, verdict in episode.verdicts.items() if verdict.graded
        }  # fmt: skip
        samples.append(
            inspect.EvalSample(
                id=f"{split}-{step}-{episode.task.key}-{'.'.join(map(str, episode.path))}-{number}", epoch=1,
                input=episode.task.prompt[-1].content, target=json.dumps(episode.task.answer), messages=said,
                output=ModelOutput.from_content(model, said[-1].text), scores=scores,
                metadata={"split": split, "step": step, "task": episode.task.key, "outcome": outcome(episode)},
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


Writer = Callable[[Path, Iterable[Told], Path], None]
FORMATS: dict[str, tuple[Writer, str]] = {
    "jsonl": (to_jsonl, "episodes.jsonl"), "hf-dataset": (to_dataset, "dataset"), "trl": (to_trl, "trl"),
    "inspect": (to_inspect, "episodes.eval"),
}  # fmt: skip
"""How each format is written, and what it is called where no --out is given."""


def _again(first: Told, others: Iterable[Told]) -> Iterator[Told]:
    yield first
    yield from others


def _mean(policy: float | Sequence[float]) -> float:
    return policy if isinstance(policy, int | float) else sum(policy) / max(1, len(policy))
