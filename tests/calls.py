"""Function calling in small: rows, a random chat model that is asked for them, and a recipe that takes seconds."""

from __future__ import annotations

import json
from pathlib import Path

RECIPE = "rrr_function_calling_qwen2.5_0.5b"
SMALL = ("collect.problems=6", "collect.samples=2", "groups=2", "group_size=2", "max_tokens=4", "eval_problems=2", "dev_problems=2", "start.steps=24", "reward.steps=1", "lr=0.01", "warmup=0", "autocast=off", "lora=0")  # fmt: skip


def rows_of_calls(place: Path) -> Path:
    """A hundred problems of one argument."""
    schema = {"a": {"type": "int", "description": "the number"}}
    rows = [
        {
            "query": f"add {i}",
            "tools": [{"name": "add", "parameters": schema}],
            "answers": [{"name": "add", "arguments": {"a": i}}],
        }
        for i in range(100)
    ]
    path = place / "rows.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path
