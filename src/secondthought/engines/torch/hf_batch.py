"""The generic path: any Hugging Face causal LM, fed through its own modules and one plain cache.

A context that several requests share is computed once and then copied to each of them. Slower than
:mod:`secondthought.engines.torch.prefix_batch` and there for every model that the fast path does not know.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from transformers import Cache

from secondthought.engines.torch.batches import PendingRow
from secondthought.engines.torch.forward import logits_at


class Store(Cache):  # type: ignore[misc]
    """Keys and values of some rows, preallocated; the slot of a token is its position in its own row.

    ``slots_BQ`` says where the tokens of the coming forward pass go, ``used`` how many slots attention may look at.
    """

    def __init__(self, capacity: int) -> None:
        super().__init__(layers=[])
        self.capacity = capacity
        self.held: list[tuple[Tensor, Tensor]] = []
        self.slots_BQ = torch.empty(0, 0, dtype=torch.long)
        self.used = 0

    @property
    def bytes(self) -> int:
        """Memory held."""
        return sum(k.nbytes + v.nbytes for k, v in self.held)

    def update(self, key_states: Tensor, value_states: Tensor, layer_idx: int, *_: Any, **__: Any) -> tuple[Tensor, Tensor]:
        """Write the new tokens of one layer (``B H Q D``) and return everything attention may see."""
        while len(self.held) <= layer_idx:
            rows, heads, _q, width = key_states.shape
            blank = (rows, heads, self.capacity)
            self.held.append((key_states.new_zeros(*blank, width), value_states.new_zeros(*blank, value_states.shape[3])))
        rows_B1 = torch.arange(len(self.slots_BQ), device=self.slots_BQ.device)[:, None]
        for store, new in zip(self.held[layer_idx], (key_states, value_states), strict=True):
            store[rows_B1, :, self.slots_BQ] = new.transpose(1, 2)
        keys, values = self.held[layer_idx]
        return keys[:, :, : self.used], values[:, :, : self.used]

    def take(self, rows: Tensor, capacity: int) -> Store:
        """A new store with these rows (a row may be taken more than once)."""
        taken = Store(capacity)
        for keys, values in self.held:
            pair = []
            for old in (keys, values):
                new = old.new_zeros(len(rows), old.shape[1], capacity, old.shape[3])
                used = min(self.used, capacity)
                new[:, :, :used] = old[:, :, :used].index_select(0, rows)
                pair.append(new)
            taken.held.append((pair[0], pair[1]))
        taken.used = self.used
        return taken

    def copy_from(self, other: Store, theirs: list[int], ours: list[int], rows: int) -> None:
        """Fill rows ``ours`` of this store with rows ``theirs`` of another."""
        span = min(other.used, self.capacity)
        while len(self.held) < len(other.held):
            keys, values = other.held[len(self.held)]
            blank = (rows, keys.shape[1], self.capacity)
            self.held.append((keys.new_zeros(*blank, keys.shape[3]), values.new_zeros(*blank, values.shape[3])))
        for mine, their in zip(self.held, other.held, strict=True):
            for new, old in zip(mine, their, strict=True):
                new[ours, :, :span] = old[theirs, :, :span]

    def get_seq_length(self, layer_idx: int = 0) -> int:
        """Unused: positions are always given explicitly."""
        return self.used


@dataclass(frozen=True, slots=True)
class Kept:
    """Where the keys and values of a finished row are: ``length`` tokens of ``store[row]``."""

    store: Store
    row: int
    length: int


class HfBatch:
    """Some requests written together through the model's own forward pass; see
    :class:`secondthought.engines.torch.batches.SamplingBatch`.
    """

    def __init__(self, model: Any, jobs: Sequence[PendingRow], carried: dict[tuple[int, ...], Kept]) -> None:
        self.model = model
        self.order = list(range(len(jobs)))
        self.fed_tokens = 0
        self._kept: dict[tuple[int, ...], Kept] = {}
        distinct = {job.context: job for job in jobs}
        number = {context: u for u, context in enumerate(distinct)}
        self.capacity = max(len(job.context) + max(job.room, 1) for job in jobs)
        self.store, logits_UV = self._prefill(list(distinct.values()), carried)
        rows_B = torch.tensor([number[job.context] for job in jobs], device=model.device)
        self.logits = logits_UV.index_select(0, rows_B)
        self.lengths_B = torch.tensor([len(job.context) for job in jobs], device=model.device)
        if len(distinct) < len(jobs):
            self.store = self.store.take(rows_B, self.capacity)

    @property
    def bytes(self) -> int:
        """Memory that the finished rows hold on to."""
        return sum({id(kept.store): kept.store.bytes for kept in self._kept.values()}.values())

    def feed(self, tokens_B: Tensor) -> None:
        """Give every row its next token. A finished row that has not left yet only wastes a little work."""
        self.logits = self._forward(tokens_B[:, None], self.lengths_B[:, None], torch.zeros_like(self.lengths_B))
        self.lengths_B = (self.lengths_B + 1).clamp(max=self.capacity - 1)

    def finish(self, row: int, fed: tuple[int, ...]) -> None:
        """Remember the keys and values of a row that is done; ``fed`` are all its tokens but the last."""
        self._kept[fed] = Kept(self.store, row, len(fed))

    def narrow(self, rows: list[int]) -> list[int]:
        """Go on with these rows only; their order from now on."""
        rows_A = torch.tensor(rows, device=self.model.device)
        self.store, self.lengths_B = self.store.take(rows_A, self.capacity), self.lengths_B[rows_A]
        return rows

    def kept(self) -> dict[tuple[int, ...], Kept]:
        """Keys and values of the finished rows, by the tokens they are of."""
        return self._kept

    def _prefill(self, jobs: list[PendingRow], carried: dict[tuple[int, ...], Kept]) -> tuple[Store, Tensor]:
        """Feed each context once, as far as it is not carried over; its store and the logits after its last token."""
        device = self.model.device
        known = [job.known(carried) for job in jobs]
        self.store = store = Store(self.capacity)
        sources: dict[int, list[int]] = {}
        for row, kept in enumerate(known):
            if kept is not None:
                sources.setdefault(id(kept.store), []).append(row)
        for rows in sources.values():
            found = [kept for row in rows if (kept := known[row]) is not None]
            store.copy_from(found[0].store, [kept.row for kept in found], rows, len(jobs))
        starts = [kept.length if kept else 0 for kept in known]
        fresh = [job.context[start:] for job, start in zip(jobs, starts, strict=True)]
        width = max(map(len, fresh))
        ids_BQ = torch.tensor([[*new, *[0] * (width - len(new))] for new in fresh], device=device)
        positions_BQ = torch.tensor(starts, device=device)[:, None] + torch.arange(width, device=device)
        # Padding goes to the very last slot, which is overwritten before any row may look at it.
        positions_BQ = positions_BQ.clamp(max=self.capacity - 1)
        last_B = torch.tensor([len(new) - 1 for new in fresh], device=device)
        return store, self._forward(ids_BQ, positions_BQ, last_B)

    def _forward(self, ids_BQ: Tensor, positions_BQ: Tensor, last_B: Tensor) -> Tensor:
        """Logits after token ``last_B`` of each row, the new tokens' keys and values going into the store."""
        rows, width = ids_BQ.shape
        self.fed_tokens += rows * width
        self.store.slots_BQ = positions_BQ
        self.store.used = max(self.store.used, int(positions_BQ.max()) + 1)
        slots_T = torch.arange(self.store.used, device=ids_BQ.device)
        mask_B1QT = (slots_T <= positions_BQ[:, :, None])[:, None]
        where_B = torch.arange(rows, device=ids_BQ.device) * width + last_B
        return logits_at(self.model, ids_BQ, positions_BQ, mask_B1QT, where_B, self.store, slots_T[None])
