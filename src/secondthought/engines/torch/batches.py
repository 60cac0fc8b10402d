"""Batches: which requests are sampled together, and what a batch can do."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

from torch import Tensor

from secondthought.engines.base import Request

K = TypeVar("K")


@dataclass(frozen=True, slots=True)
class PendingRow:
    """What a batch must know of a request. ``cluster`` is the same for episodes of one task, which begin alike.

    ``boundaries`` are the lengths at which the context may have been computed in an earlier round: each sampled segment up to
    its last token, which nobody has fed yet. ``room`` is how many tokens will be sampled at most.
    """

    context: tuple[int, ...]
    cluster: str
    boundaries: tuple[int, ...]
    room: int

    @classmethod
    def of(cls, request: Request) -> PendingRow:
        """The job of a request."""
        at, lengths = 0, []
        for segment in request.segments:
            at += len(segment.tokens)
            if segment.logprobs is not None:
                lengths.append(at - 1)
        return cls(request.tokens, request.task.key, tuple(lengths), request.sampling.max_tokens)

    def known(self, carried: Mapping[tuple[int, ...], K]) -> K | None:
        """The longest beginning of the context that an earlier round has computed."""
        found = (carried.get(self.context[:length]) for length in reversed(self.boundaries))
        return next((kept for kept in found if kept is not None), None)


class SamplingBatch(Protocol):
    """Rows written together; ``logits`` (rows, V) are what follows each row's last token."""

    logits: Tensor
    fed_tokens: int

    @property
    def order(self) -> list[int]:
        """Which job each row is of."""
        ...

    @property
    def bytes(self) -> int:
        """Memory that the finished rows hold on to."""
        ...

    def feed(self, tokens_B: Tensor) -> None:
        """Give every row its next token."""
        ...

    def finish(self, row: int, fed: tuple[int, ...]) -> None:
        """Remember the keys and values of a row that is done; ``fed`` are all its tokens but the last."""
        ...

    def narrow(self, rows: list[int]) -> list[int]:
        """Go on with these rows only; their order from now on."""
        ...

    def kept(self) -> dict[tuple[int, ...], Any]:
        """Keys and values of the finished rows, by the tokens they are of."""
        ...


def clusters(rows: Sequence[PendingRow]) -> dict[str, list[int]]:
    """The rows of each cluster, in order."""
    found: dict[str, list[int]] = {}
    for i, job in enumerate(rows):
        found.setdefault(job.cluster, []).append(i)
    return found


def shared_length(contexts: Sequence[tuple[int, ...]]) -> int:
    """How many tokens all contexts begin with in common."""
    low, high = min(contexts), max(contexts)  # whatever lies between these two begins as both do
    return next((i for i, (a, b) in enumerate(zip(low, high, strict=False)) if a != b), min(len(low), len(high)))


def batches_of(rows: Sequence[PendingRow], budget: int) -> list[list[int]]:
    """Which rows go together: those of one cluster side by side, clusters of like length, at most ``budget`` slots a batch.

    A slot is one token's keys and values; what a cluster shares is counted once. Clusters whose contexts are all the same go
    apart from others, because they have nothing left to feed once the shared part is computed.
    """
    found_in = clusters(rows)
    shared = {key: shared_length([rows[i].context for i in members]) for key, members in found_in.items()}
    alike = {key: all(len(rows[i].context) == shared[key] for i in members) for key, members in found_in.items()}
    longest = {key: max(len(rows[i].context) for i in members) for key, members in found_in.items()}
    found: list[list[int]] = []
    used, kind = 0, None
    for key in sorted(found_in, key=lambda key: (alike[key], longest[key])):
        members = found_in[key]
        slots = {i: len(rows[i].context) - shared[key] + rows[i].room for i in members}
        if found and kind == alike[key] and used + shared[key] + sum(slots.values()) <= budget:
            found[-1] += members
            used += shared[key] + sum(slots.values())
            continue
        found.append([])
        used, kind = shared[key], alike[key]
        for i in members:
            if found[-1] and used + slots[i] > budget:
                found.append([])
                used = shared[key]
            found[-1].append(i)
            used += slots[i]
    return found
