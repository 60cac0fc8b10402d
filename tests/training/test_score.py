"""SCoRe and its arms as whole runs: collected when a stage begins, chosen by training reward, resumed to the same end."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from secondthought.errors import Interrupted, UserError
from secondthought.recipes import load
from secondthought.recipes.score import ARMS
from secondthought.runs.progress import Silence
from secondthought.runs.reading import read_groups, read_metrics
from secondthought.training.loop import train
from secondthought.training.recipe import Recipe
from secondthought.training.settings import override, settable

SMALL = ("groups=4", "group_size=2", "eval_problems=8", "dev_problems=4", "checkpoint_every=1", "eval_every=2", "max_tokens=20")


def small(arm: str = "", *more: str) -> Recipe:
    recipe = load(f"score:{arm}" if arm else "score", model="nano/countdown")
    known = settable(recipe)
    changes = [f"{name}=2" for name in known if name.endswith("steps") and known[name]]
    changes += [f"{name}=24" for name in known if name.endswith(".problems")]
    return override(recipe, [*SMALL, *changes, *more])


def test_every_arm_is_made() -> None:
    names = {arm: [stage.name for stage in load(f"score:{arm}", model="nano/countdown").parts] for arm in ARMS}
    assert names["star"] == names["star_plus"] == ["star_1", "star_2", "star_3"]
    assert names["pair_sft"] == ["pairs_1"]
    assert names["multi_turn"] == names["single_turn"] == names["no_stage_one"] == ["one_stage"]
    assert names["star_in_stage_two"] == ["stage_one", "star_1"]
    assert settable(load("score:no_bonus", model="nano/countdown"))["stage_two.alpha"] == 0
    assert settable(load("score:gamma", model="nano/countdown"))["stage_two.gamma"] == 0.8


@pytest.mark.parametrize("arm", ["", "base", "self_refine", "star", "pair_sft_plus", "single_turn", "star_in_stage_two"])
def test_arms_run(arm: str, tmp_path: Path) -> None:
    recipe = small(arm)
    summary = train(recipe, tmp_path / "run", Silence())
    assert summary["steps"] == recipe.total_steps
    after = summary["probes"]["self_correction"]["after"]
    names = {one["name"] for one in after["arms"]}
    assert {"attempt_1", "attempt_2", "either", "resampled", "changed"} <= names
    if arm in ("base", "self_refine"):
        before = summary["probes"]["self_correction"]["before"]
        assert before["figures"] == after["figures"]  # nothing was learned
    if arm.startswith(("star", "pair")):
        lines = read_metrics(tmp_path / "run")
        assert lines[-1]["loss/imitate"] > 0
        assert lines[-1]["tokens/sampled"] == 0  # all of it was recorded


def test_star_collects_anew_with_the_model_of_the_moment(tmp_path: Path) -> None:
    train(small("star_plus"), tmp_path / "run", Silence())
    rounds = [read_groups(tmp_path / "run" / "episodes" / f"collected_star_{i}.parquet") for i in (1, 2, 3)]
    versions = [{s.version for g in groups for e in g for s in e.segments if s.logprobs is not None} for groups in rounds]
    assert versions == [{0}, {2}, {4}]
    step = read_groups(tmp_path / "run" / "episodes" / "step_000001.parquet")
    kept = {(e["attempt_1"].tokens, e["attempt_2"].tokens) for g in rounds[0] for e in g}
    for group in step:
        (episode,) = group
        assert (episode["attempt_1"].tokens, episode["attempt_2"].tokens) in kept
        assert episode.verdicts["attempt_2"].score == 1
        assert {episode["attempt_1"].author, episode["attempt_2"].author} == {"intervention"}


def test_pairs_are_of_one_problem_and_end_right(tmp_path: Path) -> None:
    train(small("pair_sft"), tmp_path / "run", Silence())
    for group in read_groups(tmp_path / "run" / "episodes" / "step_000001.parquet"):
        assert [v.score for v in group[0].verdicts.values()] == [0, 1]


def test_half_of_the_second_turns_follow_recorded_first_attempts(tmp_path: Path) -> None:
    train(small("fixed_first"), tmp_path / "run", Silence())
    for group in read_groups(tmp_path / "run" / "episodes" / "step_000001.parquet"):
        assert [e["attempt_1"].author for e in group] == ["policy", "intervention"]


def test_a_model_that_mends_nothing_leaves_nothing_to_imitate(tiny_folder: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="mended none of its attempts at 24 problems: there is nothing to imitate"):
        train(replace(small("star"), model=str(tiny_folder)), tmp_path / "run", Silence())


def test_the_checkpoint_with_the_highest_training_reward_is_measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    summary = train(small("", "stage_one.steps=3", "stage_two.steps=3"), tmp_path / "run", Silence())
    rewards = {line["step"]: line["reward/attempt_2"] for line in read_metrics(tmp_path / "run")}
    best = max(rewards, key=lambda step: (rewards[step], -step))
    assert summary["measured_step"] == best
    kept = {int(path.name.removeprefix("step_")) for path in (tmp_path / "run" / "checkpoints").glob("step_*")}
    assert kept == {5, 6, best}  # the newest two, and the best
    last = train(small("", "stage_one.steps=3", "stage_two.steps=3", "best_by="), tmp_path / "last", Silence())
    assert last["measured_step"] == 6


def test_what_nothing_can_be_chosen_by_is_said_and_loses_nothing(tmp_path: Path) -> None:
    heard: list[str] = []

    class Heard(Silence):
        def phase(self, text: str) -> None:
            heard.append(text)

    summary = train(small("", "best_by=reward/attempt_3"), tmp_path / "run", Heard())
    assert summary["measured_step"] == 4
    assert any("no step has a figure 'reward/attempt_3'" in text for text in heard)


def test_a_run_that_is_stopped_in_a_collecting_stage_ends_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from secondthought.training import loop

    whole = train(small("star_plus"), tmp_path / "whole", Silence())

    class Stopping(Silence):
        def step(self, done: int, of: int, stats: object) -> None:
            if of == 6 and done == 3:  # in the second of three stages
                raise Interrupted("stop")

    with pytest.raises(Interrupted):
        loop.train(small("star_plus"), tmp_path / "cut", Stopping())
    again = train(small("star_plus"), tmp_path / "cut", Silence(), resume=True)
    assert json.dumps(again["probes"]) == json.dumps(whole["probes"])
    assert again["training"]["sampled_tokens"] == whole["training"]["sampled_tokens"]


def test_the_options_of_a_stage_can_be_set() -> None:
    recipe = small("", "stage_one.beta2=0.5", "stage_two.alpha=3", "stage_two.gamma=0.1")
    known = settable(recipe)
    assert (known["stage_one.beta2"], known["stage_two.alpha"], known["stage_two.gamma"]) == (0.5, 3.0, 0.1)
    assert settable(small("star", "star_2.samples=3"))["star_2.samples"] == 3
    with pytest.raises(UserError, match=r"a recipe has no 'stage_one\.alpha' to set"):
        small("", "stage_one.alpha=3")


def test_a_budget_of_tokens_to_learn_from(tmp_path: Path) -> None:
    train(small("star_plus", "loss_budget=1"), tmp_path / "run", Silence())
    (line,) = read_metrics(tmp_path / "run")
    imitated = sum(len(e["attempt_2"].tokens) for g in read_groups(tmp_path / "run/episodes/step_000001.parquet") for e in g)
    assert line["tokens/learned"] == imitated
