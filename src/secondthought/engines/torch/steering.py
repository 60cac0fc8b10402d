"""Changing the residual stream of a model while it reads and writes, through hooks that go away however the block ends."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from secondthought.engines.base import Change
from secondthought.errors import UserError


def blocks_of(model: Any) -> nn.ModuleList:
    """The blocks of a Hugging Face causal LM, in order, whatever its family calls them.

    Raises UserError for a model that has no list of as many blocks as its configuration says.
    """
    wanted = model.config.get_text_config().num_hidden_layers
    decoder = model.get_decoder() if hasattr(model, "get_decoder") else model
    for module in (decoder or model).modules():
        if isinstance(module, nn.ModuleList) and len(module) == wanted:
            return module
    raise UserError(f"the blocks of a {type(model).__name__} could not be found, so its hidden states cannot be changed")


@contextmanager
def steered(model: Any, layer: int, change: Change) -> Iterator[None]:
    """Inside the block ``change(stream_BTM, positions_BT)`` takes the place of the residual stream after ``layer`` (0: the
    embedding): what :meth:`hidden` of an engine shows there, before the next block reads it.

    ``positions_BT`` count the tokens of a conversation from 0. Raises UserError for a layer that is not there, and ValueError
    for a change of another shape.
    """
    blocks = blocks_of(model)
    if not 0 <= layer < len(blocks):
        raise UserError(f"there is no layer {layer} to steer at; this model has 0 to {len(blocks) - 1}")
    positions: list[Tensor] = []

    def note(_: Any, args: tuple[Any, ...], given: dict[str, Any]) -> None:
        ids = given.get("input_ids", args[0] if args else None)
        known = given.get("position_ids")
        if known is None and ids is not None:
            known = torch.arange(ids.shape[1], device=ids.device)[None].expand(ids.shape[0], -1)
        positions[:] = [] if known is None else [known]

    def alter(_: Any, args: tuple[Any, ...], given: dict[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
        stream_BTM = args[0] if args else given["hidden_states"]
        # Chunked reading may hand on fewer rows of positions than there are rows: they are alike then.
        changed_BTM = change(stream_BTM, positions[0].expand(stream_BTM.shape[0], -1)).to(stream_BTM.dtype)
        if changed_BTM.shape != stream_BTM.shape:
            raise ValueError(
                f"a change must keep the shape {tuple(stream_BTM.shape)} of the stream, not {tuple(changed_BTM.shape)}"
            )
        return ((changed_BTM, *args[1:]), given) if args else (args, {**given, "hidden_states": changed_BTM})

    hooks = [
        model.register_forward_pre_hook(note, with_kwargs=True),
        blocks[layer].register_forward_pre_hook(alter, with_kwargs=True),
    ]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()
