"""The fast path: what a group shares is stored once and read as one matrix product; only new tokens are fed.

Keys and values are kept in stores: a trunk for each group, and the own tokens of each row. The queries of a whole group meet
their trunk in one product and every row meets its own tokens in another; one softmax goes over both. Rows are aligned on the
right: the next token of every row has the same slot. A finished row changes places with the last one that is still unfinished,
so the rows that speak stay together.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

from secondthought.engines.torch import native
from secondthought.engines.torch.batches import PendingRow, clusters, shared_length
from secondthought.engines.torch.decoder import Decoder, Projected, Weights
from secondthought.engines.torch.kernels import NEVER, capped

SCORES = 16 << 20  # how many attention scores one piece of a prefill may hold


@dataclass(frozen=True, slots=True)
class Piece:
    """``length`` tokens of a store, in ``row`` from ``slot`` on."""

    store: Tensor
    row: int
    slot: int
    length: int


@dataclass(frozen=True, slots=True)
class Kept:
    """The keys and values of a conversation so far, in one or two pieces (trunk, own)."""

    pieces: tuple[Piece, ...]

    @property
    def length(self) -> int:
        """Tokens in all pieces."""
        return sum(piece.length for piece in self.pieces)

    def copy_to(self, store: Tensor, row: int, slot: int, start: int, end: int) -> None:
        """Put tokens ``start`` to ``end`` into another store, the first of them in ``slot``."""
        at = 0
        for piece in self.pieces:
            first, last = max(start, at), min(end, at + piece.length)
            if first < last:
                source = piece.store[:, :, piece.row, :, piece.slot + first - at : piece.slot + last - at]
                store[:, :, row, :, slot + first - start : slot + last - start] = source
            at += piece.length


@dataclass(slots=True)
class _Store:
    """Keys and values ``(L, 2, B, K, C, D)`` of B rows with C slots; row b is empty before ``starts[b]``, full to ``end``."""

    data: Tensor
    starts: list[int]
    end: int
    bias_BC: Tensor | None  # NEVER where a row is empty; None if no row is


@dataclass(slots=True)
class _Line:
    """What is known of a row: its job, its group, its first own slot, and once it is done all its tokens but the last."""

    number: int
    job: PendingRow
    group: int
    start: int = 0
    fed: tuple[int, ...] | None = None


class PrefixBatch:
    """Some requests written together; see :class:`secondthought.engines.torch.batches.SamplingBatch`."""

    def __init__(
        self, decoder: Decoder, weights: Weights, jobs: Sequence[PendingRow], carried: dict[tuple[int, ...], Kept],
        kept_in: torch.dtype | None = None,
    ) -> None:  # fmt: skip
        self.decoder = decoder
        self.weights = weights
        self.kept_in = kept_in or weights.embed.dtype  # keys and values
        self.device = weights.embed.device
        self.fed_tokens = 0
        groups = list(clusters(jobs).values())
        self.lines = [_Line(i, jobs[i], u) for u, group in enumerate(groups) for i in group]
        self.rows = len(self.lines)  # that still speak; the others lie behind them
        known = [line.job.known(carried) for line in self.lines]
        shared = [shared_length([jobs[i].context for i in group]) for group in groups]
        alike = all(len(jobs[i].context) == shared[u] for u, group in enumerate(groups) for i in group)
        if not alike:  # every row must feed a token of its own, to have something to go on from
            shared = [min(shared[u], min(len(jobs[i].context) for i in group) - 1) for u, group in enumerate(groups)]
        self.shared = shared
        room = max(job.room for job in jobs)
        decoder.reserve(max(len(job.context) for job in jobs) + room)

        self.trunk: _Store | None = None
        self.own: _Store
        normed_heads = any(block.head_gain is not None for block in weights.blocks)
        plain = not normed_heads and decoder.cap is None and decoder.width <= native.WIDEST
        self.compiled = plain and native.fits(weights.embed, half=True) and decoder.width % native.lanes() == 0
        self.seats: Tensor | None = None
        beginnings = [jobs[group[0]].context[: shared[u]] for u, group in enumerate(groups)]
        found: list[Kept | None] = [None] * len(groups)
        for line, kept in zip(self.lines, known, strict=True):
            best = found[line.group]
            if kept is not None and (best is None or kept.length > best.length):
                found[line.group] = kept
        trunk, logits_UV = self._prefill(beginnings, [0] * len(groups), found, room=0, logits_needed=alike)
        if trunk.end:
            self.trunk = trunk
        self._seat()
        ends = [line.job.context[shared[line.group] :] for line in self.lines]
        starts = [shared[line.group] for line in self.lines]
        self.own, logits_BV = self._prefill(ends, starts, known, room=room, logits_needed=not alike)
        for line, start in zip(self.lines, self.own.starts, strict=True):
            line.start = start
        self.positions_B = torch.tensor([len(line.job.context) for line in self.lines], device=self.device)
        self.bias_AT = self._bias()
        logits = logits_BV if logits_UV is None else logits_UV.index_select(0, self.groups_A)
        assert logits is not None
        self.logits = logits

    @property
    def order(self) -> list[int]:
        """Which job each row is of."""
        return [line.number for line in self.lines]

    @property
    def bytes(self) -> int:
        """Memory that the finished rows hold on to."""
        return self.own.data.nbytes + (self.trunk.data.nbytes if self.trunk is not None else 0)

    # --- what a batch can do ------------------------------------------------------------------------------------------

    def feed(self, tokens_A: Tensor) -> None:
        """Give every row its next token. A finished row that has not left yet only wastes a little work."""
        hidden_AM = self._feed(self.own, tokens_A[:, None], self.positions_B[:, None], None, decoding=True)
        self.positions_B = self.positions_B + 1
        self.logits = self.decoder.logits(self.weights, hidden_AM)

    def finish(self, row: int, fed: tuple[int, ...]) -> None:
        """Remember the keys and values of a row that is done; ``fed`` are all its tokens but the last."""
        self.lines[row].fed = fed

    def narrow(self, rows: list[int]) -> list[int]:
        """Go on with these rows only; their order from now on. The others move behind them and stay in the store."""
        staying, count = set(rows), len(rows)
        order = list(range(self.rows))
        holes = [row for row in range(count) if row not in staying]
        movers = [row for row in rows if row >= count]
        for hole, mover in zip(holes, movers, strict=True):
            order[hole], order[mover] = mover, hole
        if holes:
            into = torch.tensor([*holes, *movers], device=self.device)
            out_of = torch.tensor([*movers, *holes], device=self.device)
            for held in self.own.data.flatten(0, 1)[..., : self.own.end, :]:  # one at a time, so that it stays in the cache
                held[into] = held[out_of]
            self.lines[: self.rows] = [self.lines[row] for row in order]
        order_A = torch.tensor(order[:count], device=self.device)
        self.positions_B = self.positions_B[order_A]
        self.bias_AT = None if self.bias_AT is None else self.bias_AT[order_A]
        self.rows = count
        self._seat()
        return order[:count]

    def kept(self) -> dict[tuple[int, ...], Kept]:
        """Keys and values of the finished rows, by the tokens they are of."""
        found: dict[tuple[int, ...], Kept] = {}
        for row, line in enumerate(self.lines):
            if line.fed is None:
                continue
            shared = self.shared[line.group]
            own = Piece(self.own.data, row, line.start, len(line.fed) - shared)
            if self.trunk is None:
                found[line.fed] = Kept((own,))
            else:
                start = self.trunk.starts[line.group]
                found[line.fed] = Kept((Piece(self.trunk.data, line.group, start, shared), own))
        return found

    # --- how -----------------------------------------------------------------------------------------------------------

    def _seat(self) -> None:
        """Which row sits where when queries are gathered by group; no seats while every group is whole and in order."""
        alive = [line.group for line in self.lines[: self.rows]]
        self.groups_A = torch.tensor(alive, device=self.device)
        if self.compiled:
            self.blocks = native.Blocks.of(alive)
        if self.trunk is None:
            return
        groups = len(self.shared)
        filled = [0] * groups
        place = []
        for u in alive:
            place.append((u, filled[u]))
            filled[u] += 1
        self.widest = max(filled)
        flat = [u * self.widest + j for u, j in place]
        self.seats = self.places = None
        if flat != list(range(groups * self.widest)):
            seats = [0] * (groups * self.widest)
            for row, seat in enumerate(flat):
                seats[seat] = row
            self.seats = torch.tensor(seats, device=self.device)
            self.places = torch.tensor(flat, device=self.device)

    def _bias(self) -> Tensor | None:
        """What is added to the scores of each row, over trunk and own slots; None where nothing is hidden."""
        trunk_UP = self.trunk.bias_BC if self.trunk is not None else None
        if trunk_UP is None and self.own.bias_BC is None:
            return None
        rows, capacity = self.rows, self.own.data.shape[4]
        parts = []
        if self.trunk is not None:
            width = self.trunk.end
            parts.append(torch.zeros(rows, width, device=self.device) if trunk_UP is None else trunk_UP[self.groups_A])
        own_BC = self.own.bias_BC
        parts.append(torch.zeros(rows, capacity, device=self.device) if own_BC is None else own_BC)
        return torch.cat(parts, dim=1)

    def _prefill(
        self, texts: list[tuple[int, ...]], offsets: list[int], known: Sequence[Kept | None], *, room: int, logits_needed: bool
    ) -> tuple[_Store, Tensor | None]:
        """A store with the keys and values of these texts, which begin at position ``offsets``, and the logits after them.

        What is known is copied, the rest is fed. With ``logits_needed`` at least the last token of each text is fed.
        """
        longest = max(map(len, texts))
        d, rows = self.decoder, len(texts)
        shape = (len(self.weights.blocks), 2, rows, d.key_heads, longest + room, d.width)
        starts = [longest - len(text) for text in texts]
        bias_BC = None
        if any(starts):
            slots_C = torch.arange(longest + room, device=self.device)
            empty_BC = slots_C < torch.tensor(starts, device=self.device)[:, None]
            bias_BC = torch.zeros(empty_BC.shape, device=self.device).masked_fill_(empty_BC, NEVER)
        # Slots before a row's start are read (and hidden by the bias), so they must hold numbers.
        make = torch.zeros if any(starts) else torch.empty
        store = _Store(make(shape, dtype=self.kept_in, device=self.device), starts, longest, bias_BC)
        fresh = []
        for row, (text, offset, kept) in enumerate(zip(texts, offsets, known, strict=True)):
            have = min(max((kept.length if kept else 0) - offset, 0), len(text) - logits_needed)
            if kept is not None and have > 0:
                kept.copy_to(store.data, row, starts[row], offset, offset + have)
            fresh.append(len(text) - max(have, 0))
        width = max(fresh)
        if not width:
            return store, None
        padded = [[*([0] * (width - n)), *text[len(text) - n :]] for n, text in zip(fresh, texts, strict=True)]
        ids_BQ = torch.tensor(padded, device=self.device)
        ends_B = torch.tensor([offset + len(text) for offset, text in zip(offsets, texts, strict=True)], device=self.device)
        columns_Q = torch.arange(width, device=self.device)
        positions_BQ = (ends_B[:, None] - width + columns_Q).clamp_(min=0)
        valid_BQ = columns_Q >= width - torch.tensor(fresh, device=self.device)[:, None]
        shared = self.trunk.end if self.trunk is not None else 0
        step = max(1, SCORES // (rows * d.heads * (shared + longest)))
        store.end = longest - width
        hidden_BM = torch.empty(0)
        for at in range(0, width, step):
            part = slice(at, at + step)
            hidden_BM = self._feed(store, ids_BQ[:, part], positions_BQ[:, part], valid_BQ[:, part])
        return store, self.decoder.logits(self.weights, hidden_BM) if logits_needed else None

    def _feed(
        self, store: _Store, ids_AQ: Tensor, positions_AQ: Tensor, valid_AQ: Tensor | None, decoding: bool = False
    ) -> Tensor:
        """Hidden states ``(A, M)`` after the last column; keys and values of all columns go into the store, where valid."""
        rows, columns = ids_AQ.shape
        self.fed_tokens += rows * columns
        d, end = self.decoder, store.end + columns
        each = d.heads // d.key_heads
        bias = None if decoding and self.compiled else self._bias_of(store, rows, columns, end, decoding)
        trunk = self.trunk

        def attend(layer: int, projected: Projected) -> Tensor:
            if decoding and self.compiled:
                return self._attend_compiled(layer, projected, store)
            qk, v = projected.split()
            q, k = torch.split(qk, [d.heads, d.key_heads], dim=1)
            keys, values = store.data[layer, :, :rows].unbind(0)
            for held, new in ((keys, k), (values, v)):
                window = held[:, :, store.end : end]
                arranged = new.view(rows, columns, d.key_heads, d.width).transpose(1, 2)
                window.copy_(arranged if valid_AQ is None else torch.where(valid_AQ[:, None, :, None], arranged, window))
            if trunk is None and bias is not None and d.cap is None:  # most of a prefill: nothing to be read but the store
                asks = q.view(rows, columns, d.heads, d.width).transpose(1, 2)
                known_k, known_v = (part[:, :, :end].to(q.dtype) for part in (keys, values))
                mask = bias[:, None].to(q.dtype)
                read = scaled_dot_product_attention(asks, known_k, known_v, mask, scale=1.0, enable_gqa=each > 1)
                return read.transpose(1, 2).reshape(rows * columns, d.heads * d.width)
            by_key = q.reshape(rows, columns, d.key_heads, each, d.width).permute(0, 2, 3, 1, 4)
            by_key = by_key.reshape(rows * d.key_heads, each * columns, d.width)
            scores = torch.bmm(by_key, keys.flatten(0, 1)[:, :end].to(q.dtype).mT)
            if trunk is not None:
                shared = trunk.data[layer, :, ..., : trunk.end, :].to(q.dtype)
                scores = torch.cat([self._to_trunk(by_key, shared[0]), scores], dim=-1)
            probs = self._softmax(scores, bias, rows, columns).to(q.dtype)
            out = torch.bmm(probs[..., probs.shape[-1] - end :], values.flatten(0, 1)[:, :end].to(q.dtype))
            if trunk is not None:
                out += self._from_trunk(probs[..., : trunk.end], shared[1])
            out = out.view(rows, d.key_heads, each, columns, d.width).permute(0, 3, 1, 2, 4)
            return out.reshape(rows * columns, d.heads * d.width)

        hidden = d.run(self.weights, ids_AQ.flatten(), positions_AQ.flatten(), attend)
        store.end = end
        return hidden.view(rows, columns, -1)[:, -1]

    def _bias_of(self, store: _Store, rows: int, columns: int, end: int, decoding: bool) -> Tensor | None:
        """``(A, 1 or Q, P + end)``: what is hidden from the coming columns: empty slots, and for several columns the future."""
        shared = self.trunk.end if self.trunk is not None else 0
        if decoding:
            return None if self.bias_AT is None else self.bias_AT[:, None, : shared + end]
        slots_C = torch.arange(end, device=self.device)
        last_Q = torch.arange(end - columns, end, device=self.device)
        hidden_QC = torch.zeros(columns, end, device=self.device).masked_fill_(slots_C > last_Q[:, None], NEVER)
        own_AQC = hidden_QC.expand(rows, -1, -1)
        if store.bias_BC is not None:
            own_AQC = torch.minimum(own_AQC, store.bias_BC[:, None, :end])
        if self.trunk is None:
            return own_AQC
        trunk_AP = torch.zeros(rows, shared, device=self.device)
        if self.trunk.bias_BC is not None:
            trunk_AP = self.trunk.bias_BC[self.groups_A]
        return torch.cat([trunk_AP[:, None].expand(-1, columns, -1), own_AQC], dim=-1)

    def _softmax(self, scores: Tensor, bias: Tensor | None, rows: int, columns: int) -> Tensor:
        d = self.decoder
        scores = scores.float()
        if d.cap is not None:
            scores = capped(scores, d.cap)
        if bias is not None:
            scores.view(rows, -1, columns, scores.shape[-1]).add_(bias[:, None])
        return torch.softmax(scores, dim=-1)

    def _attend_compiled(self, layer: int, projected: Projected, store: _Store) -> Tensor:
        """One decoding step in one pass; see :func:`secondthought.engines.torch.native.attend`."""
        trunk = None if self.trunk is None else self.trunk.data
        turns_NC = torch.view_as_real(projected.turns_NC)
        return native.attend(projected.qkv, turns_NC, store.data, trunk, layer, self.blocks, self.bias_AT, store.end)

    def _to_trunk(self, by_key: Tensor, keys_UKPD: Tensor) -> Tensor:
        """Scores ``(A*K, E*Q, P)`` of every row against the trunk of its group: one product for all queries of a group."""
        met = torch.bmm(self._gather(by_key), keys_UKPD.flatten(0, 1).mT)
        return self._scatter(met)

    def _from_trunk(self, probs: Tensor, values_UKPD: Tensor) -> Tensor:
        """What the trunk of its group gives to every row, ``(A*K, E*Q, D)``."""
        return self._scatter(torch.bmm(self._gather(probs), values_UKPD.flatten(0, 1)))

    def _gather(self, rows_AK: Tensor) -> Tensor:
        """``(A*K, E*Q, X)`` by row as ``(U*K, G*E*Q, X)`` by group."""
        heads, groups = self.decoder.key_heads, len(self.shared)
        by_row = rows_AK.view(-1, heads, *rows_AK.shape[1:])
        if self.seats is not None:
            by_row = by_row.index_select(0, self.seats)
        by_group = by_row.view(groups, self.widest, *by_row.shape[1:]).transpose(1, 2)
        return by_group.reshape(groups * heads, -1, rows_AK.shape[-1])

    def _scatter(self, groups_UK: Tensor) -> Tensor:
        """The way back from :meth:`_gather`."""
        heads, groups, width = self.decoder.key_heads, len(self.shared), groups_UK.shape[-1]
        by_row = groups_UK.view(groups, heads, self.widest, -1, width).transpose(1, 2).flatten(0, 1)
        if self.places is not None:
            by_row = by_row.index_select(0, self.places)
        return by_row.reshape(-1, by_row.shape[2], width)
