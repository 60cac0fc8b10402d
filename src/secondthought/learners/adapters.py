"""Low-rank adapters (LoRA, arXiv 2106.09685): W + (alpha / r) B A on every projection; only A and B learn.

The adapters are peft's, and so is what is saved: any tool that knows peft loads it. The reference model is the same model with
its adapters off, so no copy of it is kept.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from secondthought.errors import UserError
from secondthought.models.weights import ADAPTERS, lacking, read_tensors


def attach(model: Any, base: str, rank: int, alpha: int) -> Any:
    """Put adapters into ``model`` (which stays what it is, and is frozen but for them); peft's handle on them.

    ``base`` is written down as the place of the model they belong to. Raises UserError if peft is missing, or if it finds no
    projection in the model.
    """
    try:
        from peft import LoraConfig, get_peft_model
    except ImportError as error:
        raise UserError("lora needs the package peft: pip install 'secondthought[lora]'") from error
    settings = LoraConfig(r=rank, lora_alpha=alpha or 2 * rank, lora_dropout=0.0, target_modules="all-linear", bias="none")
    settings.base_model_name_or_path = base
    try:
        handle = get_peft_model(model, settings)
    except ValueError as error:
        raise UserError(f"cannot put adapters into {base}: {error}") from error
    handle.peft_config["default"].base_model_name_or_path = base
    return handle


@contextmanager
def off(handle: Any) -> Iterator[None]:
    """The model without its adapters, inside the block."""
    with handle.disable_adapter():
        yield


CARD = """---
library_name: peft
base_model: {base}
pipeline_tag: text-generation
tags: [secondthought, lora]
---

# Low-rank adapters for {base}

Rank {rank}, alpha {alpha}, on every projection, after {steps} steps of training with secondthought. What was trained, on what,
and what it changed stands in the run that this is a checkpoint of (`resolved.json`, `summary.json`).

```python
from peft import PeftModel
from transformers import AutoModelForCausalLM

model = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained("{base}"), "THIS FOLDER")
```

`secondthought merge THIS_FOLDER --out MODEL` writes both as one model.
"""


def save(handle: Any, folder: Path, base: str, steps: int) -> None:
    """Write adapter_config.json, adapter_model.safetensors, and a model card that says what they are."""
    handle.save_pretrained(folder, save_embedding_layers=False)
    settings = handle.peft_config["default"]
    card = CARD.format(base=base, rank=settings.r, alpha=settings.lora_alpha, steps=steps)
    (folder / "README.md").write_text(card, encoding="utf-8")


def restore(handle: Any, folder: Path) -> None:
    """Take the adapters that :func:`save` wrote. Raises UserError if they are of another model or rank, or damaged."""
    from peft import set_peft_model_state_dict

    if not (folder / ADAPTERS).is_file():
        raise UserError(f"{folder} holds no adapters; was the run started without lora?")
    given = read_tensors(folder / ADAPTERS)
    try:
        loaded = set_peft_model_state_dict(handle, given)
    except RuntimeError as error:
        raise UserError(f"the adapters in {folder} are of another model or rank") from error
    if loaded.unexpected_keys or lacking(handle, given) is not None:  # type: ignore[attr-defined]
        raise UserError(f"the adapters in {folder} are of another model")
