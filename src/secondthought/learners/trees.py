"""The fast forward pass of a tree row: the trunk once, its branches side by side, nothing padded but inside attention.

All tokens of a micro-batch stand in one list, so matrix products see no padding. For attention they are collated out as trunks
``(R, P)`` and branches ``(R, G, S)``: a trunk reads itself, a branch reads its trunk (one product for all branches) and itself.
A branch that forks again is collated out once for each of its leaves.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

from secondthought.engines.torch.decoder import Decoder, Projected
from secondthought.engines.torch.forward import Head
from secondthought.engines.torch.kernels import NEVER, lay_out, tree_attention, unlay
from secondthought.learners.rows import Row

REMEMBERED = 256 << 20  # bytes of attention probabilities kept for the backward pass; beyond that they are computed again


@dataclass(frozen=True, slots=True)
class Trees:
    """A micro-batch collated out. N tokens; ``where_T`` says which of them predict the trained ones.

    ``from_qk`` and ``from_v`` say, for every padded place of queries and keys and of values, which head of which token stands
    there; ``into_qk``, ``into_v`` and ``into_out`` where each head of each token stands. ``shape`` is (R, P, G, S).
    """

    ids_N: Tensor
    positions_N: Tensor
    where_T: Tensor
    from_qk: Tensor
    into_qk: Tensor
    from_v: Tensor
    into_v: Tensor
    into_out: Tensor
    bias: Tensor
    shape: tuple[int, int, int, int]
    longest: int


class TreeReader:
    """Reads rows through a :class:`Decoder`."""

    def __init__(self, decoder: Decoder) -> None:
        self.decoder = decoder

    def collate(self, rows: Sequence[Row]) -> Trees:
        """The rows of a micro-batch as trunks and branches."""
        d, device = self.decoder, self.decoder.model.device
        forms = [_form(row) for row in rows]
        longest_trunk = max(len(trunk) for trunk, _ in forms)
        widest = max(len(branches) for _, branches in forms)
        longest_branch = max((len(branch) for _, branches in forms for branch in branches), default=0)
        shape = (len(rows), longest_trunk, widest, longest_branch)

        ids: list[int] = []
        positions: list[int] = []
        where: list[int] = []
        trunk_RP = torch.full((len(rows), longest_trunk), -1)
        branch_RGS = torch.full((len(rows), widest, longest_branch), -1)
        for r, (row, (trunk, branches)) in enumerate(zip(rows, forms, strict=True)):
            place: dict[int, int] = {}
            depth = row.positions
            for line, padded in [(trunk, trunk_RP[r]), *zip(branches, branch_RGS[r], strict=False)]:
                padded[: len(line)] = torch.arange(len(ids), len(ids) + len(line))
                for i in line:
                    place.setdefault(i, len(ids))
                    ids.append(row.tokens[i])
                    positions.append(depth[i])
            where += [place[target.at] for target in row.targets]
        from_qk, into_qk, from_v, into_v, into_out = _indices(d, trunk_RP, branch_RGS, len(ids))
        longest = max(positions) + 1
        return Trees(
            torch.tensor(ids, device=device),
            torch.tensor(positions, device=device),
            torch.tensor(where, dtype=torch.long, device=device),
            from_qk.to(device),
            into_qk.to(device),
            from_v.to(device),
            into_v.to(device),
            into_out.to(device),
            _bias(trunk_RP, longest_branch).to(device),
            shape,
            longest,
        )

    def forward(self, collated: Trees) -> tuple[Tensor, Head]:
        """Hidden states ``(N, M)`` at every position that predicts a trained token, and what makes logits of them."""
        d = self.decoder
        d.reserve(collated.longest)
        weights = d.weights()
        rows, shared, branches, length = collated.shape
        each = d.heads // d.key_heads
        scores = rows * branches * length * (shared + length) * d.heads
        size = 2 if torch.is_autocast_enabled(collated.ids_N.device.type) else weights.embed.itemsize
        remember = scores * len(weights.blocks) * size <= REMEMBERED

        def attend(_: int, projected: Projected) -> Tensor:
            qk, v = projected.split()
            trunk = (rows, d.key_heads, shared, d.width)
            branch = (rows, d.key_heads, branches, length, d.width)
            wide = (rows, d.key_heads, each)
            sizes = [(*wide, shared, d.width), trunk, (rows, d.key_heads, branches, each, length, d.width), branch]
            q_t, k_t, q_b, k_b = lay_out(qk.reshape(-1, d.width), collated.from_qk, collated.into_qk, sizes)
            v_t, v_b = lay_out(v.reshape(-1, d.width), collated.from_v, collated.into_v, [trunk, branch])
            read = scaled_dot_product_attention(
                q_t.flatten(1, 2), k_t, v_t, is_causal=True, scale=1.0, enable_gqa=each > 1
            ).reshape(-1, d.width)
            if branches:
                attended = tree_attention(q_b, k_b, v_b, k_t, v_t, collated.bias, remember)
                read = torch.cat([read, attended.reshape(-1, d.width)])
            return unlay(read, collated.into_out).view(-1, d.heads * d.width)

        hidden_NM = d.run(weights, collated.ids_N, collated.positions_N, attend)
        return hidden_NM.index_select(0, collated.where_T), partial(d.logits, weights, wide=False)


def _form(row: Row) -> tuple[list[int], list[list[int]]]:
    """The trunk of a row up to its first fork, and the path from there to every leaf, as indices of tokens."""
    children: dict[int, list[int]] = {}
    for i, parent in enumerate(row.parents):
        children.setdefault(parent, []).append(i)
    trunk: list[int] = []
    at = -1
    while len(children.get(at, [])) == 1:
        at = children[at][0]
        trunk.append(at)
    branches: list[list[int]] = []
    stack = [[child] for child in reversed(children.get(at, []))]
    while stack:
        path = stack.pop()
        while len(after := children.get(path[-1], [])) == 1:
            path.append(after[0])
        if not after:
            branches.append(path)
        stack.extend([*path, child] for child in reversed(after))
    return trunk, branches


def _indices(d: Decoder, trunk_RP: Tensor, branch_RGS: Tensor, tokens: int) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """How heads of tokens and padded places correspond, both ways; a padded place holds token 0, which nobody then reads."""
    both, keys, each = d.heads + d.key_heads, d.key_heads, d.heads // d.key_heads
    head_KE = torch.arange(d.heads).view(keys, each)
    head_K = torch.arange(keys)

    def spread(places: Tensor, heads: Tensor, stride: int) -> Tensor:
        """Index of (token, head) at every place, heads going between rows and the rest; -1 where there is no token."""
        index = places * stride + heads
        return torch.where(places.expand_as(index) < 0, -1, index)

    trunk_q = spread(trunk_RP[:, None, None, :], head_KE[:, :, None], both)
    trunk_k = spread(trunk_RP[:, None, :], head_K[:, None] + d.heads, both)
    trunk_v = spread(trunk_RP[:, None, :], head_K[:, None], keys)
    branch_q = spread(branch_RGS[:, None, :, None, :], head_KE[:, None, :, None], both)
    branch_k = spread(branch_RGS[:, None], head_K[:, None, None] + d.heads, both)
    branch_v = spread(branch_RGS[:, None], head_K[:, None, None], keys)
    trunk_out = spread(trunk_RP[:, None, None, :], head_KE[:, :, None], d.heads)
    branch_out = spread(branch_RGS[:, None, :, None, :], head_KE[:, None, :, None], d.heads)

    def both_ways(parts: Sequence[Tensor], size: int) -> tuple[Tensor, Tensor]:
        flat = torch.cat([part.flatten() for part in parts])
        into = torch.empty(size, dtype=torch.long)
        held = flat >= 0
        into[flat[held]] = torch.arange(len(flat))[held]
        return flat.clamp(min=0), into

    from_qk, into_qk = both_ways([trunk_q, trunk_k, branch_q, branch_k], tokens * both)
    from_v, into_v = both_ways([trunk_v, branch_v], tokens * keys)
    _, into_out = both_ways([trunk_out, branch_out], tokens * d.heads)
    return from_qk, into_qk, from_v, into_v, into_out


def _bias(trunk_RP: Tensor, length: int) -> Tensor:
    """``(R, 1, 1, 1, S, P+S)``: hides the padding of the trunk, and from each token of a branch those after it."""
    future_SS = torch.ones(length, length, dtype=torch.bool).triu(1)
    padding_RP = trunk_RP < 0
    rows = len(trunk_RP)
    hidden = torch.cat([padding_RP[:, None].expand(-1, length, -1), future_SS.expand(rows, -1, -1)], dim=-1)
    return torch.zeros(hidden.shape).masked_fill_(hidden, NEVER)[:, None, None, None]
