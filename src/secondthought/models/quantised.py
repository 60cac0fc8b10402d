"""Frozen matrices in four or eight bits, through bitsandbytes: NF4 with double quantisation (QLoRA, arXiv 2305.14314), and
LLM.int8 (arXiv 2208.07339). Only adapters learn beside them.

Adapters that learned beside rounded matrices belong to those: what they were is written beside the adapters, and merging adds
them to the matrices as they were rounded, not as they were before.
"""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any, Literal, cast

import torch
from torch import Tensor

from secondthought.errors import UserError
from secondthought.runs.files import write_json

logging.getLogger("bitsandbytes.backends.cpu.ops").setLevel(logging.ERROR)  # peft imports it, and it wants a further package
Load = Literal["plain", "4bit", "8bit"]
FILE = "quantised.json"
"""What stands beside adapters: how the matrices were held that they belong to."""


def config_of(load: Load, dtype: torch.dtype) -> Any:
    """What ``from_pretrained`` takes as ``quantization_config``; products are computed in ``dtype``.

    Raises UserError where bitsandbytes is not installed.
    """
    from transformers import BitsAndBytesConfig

    try:
        import bitsandbytes  # noqa: F401
    except ImportError as error:
        raise UserError(f"load={load} needs the package bitsandbytes: pip install 'secondthought[quantised]'") from error
    if load == "8bit":
        return BitsAndBytesConfig(load_in_8bit=True)
    return BitsAndBytesConfig(
        load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_use_double_quant=True, bnb_4bit_compute_dtype=dtype
    )


def steady(model: Any) -> Any:
    """The same model, whose matrices stay as they were loaded. On CPUs with bfloat16 instructions bitsandbytes would pack them
    anew when they are first read without a gradient: sampler and trainer would compute otherwise, and what was packed could
    not be read back.
    """
    for module in model.modules():
        if hasattr(module, "support_avx512bf16_for_cpu"):
            module.support_avx512bf16_for_cpu = False
    return model


def is_quantised(weight: Any) -> bool:
    """Whether a parameter holds a matrix in fewer bits."""
    return type(weight).__name__ in ("Params4bit", "Int8Params")


def plain(module: Any) -> Tensor:
    """The matrix ``(O, I)`` of a quantised layer as its products see it, in float32."""
    from transformers.integrations.bitsandbytes import dequantize_bnb_weight

    return cast(Tensor, dequantize_bnb_weight(module.weight, getattr(module, "state", None))).float()


def dequantised(model: Any) -> Any:
    """The model with plain matrices, which are what they were rounded to, in float32."""
    return model.dequantize().float()


def note(folder: Path, load: Load) -> None:
    """Write down beside adapters how the model was held that they belong to."""
    if load != "plain":
        write_json(folder / FILE, {"load": load})


def noted(folder: str | Path) -> Load:
    """How the model was held that the adapters in ``folder`` belong to. Raises UserError for a note that is damaged."""
    file = Path(folder) / FILE
    if not file.is_file():
        return "plain"
    try:
        found = json.loads(file.read_text(encoding="utf-8"))["load"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(f"{file} is damaged: it should say how the model was loaded") from error
    if found not in ("4bit", "8bit"):
        raise UserError(f"{file} says load={found!r}; 4bit or 8bit is wanted")
    return cast(Load, found)
