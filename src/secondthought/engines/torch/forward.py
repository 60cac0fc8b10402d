"""One forward pass of any Hugging Face causal LM, with logits only where they are asked for, and only so many at a time."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from secondthought.engines.base import Sampling
from secondthought.engines.torch.decoder import Decoder
from secondthought.engines.torch.kernels import logprobs
from secondthought.engines.torch.shaping import penalised, truncated
from secondthought.errors import UserError


def longest_context(config: Any) -> int:
    """How many tokens a model of this configuration reads.

    Raises UserError for layers that are no attention at all (state spaces, linear attention): their memory cannot be shared
    between branches.
    """
    layers = set(getattr(config, "layer_types", None) or ())
    if other := sorted(layers - {"full_attention", "sliding_attention"}):
        raise UserError(f"models with {other[0]} layers are not supported yet; choose one with plain attention")
    return getattr(config, "max_position_embeddings", None) or 1 << 30


def window_of(config: Any) -> int:
    """How far back every layer looks: the sliding window where some layer has one. Up to there all attention is alike.

    Longer texts are read through the model's own modules, with a mask for each kind of layer (:func:`forward`).
    """
    layers = set(getattr(config, "layer_types", None) or ())
    slides = "sliding_attention" in layers or (not layers and getattr(config, "use_sliding_window", True))
    window = getattr(config, "sliding_window", None) if slides else None
    return window or 1 << 30


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


def forward(
    model: Any, ids_BT: Tensor, positions_BT: Tensor, mask_B1TT: Tensor, cache: Any = None, keys_BT: Tensor | None = None
) -> Any:
    """The model's own forward pass; ``mask_B1TT`` is True where attention is allowed. Layers with a sliding window look no
    further back than that: by ``keys_BT``, the positions of what may be looked at (default: those of the tokens themselves).
    """
    config = model.config.get_text_config()
    added = getattr(model.config, "_attn_implementation", None) == "eager"  # which adds its mask to the scores

    def ready(mask: Tensor) -> Tensor:
        blank = torch.zeros(mask.shape, dtype=model.dtype, device=mask.device)
        return blank.masked_fill_(~mask, torch.finfo(model.dtype).min) if added else mask

    mask: Any = ready(mask_B1TT)
    window, keys = window_of(config), positions_BT if keys_BT is None else keys_BT
    if mask_B1TT.shape[-1] > window:
        near_B1TT = (positions_BT[:, None, :, None] - keys[:, None, None, :]) < window
        sliding = ready(mask_B1TT & near_B1TT)
        mixed = getattr(config, "layer_types", None)
        mask = {"full_attention": mask, "sliding_attention": sliding} if mixed else sliding
    return model(
        input_ids=ids_BT,
        position_ids=positions_BT,
        attention_mask=mask,
        past_key_values=cache,
        use_cache=cache is not None,
    )


def logits_at(
    model: Any, ids_BT: Tensor, positions_BT: Tensor, mask_B1TT: Tensor, where_N: Tensor, cache: Any = None,
    keys_BT: Tensor | None = None,
) -> Tensor:  # fmt: skip
    """Logits ``(N, V)`` in float32 at the flat positions ``where_N``."""
    with logits_only_at(model, where_N):
        logits_NV: Tensor = forward(model, ids_BT, positions_BT, mask_B1TT, cache, keys_BT).logits[0]
    return logits_NV.float()


Head = Callable[[Tensor], Tensor]
"""From hidden states ``(N, M)`` to logits ``(N, V)``, in float32 or in the precision of the products."""


UNSHAPED = Sampling()
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
            self.apart = bool(
                torch.allclose(head(hidden_NM).float(), whole_NV, rtol=1e-3, atol=1e-3 * max(1.0, float(whole_NV.std())))
            )
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
        logits_NV: Tensor = self.model.get_output_embeddings()(hidden_NM)
        return logits_NV if self.cap is None else self.cap * torch.tanh(logits_NV.float() / self.cap)


def logprobs_in_chunks(
    hidden_NM: Tensor, head: Head, targets_N: Tensor, vocabulary: int, sampling: Sampling = UNSHAPED, most: int = CHUNK,
    seen_NL: Tensor | None = None,
) -> Tensor:  # fmt: skip
    """Log-probabilities ``(N,)`` of the targets with logits of at most ``most`` bytes at a time, made again where a gradient
    needs them: 150,000 words and 10,000 tokens would be 6 GB otherwise, several times over.
    """

    def some(hidden_KM: Tensor, targets_K: Tensor, seen_KL: Tensor | None) -> Tensor:
        return logprobs_of(head(hidden_KM), targets_K, sampling, seen_KL)

    rows = max(1, most // (4 * vocabulary))
    if len(targets_N) <= rows:
        return some(hidden_NM, targets_N, seen_NL)
    again = torch.is_grad_enabled()
    parts = torch.split(hidden_NM, rows), torch.split(targets_N, rows)
    seen = [None] * len(parts[0]) if seen_NL is None else torch.split(seen_NL, rows)
    return torch.cat([
        checkpoint(some, *part, use_reentrant=False) if again else some(*part) for part in zip(*parts, seen, strict=True)
    ])  # fmt: skip


def logprobs_of(logits_NV: Tensor, targets_N: Tensor, sampling: Sampling = UNSHAPED, seen_NL: Tensor | None = None) -> Tensor:
    """Log-probability (nats) of each target in the distribution that ``sampling`` draws from; temperature 0 means the greedy
    sampler, whose record is taken at 1. ``seen_NL`` are the tokens of each context, for the repetition penalty.

    What cannot be drawn is decided from these logits, the target always can be, and no gradient flows through the decision.
    """
    if sampling.repetition_penalty != 1 and seen_NL is not None:
        seen_NV = torch.zeros_like(logits_NV, dtype=torch.bool).scatter_(1, seen_NL, True)
        logits_NV = penalised(logits_NV, seen_NV, sampling.repetition_penalty)
    temperature = sampling.temperature or 1.0
    if not sampling.truncated:
        return logprobs(logits_NV, targets_N, temperature)
    limits = {"top_p": sampling.top_p, "top_k": sampling.top_k, "min_p": sampling.min_p}
    wide_NV = logits_NV.to(torch.promote_types(logits_NV.dtype, torch.float32))
    scaled_NV = truncated(wide_NV / temperature, **limits, keep_N=targets_N)
    return scaled_NV.gather(1, targets_N[:, None])[:, 0] - scaled_NV.logsumexp(1)


def decoder_for(model: Any) -> Decoder | None:
    """The fast path of a model, once it has given the model's own logits on a few tokens; None, with one log line, if not."""
    log = logging.getLogger("secondthought")
    try:
        decoder = Decoder(model)
    except ValueError as reason:
        log.warning("%s takes the generic path: %s", type(model).__name__, reason)
        return None
    length = min(8, window_of(model.config.get_text_config()))
    ids_N = torch.arange(length, device=model.device) % model.config.vocab_size
    mask_TT = torch.ones(length, length, dtype=torch.bool, device=model.device).tril()
    with torch.no_grad():
        ours_NV = decoder.alone(ids_N)
        theirs_NV = logits_at(
            model,
            ids_N[None],
            torch.arange(length, device=model.device)[None],
            mask_TT[None, None],
            ids_N.new_tensor(range(length)),
        )
    spread = float(theirs_NV.std())
    gap = float((ours_NV - theirs_NV).abs().max())
    if not gap <= (1e-3 if model.dtype == torch.float32 else 0.2) * max(spread, 1.0):
        log.warning("%s takes the generic path: its logits differ by %.2g from the fast path's", type(model).__name__, gap)
        return None
    return decoder
