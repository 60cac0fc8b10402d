"""Adapters beside matrices in four or eight bits, through bitsandbytes itself."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

pytest.importorskip("bitsandbytes", reason="bitsandbytes is not installed: pip install 'secondthought[quantised]'")
pytest.importorskip("peft", reason="peft is not installed: pip install 'secondthought[lora]'")

from tests.conftest import random_llama

from secondthought.credit.answer import answer as pay_answer
from secondthought.errors import UserError
from secondthought.learners.optim import Optim
from secondthought.learners.rows import compile_rows
from secondthought.learners.torch import TorchLearner
from secondthought.models import quantised
from secondthought.models.hub import load, save
from secondthought.models.weights import plain_weights
from secondthought.nano import tokenizer as words
from secondthought.nano.pretrain import save_model
from secondthought.protocols.answer import answer
from secondthought.rollouts import rollout
from secondthought.types import Task, Verdict

IDS = torch.arange(5, 45)[None]
BITS: list[Any] = ["4bit", "8bit"]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("models") / "small"
    save_model(random_llama(width=64), words.build(), folder)
    return str(folder)


async def tried(task: Task, n: int) -> Any:
    def grade(task: Task, text: str) -> Verdict:
        return Verdict(float(len(text) % 2), text)

    return await answer(task, n, grade=grade)


def learned(place: str, bits: Any, steps: int = 2) -> tuple[TorchLearner, list[dict[str, float]]]:
    learner = TorchLearner(place, Optim(lr=3e-2, kl=0.1, lora=4, warmup=0, load=bits), steps=10)
    tasks = [Task.of(f"use {i} {i + 1} make {i + 2}", answer="x", family="test") for i in range(4)]
    stats = []
    for step in range(steps):
        groups = rollout(tried, tasks, 4, learner.publish(), seed=step)
        stats.append(learner.step(compile_rows(groups, [pay_answer(group) for group in groups])))
    return learner, stats


@pytest.mark.parametrize("bits", BITS)
def test_adapters_learn_beside_rounded_matrices(place: str, bits: Any) -> None:
    learner, stats = learned(place, bits)
    assert quantised.is_quantised(learner.model.model.layers[0].mlp.up_proj.base_layer.weight)
    assert stats[-1]["learner/paid_tokens"] > 0
    assert stats[-1]["learner/grad_norm"] > 0
    assert max(one["sampler_gap/max"] for one in stats) < (1e-4 if bits == "4bit" else 0.5)  # int8 rounds what comes in, too
    assert all("lora_" in name for name, p in learner.model.named_parameters() if p.requires_grad)


@pytest.mark.parametrize("bits", BITS)
def test_what_is_merged_is_what_was_trained(place: str, bits: Any, tmp_path: Path) -> None:
    """Added to the matrices as they were rounded; added to the originals it would be another model."""
    learner, _ = learned(place, bits)
    with torch.no_grad():
        trained = learner.model(IDS).logits.log_softmax(-1)
    learner.save(tmp_path)
    assert quantised.noted(tmp_path / "model") == bits
    together, _ = load(str(tmp_path / "model"))
    with torch.no_grad():
        gap = (together(IDS).logits.log_softmax(-1) - trained).abs().mean()
    (tmp_path / "model" / quantised.FILE).unlink()
    otherwise, _ = load(str(tmp_path / "model"))
    with torch.no_grad():
        wrong = (otherwise(IDS).logits.log_softmax(-1) - trained).abs().mean()
    assert gap < (1e-4 if bits == "4bit" else 0.15)
    assert bits == "8bit" or wrong > 100 * gap
    quantised.note(tmp_path / "model", bits)
    save(str(tmp_path / "model"), tmp_path / "merged")
    alone, _ = load(str(tmp_path / "merged"))
    assert not getattr(alone, "is_quantized", False)
    with torch.no_grad():
        assert torch.allclose(alone(IDS).logits, together(IDS).logits, atol=1e-4)


@pytest.mark.parametrize("bits", BITS)
def test_what_is_published_is_what_was_trained(place: str, bits: Any) -> None:
    learner, _ = learned(place, bits)
    other = random_llama(seed=7, width=64)
    given = dict(plain_weights(learner.model))
    other.load_state_dict(given, strict=False)
    with torch.no_grad():
        gap = (other(IDS).logits.log_softmax(-1) - learner.model(IDS).logits.log_softmax(-1)).abs().mean()
    assert gap < (1e-4 if bits == "4bit" else 0.15)


def test_a_resume_goes_on_to_the_bit(place: str, tmp_path: Path) -> None:
    whole, _ = learned(place, "4bit", steps=2)
    half, _ = learned(place, "4bit", steps=1)
    half.save(tmp_path)
    again = TorchLearner(place, half.optim, steps=10)
    again.restore(tmp_path)
    tasks = [Task.of(f"use {i} {i + 1} make {i + 2}", answer="x", family="test") for i in range(4)]
    groups = rollout(tried, tasks, 4, again.publish(), seed=1)
    again.step(compile_rows(groups, [pay_answer(group) for group in groups]))
    for (name, one), (_, other) in zip(whole.model.named_parameters(), again.model.named_parameters(), strict=True):
        assert torch.equal(one, other), name


def test_what_is_wrong_is_said_in_one_sentence(place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UserError, match="set lora too"):
        TorchLearner(place, Optim(load="4bit"), steps=1)
    (tmp_path / quantised.FILE).write_text("{}")
    with pytest.raises(UserError, match="is damaged"):
        quantised.noted(tmp_path)
    (tmp_path / quantised.FILE).write_text('{"load": "2bit"}')
    with pytest.raises(UserError, match="4bit or 8bit is wanted"):
        quantised.noted(tmp_path)
    monkeypatch.setitem(__import__("sys").modules, "bitsandbytes", None)
    with pytest.raises(UserError, match="needs the package bitsandbytes"):
        quantised.config_of("8bit", torch.float32)
