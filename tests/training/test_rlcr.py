"""RLCR and its arms as whole runs on nano: a start with drawn confidences, then rewards."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from secondthought.recipes import load
from secondthought.recipes.rlcr import ARMS
from secondthought.runs.progress import Silence
from secondthought.runs.reading import read_groups, read_metrics
from secondthought.training.loop import train
from secondthought.training.recipe import Recipe
from secondthought.training.settings import override

SMALL = (
    "groups=4", "group_size=4", "eval_problems=8", "dev_problems=4", "checkpoint_every=9", "eval_every=99", "start.steps=3",
    "reward.steps=2", "settle.steps=1", "start.problems=48",
)  # fmt: skip


def small(arm: str = "", *more: str) -> Recipe:
    return override(load(f"rlcr:{arm}" if arm else "rlcr", model="nano/countdown"), [*SMALL, *more])


@pytest.mark.parametrize("arm", ["", "rlvr", "joint", "shuffled", "collapsed"])
def test_arms_run(arm: str, tmp_path: Path) -> None:
    summary = train(small(arm), tmp_path / "run", Silence())
    assert summary["steps"] == 6
    shown = [e for i in (1, 2, 3) for g in read_groups(tmp_path / f"run/episodes/step_00000{i}.parquet") for e in g]
    stated = {e["confidence"].text for e in shown}
    assert stated == {"9"} if arm == "collapsed" else len(stated) > 3
    assert all(e["attempt"].text in e.task.prompt[-1].content.split() for e in shown)  # a guess among the numbers shown
    losses = [line["loss/imitate"] for line in read_metrics(tmp_path / "run")[:3]]
    assert losses[0] > 0
    sampled = read_groups(tmp_path / "run/episodes/step_000004.parquet")
    for group in sampled:
        for e in group:
            assert [s.name for s in e.segments] == ["prompt", "attempt", "ask_confidence", "confidence"]
            assert math.isnan(e.verdicts["confidence"].score) or 0 <= e.verdicts["confidence"].score <= 1


def test_every_arm_is_made_and_chat_models_need_no_start(chat_folder: Path, tmp_path: Path) -> None:
    for arm in ARMS:
        assert [stage.name for stage in load(f"rlcr:{arm}", model="nano/countdown").parts] == ["start", "reward", "settle"]
    rows = tmp_path / "rows.jsonl"
    rows.write_text("".join(f'{{"question": "{i} + {i}?", "answer": {2 * i}}}\n' for i in range(60)))
    recipe = load("rlcr", model=str(chat_folder), tasks=str(rows), grade="number")
    assert [stage.name for stage in recipe.parts] == ["reward"]
    assert (recipe.group_size, recipe.temperature, recipe.optim.lr) == (32, 0.7, 1e-6)
    changes = ["groups=1", "group_size=2", "max_tokens=4", "eval_problems=2", "dev_problems=2", "reward.steps=1"]
    train(override(recipe, changes), tmp_path / "run", Silence())
    (group,) = read_groups(tmp_path / "run/episodes/step_000001.parquet")
    assert "<confidence>" in group[0].task.prompt[-1].content
    assert group[0].verdicts["attempt"].why.startswith("malformed")
