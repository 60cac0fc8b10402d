"""Folders that hold no sound model: one sentence each, never a traceback, and never random weights that are then measured."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from secondthought.engines.factory import torch_engine
from secondthought.errors import UserError
from secondthought.models.names import resolve

WEIGHTS, TENSOR = "model.safetensors", "model.layers.1.mlp.gate_proj.weight"


def with_config(**changes: Any) -> Callable[[Path], None]:
    """Damage to config.json."""

    def damage(folder: Path) -> None:
        known = json.loads((folder / "config.json").read_text())
        known.pop("layer_types", None)
        (folder / "config.json").write_text(json.dumps(known | changes))

    return damage


def with_file(name: str, content: bytes) -> Callable[[Path], None]:
    """Another content of a file."""

    def damage(folder: Path) -> None:
        (folder / name).write_bytes(content)

    return damage


def cut(folder: Path) -> None:
    """Half of the weights, as after a full disk."""
    whole = (folder / WEIGHTS).read_bytes()
    (folder / WEIGHTS).write_bytes(whole[: len(whole) // 2])


def with_tensors(change: Callable[[dict[str, torch.Tensor]], object]) -> Callable[[Path], None]:
    """Damage to the weights."""

    def damage(folder: Path) -> None:
        tensors = load_file(folder / WEIGHTS)
        change(tensors)
        save_file(tensors, folder / WEIGHTS, metadata={"format": "pt"})

    return damage


DAMAGES: dict[str, tuple[Callable[[Path], None], str]] = {
    "weights cut off": (cut, "damaged"),
    "weights empty": (with_file(WEIGHTS, b""), "damaged"),
    "weights something else": (with_file(WEIGHTS, b"hello world" * 100), "damaged"),
    "a tensor missing": (with_tensors(lambda tensors: tensors.pop(TENSOR)), "lack 1 tensors"),
    "a tensor not finite": (with_tensors(lambda tensors: tensors[TENSOR].view(-1)[:1].fill_(float("nan"))), "not finite"),
    "a tensor infinite": (with_tensors(lambda tensors: tensors[TENSOR].view(-1)[:1].fill_(float("inf"))), "not finite"),
    "other shapes": (with_config(intermediate_size=64), "other shapes"),
    "more layers": (with_config(num_hidden_layers=7), "would be random"),
    "another family": (with_config(model_type="bert"), "would be random"),
    "config half written": (with_file("config.json", b"{"), "not a valid JSON"),
    "config empty": (with_file("config.json", b"{}"), "model_type"),
    "config a list": (with_file("config.json", b"[]"), "damaged"),
    "config not text": (with_file("config.json", b"\xff\xfe\x00bad"), "not a valid JSON"),
    "config with words for numbers": (with_config(hidden_size="a"), "damaged"),
    "config without heads": (with_config(num_attention_heads=0), "damaged"),
    "tokenizer half written": (with_file("tokenizer.json", b"{"), "damaged"),
    "tokenizer empty": (with_file("tokenizer.json", b"{}"), "damaged"),
    "tokenizer a list": (with_file("tokenizer.json", b"[1]"), "damaged"),
    "an end token that is no number": (with_file("generation_config.json", b'{"eos_token_id": "a"}'), "no number"),
    "a template that is cut off": (with_file("chat_template.jinja", b"{% for m in messages %}"), "chat template"),
    "a template that fails": (with_file("chat_template.jinja", b"{{ messages[5].content }}"), "chat template"),
}


def damaged(tmp_path: Path, damage: Callable[[Path], None]) -> str:
    """A copy of a shipped model, damaged."""
    folder = tmp_path / "model"
    shutil.copytree(resolve("nano/countdown"), folder)
    damage(folder)
    return str(folder)


@pytest.mark.parametrize("name", DAMAGES)
def test_a_damaged_model_is_refused_in_a_sentence(name: str, tmp_path: Path) -> None:
    damage, why = DAMAGES[name]
    with pytest.raises(UserError, match=why) as refused:
        torch_engine(damaged(tmp_path, damage))
    assert "\n" not in str(refused.value)


def test_a_model_without_an_end_token_says_so(tmp_path: Path) -> None:
    def endless(folder: Path) -> None:
        with_config(eos_token_id=None)(folder)
        (folder / "generation_config.json").unlink()
        known = json.loads((folder / "tokenizer_config.json").read_text())
        known.pop("eos_token", None)
        (folder / "tokenizer_config.json").write_text(json.dumps(known))
        (folder / "chat_template.jinja").write_text("{% for m in messages %}{{ m.content }} {% endfor %}")

    assert "no end token" in torch_engine(damaged(tmp_path, endless)).renderer.note
