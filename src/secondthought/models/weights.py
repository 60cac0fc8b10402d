"""The weights of a model as others want them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from torch import Tensor


def plain_weights(model: Any) -> Iterator[tuple[str, Tensor]]:
    """The weights of a model by their names in a Hugging Face checkpoint, low-rank adapters added in."""
    adapted = {name: module for name, module in model.named_modules() if hasattr(module, "lora_A")}
    for name, parameter in model.named_parameters():
        if "lora_" in name:
            continue
        owner, _, rest = name.partition(".base_layer.")
        if rest and rest == "weight" and owner in adapted:
            module = adapted[owner]
            added = parameter.detach()
            for adapter in module.active_adapters:
                added = added + module.get_delta_weight(adapter).to(added.dtype)
            yield f"{owner}.weight", added
        else:
            yield (f"{owner}.{rest}" if rest else name), parameter.detach()
