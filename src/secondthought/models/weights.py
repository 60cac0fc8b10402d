"""The weights of a model: as others want them, whether they are sound, and how those of a file take their place."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from secondthought.errors import UserError
from secondthought.models.quantised import is_quantised, plain

ADAPTERS = "adapter_model.safetensors"
"""Where peft keeps adapters."""


def plain_weights(model: Any) -> Iterator[tuple[str, Tensor]]:
    """The weights of a model by their names in a Hugging Face checkpoint, low-rank adapters added in, quantised ones as they
    were rounded.
    """
    adapted = {name: module for name, module in model.named_modules() if hasattr(module, "lora_A")}
    for name, parameter in model.named_parameters():
        if "lora_" in name:
            continue
        if is_quantised(parameter):
            parameter = plain(model.get_submodule(name.rpartition(".")[0]))
        owner, _, rest = name.partition(".base_layer.")
        if rest and rest == "weight" and owner in adapted:
            module = adapted[owner]
            added = parameter.detach()
            for adapter in module.active_adapters:
                added = added + module.get_delta_weight(adapter).to(added.dtype)
            yield f"{owner}.weight", added
        else:
            yield (f"{owner}.{rest}" if rest else name), parameter.detach()


def unsound(weights: Iterable[tuple[str, Tensor]]) -> str | None:
    """The name of the first tensor that holds a number that is not finite; None where all are sound.

    >>> unsound([("a", torch.ones(2)), ("b", torch.tensor([1.0, float("nan")]))])
    'b'
    """
    for name, tensor in weights:
        if tensor.is_floating_point() and tensor.numel() and not all(map(torch.isfinite, torch.aminmax(tensor.detach()))):
            return name
    return None


def read_tensors(file: Path) -> dict[str, Tensor]:
    """The tensors of a safetensors file. Raises UserError for a file that cannot be read, or that holds what is not finite."""
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        found: dict[str, Tensor] = load_file(file)
    except (OSError, SafetensorError) as error:
        raise UserError(f"the weights in {file} cannot be read: {str(error).splitlines()[0]}") from error
    if (name := unsound(found.items())) is not None:
        raise UserError(f"the weights in {file} are damaged: {name} holds numbers that are not finite")
    return found


def read_state(file: Path) -> Any:
    """What ``torch.save`` wrote, tensors and plain values only (no code runs). Raises UserError where it is damaged."""
    try:
        return torch.load(file, weights_only=True)
    except Exception as error:  # a damaged file makes torch raise anything
        raise UserError(f"{file} is damaged; delete {file.parent}, and the run goes on from what was saved before") from error


def take(model: Any, file: Path) -> None:
    """Give a model the weights of a file.

    Raises UserError, before anything is changed, for a file that :func:`read_tensors` refuses or that holds other tensors than
    the model: tied ones may be left out.
    """
    new, own = read_tensors(file), model.state_dict()
    given = {own[name].data_ptr() for name in new if name in own}
    missing = [name for name, tensor in own.items() if name not in new and tensor.data_ptr() not in given]
    other = [name for name, tensor in new.items() if name not in own or own[name].shape != tensor.shape]
    if missing or other:
        raise UserError(f"the weights in {file} are of another model: {(other or missing)[0]} does not fit")
    model.load_state_dict(new, strict=False)


def lacking(handle: Any, given: Iterable[str]) -> str | None:
    """The first of the tensors of peft's adapters that is not ``given``; None where all are."""
    from peft import get_peft_model_state_dict

    wanted = set(get_peft_model_state_dict(handle, save_embedding_layers=False))
    return min(wanted - set(given), default=None)
