"""Runs to look at: one of training with everything that models can write, one half-written, one foreign."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path

import pytest

from secondthought.credit.reflect_retry import reflection_only
from secondthought.engines.scripted import Scripted
from secondthought.files import write_json
from secondthought.journal import Journal
from secondthought.protocols.reflect_retry import CHAT, reflect_retry
from secondthought.rollout import rollout
from secondthought.scene import Request
from secondthought.types import Task, Verdict

NASTY = '<script>window.hacked = 1</script><img src="http://evil.example/x" onerror="hacked=1"> \u202eturned\u2066 \x00\x07 {{ 7 * 7 }}'
LONG = "x" * 6_000


def grade(task: Task, text: str) -> Verdict:
    return Verdict(float("right" in text), text[:30], "right" if "right" in text else "wrong answer: <b>no</b>")


def speak(request: Request) -> str:
    """Attempts are nasty, reflections numbered, every second retry is right."""
    if request.name == "attempt":
        asked = request.task.prompt[-1].content
        return "right" if "easy" in asked else LONG if "long" in asked else NASTY
    if request.name == "reflection":
        return f"thought number {request.path[0]}"
    return "right" if request.path[0] % 2 == 0 else "still no"


TASKS = [
    Task.of(f"{kind} question {i}", answer="right", family="t") for i, kind in enumerate(("easy", "hard", "harder", "long"))
]


def step_of(journal: Journal, step: int, n: int = 4) -> None:
    """One step of training, as the loop writes it."""
    groups = rollout(partial(reflect_retry, grade=grade, prompts=CHAT), TASKS, n, Scripted(speak), seed=step)
    stats = {
        "reward/first": 0.2 + step / 100, "reward/retry": 0.5, "loss/kl": 0.01 * step, "length/reflection": 5.0,
        "groups/silent": 1.0, "groups/count": 4.0, "speed/tokens_per_second": 1000.0, "tokens/sampled": 500.0,
        "dev/first": 0.3, "dev/first/low": 0.2, "dev/first/high": 0.4, "dev/second": 0.4, "dev/second/low": 0.3, "dev/second/high": 0.5,
    }  # fmt: skip
    journal.write(step, groups, [reflection_only(group) for group in groups], stats)


def begun(folder: Path, steps: int = 3) -> Journal:
    """A run that has made some steps."""
    recipe = {"name": "rrr", "model": "scripted", "steps": 100}
    journal = Journal(folder, {"recipe": recipe, "versions": {"secondthought": "0"}, "seed": 3})
    for step in range(1, steps + 1):
        step_of(journal, step)
    return journal


def summary_of() -> dict[str, object]:
    """What a finished run says of itself."""

    def one(value: float) -> dict[str, object]:
        return {"value": value, "low": value - 0.05, "high": value + 0.05, "n": 100, "unit": "fraction"}

    side = {
        name: one(0.3)
        for name in ("first", "second", "retry_after_failure", "resample_after_failure", "donor", "generic", "empty")
    }
    side |= {f"own_minus_{arm}": {**one(0.1), "unit": "difference"} for arm in ("donor", "generic", "empty", "resample")}
    claim = {"claim": "one reflection helps", "verdict": "supported", "effect": {**one(0.1), "unit": "difference"}}
    return {
        "run": "done", "before": side, "after": {**side, "second": one(0.62)}, "change": {"second": {**one(0.32), "unit": "difference"}},
        "claim": {"before": claim, "after": claim}, "errors": {"after": {"attempt": {"wrong <b>tool</b>": 0.4}}},
        "training": {"sampled_tokens": 1500, "seconds": 3.0},
    }  # fmt: skip


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    """A folder of three runs and something else."""
    root = tmp_path / "runs"
    journal = begun(root / "group" / "done")
    for label in ("before", "after"):
        told = rollout(partial(reflect_retry, grade=grade, prompts=CHAT), TASKS, 1, Scripted(speak))
        journal.episodes(label, 3, label, told)
        journal.episodes(f"{label}_donor", 3, f"{label}/donor", told)
    write_json(root / "group" / "done" / "summary.json", summary_of())
    begun(root / "going", 2)
    killed = begun(root / "killed", 2)
    (killed.folder / "episodes" / "step_000003.parquet").write_bytes(b"PAR1 and then the machine went off")
    with (killed.folder / "metrics.jsonl").open("a") as file:
        file.write('{"step": 3, "loss/kl": 0.')
    (root / "notes").mkdir()
    (root / "notes" / "resolved.json").write_text("not json")
    (tmp_path / "secret.txt").write_text("nobody may read this")
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "resolved.json").write_text(json.dumps({"recipe": {}, "seed": 0}))
    return root
