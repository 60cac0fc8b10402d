"""What the viewer asks of runs is answered rightly, while they are written to."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.viewer.conftest import NASTY, TASKS, step_of

from secondthought.report.tokens import inert
from secondthought.runs.journal import Journal
from secondthought.runs.reading import read_episodes
from secondthought.viewer.curves import curves_of
from secondthought.viewer.store import PAGE, Episodes, Query, runs_in


def settled(folder: Path) -> Episodes:
    found = Episodes(folder)
    assert found.refresh(None) == 1.0
    return found


def test_runs_are_found_at_any_depth_and_broken_ones_left_out(runs: Path) -> None:
    assert [run.name for run in runs_in(runs)] == ["going", "group/done", "killed"]
    assert [run.name for run in runs_in(runs / "going")] == ["going"]
    assert {run.kind for run in runs_in(runs)} == {"train"}


def test_the_index_agrees_with_the_episodes(runs: Path) -> None:
    folder = runs / "group" / "done"
    index = settled(folder)
    found = {(row["file"], row["number"]): row for row in index.find(Query(page=0)).rows}
    total = 0
    for path in sorted((folder / "episodes").glob("*.parquet")):
        for number, (episode, signals) in enumerate(read_episodes(path)):
            total += 1
            if (row := found.get((path.stem, number))) is None:
                continue  # on another page
            assert row["outcome"] == episode.outcome
            assert row["task"] == episode.task.key
            assert row["tokens"] == episode.sampled_tokens
            assert row["advantage"] == (signals["reflection"].policy if "reflection" in signals else None)
            assert row["path"] == ".".join(map(str, episode.path))
    assert index.find(Query()).total == total
    assert min(total, PAGE) == len(found)


@pytest.mark.parametrize(
    ("query", "total"),
    [
        (Query(split="train"), 3 * 13), (Query(split="before"), 8), (Query(arm="donor"), 8), (Query(arm="own", split="after"), 4), (Query(outcome="fixed", split="train"), 3 * 6),
        (Query(outcome="stayed wrong", split="train"), 3 * 6), (Query(outcome="right"), 3 + 4), (Query(outcome="broken"), 0),
        (Query(step=2), 13), (Query(text="Thought NUMBER 3"), 3 * 3), (Query(text="no such words"), 0),
        (Query(text="%"), 0), (Query(text="' OR 1=1 --"), 0), (Query(task=TASKS[1].key, split="train"), 3 * 4),
        (Query(path="3", split="train"), 3 * 3), (Query(split="train", outcome="fixed", step=1, text="number 2"), 3),
        (Query(page=10**6), 3 * 13 + 4 * 4),
    ],
)  # fmt: skip
def test_filters(runs: Path, query: Query, total: int) -> None:
    found = settled(runs / "group" / "done").find(query)
    assert found.total == total
    assert len(found.rows) == (0 if query.page else min(total, PAGE))


def test_orders(runs: Path) -> None:
    index = settled(runs / "group" / "done")
    best = index.find(Query(split="train", sort="advantage")).rows
    assert best[0]["advantage"] == 1.0
    assert index.find(Query(split="train", sort="disadvantage")).rows[0]["advantage"] == -1.0
    assert index.find(Query(split="train", sort="newest")).rows[0]["step"] == 3
    assert index.find(Query(split="train", sort="oldest")).rows[0]["step"] == 1
    assert index.find(Query(split="train", sort="'; DROP TABLE episode")).total == 39  # an unknown order is the usual one


def test_new_files_are_seen_and_changed_ones_read_again(runs: Path) -> None:
    folder = runs / "going"
    index = settled(folder)
    assert index.find(Query()).total == 26
    journal = Journal(folder, {"recipe": {"name": "rrr", "model": "scripted", "steps": 100}}, resume=True)
    step_of(journal, 3)
    index.refresh(None)
    assert index.find(Query()).total == 39
    step_of(journal, 3, n=2)  # a resume writes the step anew
    index.refresh(None)
    assert index.find(Query()).total == 26 + 7
    (folder / "episodes" / "step_000003.parquet").unlink()
    index.refresh(None)
    assert index.find(Query()).total == 26


def test_half_written_files_are_named(runs: Path) -> None:
    index = settled(runs / "killed")
    assert index.find(Query()).total == 26
    assert list(index.unread) == ["step_000003"]
    curves = curves_of(runs / "killed")
    assert ([line["step"] for line in curves.lines()], curves.broken) == ([1, 2], 1)
    assert curves.lines(after=1)[0]["step"] == 2
    assert (curves_of(runs / "nowhere").lines(), curves_of(runs / "nowhere").last) == ([], None)


def test_a_group_is_all_episodes_of_one_failure(runs: Path) -> None:
    index = settled(runs / "group" / "done")
    there = index.group("step_000002", TASKS[1].key)
    assert [episode.path for episode, _, _ in there] == [(0,), (1,), (2,), (3,)]
    assert [number for _, _, number in there] == [1, 2, 3, 4]  # the easy task comes first, with one episode
    assert index.group("step_000002", "nobody") == index.group("../../secret", TASKS[1].key) == []


def test_what_cannot_be_seen_is_spelled() -> None:
    shown = inert(NASTY)
    assert "\u202e" not in shown
    assert "⟨U+202E⟩turned⟨U+2066⟩ ␀␇" in shown
    assert inert("naïve e\u0301 日本 👩\u200d💻\n\tx") == "naïve e\u0301 日本 👩\u200d💻\n\tx"
    assert inert("\ud800") == "⟨U+D800⟩"
    assert len(inert("y" * 10_000)) == 4_000
