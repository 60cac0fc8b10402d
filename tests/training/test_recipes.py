"""Settings reach the engine and the learner, and what cannot be set says so."""

from __future__ import annotations

import json
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from tests.models.test_chat import CHATML, tokenizer
from transformers import Qwen2Config, Qwen2ForCausalLM

from secondthought.errors import UserError
from secondthought.learners.torch import rate
from secondthought.protocols.reflect_retry import CHAT, reflect_retry
from secondthought.recipes import load
from secondthought.runs.progress import Silence
from secondthought.runs.reading import read_metrics
from secondthought.training.loop import train
from secondthought.training.settings import override
from secondthought.types import Task, Verdict


def test_the_engine_is_set_by_dotted_names() -> None:
    chosen = override(
        load("rrr_countdown"),
        ["engine.fast=false", "engine.precision=bfloat16", "engine.kv_mb=8", "autocast=bfloat16", "micro_batch_tokens=512"],
    )
    assert not chosen.engine.fast
    assert (chosen.engine.precision, chosen.engine.kv_mb) == ("bfloat16", 8)
    assert (chosen.optim.autocast, chosen.optim.micro_batch_tokens) == ("bfloat16", 512)


@pytest.mark.parametrize(
    "arm", ["rrr", "rrr:answer", "rrr:retry_only", "rrr:reflection_and_retry", "rrr:random_reward", "rrr:leaky"]
)
def test_every_arm_takes_every_task(arm: str) -> None:
    for tasks in ("countdown", "tool_world"):
        chosen = load(arm, tasks=tasks, model="nano/countdown")
        assert chosen.name == arm
        assert chosen.tasks[0].family == tasks
        assert chosen.test[0].key != chosen.tasks[0].key


def test_function_calling_has_a_recipe_of_its_own(tmp_path: Path) -> None:
    rows = [
        {
            "query": f"add {i}",
            "tools": [{"name": "add", "parameters": {"a": {"type": "int"}}}],
            "answers": [{"name": "add", "arguments": {"a": i}}],
        }
        for i in range(60)
    ]
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    chosen = load("rrr_function_calling", tasks=str(tmp_path / "rows.jsonl"), model="nano/countdown")
    assert chosen.tasks[0].tools[0]["name"] == "add"
    with pytest.raises(UserError, match="takes no --grade"):
        load("rrr_function_calling", tasks=str(tmp_path / "rows.jsonl"), model="nano/countdown", grade="number")


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("engine.fast=maybe", "fast is a bool"),
        ("engine.precision=float8", "choose auto, model, float32, bfloat16"),
        ("engine.kv_mb=0", "kv_mb must be at least 1"),
        ("engine.quick=true", "the nearest is"),
        ("autocast=float16", "choose off, bfloat16"),
        ("micro_batch_tokens=-1", "micro_batch_tokens must be at least 0"),
    ],
)
def test_what_cannot_be_set_is_refused_in_one_sentence(setting: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        override(load("rrr_countdown"), [setting])


PAPER = {
    "rrr_countdown_qwen2.5_1.5b": "Qwen/Qwen2.5-1.5B-Instruct",
    "rrr_function_calling_qwen2_1.5b": "Qwen/Qwen2-1.5B-Instruct",
}


@pytest.fixture(scope="module")
def shrunk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random Qwen2 in the chat format of the real one, made small."""
    torch.manual_seed(0)
    tok = tokenizer(CHATML, "<|im_end|>")
    config = Qwen2Config(
        vocab_size=len(tok), hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2,
        max_position_embeddings=8192, tie_word_embeddings=True, eos_token_id=tok.eos_token_id, initializer_range=0.3,
    )  # fmt: skip
    folder = tmp_path_factory.mktemp("qwen")
    Qwen2ForCausalLM(config).save_pretrained(folder)
    tok.save_pretrained(folder)
    return folder


@pytest.fixture
def rows(tmp_path: Path) -> str:
    """Rows as APIGen has them."""
    tools = [{"name": "add", "parameters": {"a": {"type": "int"}}}]
    result = [{"query": f"add {i}", "tools": tools, "answers": [{"name": "add", "arguments": {"a": i}}]} for i in range(200)]
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in result))
    return str(tmp_path / "rows.jsonl")


@pytest.mark.parametrize("name", PAPER)
def test_the_papers_recipes_have_the_papers_numbers_and_take_three_real_steps(
    name: str, shrunk: Path, rows: str, tmp_path: Path
) -> None:
    tasks = rows if "function" in name else None
    published = load(name, tasks=tasks)
    assert (published.name, published.model) == (name, PAPER[name])
    optim = published.optim
    assert (optim.lr, optim.kl, optim.schedule, optim.warmup) == (5e-7, 0.001, "cosine", 0.03)
    assert (published.groups * published.group_size, published.steps) == (256, 1750)

    def lottery(task: Task, text: str) -> Verdict:
        return Verdict(float(sum(map(ord, text)) % 3 == 0))  # a random model never solves anything

    small = ["steps=3", "groups=8", "group_size=4", "max_tokens=8", "eval_problems=4", "collect.problems=12"]
    small += ["engine.kv_mb=8", "engine.precision=model", "dev_problems=4"]  # bfloat16 is emulated on most CPUs
    chosen = override(load(name, model=str(shrunk), tasks=tasks), small)
    chosen = replace(chosen, protocol=partial(reflect_retry, grade=lottery, prompts=CHAT))
    before = load_file(shrunk / "model.safetensors")
    train(chosen, tmp_path / "run", Silence())
    lines = read_metrics(tmp_path / "run")
    assert [line["step"] for line in lines] == [1, 2, 3]
    assert all(line["learner/grad_norm"] > 0 and line["learner/paid_tokens"] > 0 for line in lines)
    assert lines[0]["learner/lr"] == pytest.approx(5e-7)  # 3 % of 3 steps are none; of 1,750 they are 52
    assert rate(replace(chosen.optim, schedule="constant"), 0, 1750) == pytest.approx(5e-7 / 52)
    after = load_file(tmp_path / "run" / "checkpoints" / "step_3" / "model" / "model.safetensors")
    assert any(not torch.equal(before[key], after[key]) for key in before)


def test_adapters_get_a_learning_rate_of_their_own_unless_one_is_set() -> None:
    whole = load("rrr", model="an/instruct-model", tasks="countdown")
    assert (whole.optim.lr, override(whole, ["lora=8"]).optim.lr) == (5e-7, 1e-4)
    assert override(whole, ["lora=8", "lr=3e-6"]).optim.lr == 3e-6
    assert override(whole, ["lora=0"]).optim.lr == 5e-7
