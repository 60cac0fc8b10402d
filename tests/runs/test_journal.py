from __future__ import annotations

import json
import math
from dataclasses import replace
from functools import partial
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from secondthought.credit.reflect_retry import reflection_only
from secondthought.engines.scripted import Scripted
from secondthought.errors import UserError
from secondthought.protocols.reflect_retry import TERSE, reflect_retry
from secondthought.rollouts import rollout
from secondthought.runs.files import new_folder
from secondthought.runs.journal import SCHEMA, Journal
from secondthought.runs.reading import read_episodes, read_groups, read_metrics
from secondthought.types import Arm, Curve, Effect, Estimate, Group, Report, Signal, Table, Task, Verdict

RESOLVED = {"recipe": {"name": "r", "lr": 0.1}}


def groups() -> list[Group]:
    def grade(task: Task, text: str) -> Verdict:
        return Verdict(float(text.endswith("2")), text, "ends in 2")

    tasks = [Task.of(f"<b>{i}</b> \u202e {'x' * 100}", answer={"n": i}, family="t") for i in range(3)]
    engine = Scripted(lambda request: str(request.seed % 10))
    return rollout(partial(reflect_retry, grade=grade, prompts=TERSE), tasks, 4, engine)


class Dummy:
    def save(self, folder: Path) -> None:
        (folder / "model").mkdir()
        (folder / "model" / "weights").write_text("w")


def test_an_episode_can_be_read_back_whole(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "run", RESOLVED)
    result = groups()
    signals = [reflection_only(group) for group in result]
    journal.write(7, result, signals, {"reward/mean": 0.5, "bad": float("nan")})
    file = tmp_path / "run" / "episodes" / "step_000007.parquet"
    assert pq.read_schema(file).names == SCHEMA.names
    back = read_episodes(file)
    assert [e for e, _ in back] == [e for group in result for e in group]
    assert [s for _, s in back] == [dict(share) for shares in signals for share in shares]
    assert read_metrics(tmp_path / "run") == [{"step": 7, "bad": None, "reward/mean": 0.5}]


def test_token_advantages_survive(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "run", RESOLVED)
    group = groups()[0][:1]
    signal = {"attempt": Signal(policy=(1.0, 2.0))}
    journal.write(1, [group], [[signal]], {})
    assert read_episodes(tmp_path / "run" / "episodes" / "step_000001.parquet")[0][1] == signal


def test_a_used_folder_is_refused_and_left_alone(tmp_path: Path) -> None:
    Journal(tmp_path / "run", RESOLVED)
    before = {p: p.read_bytes() for p in (tmp_path / "run").rglob("*") if p.is_file()}
    with pytest.raises(UserError, match="already holds a run"):
        Journal(tmp_path / "run", RESOLVED)
    with pytest.raises(UserError, match=r"started with lr = 0\.1, not 0\.2"):
        Journal(tmp_path / "run", {"recipe": {"name": "r", "lr": 0.2}}, resume=True)
    assert {p: p.read_bytes() for p in (tmp_path / "run").rglob("*") if p.is_file()} == before
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "thesis.txt").write_text("years of work")
    with pytest.raises(UserError, match="in use by something else"):
        Journal(tmp_path / "other", RESOLVED)
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot write to"):
        Journal(tmp_path / "file", RESOLVED)


def test_a_run_goes_on_with_other_resources(tmp_path: Path) -> None:
    """On a machine with more cores, say; what decides the result must be the same."""
    engine = {"threads": 2, "kv_mb": 768, "kept_mb": 768, "top_p": 1.0, "precision": "bfloat16"}
    Journal(tmp_path / "run", {"recipe": {"name": "r", "engine": engine}})
    Journal(tmp_path / "run", {"recipe": {"name": "r", "engine": {**engine, "threads": 16, "kv_mb": 4096}}}, resume=True)
    with pytest.raises(UserError, match="started with engine"):
        Journal(tmp_path / "run", {"recipe": {"name": "r", "engine": {**engine, "top_p": 0.9}}}, resume=True)


