"""The record of a run: everything that happened can be read back whole, and nothing half-written is ever seen.

runs/NAME/resolved.json              recipe, versions, seed, commit
          metrics.jsonl              one line a step, append-only, slash-separated names
          episodes/*.parquet         one row for each segment
          reports/LABEL.json         what a probe found, so that a resume does not repeat it
          checkpoints/step_N/        model/ (Hugging Face layout), trainer/, state.json, COMPLETE
          summary.json, report.html
"""

from __future__ import annotations

import json
import math
import os
import platform
import shutil
import subprocess
import weakref
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import fields, is_dataclass
from functools import partial
from importlib.metadata import version
from pathlib import Path
from statistics import fmean
from typing import Any, Protocol

import pyarrow as pa
import pyarrow.parquet as pq

from secondthought.errors import UserError
from secondthought.runs.files import complete_folders, new_folder, write_json
from secondthought.runs.lock import hold
from secondthought.runs.reading import LAYOUT, read_metrics, read_run, task_json
from secondthought.runs.redaction import hide
from secondthought.runs.reports import report_from, report_json
from secondthought.types import Episode, Group, Report, Signal, Signals

VERDICT = pa.struct([("name", pa.string()), ("score", pa.float64()), ("answer", pa.string()), ("why", pa.string())])
SCHEMA = pa.schema(
    [
        ("run", pa.string()),
        ("step", pa.int64()),
        ("split", pa.string()),
        ("task_key", pa.string()),
        ("family", pa.string()),
        ("arm", pa.string()),
        ("group", pa.int32()),
        ("path", pa.list_(pa.int32())),
        ("index", pa.int32()),
        ("name", pa.string()),
        ("author", pa.string()),
        ("role", pa.string()),
        ("text", pa.string()),
        ("tokens", pa.list_(pa.int32())),
        ("logprobs", pa.list_(pa.float32())),
        ("version", pa.int64()),
        ("stop", pa.string()),
        ("policy", pa.float64()),
        ("kl", pa.float64()),
        ("imitate", pa.float64()),
        ("policy_tokens", pa.list_(pa.float64())),
        ("verdicts", pa.list_(VERDICT)),
        ("task", pa.string()),
    ]
)
"""``group`` numbers the groups of one write; ``arm`` is the episode's. ``policy`` is the mean where a method pays single
tokens, which then stand in ``policy_tokens``. ``task`` (JSON) and ``verdicts`` stand on the first segment of an episode."""


class Saveable(Protocol):
    """What a checkpoint asks of a learner."""

    def save(self, folder: Path) -> None:
        """Write everything that a bit-exact resume needs."""
        ...


