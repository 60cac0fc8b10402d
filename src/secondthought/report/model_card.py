"""The card of a trained model, and that of a run's episodes as a data set: what was trained, on what, what came of it against
which controls, with which versions, and how to do it again. Everything is read from the run.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from secondthought.report.card import plain
from secondthought.report.words import show, verdict
from secondthought.runs.reading import RunFolder, read_run
from secondthought.runs.reports import estimate_from, report_from
from secondthought.types import Report

TRACKIO = "trackio.json"
"""Where a run says what Trackio calls it."""


def of_model(run: RunFolder, name: str = "MODEL") -> str:
    """The card of the model that a training run made, to be written as README.md beside its weights."""
    recipe, base = run.recipe, str(run.recipe.get("model", ""))
    head = {
        "library_name": "transformers", "pipeline_tag": "text-generation",
        **({"base_model": base} if "/" in base and not base.startswith(("nano/", "/", ".")) else {}),
        "tags": ["secondthought", "self-reflection", str(recipe.get("name", ""))],
    }  # fmt: skip
    lines = [
        f"# {plain(name)}",
        "",
        f"`{base}` after {_trained(run)} with secondthought.",
        "",
    ]
    lines += ["## What came of it", ""]
    for probe, both in run.summary.get("probes", {}).items():
        lines += _before_and_after(probe, both)
    for title, found in run.summary.get("comparisons", {}).items():
        lines += _comparison(title, report_from(found))
    if not run.summary:
        lines += ["The run is not over: nothing is measured yet.", ""]
    lines += ["## How it was trained", "", *_settings(recipe), "", "## How to run it", ""]
    lines += ["```python", "from transformers import pipeline", "", f'write = pipeline("text-generation", "{name}")']
    lines += [
        'print(write([{"role": "user", "content": "..."}], max_new_tokens=256)[0]["generated_text"][-1]["content"])',
        "```",
    ]
    lines += ["", f"    secondthought probe second_try --model {name}", "", "## How to make it again", ""]
    lines += [f"    {command(run)}", "", _versions(run), *_curves(run.folder), ""]
    return _card(head, lines)


def of_episodes(run: RunFolder, episodes: int, name: str = "DATASET") -> str:
    """The card of a run's episodes as a data set, to be written as README.md beside ``data/``."""
    head = {
        "tags": ["secondthought", "self-reflection", str(run.recipe.get("name", run.summary.get("probe", "")))],
        "size_categories": [next(label for most, label in SIZES if episodes < most)],
        "configs": [{"config_name": "default", "data_files": "data/*.parquet"}],
    }  # fmt: skip
    what = f"the training run `{run.name}`" if run.kind == "train" else f"the measurement `{run.name}`"
    lines = [
        f"# {plain(name)}", "",
        f"Every episode of {what} of secondthought: {episodes:,} conversations with what each segment was worth.", "",
        "| column | |", "|---|---|",
        "| `messages` | the conversation, as role and content |",
        "| `scores`, `why` | each verdict and its reason, by the segment it is about (JSON) |",
        "| `outcome` | fixed, broken, stayed right, stayed wrong, right, wrong or ungraded |",
        "| `advantages`, `message_advantages` | what each segment (JSON) and each message was paid in training |",
        "| `arm`, `split`, `step`, `group`, `path` | the condition, when it was sampled, and what it is compared with |",
        "| `task`, `family`, `answer` | the problem's key, its family, and what its grader knows (JSON) |",
        "", "## How it was made", "", *_settings(run.recipe), "", f"    {command(run)}", "", _versions(run),
        *_curves(run.folder), "",
    ]  # fmt: skip
    return _card(head, lines)


