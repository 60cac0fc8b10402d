"""A few true steps of a recipe on a real language model."""

from __future__ import annotations

from pathlib import Path

from typer.testing import CliRunner

from secondthought.cli import app

SMALL = {
    "groups": 2, "group_size": 2, "max_tokens": 24, "eval_problems": 2, "dev_problems": 2, "lora": 4, "checkpoint_every": 3,
    "eval_every": 99, "warmup": 0,
}  # fmt: skip


def done(*words: object) -> str:
    """What a command prints, in this process: importing everything takes longer than most of what is tested here."""
    found = CliRunner().invoke(app, [str(word) for word in words])
    assert found.exit_code == 0, f"{found.output}\n{found.exception!r}"
    return found.output


def train(recipe: str, model: Path, problems: Path | str, out: Path, **more: object) -> Path:
    """Train; the run's folder."""
    settings = [word for name, value in {**SMALL, **more}.items() for word in ("--set", f"{name}={value}")]
    words = ["train", recipe, "--model", model, "--tasks", problems, "--grade", "number", "--out", out, *settings]
    done(*words)
    return out
