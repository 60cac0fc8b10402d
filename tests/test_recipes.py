"""Settings reach the engine and the learner, and what cannot be set says so."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from secondthought.files import UserError
from secondthought.recipes import load, override


def test_the_engine_is_set_by_dotted_names() -> None:
    chosen = override(
        load("rrr_countdown"),
        ["engine.fast=false", "engine.precision=bfloat16", "engine.kv_mb=8", "autocast=bfloat16", "tokens=512"],
    )
    assert not chosen.engine.fast
    assert (chosen.engine.precision, chosen.engine.kv_mb) == ("bfloat16", 8)
    assert (chosen.optim.autocast, chosen.optim.tokens) == ("bfloat16", 512)


@pytest.mark.parametrize("arm", ["rrr", "answer", "retry_only", "reflection_and_retry", "random_reward", "leaky"])
def test_every_arm_takes_every_task(arm: str) -> None:
    for tasks in ("countdown", "function_calling"):
        chosen = load(arm, tasks=tasks, model="nano/countdown")
        assert chosen.name == arm
        assert chosen.tasks[0].family == {"countdown": "countdown", "function_calling": "tool_world"}[tasks]
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
    ("setting", "told"),
    [
        ("engine.fast=maybe", "fast is a bool"),
        ("engine.precision=float8", "choose model, float32, bfloat16"),
        ("engine.kv_mb=0", "kv_mb must be at least 1"),
        ("engine.quick=true", "the nearest is"),
        ("autocast=float16", "choose off, bfloat16"),
        ("tokens=-1", "tokens must be at least 0"),
    ],
)
def test_what_cannot_be_set_is_refused_in_one_sentence(setting: str, told: str) -> None:
    with pytest.raises(UserError, match=told):
        override(load("rrr_countdown"), [setting])
