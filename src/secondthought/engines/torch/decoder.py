"""The decoder families in plain PyTorch, read off a Hugging Face model: fewer and larger operations for the same numbers.

Projections that read the same input are one matrix, the gain of a norm is folded into the matrix behind it, the attention
scale into the queries, and rotary pairs lie side by side. Attention is left to the caller, who knows what is shared: the
sampler keeps one trunk for a group (:mod:`secondthought.engines.torch.prefix_batch`), the learner appends branches to a trunk
(:mod:`secondthought.learners.trees`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import embedding
from torch.utils.checkpoint import checkpoint

from secondthought.engines.torch.kernels import capped, gated, normed, turned
from secondthought.engines.torch.products import Adapted, Matrix, added, packed, product


@dataclass(frozen=True, slots=True)
class Projected:
    """What one layer's first matrix makes of N tokens, ``(N, (Q+2K)*D)``, and how its queries and keys are to be turned."""

    qkv: Tensor
    turns_NC: Tensor
    head_gain: Tensor | None
    heads: int
    key_heads: int
    eps: float

    def split(self) -> tuple[Tensor, Tensor]:
        """Queries and keys ``(N, Q+K, D)``, normed (where the family does) and turned, and values ``(N, K, D)``."""
        each = self.qkv.view(len(self.qkv), self.heads + 2 * self.key_heads, -1)
        qk, v = torch.split(each, [self.heads + self.key_heads, self.key_heads], dim=1)
        if self.head_gain is not None:
            qk = normed(qk, self.eps) * self.head_gain
        return turned(qk, self.turns_NC[:, None]), v


# attend(layer, its projection of N tokens) -> (N, Q * D)
Attend = Callable[[int, Projected], Tensor]

FAMILIES = {f"{name}ForCausalLM" for name in ("Llama", "Mistral", "Qwen2", "Qwen3", "Gemma", "Gemma2", "Gemma3")}
ROPES = {"default", "linear", "llama3", "yarn"}  # those whose angles depend on the position alone
ACTIVATIONS = {"silu": "silu", "swish": "silu", "gelu_pytorch_tanh": "gelu_tanh", "gelu_tanh": "gelu_tanh"}


def is_low_rank(module: Any) -> bool:
    """Whether a module is a plain matrix with low-rank adapters (as peft puts them in) and nothing else."""
    return (
        hasattr(module, "lora_A")
        and type(module.get_base_layer()) is nn.Linear
        and not any(module.use_dora.values())
        and not module.lora_embedding_A
    )


def matrix(module: Any) -> Tensor:
    """The matrix that a projection multiplies with now, its adapters included; gradients flow into both."""
    if not hasattr(module, "lora_A"):
        return module.weight  # type: ignore[no-any-return]
    whole: Tensor = module.get_base_layer().weight
    if module.disable_adapters or module.merged:
        return whole
    for name in module.active_adapters:
        whole = whole + module.get_delta_weight(name).to(whole.dtype)
    return whole


def adapters_of(modules: Sequence[Any]) -> list[tuple[Tensor, Tensor, int]]:
    """The low-rank adapters in use beside the matrices of projections that read the same input: ``down`` ``(R, I)``, ``up``
    ``(O, R)`` with its scale, and which of the projections each belongs to.
    """
    found = []
    for place, module in enumerate(modules):
        if hasattr(module, "lora_A") and not module.disable_adapters and not module.merged:
            for name in module.active_adapters:
                up = module.lora_B[name].weight * module.scaling[name]
                found.append((module.lora_A[name].weight, up, place))
    return found


@dataclass(frozen=True, slots=True)
class Block:
    """The matrices of one layer. ``head_gain`` is (Q+K, D), for families that norm queries and keys; gains may be None."""

    qkv: Matrix
    qkv_bias: Tensor | None
    head_gain: Tensor | None
    out: Matrix
    out_bias: Tensor | None
    out_gain: Tensor | None
    gate_up: Matrix
    down: Matrix
    down_gain: Tensor | None
    rope: str