def test_incomplete_checkpoints_do_not_count(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "run", RESOLVED)
    assert journal.latest() is None
    for step in (2, 10, 4):
        journal.checkpoint(step, Dummy(), keep=5)
    (tmp_path / "run" / "checkpoints" / "step_11").mkdir()
    (tmp_path / "run" / "checkpoints" / ".step_12.tmp").mkdir()
    found = journal.latest()
    assert found is not None
    assert found[0] == 10
    journal.rewind(10)
    assert not (tmp_path / "run" / "checkpoints" / ".step_12.tmp").exists()
    journal.checkpoint(12, Dummy(), keep=2)
    assert sorted(p.name for p in (tmp_path / "run" / "checkpoints").glob("step_*") if (p / "COMPLETE").exists()) == [
        "step_10",
        "step_12",
    ]


def test_an_error_while_filling_a_folder_leaves_no_folder(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError), new_folder(tmp_path / "step_1") as folder:
        (folder / "half").write_text("")
        raise RuntimeError("the disk is full")
    assert not (tmp_path / "step_1").exists()


def test_a_half_written_last_line_is_forgotten_on_rewind(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "run", RESOLVED)
    for step in (1, 2, 3):
        journal.write(step, groups(), [[{}] * len(g) for g in groups()], {"x": 1.0})
    with (tmp_path / "run" / "metrics.jsonl").open("a") as file:
        file.write('{"step": 4, "x"')
    assert [line["step"] for line in read_metrics(tmp_path / "run")] == [1, 2, 3]
    journal.rewind(2)
    assert [json.loads(x)["step"] for x in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()] == [1, 2]
    assert sorted(p.name for p in (tmp_path / "run" / "episodes").iterdir()) == ["step_000001.parquet", "step_000002.parquet"]


def test_a_report_is_made_once_and_read_back_whole(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "run", RESOLVED)
    one = Estimate(0.5, 0.4, 0.6, 10)
    report = Report(
        "demo", "it works", "supported", ("why",), (Arm("a", "an arm", one, (1.0, 0.0), {"arm": "a"}, True),),
        (Effect("e", "an effect", Estimate(0.1, math.nan, math.nan, 3, "difference")),), "e", 0.0, 0.02, {"x": one},
        (Table("t", ("", "y"), (("row", one), ("other", 3))),), (Curve("c", "x", "y", {"line": ((1.0, one),)}),), ("u", "v"), ("u", "v"), ("n",),
    )  # fmt: skip
    first = journal.report("before", lambda: report)
    assert repr(first) == repr(report)  # nan is not equal to itself
    assert repr(journal.report("before", lambda: replace(report, claim="another"))) == repr(report)


def test_what_was_measured_before_training_is_taken_over_from_the_same_beginning(tmp_path: Path) -> None:
    def recipe(**changed: object) -> dict[str, object]:
        return {"recipe": {"model": "m", "seed": 0, "collect": {"problems": 4}, "steps": 3, **changed}}

    first = Journal(tmp_path / "first", recipe())
    report = Report("p", "claim", "supported")
    first.report("before_p", lambda: report)
    for label in ("before_p", "collected", "step_000001", "after_p"):
        first.episodes(label, 0, label, groups())

    def taken(name: str, **changed: object) -> list[str]:
        journal = Journal(tmp_path / name, recipe(**changed))
        journal.take_over(first.folder, but=("steps",))
        return sorted(path.name for path in journal.folder.glob("*/*.*"))

    assert taken("longer", steps=9) == ["before_p.json", "before_p.parquet", "collected.parquet"]
    assert taken("without", collect=None) == ["before_p.json", "before_p.parquet"]
    assert taken("other_seed", seed=1) == taken("other_model", model="n") == []


def test_arms_groups_and_findings_are_facts_of_the_journal(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "run", RESOLVED)
    made = [
        tuple(replace(e, arm=f"arm {i % 2}", verdicts={**e.verdicts, "leak": Verdict(0.0, "none")}) for i, e in enumerate(g))
        for g in groups()
    ]
    journal.episodes("probe", 0, "model", made)
    back = read_groups(tmp_path / "run" / "episodes" / "probe.parquet")
    assert back == made
    assert read_groups(tmp_path / "run" / "episodes" / "probe.parquet", "nobody") == []


def test_a_run_of_another_version_is_refused(tmp_path: Path) -> None:
    (tmp_path / "old").mkdir()
    (tmp_path / "old" / "resolved.json").write_text(json.dumps(RESOLVED))
    with pytest.raises(UserError, match="written by another version of secondthought"):
        Journal(tmp_path / "old", RESOLVED, resume=True)
