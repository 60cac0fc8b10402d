"""From a name to a place: a shipped nano model, a folder, a GGUF file, or a hub name."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from secondthought.errors import UserError
from secondthought.models.gguf import dequantised, is_gguf

SHIPPED = Path(__file__).parent.parent / "nano" / "checkpoints"


def resolve(name: str) -> str:
    """The folder of a shipped model (``nano/countdown``) or of a GGUF file (dequantised now, if it was not yet), or the name
    itself.
    """
    if is_gguf(name):
        return str(dequantised(name))
    shipped = SHIPPED / name.removeprefix("nano/")
    if name.startswith("nano/") and not shipped.is_dir():
        known = ", ".join(sorted(f"nano/{p.name}" for p in SHIPPED.iterdir() if p.is_dir()))
        raise UserError(f"there is no shipped model {name!r}; there is {known}")
    return str(shipped) if name.startswith("nano/") else name


def style_of(model: str) -> str:
    """The wording a model understands: ``terse`` for the nano family, ``chat`` for all others."""
    config = Path(base_of(resolve(model.removeprefix("vllm:")))) / "config.json"
    fields: dict[str, Any] = json.loads(config.read_text()) if config.exists() else {}
    return str(fields.get("secondthought_style", "chat"))


def base_of(place: str) -> str:
    """The model that a folder of adapters belongs to; any other place is itself."""
    adapters = Path(place) / "adapter_config.json"
    return str(json.loads(adapters.read_text())["base_model_name_or_path"]) if adapters.is_file() else place