class Journal:
    """One run folder, held until nobody has the journal any more. Opening a used folder without ``resume``, with another
    recipe, or while another process writes to it raises UserError; who only ``reads`` beside the writer does not hold it.
    """

    def __init__(self, folder: Path, resolved: Mapping[str, Any], *, resume: bool = False, reads: bool = False) -> None:
        self.folder = folder
        self.run = folder.name
        known = folder / "resolved.json"
        if known.exists() and not resume:
            raise UserError(f"{folder} already holds a run; pass --resume to continue it or choose another --out")
        others = [p for p in folder.iterdir() if not p.name.startswith((".", "cache.sqlite"))] if folder.is_dir() else []
        if others and not known.exists():
            raise UserError(f"{folder} is in use by something else; choose another --out")
        try:
            folder.mkdir(parents=True, exist_ok=True)
            if not reads:
                weakref.finalize(self, hold(folder))
            if known.exists():
                self._go_on(read_run(folder).resolved, resolved)
            else:  # the first thing that is written: from here on this is a run
                write_json(known, {**resolved, "layout": LAYOUT})
            for room in ("episodes", "reports", "checkpoints"):
                (folder / room).mkdir(exist_ok=True)
        except OSError as error:
            raise UserError(f"cannot write to {folder}: {error.strerror}; choose another --out") from error

    def _go_on(self, before: Mapping[str, Any], now: Mapping[str, Any]) -> None:
        """The same run again, or the same with more steps: what was concluded from fewer is forgotten."""
        recipe = json.loads(hide(json.dumps(now["recipe"])))
        steps, wanted = before["recipe"].get("steps"), recipe.get("steps")
        grows = before.get("kind") == "train" and isinstance(steps, int) and isinstance(wanted, int) and wanted > steps
        _check_same(before["recipe"] | ({"steps": wanted} if grows else {}), recipe, self.folder)
        if before.get("weights") and now.get("weights") and before["weights"] != now["weights"]:
            raise UserError(
                f"{self.folder} was started from other weights of {recipe.get('model')}, since changed; choose another --out"
            )
        if grows:
            concluded = [p for p in (self.folder / "reports").glob("*.json") if not p.name.startswith("before_")]
            for file in [self.folder / "summary.json", *concluded]:
                file.unlink(missing_ok=True)
            write_json(self.folder / "resolved.json", {**before, "recipe": before["recipe"] | {"steps": wanted}})

    # --- steps -------------------------------------------------------------------------------------------------------

    def write(
        self, step: int, groups: Sequence[Group], signals: Sequence[Sequence[Signals]], stats: Mapping[str, float]
    ) -> None:
        """Record a step: its episodes first, then its line of metrics, which makes it count."""
        self.episodes(f"step_{step:06d}", step, "train", groups, signals)
        self.metrics(step, stats)

    def metrics(self, step: int, stats: Mapping[str, float]) -> None:
        """Append one line to metrics.jsonl; values that are not finite become null."""
        line = {"step": step, **{k: v if math.isfinite(v) else None for k, v in sorted(stats.items())}}
        with (self.folder / "metrics.jsonl").open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")
            file.flush()

    def episodes(
        self, name: str, step: int, split: str, groups: Sequence[Group], signals: Sequence[Sequence[Signals]] | None = None
    ) -> None:
        """Write one Parquet file, a row for each segment of each episode."""
        paid = signals if signals is not None else [[{}] * len(group) for group in groups]
        rows = [
            row
            for number, (group, shares) in enumerate(zip(groups, paid, strict=True))
            for episode, share in zip(group, shares, strict=True)
            for row in _rows(self.run, step, split, number, episode, share)
        ]
        path = self.folder / "episodes" / f"{name}.parquet"
        temporary = path.with_name(f".{path.name}.tmp")
        pq.write_table(pa.Table.from_pylist(rows, schema=SCHEMA), temporary, compression="zstd", write_page_checksum=True)
        os.replace(temporary, path)

    # --- reports -----------------------------------------------------------------------------------------------------

    def report(self, label: str, make: Callable[[], Report]) -> Report:
        """The report kept under this label, made now if it was not yet."""
        path = self.folder / "reports" / f"{label}.json"
        if not path.exists():
            write_json(path, report_json(make()))
        return report_from(json.loads(path.read_text(encoding="utf-8")))

    def take_over(self, other: Path, *, but: Collection[str]) -> None:
        """What ``other`` measured and collected before its training, if its recipe is this one ``but`` for some fields.

        What is here already stays. The collected episodes are taken where their recipe is the same too.
        """
        own, theirs = (read_run(run).resolved["recipe"] for run in (self.folder, other))
        if any(not _still(theirs[key], own.get(key)) for key in theirs if key not in but and key != "collect"):
            return
        same = _still(theirs.get("collect"), own.get("collect"))
        for name in ("episodes/before_*", *(("episodes/collected.*",) if same else ()), "reports/before_*"):
            for file in sorted(other.glob(name)):
                if not (path := self.folder / file.relative_to(other)).exists():
                    shutil.copyfile(file, temporary := path.with_name(f".{path.name}.tmp"))
                    os.replace(temporary, path)

    # --- checkpoints -------------------------------------------------------------------------------------------------

    def checkpoint(self, step: int, learner: Saveable, *, keep: int = 2, best: Callable[[], int | None] = lambda: None) -> Path:
        """Save a checkpoint, then delete all but the newest ``keep`` and the step that ``best`` then names."""
        path = self.folder / "checkpoints" / f"step_{step}"
        with new_folder(path) as folder:
            learner.save(folder)
            write_json(folder / "state.json", {"step": step, "run": self.run})
        kept = {f"step_{best()}", *(folder.name for folder in complete_folders(self.folder / "checkpoints")[-keep:])}
        for old in complete_folders(self.folder / "checkpoints"):
            if old.name not in kept:
                shutil.rmtree(old)
        return path

    def best(self, metric: str, every: int) -> int | None:
        """The checkpoint, of those at multiples of ``every`` and the newest, with the highest mean of ``metric`` over the
        ``every`` steps up to it; the first of equals. None where there is no such figure.
        """
        steps = [int(folder.name.removeprefix("step_")) for folder in complete_folders(self.folder / "checkpoints")]
        lines, means = read_metrics(self.folder), {}
        for step in (one for one in steps if one % every == 0 or one == steps[-1]):
            window = [line[metric] for line in lines if step - every < line["step"] <= step and line.get(metric) is not None]
            if window:
                means[step] = fmean(window)
        return max(means, key=lambda step: means[step]) if means else None

    def latest(self) -> tuple[int, Path] | None:
        """The newest complete checkpoint and its step."""
        found = complete_folders(self.folder / "checkpoints")
        return (int(found[-1].name.removeprefix("step_")), found[-1]) if found else None

    def rewind(self, step: int) -> None:
        """Forget what was recorded after ``step``: those steps will happen again."""
        path = self.folder / "metrics.jsonl"
        kept = [line for line in read_metrics(self.folder) if line["step"] <= step]
        temporary = path.with_name(".metrics.jsonl.tmp")
        temporary.write_text("".join(json.dumps(line) + "\n" for line in kept), encoding="utf-8")
        os.replace(temporary, path)
        for file in (self.folder / "episodes").glob("step_*.parquet"):
            if int(file.stem.removeprefix("step_")) > step:
                file.unlink()
        for stale in (self.folder / "checkpoints").glob(".*.tmp"):
            shutil.rmtree(stale)


