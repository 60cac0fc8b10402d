"""Recipes that reward themselves, as whole runs on nano: self-questioning, SERL, post-completion."""

from __future__ import annotations

from pathlib import Path

import pytest

from secondthought.recipes import arms_of, load
from secondthought.runs.progress import Silence
from secondthought.runs.reading import read_groups, read_metrics
from secondthought.training.loop import train
from secondthought.training.settings import override

SMALL = ["groups=2", "eval_problems=6", "dev_problems=4", "eval_every=2", "checkpoint_every=99"]


@pytest.mark.parametrize("arm", ["", "oracle", "static", "random_vote", "format_only"])
def test_self_questioning(arm: str, tmp_path: Path) -> None:
    recipe = override(load(f"self_questioning:{arm}" if arm else "self_questioning"), [*SMALL, "steps=2", "group_size=4"])
    summary = train(recipe, tmp_path / "run", Silence())
    assert summary["steps"] == 2
    lines = read_metrics(tmp_path / "run")
    assert {"reward/question", "reward/agreement", "reward/answer"} <= lines[0].keys()
    group = read_groups(tmp_path / "run/episodes/step_000001.parquet")[0]
    authors = {e["question"].author for e in group if e.arm == "proposer"}
    assert authors == ({"task"} if arm == "static" else {"policy"})


@pytest.mark.parametrize("arm", ["", "placebo", "oracle", "one_order", "actor_only"])
def test_serl(arm: str, tmp_path: Path) -> None:
    recipe = override(load(f"serl:{arm}" if arm else "serl"), [*SMALL, "steps=2", "group_size=3"])
    assert train(recipe, tmp_path / "run", Silence())["steps"] == 2
    lines = read_metrics(tmp_path / "run")
    assert 0 <= lines[1]["judge/consistent"] <= 1
    group = read_groups(tmp_path / "run/episodes/step_000001.parquet")[0]
    assert [e.arm for e in group].count("judge") == 3 * 4


@pytest.mark.parametrize("arm", ["", "answers_only", "untrained", "shuffled", "summed", "taught"])
def test_post_completion(arm: str, tmp_path: Path) -> None:
    recipe = load(f"post_completion:{arm}" if arm else "post_completion")
    own = {stage.name for stage in recipe.stages}
    steps = [f"{name}.steps=2" for name in ("start", "reward") if name in own]
    more = ["start.problems=40"] if "start" in own else []
    train(override(recipe, [*SMALL, *steps, *more, "group_size=4"]), tmp_path / "run", Silence())
    if arm == "answers_only":
        return
    shown = read_groups(tmp_path / "run/episodes/step_000001.parquet")
    for group in shown:
        (episode,) = group
        assert [s.name for s in episode.segments] == ["prompt", "attempt", "evaluation"]
        assert episode["evaluation"].text in ("right", "wrong")
        if arm == "taught":
            assert episode["evaluation"].text == ("right" if episode.verdicts["attempt"].score == 1 else "wrong")
    assert read_metrics(tmp_path / "run")[0]["loss/imitate"] > 0


def test_every_arm_can_be_made() -> None:
    for name in ("self_questioning", "serl", "post_completion"):
        for arm in arms_of(name):
            if arm != "blind":
                assert load(f"{name}:{arm}").total_steps > 0
