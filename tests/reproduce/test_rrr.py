"""The paper's tables on a family too small to learn anything: everything runs, is resumed, pooled and written down."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from secondthought.distributed.jobs import Job, side_by_side
from secondthought.errors import UserError
from secondthought.report import rrr as results
from secondthought.reproduce import rrr_runs, rrr_tables
from secondthought.reproduce.base import check_budget
from secondthought.reproduce.rrr import ReflectRetryReward, claims_of
from secondthought.reproduce.rrr_runs import BUDGETS, TASKS, Plan, Run, finished, run_plan, runs_of
from secondthought.runs.progress import Lines, Progress

TINY = Plan(
    trained=("0.03m",), untrained=("0.1m",), compared=("0.03m",), arms=("rrr", "answer"), seeds=1, problems=12, others=6,
    tokens={"countdown": 300, "tool_world": 300}, pretraining=3,
)  # fmt: skip


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("rrr")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(rrr_runs, "side_by_side", one_by_one)
        run_plan(out, TINY, 2, Lines())
    return out


def one_by_one(jobs: Sequence[Job], workers: int, progress: Progress) -> None:
    """The jobs in this process."""
    for job in jobs:
        assert 0 <= job.share() <= 1
        job.run(*job.arguments)


def test_a_whole_seed_comes_before_the_next() -> None:
    for plan in BUDGETS.values():
        seeds = [run.seed for run in runs_of(plan)]
        assert seeds == sorted(seeds)
        assert len(set(runs_of(plan))) == len(seeds)
    full = BUDGETS["full"]
    assert full.seeds == 3
    assert full.problems >= 2000
    assert {(run.task, run.arm) for run in runs_of(full)} >= {(task, arm) for task in TASKS for arm in ("rrr", "answer")}


def test_every_run_leaves_what_the_tables_need(done: Path) -> None:
    assert list(finished(done, TINY)) == list(runs_of(TINY))
    summary = rrr_tables.tables(done, TINY)
    assert json.loads((done / "summary.json").read_text()) == json.loads(json.dumps(summary))
    for task in TASKS:
        found = summary["tasks"][task]
        assert set(found["sizes"]) == {"0.03m", "0.1m"}
        small = found["sizes"]["0.03m"]
        assert small["change"]["second"]["n"] == 12
        assert "after" not in found["sizes"]["0.1m"]
        assert small["greedy_change"]["second"]["n"] == 12
        assert set(found["arms"]["0.03m"]) == {"rrr", "answer"}
        (beaten,) = found["beats"].values()
        assert beaten["difference"]["value"] == pytest.approx(beaten["trained"]["value"] - beaten["untrained"]["value"])
        arm = found["arms"]["0.03m"]["rrr"]
        assert min(arm["sampled_tokens"]) >= 300
        assert {"copy", "sort", "other", "perplexity"} <= arm.keys()
    held = summary["tasks"]["tool_world"]["sizes"]["0.03m"]["held"]
    assert held["tool"]["before"]["n"] + held["template"]["before"]["n"] == 12


def test_claims_have_their_published_and_their_measured_value(done: Path) -> None:
    claims = {claim.id: claim for claim in claims_of(rrr_tables.tables(done, TINY))}
    second = claims["tool_world_0.03m_second"]
    assert (second.published, second.measured is not None and second.measured.n) == ("+18.1", 12)
    assert claims["countdown_0.03m_forgetting_copy"].published == "< 1 point"


def test_the_page_and_the_pictures(done: Path) -> None:
    page = results.write(done, rrr_tables.tables(done, TINY)).read_text()
    for words in (
        "## Countdown",
        "## Function calling",
        "Who should be paid?",
        "held-out tools",
        "perplexity",
        "at 95 %",
        "at temperature 0",
    ):
        assert words in page
    assert not re.search(r"\bnan\b", page)
    for line in page.splitlines():
        if line.startswith("|"):
            assert line.endswith("|")
    for task in TASKS:
        assert (done / f"{task}_sizes.png").stat().st_size > 3000
        assert (done / f"{task}_arms_0.03m.png").stat().st_size > 3000


def test_an_unfinished_plan_has_tables_of_what_is_there(done: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(done, copy)
    shutil.rmtree(copy / "aside" / "tool_world" / "rrr")
    summary = rrr_tables.tables(copy, replace(TINY, seeds=2))
    assert "after" not in summary["tasks"]["tool_world"]["sizes"]["0.03m"]
    assert set(summary["tasks"]["tool_world"]["arms"]["0.03m"]) == {"answer"}
    assert results.page(summary)


def test_tables_of_nothing_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="holds no finished run of this plan"):
        rrr_tables.tables(tmp_path, TINY)


def test_nothing_is_done_twice_and_what_is_missing_is_made(done: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ran: list[str] = []

    def noted(jobs: Sequence[Job], workers: int, progress: Progress) -> None:
        ran.extend(job.name for job in jobs)
        one_by_one(jobs, workers, progress)

    monkeypatch.setattr(rrr_runs, "side_by_side", noted)
    run_plan(done, TINY, 1, Lines())
    assert ran == []
    before = rrr_tables.tables(done, TINY)
    lost = Run("countdown", "rrr", "0.03m", 0)
    shutil.rmtree(lost.aside(done))
    (lost.folder(done) / "summary.json").unlink()
    run_plan(done, TINY, 1, Lines())
    assert ran == ["countdown: rrr 0.03m, seed 0"]
    assert rrr_tables.tables(done, TINY) == before  # the same comes out


def test_bad_budgets_and_dead_workers_are_named(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(UserError, match="choose quick or full"):
        check_budget(ReflectRetryReward(), "huge")
    with pytest.raises(UserError, match="the last one ended with code 2"):
        side_by_side([Job("the last one", _refuse, ("no such thing",))], 2, Lines())
    assert "secondthought: no such thing" in capfd.readouterr().err


def _refuse(why: str) -> None:
    raise UserError(why)
