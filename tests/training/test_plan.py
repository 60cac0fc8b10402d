"""What a run will take is counted from a configuration alone, and says what would make it smaller."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from secondthought.cli import app
from secondthought.errors import UserError
from secondthought.learners.optim import Optim
from secondthought.learners.torch import TorchLearner
from secondthought.models.hub import load
from secondthought.recipes import load as recipe_of
from secondthought.training import plan as planning
from secondthought.training.plan import plan, shape_of
from secondthought.training.settings import override

BIG = {
    "architectures": ["Qwen2ForCausalLM"], "model_type": "qwen2", "hidden_size": 1536, "intermediate_size": 8960, "num_hidden_layers": 28,
    "num_attention_heads": 12, "num_key_value_heads": 2, "vocab_size": 151936, "tie_word_embeddings": True,
}  # fmt: skip


@pytest.fixture
def qwen(tmp_path: Path) -> Path:
    """The configuration of Qwen2.5-1.5B, and no weights."""
    (tmp_path / "config.json").write_text(json.dumps(BIG))
    return tmp_path


@pytest.fixture(autouse=True)
def known_speed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(planning, "measured", lambda device, recipe: (1e11, 1e11, 2e10))


def test_parameters_are_counted_exactly_without_weights(tiny_folder: Path, qwen: Path) -> None:
    model, _ = load(str(tiny_folder))
    assert shape_of(str(tiny_folder), 0).parameters == model.num_parameters()
    learner = TorchLearner(str(tiny_folder), Optim(lora=4), steps=1)
    assert shape_of(str(tiny_folder), 4).trained == sum(p.numel() for p in learner.trained)
    assert shape_of(str(qwen), 0).parameters == 1_543_714_304  # as its card says


def test_a_larger_run_takes_more_and_settings_make_it_smaller(qwen: Path) -> None:
    recipe = recipe_of("rrr_countdown_qwen2.5_1.5b", model=str(qwen))
    whole = plan(recipe)
    assert whole.memory["weights"] == 4 * whole.shape.parameters
    assert 30 < sum(whole.memory.values()) / 2**30 < 80
    for setting in ("lora=16", "recompute=false", "engine.precision=float32", "groups=16", "engine.kv_mb=1024"):
        other = plan(override(recipe, [setting]))
        less = sum(other.memory.values()) < sum(whole.memory.values())
        assert less == (setting not in ("recompute=false", "engine.precision=float32")), setting
    half = plan(override(recipe, ["groups=16"]))
    assert sum(half.seconds.values()) < sum(whole.seconds.values())
    assert half.tokens == whole.tokens // 2


def test_what_does_not_fit_says_what_would_help(qwen: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(planning, "_room", lambda device: 24 << 30)
    found = CliRunner().invoke(app, ["plan", "rrr_countdown_qwen2.5_1.5b", "--model", str(qwen)])
    assert found.exit_code == 0, found.output
    assert "1,543.7M parameters" in found.output
    assert "The memory is not enough" in found.output
    first = next(line for line in found.output.splitlines() if "--set" in line)
    assert "lora=16 --set weights=bfloat16" in first
    settings = [
        word
        for setting in ("lora=16", "weights=bfloat16", "engine.kv_mb=4096", "engine.kept_mb=1024")
        for word in ("--set", setting)
    ]
    found = CliRunner().invoke(app, ["plan", "rrr_countdown_qwen2.5_1.5b", "--model", str(qwen), *settings])
    assert "The memory is enough." in found.output
    assert "M learn" in found.output


def test_a_model_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="there is no model folder"):
        shape_of(str(tmp_path / "nothing"), 0)
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(UserError, match="cannot read the configuration"):
        shape_of(str(tmp_path), 0)


def test_what_a_probe_asks_is_counted_without_a_model(tiny_folder: Path) -> None:
    from secondthought.engines.base import EngineOptions
    from secondthought.probes.answer import Answer
    from secondthought.probes.second_try import SecondTry
    from secondthought.training.plan import plan_probe

    _, count, seconds = plan_probe(Answer(n=30, samples=2, max_tokens=5), str(tiny_folder), EngineOptions())
    assert (count.answers, count.written) == (60, 300)
    assert seconds > 0
    _, more, _ = plan_probe(SecondTry(n=30, max_tokens=5), str(tiny_folder), EngineOptions())
    assert more.answers >= 30 * (1 + 2 + 3)  # an attempt, a reflection and a retry, and the controls' retries
    said = CliRunner().invoke(app, ["plan", "answer", "--model", str(tiny_folder), "--n", "30", "--set", "max_tokens=5"])
    assert "at most 30 answers and 150 sampled tokens" in said.output, said.output


def test_the_plan_of_a_recipe_counts_its_measuring(tiny_folder: Path) -> None:
    recipe = override(recipe_of("rrr_countdown", model=str(tiny_folder)), ["eval_problems=100", "steps=50", "eval_every=25"])
    evaluation = plan(recipe).evaluation
    assert set(evaluation) == {"before and after", "the curve, 2 times"}
    assert evaluation["before and after"][0].answers >= 2 * 100 * 6
    assert all(seconds > 0 for _, seconds in evaluation.values())


def test_a_probe_that_looks_deeper_than_texts_is_not_counted() -> None:
    from secondthought.engines.base import Access
    from secondthought.engines.scripted import bytes_renderer
    from secondthought.probes.answer import Answer
    from secondthought.training.counting import Count, counted

    class Deep(Answer):
        access = Access.LOGITS

    assert counted(Deep(n=3), bytes_renderer()) == Count()
    assert counted(Answer(n=3), bytes_renderer()).answers == 3