SIZES = ((1_000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K"), (1_000_000, "100K<n<1M"), (1 << 62, "n>1M"))


def beside(run: Path, model: Path, name: str = "") -> None:
    """Write the card of a run's model into its folder."""
    (model / "README.md").write_text(of_model(read_run(run), name or model.name), encoding="utf-8")


def for_episodes(run: Path, folder: Path, name: str = "") -> None:
    """Write the card of a run's episodes into the folder that holds them."""
    import pyarrow.parquet as pq

    episodes = sum(pq.ParquetFile(file).metadata.num_rows for file in (folder / "data").glob("*.parquet"))
    (folder / "README.md").write_text(of_episodes(read_run(run), episodes, name or folder.name), encoding="utf-8")


def command(run: RunFolder) -> str:
    """The command that makes the run again."""
    asked: Mapping[str, Any] = run.resolved.get("command") or {}
    words = [
        "secondthought",
        "probe" if run.kind == "probe" else "train",
        str(run.recipe.get("name", run.summary.get("probe", ""))),
    ]
    for option in ("model", "tasks", "grade"):
        if asked.get(option):
            words += [f"--{option}", str(asked[option])]
    for setting in asked.get("settings") or ():
        words += ["--set", str(setting)]
    return shlex.join([*words, "--out", "RUN"])


def _card(head: Mapping[str, Any], lines: list[str]) -> str:
    top = [f"{name}: {json.dumps(value)}" for name, value in head.items()]  # JSON is YAML
    return "\n".join(["---", *top, "---", "", *lines])


def _trained(run: RunFolder) -> str:
    steps, seed = run.summary.get("steps", "some"), run.resolved.get("seed", 0)
    tokens = run.summary.get("training", {}).get("sampled_tokens")
    return f"{steps} steps of `{run.recipe.get('name')}` (seed {seed}" + (f", {tokens:,} sampled tokens)" if tokens else ")")


def _before_and_after(probe: str, both: Mapping[str, Any]) -> list[str]:
    """A table of every arm before, after and what changed; controls are marked."""
    if not both.get("after"):
        return []
    after = report_from(both["after"])
    before = report_from(both["before"]) if both.get("before") else None
    change = {name: estimate_from(one) for name, one in (both.get("change") or {}).items()}
    lines = [
        f"### `{probe}`, held-out problems, % with 95 % intervals",
        "",
        "| | before | after | change |",
        "|---|---|---|---|",
    ]
    earlier = {arm.name: arm.estimate for arm in before.arms} if before else {}
    for arm in after.arms:
        label = f"*control: {plain(arm.label)}*" if arm.control else plain(arm.label)
        lines.append(f"| {label} | {show(earlier.get(arm.name))} | {show(arm.estimate)} | {show(change.get(arm.name))} |")
    said = [f"- before: {plain(verdict(before))}"] if before else []
    return [*lines, "", *said, f"- after: {plain(verdict(after))}", ""]


def _comparison(title: str, report: Report) -> list[str]:
    lines = [f"### {title}", "", plain(verdict(report)), "", "| | |", "|---|---|"]
    return [*lines, *(f"| {plain(effect.label)} | {show(effect.estimate)} |" for effect in report.effects), ""]


def _settings(recipe: Mapping[str, Any]) -> list[str]:
    """What was set, in a list: what a reader of a model card looks for."""
    optim = recipe.get("optim", {})
    known = {
        "tasks": _words(recipe.get("tasks")), "steps": recipe.get("steps"), "problems a step": recipe.get("groups"),
        "group size": recipe.get("group_size"), "temperature": recipe.get("temperature"),
        "max tokens": recipe.get("max_tokens"),
        "learning rate": optim.get("lr"), "kl": optim.get("kl"), "normalization": optim.get("normalization"),
        "LoRA rank": optim.get("lora") or None, "matrices held in": {"plain": None}.get(optim.get("load"), optim.get("load")),
    }  # fmt: skip
    return [f"- {name}: {plain(str(value))}" for name, value in known.items() if value not in (None, "")]


def _words(tasks: Any) -> str | None:
    return json.dumps(tasks) if isinstance(tasks, Mapping | list) else None if tasks is None else str(tasks)


def _versions(run: RunFolder) -> str:
    made = ", ".join(f"{name} {number}" for name, number in run.resolved.get("versions", {}).items() if number)
    commit = run.resolved.get("commit")
    return f"Versions: {made}" + (f"; commit {commit}" if commit else "") + "."


def _curves(folder: Path) -> list[str]:
    """Where Trackio shows the curves, if it was used."""
    file = folder / TRACKIO
    if not file.is_file():
        return []
    known = json.loads(file.read_text(encoding="utf-8"))
    space = known.get("space")
    where = f"https://huggingface.co/spaces/{space}" if space else f"`trackio show --project {known['project']}`"
    return ["", f"Curves: {where}, run `{known['name']}`."]
