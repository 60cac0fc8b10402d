"""One forward pass of any Hugging Face causal LM, with logits only where they are asked for."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from secondthought.engines.decoder import Decoder
from secondthought.files import UserError


def longest_context(config: Any) -> int:
    """How many tokens a model of this configuration reads correctly through one plain cache.

    Layers with a sliding window are exact up to their window. Raises UserError for layers that are no attention at all
    (state spaces, linear attention): their memory cannot be shared between branches.
    """
    layers = set(getattr(config, "layer_types", None) or ())
    if strange := sorted(layers - {"full_attention", "sliding_attention"}):
        raise UserError(f"models with {strange[0]} layers are not supported yet; choose one with plain attention")
    slides = "sliding_attention" in layers or (not layers and getattr(config, "use_sliding_window", True))
    window = getattr(config, "sliding_window", None) if slides else None
    limits = [window, getattr(config, "max_position_embeddings", None)]
    return min((limit for limit in limits if limit), default=1 << 30)


@contextmanager
def logits_only_at(model: Any, where_N: Tensor) -> Iterator[None]:
    """Inside the block the model's output layer sees only the hidden states at ``where_N`` (indices into B*T).

    The selection happens at the door of the output layer, so whatever the model does to its logits afterwards (soft caps,
    scaling) still happens. Outside the block the model is untouched.
    """

    def select(_: Any, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        hidden_BTH = inputs[0]
        return (hidden_BTH.flatten(0, 1).index_select(0, where_N).unsqueeze(0),)

    hook = model.get_output_embeddings().register_forward_pre_hook(select)
    try:
        yield
    finally:
        hook.remove()


def logits_at(
    model: Any, ids_BT: Tensor, positions_BT: Tensor, mask_B1TT: Tensor, where_N: Tensor, cache: Any = None
) -> Tensor:
    """Logits ``(N, V)`` in float32 at the flat positions ``where_N``; ``mask_B1TT`` is True where attention is allowed."""
    if getattr(model.config, "_attn_implementation", None) == "eager":  # which adds its mask to the scores
        blank = torch.zeros(mask_B1TT.shape, dtype=model.dtype, device=mask_B1TT.device)
        mask_B1TT = blank.masked_fill_(~mask_B1TT, torch.finfo(model.dtype).min)
    with logits_only_at(model, where_N):
        output = model(
            input_ids=ids_BT,
            position_ids=positions_BT,
            attention_mask=mask_B1TT,
            past_key_values=cache,
            use_cache=cache is not None,
        )
    logits_NV: Tensor = output.logits[0]
    return logits_NV.float()


def logprobs_of(logits_NV: Tensor, targets_N: Tensor, temperature: float = 1.0) -> Tensor:
    """Log-probability (nats) of each target at ``temperature``; 0 means the greedy sampler, whose record is taken at 1."""
    scaled_NV = logits_NV / (temperature or 1.0)
    return scaled_NV.gather(1, targets_N[:, None])[:, 0] - scaled_NV.logsumexp(1)


def decoder_for(model: Any) -> Decoder | None:
    """The fast path of a model, once it has given the model's own logits on a few tokens; None, with one log line, if not."""
    log = logging.getLogger("secondthought")
    try:
        decoder = Decoder(model)
    except ValueError as reason:
        log.warning("%s takes the generic path: %s", type(model).__name__, reason)
        return None
    ids_N = torch.arange(8, device=model.device) % model.config.vocab_size
    mask_TT = torch.ones(8, 8, dtype=torch.bool, device=model.device).tril()
    with torch.no_grad():
        ours_NV = decoder.alone(ids_N)
        theirs_NV = logits_at(
            model, ids_N[None], torch.arange(8, device=model.device)[None], mask_TT[None, None], ids_N.new_tensor(range(8))
        )
    spread = float(theirs_NV.std())
    gap = float((ours_NV - theirs_NV).abs().max())
    if not gap <= (1e-3 if model.dtype == torch.float32 else 0.2) * max(spread, 1.0):
        log.warning("%s takes the generic path: its logits differ by %.2g from the fast path's", type(model).__name__, gap)
        return None
    return decoder