@dataclass(frozen=True, slots=True)
class Weights:
    """All matrices of a model, as :meth:`Decoder.run` takes them."""

    embed: Tensor
    blocks: tuple[Block, ...]
    gain: Tensor
    head: Matrix


class Decoder:
    """How a model of a known family computes. It holds no weights: :meth:`weights` reads them off the model as they are now.

    Low-rank adapters are added to the matrices they belong to. With ``recompute`` each layer is computed again in the backward
    pass instead of being remembered. Raises ValueError, saying why, for a model that is of no known family or was changed in
    another way (quantised matrices, other adapters).
    """

    recompute = False

    def __init__(self, model: Any) -> None:
        self.model = model
        config = model.config
        if type(model).__name__ not in FAMILIES:
            raise ValueError(f"{type(model).__name__} is of no family that the fast path knows")
        self.layers = list(model.model.layers)
        other = {type(m).__name__ for m in self._matrices() if type(m) is not nn.Linear and not is_low_rank(m)}
        if other:
            raise ValueError(f"its matrices are {', '.join(sorted(other))} and not plain")
        activation = getattr(config, "hidden_activation", None) or config.hidden_act
        if activation not in ACTIVATIONS:
            raise ValueError(f"its activation is {activation}")
        self.activation = ACTIVATIONS[activation]
        attention = self.layers[0].self_attn
        self.width = int(attention.head_dim)
        self.heads = attention.q_proj.out_features // self.width
        self.key_heads = attention.k_proj.out_features // self.width
        self.eps = float(config.rms_norm_eps)
        self.gemma = type(model).__name__.startswith("Gemma")
        self.embed_scale = float(model.model.embed_tokens.scalar_embed_scale) if self.gemma else 1.0
        self.cap: float | None = getattr(config, "attn_logit_softcapping", None)
        self.final_cap: float | None = getattr(config, "final_logit_softcapping", None)
        parameters = getattr(config, "rope_parameters", None) or {}
        self.ropes = [kind for kind in parameters if isinstance(parameters[kind], dict)] or ["all"]
        for kind in self.ropes:
            rope = parameters if kind == "all" else parameters[kind]
            if rope.get("rope_type", "default") not in ROPES or rope.get("partial_rotary_factor", 1.0) != 1.0:
                raise ValueError(f"its positions are {rope.get('rope_type')}")
        self._turns: dict[str, Tensor] = {}
        self._frozen: dict[tuple[int, str, torch.dtype], Tensor] = {}  # fused matrices that adapters stand beside

    def _matrices(self) -> list[nn.Module]:
        found: list[nn.Module] = [self.model.lm_head]
        for layer in self.layers:
            a, m = layer.self_attn, layer.mlp
            found += [a.q_proj, a.k_proj, a.v_proj, a.o_proj, m.gate_proj, m.up_proj, m.down_proj]
        return found

    # --- weights -----------------------------------------------------------------------------------------------------

    def weights(self, dtype: torch.dtype | None = None, *, merged: bool = False) -> Weights:
        """The model's present weights, fused; gradients flow through to the model's own parameters where they are enabled.

        Adapters stand beside the matrices, which are then fused only once, unless ``merged``: then they are added to them.
        """
        body = self.model.model

        def cast(w: Tensor) -> Tensor:
            return w.to(dtype or self.model.dtype)

        return Weights(
            cast(body.embed_tokens.weight),
            tuple(self._block(i, cast, merged=merged) for i in range(len(self.layers))),
            cast(self._gain(body.norm)),
            cast(self.model.lm_head.weight),
        )

    def fixed(self, dtype: torch.dtype | None = None) -> Weights:
        """The same for reading only: nothing flows back into them, and the matrices are packed where that is faster."""
        with torch.no_grad():
            plain = self.weights(dtype, merged=True)
            blocks = tuple(
                replace(b, qkv=packed(b.qkv), out=packed(b.out), gate_up=packed(b.gate_up), down=packed(b.down))  # type: ignore[arg-type]
                for b in plain.blocks
            )
            return replace(plain, blocks=blocks, head=packed(plain.head))  # type: ignore[arg-type]

    def _gain(self, norm: Any) -> Tensor:
        gain: Tensor = norm.weight.float()
        return gain + 1.0 if self.gemma else gain

    def _fused(
        self, i: int, name: str, modules: Sequence[Any], cast: Callable[[Tensor], Tensor], merged: bool,
        gain: Tensor | None = None, ordered: Sequence[Callable[[Tensor], Tensor]] = (),
    ) -> Matrix:  # fmt: skip
        """One matrix of projections that read the same input, each with its rows ``ordered``, columns times ``gain``."""
        order = ordered or [lambda w: w] * len(modules)

        def whole(parts: Sequence[Tensor]) -> Tensor:
            if len(parts) == 1 and gain is None and not ordered:
                return cast(parts[0])
            joined = torch.cat([change(part.float()) for change, part in zip(order, parts, strict=True)])
            return cast(joined if gain is None else joined * gain)

        beside = [] if merged else adapters_of(modules)
        if not beside:
            return whole([matrix(module) for module in modules])
        bare = [module.get_base_layer().weight if hasattr(module, "lora_A") else module.weight for module in modules]
        key = (i, name, cast(bare[0][:0]).dtype)
        if key not in self._frozen:
            with torch.no_grad():
                self._frozen[key] = whole(bare).detach()
        sizes = [len(one) for one in bare]
        downs = [down if gain is None else down * gain for down, _, _ in beside]
        ups = [
            torch.cat([order[at](up) if at == place else up.new_zeros(size, up.shape[1]) for at, size in enumerate(sizes)])
            for _, up, place in beside
        ]
        return Adapted(self._frozen[key], cast(torch.cat(downs)), cast(torch.cat(ups, dim=1)))

    def _block(self, i: int, cast: Callable[[Tensor], Tensor], *, merged: bool) -> Block:
        layer = self.layers[i]
        a, mlp = layer.self_attn, layer.mlp
        sandwich = hasattr(layer, "pre_feedforward_layernorm")
        before_mlp = layer.pre_feedforward_layernorm if sandwich else layer.post_attention_layernorm
        queries_normed = hasattr(a, "q_norm")
        scale = 1.0 if queries_normed else a.scaling

        def pairs(w: Tensor) -> Tensor:
            """Rotary halves of a head side by side."""
            return w.view(-1, 2, self.width // 2, *w.shape[1:]).transpose(1, 2).flatten(0, 2)

        def fused(name: str, modules: Sequence[Any], gain: Tensor | None = None, ordered: Sequence[Any] = ()) -> Matrix:
            return self._fused(i, name, modules, cast, merged, gain, ordered)

        parts = (a.q_proj, a.k_proj, a.v_proj)
        ordered = (lambda w: pairs(w * scale), pairs, lambda w: w)
        bias = None
        if a.q_proj.bias is not None:
            bias_q, bias_k, bias_v = (part.bias.float() for part in parts)
            bias = cast(torch.cat([pairs(bias_q * scale), pairs(bias_k), bias_v]))
        head_gain = None
        if queries_normed:
            gain_q, gain_k = pairs(self._gain(a.q_norm)) * a.scaling, pairs(self._gain(a.k_norm))
            head_gain = cast(torch.cat([gain_q.expand(self.heads, -1), gain_k.expand(self.key_heads, -1)]))
        return Block(
            fused("qkv", parts, self._gain(layer.input_layernorm), ordered),
            bias,
            head_gain,
            fused("out", (a.o_proj,)),
            None if a.o_proj.bias is None else cast(a.o_proj.bias),
            cast(self._gain(layer.post_attention_layernorm)) if sandwich else None,
            fused("gate_up", (mlp.gate_proj, mlp.up_proj), self._gain(before_mlp)),
            fused("down", (mlp.down_proj,)),
            cast(self._gain(layer.post_feedforward_layernorm)) if sandwich else None,
            a.layer_type if len(self.ropes) > 1 else self.ropes[0],
        )

    # --- the forward pass --------------------------------------------------------------------------------------------

    def reserve(self, positions: int) -> None:
        """Make ready for positions below this one."""
        known = next(iter(self._turns.values())).shape[0] if self._turns else 0
        if positions <= known:
            return
        length = 1 << (positions - 1).bit_length()
        device = self.model.device
        positions_1T = torch.arange(length, device=device)[None]
        rotary = self.model.model.rotary_emb
        for kind in self.ropes:
            which = () if kind == "all" else (kind,)
            cos_1TD, sin_1TD = rotary(torch.zeros(1, device=device), positions_1T, *which)
            half = self.width // 2
            self._turns[kind] = torch.complex(cos_1TD[0, :, :half].contiguous(), sin_1TD[0, :, :half].contiguous())

    def run(self, weights: Weights, ids_N: Tensor, positions_N: Tensor, attend: Attend) -> Tensor:
        """Hidden states ``(N, M)`` after the last layer, before the final norm, of N tokens that only ``attend`` relates."""
        x_NM = embedding(ids_N, weights.embed)
        if self.embed_scale != 1.0:
            x_NM = x_NM * torch.tensor(self.embed_scale, dtype=x_NM.dtype)
        turns = {kind: table[positions_N] for kind, table in self._turns.items()}

        def layer(x_NM: Tensor, i: int, block: Block) -> Tensor:
            qkv = product(normed(x_NM, self.eps), block.qkv, block.qkv_bias)
            projected = Projected(qkv, turns[block.rope], block.head_gain, self.heads, self.key_heads, self.eps)
            x_NM = self._add(x_NM, attend(i, projected), block.out, block.out_bias, block.out_gain)
            mixed_NI = gated(product(normed(x_NM, self.eps), block.gate_up), self.activation)
            return self._add(x_NM, mixed_NI, block.down, None, block.down_gain)

        recompute = self.recompute and torch.is_grad_enabled()
        for i, block in enumerate(weights.blocks):
            x_NM = checkpoint(layer, x_NM, i, block, use_reentrant=False) if recompute else layer(x_NM, i, block)
        return x_NM

    def _add(self, x_NM: Tensor, inner: Tensor, matrix: Matrix, bias: Tensor | None, gain: Tensor | None) -> Tensor:
        """The residual sum, with the norm that Gemma puts behind a sublayer."""
        if gain is not None:
            return x_NM + normed(product(inner, matrix, bias), self.eps) * gain
        return added(x_NM, inner, matrix, bias)

    def logits(self, weights: Weights, x_NM: Tensor, *, wide: bool = True) -> Tensor:
        """Logits ``(N, V)`` from hidden states; in float32 if ``wide``, else as the product makes them."""
        logits_NV = product(normed(x_NM, self.eps) * weights.gain, weights.head)
        if self.final_cap is not None:
            return capped(logits_NV.float(), self.final_cap)
        return logits_NV.float() if wide else logits_NV

    def alone(self, ids_T: Tensor) -> Tensor:
        """Logits ``(T, V)`` of one plain sequence."""
        length, each = len(ids_T), self.heads // self.key_heads
        self.reserve(length)
        past_TT = torch.ones(length, length, dtype=torch.bool, device=ids_T.device).tril()

        def attend(_: int, projected: Projected) -> Tensor:
            qk, v = projected.split()
            q, k = torch.split(qk, [self.heads, self.key_heads], dim=1)
            k, v = (part.repeat_interleave(each, dim=1).transpose(0, 1) for part in (k, v))
            scores_QTT = q.transpose(0, 1) @ k.mT
            if self.cap is not None:
                scores_QTT = capped(scores_QTT, self.cap)
            probs_QTT = scores_QTT.float().masked_fill(~past_TT, -torch.inf).softmax(-1).to(v.dtype)
            read_TQD: Tensor = (probs_QTT @ v).transpose(0, 1)
            return read_TQD.flatten(1)

        weights = self.weights(merged=True)  # once: nothing is kept for it
        return self.logits(weights, self.run(weights, ids_T, torch.arange(length, device=ids_T.device), attend))
