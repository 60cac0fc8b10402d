"""Runs to look at: one of training with everything that models can write, one half-written, one foreign."""

from __future__ import annotations

import json
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

from secondthought.credit.reflect_retry import reflection_only
from secondthought.engines.base import Request
from secondthought.engines.scripted import Scripted
from secondthought.protocols.reflect_retry import CHAT, reflect_retry
from secondthought.rollouts import rollout
from secondthought.runs.files import write_json
from secondthought.runs.journal import Journal
from secondthought.runs.reports import estimate_json, report_json
from secondthought.types import Arm, Effect, Estimate, Report, Table, Task, Verdict

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
        "reward/attempt": 0.2 + step / 100, "reward/retry": 0.5, "loss/kl": 0.01 * step, "length/reflection": 5.0,
        "groups/zero_signal_share": 0.25, "groups/count": 4.0, "speed/tokens_per_second": 1000.0, "tokens/sampled": 500.0,
        "second_try/first": 0.3, "second_try/first/low": 0.2, "second_try/first/high": 0.4, "second_try/second": 0.4,
        "second_try/second/low": 0.3, "second_try/second/high": 0.5,
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

    def one(value: float, unit: str = "fraction") -> Estimate:
        return Estimate(value, value - 0.05, value + 0.05, 100, unit)

    def report(second: float) -> dict[str, object]:
        names = {"first": 0.3, "second": second, "retry_after_failure": 0.3, "donor": 0.3}
        arms = tuple(Arm(n, n.replace("_", " "), one(v), query={"arm": n}, control=n == "donor") for n, v in names.items())
        table = Table("How first tries fail", ("class of error", "% of all"), (("wrong <b>tool</b>", "40.0"),))
        return report_json(
            Report(
                "second_try", "one reflection helps", "supported", ("it does",), arms, (Effect("gain", "own minus donor", one(0.1, "difference")),),
                "gain", figures={arm.name: arm.estimate for arm in arms}, tables=(table,),
            )
        )  # fmt: skip

    change = {"second": estimate_json(one(0.32, "difference"))}
    return {
        "run": "done", "kind": "train", "probes": {"second_try": {"before": report(0.3), "after": report(0.62), "change": change}},
        "comparisons": {}, "training": {"sampled_tokens": 1500, "seconds": 3.0, "zero_signal_groups": 0.1},
    }  # fmt: skip


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    """A folder of three runs and something else."""
    root = tmp_path / "runs"
    journal = begun(root / "group" / "done")
    for label in ("before", "after"):
        groups = rollout(partial(reflect_retry, grade=grade, prompts=CHAT), TASKS, 1, Scripted(speak))
        both = [tuple(replace(group[0], arm=arm) for arm in ("own", "donor")) for group in groups]
        journal.episodes(f"{label}_second_try", 3, label, both)
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
    (tmp_path / "outside" / "resolved.json").write_text(json.dumps({"recipe": {}, "seed": 0, "layout": 2}))
    return root
