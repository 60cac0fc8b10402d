"""One forward pass of any Hugging Face causal LM, with logits only where they are asked for, and only so many at a time."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from secondthought.engines.torch.decoder import Decoder
from secondthought.errors import UserError


def longest_context(config: Any) -> int:
    """How many tokens a model of this configuration reads correctly through one plain cache.

    Layers with a sliding window are exact up to their window. Raises UserError for layers that are no attention at all
    (state spaces, linear attention): their memory cannot be shared between branches.
    """
    layers = set(getattr(config, "layer_types", None) or ())
    if other := sorted(layers - {"full_attention", "sliding_attention"}):
        raise UserError(f"models with {other[0]} layers are not supported yet; choose one with plain attention")
    slides = "sliding_attention" in layers or (not layers and getattr(config, "use_sliding_window", True))
    window = getattr(config, "sliding_window", None) if slides else None
    limits = [window, getattr(config, "max_position_embeddings", None)]
    return min((limit for limit in limits if limit), default=1 << 30)


@contextmanager
def logits_only_at(model: Any, where_N: Tensor, seen: Callable[[Tensor], Tensor] = lambda x: x) -> Iterator[None]:
    """Inside the block the model's output layer sees only the hidden states at ``where_N`` (indices into B*T).

    The selection happens at the door of the output layer, so whatever the model does to its logits afterwards (soft caps,
    scaling) still happens; ``seen`` may look at what was selected ``(1, N, M)`` and hand on something else. Outside the block
    the model is untouched.
    """

    def select(_: Any, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        hidden_BTH = inputs[0]
        return (seen(hidden_BTH.flatten(0, 1).index_select(0, where_N).unsqueeze(0)),)

    hook = model.get_output_embeddings().register_forward_pre_hook(select)
    try:
        yield
    finally:
        hook.remove()


def forward(model: Any, ids_BT: Tensor, positions_BT: Tensor, mask_B1TT: Tensor, cache: Any = None) -> Any:
    """The model's own forward pass; ``mask_B1TT`` is True where attention is allowed."""
    if getattr(model.config, "_attn_implementation", None) == "eager":  # which adds its mask to the scores
        blank = torch.zeros(mask_B1TT.shape, dtype=model.dtype, device=mask_B1TT.device)
        mask_B1TT = blank.masked_fill_(~mask_B1TT, torch.finfo(model.dtype).min)
    return model(
        input_ids=ids_BT,
        position_ids=positions_BT,
        attention_mask=mask_B1TT,
        past_key_values=cache,
        use_cache=cache is not None,
    )


def logits_at(
    model: Any, ids_BT: Tensor, positions_BT: Tensor, mask_B1TT: Tensor, where_N: Tensor, cache: Any = None
) -> Tensor:
    """Logits ``(N, V)`` in float32 at the flat positions ``where_N``."""
    with logits_only_at(model, where_N):
        logits_NV: Tensor = forward(model, ids_BT, positions_BT, mask_B1TT, cache).logits[0]
    return logits_NV.float()


Head = Callable[[Tensor], Tensor]
"""From hidden states ``(N, M)`` to logits ``(N, V)`` in float32."""


CHUNK = 256 << 20  # bytes of logits that exist at a time


class Outputs:
    """How a model makes logits of what comes before its output layer, so that few of them need to exist at a time.

    Found out once: if the output layer (with the soft cap that its configuration may name) does not give the model's own
    logits, everything is computed at once, with one log line.
    """

    def __init__(self, model: Any) -> None:
        self.model = model
        config = model.config.get_text_config()
        self.cap: float | None = getattr(config, "final_logit_softcapping", None)
        ids_1T = torch.arange(8, device=model.device)[None] % config.vocab_size
        positions_1T = torch.arange(8, device=model.device)[None]
        mask = torch.ones(1, 1, 8, 8, dtype=torch.bool, device=model.device).tril()
        self.apart = True
        with torch.no_grad():
            whole_NV = logits_at(model, ids_1T, positions_1T, mask, positions_1T[0])
            hidden_NM, head = self.read(ids_1T, positions_1T, mask, positions_1T[0])
            self.apart = bool(torch.allclose(head(hidden_NM), whole_NV, rtol=1e-3, atol=1e-3 * max(1.0, float(whole_NV.std()))))
        if not self.apart:
            logging.getLogger("secondthought").warning(
                "%s changes its logits in a way of its own: they are computed all at once", type(model).__name__
            )

    def read(self, ids_BT: Tensor, positions_BT: Tensor, mask_B1TT: Tensor, where_N: Tensor) -> tuple[Tensor, Head]:
        """Hidden states ``(N, M)`` at the flat positions ``where_N``, and what makes logits of them."""
        if not self.apart:
            return logits_at(self.model, ids_BT, positions_BT, mask_B1TT, where_N), lambda logits_NV: logits_NV
        held: list[Tensor] = []

        def keep(hidden_1NM: Tensor) -> Tensor:
            held.append(hidden_1NM[0])
            return hidden_1NM[:, :0]

        with logits_only_at(self.model, where_N, keep):
            forward(self.model, ids_BT, positions_BT, mask_B1TT)
        return held[0], self._head

    def _head(self, hidden_NM: Tensor) -> Tensor:
        logits_NV = self.model.get_output_embeddings()(hidden_NM).float()
        return logits_NV if self.cap is None else self.cap * torch.tanh(logits_NV / self.cap)


def logprobs_in_chunks(
    hidden_NM: Tensor, head: Head, targets_N: Tensor, vocabulary: int, temperature: float = 1.0, most: int = CHUNK
) -> Tensor:
    """Log-probabilities ``(N,)`` of the targets with logits of at most ``most`` bytes at a time, made again where a gradient
    needs them: 150,000 words and 10,000 tokens would be 6 GB otherwise, several times over.
    """

    def some(hidden_KM: Tensor, targets_K: Tensor) -> Tensor:
        return logprobs_of(head(hidden_KM), targets_K, temperature)

    rows = max(1, most // (4 * vocabulary))
    if len(targets_N) <= rows:
        return some(hidden_NM, targets_N)
    again = torch.is_grad_enabled()
    return torch.cat([
        checkpoint(some, hidden_KM, targets_K, use_reentrant=False) if again else some(hidden_KM, targets_K)
        for hidden_KM, targets_K in zip(torch.split(hidden_NM, rows), torch.split(targets_N, rows), strict=True)
    ])  # fmt: skip


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
