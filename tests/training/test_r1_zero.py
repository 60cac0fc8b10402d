"""R1-Zero and its arms as whole runs on nano, and with a chat model."""

from __future__ import annotations

from pathlib import Path

import pytest

from secondthought.recipes import load
from secondthought.recipes.r1_zero import ARMS
from secondthought.reproduce.r1_zero import R1Zero, decomposed
from secondthought.runs.progress import Silence
from secondthought.runs.reading import read_groups, read_metrics
from secondthought.training.loop import train
from secondthought.training.settings import override

SMALL = ("groups=4", "group_size=4", "eval_problems=8", "dev_problems=4", "checkpoint_every=9", "eval_every=2", "steps=3")


@pytest.mark.parametrize("arm", ["", "dr_grpo", "token"])
def test_arms_run(arm: str, tmp_path: Path) -> None:
    recipe = override(load(f"r1_zero:{arm}" if arm else "r1_zero", model="nano/zero-5"), SMALL)
    summary = train(recipe, tmp_path / "run", Silence())
    figures = summary["probes"]["unasked"]["after"]["figures"]
    assert 0 < figures["answered"]["value"] <= 1
    assert figures["length/all"]["value"] > 5
    lines = read_metrics(tmp_path / "run")
    assert [line["step"] for line in lines] == [1, 2, 3]
    assert "unasked/reflects" in lines[1]
    assert any(line["learner/grad_norm"] > 0.02 for line in lines)  # every gradient is cut to the same norm


def test_every_arm_is_made() -> None:
    made = {arm: load(f"r1_zero:{arm}", model="nano/zero-5") for arm in ARMS}
    assert made["dr_grpo"].optim.normalization == made["std_only"].optim.normalization == "dr_grpo"
    assert made["length_only"].optim.normalization == "grpo"
    assert {recipe.optim.dr_grpo_length for recipe in made.values()} == {64}


def test_base_models_without_traces_never_look_back() -> None:
    summary = train_nothing("nano/zero-0")
    assert summary["reflects"]["value"] == 0
    assert train_nothing("nano/zero-20")["reflects"]["value"] > 0.1


def train_nothing(model: str) -> dict[str, dict[str, float]]:
    from secondthought.engines.factory import engine_for
    from secondthought.probes.unasked import Unasked

    probe = Unasked(tasks="announced", n=50)
    found = probe.report(probe.measure(engine_for(model), Silence()))
    return {name: {"value": estimate.value} for name, estimate in found.figures.items()}


def test_a_chat_model_is_asked_in_words_with_the_papers_hyperparameters(chat_folder: Path, tmp_path: Path) -> None:
    recipe = load("r1_zero", model=str(chat_folder))
    assert (recipe.groups, recipe.group_size, recipe.max_tokens, recipe.engine.top_p) == (128, 8, 1024, 0.9)
    assert (recipe.optim.lr, recipe.optim.kl) == (1e-6, 0.001)
    changes = ["groups=2", "group_size=2", "max_tokens=4", "eval_problems=2", "dev_problems=2", "steps=1"]
    train(override(recipe, changes), tmp_path / "run", Silence())
    (group, _) = read_groups(tmp_path / "run/episodes/step_000001.parquet")
    assert "<answer>" in group[0].task.prompt[-1].content
    assert read_metrics(tmp_path / "run")[0]["reward/attempt"] == 0  # cut off


def test_the_change_of_length_is_the_sum_of_its_parts() -> None:
    def part(right: float, short: float, long: float) -> dict[str, object]:
        share = {"right": right, "wrong": 1 - right, "no answer": 0.0}
        lengths = {"right": short, "wrong": long, "no answer": None}
        mean = right * short + (1 - right) * long
        return {"length": mean, "share": share, "lengths": lengths, "reflects": 0.0, "reflecting": None, "others": mean}

    mix = decomposed([part(0.2, 10, 30), part(0.5, 10, 30), part(0.8, 10, 30)])
    assert mix == pytest.approx({"change": -12, "mix": -12, "within": 0, "reflection": 0, "follows": 1})
    within = decomposed([part(0.5, 10, 30), part(0.5, 10, 34), part(0.5, 10, 40)])
    assert within == pytest.approx({"change": 5, "mix": 0, "within": 5, "reflection": 0, "follows": 0})
    fewer = [
        {**part(0.5, 20, 20), "reflects": share, "reflecting": 40.0, "others": 10.0, "length": 10 + 30 * share}
        for share in (0.5, 0.1)
    ]
    assert decomposed(fewer)["reflection"] == pytest.approx(-12)


def test_the_reproduction_trains_what_is_missing_and_looks_at_all(tmp_path: Path) -> None:
    settings = "groups=4;group_size=4;dev_problems=4;eval_every=99;steps=2"
    reproduction = R1Zero(problems=6, settings=settings)
    found = reproduction.run("quick", tmp_path, Silence())
    by_id = {claim.id: claim for claim in found.claims}
    assert {
        "present_before_rl", "rl_creates_none", "rl_amplifies", "length_is_reward_shaping", "dr_grpo_shorter_wrong",
        "superficial_within_question",
    } <= by_id.keys()  # fmt: skip
    assert by_id["rl_creates_none"].measured is not None
    assert found.tables["bases"].keys() == {"zero-0", "zero-1", "zero-5", "zero-20", "zero-20-untaught"}
    assert found.page is not None
    assert "| GRPO |" in found.page.read_text()
    assert reproduction.run("quick", tmp_path, Silence()).tables == found.tables