def _check_same(before: Mapping[str, Any], now: Mapping[str, Any], folder: Path) -> None:
    for key in sorted(before):
        if not _still(before[key], now.get(key)):
            raise UserError(
                f"{folder} was started with {key} = {before.get(key)}, not {now.get(key)}; "
                "resume it with the same recipe or choose another --out"
            )


OPEN = {"precision": "auto"}
"""Settings that may be left to what is measured when a run begins."""
RESOURCES = ("threads", "kv_mb", "kept_mb")
"""What a run may use may change from one machine to another: it decides how fast it is, and nothing beyond rounding."""


def _still(before: Any, now: Any) -> bool:
    """Whether a setting is what it was. Settings that did not exist yet are no difference: their defaults change nothing, and
    neither is one that was left open, nor what a run may use.
    """
    if isinstance(before, list) and isinstance(now, list):
        return len(before) == len(now) and all(map(_still, before, now))
    if isinstance(before, dict) and isinstance(now, dict):
        rest = {key: value for key, value in before.items() if key not in RESOURCES}
        return all(_still(v, now.get(key)) or (key in OPEN and OPEN[key] in (v, now.get(key))) for key, v in rest.items())
    return bool(before == now)


def _rows(run: str, step: int, split: str, group: int, episode: Episode, signals: Signals) -> Iterator[dict[str, Any]]:
    asked = episode.task
    task = json.dumps(task_json(asked))
    verdicts = [
        {"name": name, "score": v.score, "answer": None if v.answer is None else _utf8(v.answer), "why": _utf8(v.why)}
        for name, v in episode.verdicts.items()
    ]
    for index, segment in enumerate(episode.segments):
        signal = signals.get(segment.name, Signal())
        by_token = signal.policy if isinstance(signal.policy, tuple) else None
        yield {
            "run": run, "step": step, "split": split, "arm": episode.arm, "group": group, "task_key": asked.key,
            "family": asked.family, "path": episode.path, "index": index, "name": segment.name, "author": segment.author,
            "role": segment.role, "text": _utf8(segment.text), "tokens": segment.tokens,
            "logprobs": segment.logprobs, "version": segment.version, "stop": segment.stop,
            "policy": sum(by_token) / max(len(by_token), 1) if by_token is not None else signal.policy,
            "kl": signal.kl, "imitate": signal.imitate, "policy_tokens": by_token,
            "verdicts": verdicts if index == 0 else None, "task": task if index == 0 else None,
        }  # fmt: skip


def _utf8(text: str) -> str:
    """Lone surrogates, which no file can hold, become question marks."""
    return text.encode("utf-8", "replace").decode()


def resolved(recipe: Any, kind: str = "train", command: Mapping[str, Any] | None = None, weights: str = "") -> dict[str, Any]:
    """What is needed to know how a run was made: the recipe down to its last default, versions, seed and commit; and the
    ``command`` that it was made from, for a resume that need not repeat it. ``weights`` is a digest of those it begins with.
    """
    return {
        **({"command": dict(command)} if command is not None else {}),
        **({"weights": weights} if weights else {}),
        "kind": kind,
        "recipe": describe(recipe),
        "versions": versions(),
        "seed": recipe.seed,
        "commit": _commit(),
        "machine": f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores",
    }


def versions() -> dict[str, str]:
    """The versions that numbers may depend on."""
    packages = ("secondthought", "torch", "transformers", "tokenizers", "numpy", "pyarrow")
    return {"python": platform.python_version(), **{name: version(name) for name in packages}}


def describe(value: Any) -> Any:
    """A recipe in JSON: dataclasses by field, functions by name, options that are bound to them included."""
    if isinstance(value, partial):
        return {"call": describe(value.func), **{k: describe(v) for k, v in value.keywords.items()}}
    if is_dataclass(value) and not isinstance(value, type):
        rows = getattr(value, "digest", None)
        known = {f.name: describe(getattr(value, f.name)) for f in fields(value) if f.repr}
        return known | ({"digest": rows} if isinstance(rows, str) else {})
    if isinstance(value, Mapping):
        return {str(k): describe(v) for k, v in value.items()}
    if isinstance(value, tuple | list):
        return [describe(v) for v in value]
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if (owner := getattr(value, "__self__", None)) is not None:
        return f"{type(owner).__name__}.{value.__name__}"
    return getattr(value, "__qualname__", None) or repr(value)


def _commit() -> str | None:
    """The commit of this code, if it runs from its own repository (and not from a .venv in somebody else's)."""

    def git(*words: str) -> str:
        here = Path(__file__).parent
        return subprocess.run(["git", *words], cwd=here, capture_output=True, text=True, check=False).stdout.strip()

    try:
        return git("rev-parse", "HEAD") if git("ls-files", Path(__file__).name) else None
    except FileNotFoundError:  # no git here
        return None
