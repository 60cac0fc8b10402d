"""Several continuations of one context in one forward pass: each sees the context and itself."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

TOGETHER = 1024  # tokens of continuations behind one context

Ids = Sequence[int]


class Packed(NamedTuple):
    """The ids of one row, their positions, who sees whom, and the places whose logits are those of the tokens to come."""

    ids_1T: Tensor
    positions_1T: Tensor
    mask_11TT: Tensor
    where_N: Tensor

    @classmethod
    def of(cls, context: Ids, continuations: Sequence[Ids], device: Any = None) -> Packed:
        """A context with its continuations side by side; the last token of each predicts nothing and is left out.

        >>> packed = Packed.of([5, 6], [[7, 8], [9]])
        >>> packed.ids_1T.tolist(), packed.positions_1T.tolist(), packed.where_N.tolist()
        ([[5, 6, 7]], [[0, 1, 2]], [1, 2, 1])
        """
        begin = len(context)
        ids, positions, where = list(context), list(range(begin)), list[int]()
        owner = [-1] * begin
        for number, one in enumerate(continuations):
            if one:
                where += [begin - 1, *range(len(ids), len(ids) + len(one) - 1)]
            ids += one[:-1]
            positions += range(begin, begin + len(one[:-1]))
            owner += [number] * len(one[:-1])
        owner_T, place_T = torch.tensor(owner, device=device), torch.arange(len(ids), device=device)
        seen_TT = (owner_T[None] == -1) | (owner_T[None] == owner_T[:, None])
        mask_TT = seen_TT & (place_T[None] <= place_T[:, None])
        ids_1T, positions_1T = torch.tensor([ids], device=device), torch.tensor([positions], device=device)
        return cls(ids_1T, positions_1T, mask_TT[None, None], torch.tensor(where, dtype=torch.long, device=device))


def side_by_side(
    contexts: Sequence[Ids], continuations: Sequence[Ids], longest: int
) -> Iterator[tuple[Ids, list[Ids]]]:  # fmt: skip
    """Each context with the continuations of it that follow one another, as many as fit in a row."""
    before: Ids = ()
    together: list[Ids] = []
    for context, continuation in zip(contexts, continuations, strict=True):
        size = len(context) + sum(map(len, together)) + len(continuation)
        fits = size <= min(longest, len(context) + TOGETHER)
        if together and (not fits or (context is not before and list(context) != list(before))):
            yield before, together
            together = []
        before = context
        together.append(continuation)
    if together:
        yield before, together
