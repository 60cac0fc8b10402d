"""Rollouts one step ahead: which weights sampled what, that a run can be taken up again, and that it still learns."""

from __future__ import annotations

import shutil
import threading
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from tests.distributed.test_local import recipe_at

from secondthought import recipes
from secondthought.errors import UserError
from secondthought.rollouts import Ahead
from secondthought.runs.progress import Silence
from secondthought.runs.reading import read_episodes, read_metrics
from secondthought.training.loop import train
from secondthought.training.recipe import Recipe
from secondthought.training.settings import override
from secondthought.types import Group

SETTINGS = (
    "steps=6", "groups=5", "group_size=4", "max_tokens=8", "eval_problems=4", "dev_problems=4", "eval_every=100",
    "checkpoint_every=3", "checkpoints_kept=9", "lr=0.001", "warmup=0",
)  # fmt: skip


def recipe_of(folder: Path, *settings: str) -> Recipe:
    return override(recipes.load(str(recipe_at(folder.parent)), model=str(folder)), [*SETTINGS, *settings])


def versions(out: Path) -> list[set[int | None]]:
    """Which weights sampled each step."""
    found = []
    for path in sorted((out / "episodes").glob("step_*.parquet")):
        episodes = [episode for episode, _ in read_episodes(path)]
        found.append({s.version for e in episodes for s in e.segments if s.logprobs is not None})
    return found


def last(out: Path) -> dict[str, torch.Tensor]:
    found: dict[str, torch.Tensor] = load_file(out / "checkpoints" / "step_6" / "model" / "model.safetensors")
    return found


def test_each_step_is_sampled_by_the_weights_of_before_it_but_after_a_checkpoint(tiny_folder: Path, tmp_path: Path) -> None:
    train(recipe_of(tiny_folder, "asynchronous=true"), tmp_path / "ahead", Silence())
    train(recipe_of(tiny_folder), tmp_path / "plain", Silence())
    assert versions(tmp_path / "plain") == [{0}, {1}, {2}, {3}, {4}, {5}]
    assert versions(tmp_path / "ahead") == [{0}, {0}, {1}, {3}, {3}, {4}]
    gaps = [line["sampler_gap/mean"] for line in read_metrics(tmp_path / "ahead")]
    assert gaps[0] < 1e-4 < gaps[1]  # the age shows in the log-probabilities, which the loss corrects by
    assert gaps[3] < 1e-4


def test_a_run_ahead_is_taken_up_exactly(tiny_folder: Path, tmp_path: Path) -> None:
    recipe = recipe_of(tiny_folder, "asynchronous=true")
    train(recipe, tmp_path / "whole", Silence())
    shutil.copytree(tmp_path / "whole", tmp_path / "again")
    shutil.rmtree(tmp_path / "again" / "checkpoints" / "step_6")
    (tmp_path / "again" / "summary.json").unlink()
    other = recipe_of(tiny_folder, "asynchronous=true", "engine.timeout=9")  # where and how it samples may change
    train(other, tmp_path / "again", Silence(), resume=True)
    whole, again = last(tmp_path / "whole"), last(tmp_path / "again")
    assert all(torch.equal(whole[name], again[name]) for name in whole)


def test_what_fails_ahead_is_raised_when_it_is_taken() -> None:
    def broken() -> list[Group]:
        raise UserError("the server is gone")

    with Ahead() as ahead:
        ahead.begin(broken)
        with pytest.raises(UserError, match="the server is gone"):
            ahead.take()
        assert ahead.take() is None


def test_sampling_ahead_goes_on_beside_the_rest() -> None:
    reached = threading.Event()

    def sample() -> list[Group]:
        assert reached.wait(5)
        return [()]

    with Ahead() as ahead:
        ahead.begin(sample)
        reached.set()  # it would never be, if begin waited
        assert ahead.take() == [()]
