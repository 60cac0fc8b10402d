"""Directions in the residual stream that separate known from unknown entities, and what they are held against."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from secondthought.probes import sparse
from secondthought.probes.calibration_scores import auroc
from secondthought.probes.fitted import cross_fitted
from secondthought.probes.ridge import difference_of_means, ridge
from secondthought.types import seed_of

Floats = NDArray[np.floating[Any]]
Flags = NDArray[np.bool_]
ACTIVE = 1e-6  # above which a latent is active
PERMUTATIONS = 200
RIDGE = 0.3
LEAST = 4  # train entities of each class that a direction needs


class Known(NamedTuple):
    """An entity: whether it is known (None: left out), and which part of the data it is in."""

    kind: str
    id: str
    known: bool | None
    split: str


class Place(Protocol):
    """The tokens of a prompt, the place of the last one of the name, and how many the name has."""

    @property
    def tokens(self) -> tuple[int, ...]: ...  # noqa: D102
    @property
    def last(self) -> int: ...  # noqa: D102
    @property
    def length(self) -> int: ...  # noqa: D102


@dataclass(frozen=True)
class Detected:
    """What was found: the layer that detects best, for each entity what every detector says of it there (larger: unknown), and
    at each layer the direction from known to unknown with the norm of the stream.
    """

    layer: int
    directions: Mapping[int, tuple[Floats, float]]
    scores: Sequence[Mapping[str, float]]


def detect(
    facts: Sequence[Known], located: Sequence[Place], streams: Mapping[int, Sequence[Floats]], *, sae: str = "", seed: int = 0
) -> Detected | None:  # fmt: skip
    """Fit on train, choose the layer on validation, score everything; None where there are too few entities of a class.

    The scores of an entity: ``mean_difference`` and ``ridge`` (fitted on all kinds), ``held_out_mean`` and ``held_out_ridge``
    (fitted on the other kinds), ``latent`` (activation of the best latent for unknown), ``confounds`` (what the name gives
    away), ``largest`` and ``null`` (the best latent's separation, and the largest of all latents under shuffled labels, one
    shuffle for each entity), ``layer``, ``explained``.
    """
    use = np.array([fact.known is not None for fact in facts])
    unknown = np.array([fact.known is False for fact in facts])
    split = np.array([fact.split for fact in facts])
    kinds = np.array([fact.kind for fact in facts])
    train = use & (split == "train")
    if min((train & unknown).sum(), (train & ~unknown).sum()) < LEAST:
        return None
    names = {
        layer: np.stack([s[p.last] for s, p in zip(stream, located, strict=True)]).astype(float)
        for layer, stream in streams.items()
    }
    # By what is fitted on train; the lowest of those that are as good, and where validation has one class only.
    check = use & (split == "validation")
    layer = max(names, key=lambda one: (round(separation(names[one], unknown, train, check), 3), -one))
    x_NM = names[layer]
    scores: dict[str, Floats] = {
        "mean_difference": x_NM @ difference_of_means(x_NM[train], unknown[train]),
        "ridge": ridge_scores(x_NM, unknown, train),
    }
    scores["held_out_mean"], scores["held_out_ridge"] = (np.full(len(facts), np.nan) for _ in range(2))
    for kind in dict.fromkeys(kinds):
        others, here = train & (kinds != kind), kinds == kind
        if min((others & unknown).sum(), (others & ~unknown).sum()) >= LEAST:
            scores["held_out_mean"][here] = (x_NM @ difference_of_means(x_NM[others], unknown[others]))[here]
            scores["held_out_ridge"][here] = ridge_scores(x_NM, unknown, others)[here]
    scores["confounds"] = given_away(facts, located)
    scores["length"] = np.array([float(one.length) for one in located])
    scores |= latents(x_NM, streams[layer], unknown, train, kinds, sae, seed)
    scores["layer"] = np.full(len(facts), float(layer))
    directions = {
        one: (difference_of_means(rows_NM[train], unknown[train]), float(np.linalg.norm(rows_NM, axis=1).mean()))
        for one, rows_NM in names.items()
    }
    rows = [{name: float(values[i]) for name, values in scores.items() if not np.isnan(values[i])} for i in range(len(facts))]
    return Detected(layer, directions, rows)


def ridge_scores(x_NM: Floats, unknown: Flags, rows: Flags) -> Floats:
    """What a linear probe fitted on some rows says of all."""
    mean_M, weights_M, shift = ridge(x_NM[rows], unknown[rows].astype(float), RIDGE)
    return np.asarray((x_NM - mean_M) @ weights_M + shift)


def separation(x_NM: Floats, unknown: Flags, train: Flags, check: Flags) -> float:
    """How well the difference of means of train separates what is checked."""
    said = x_NM @ difference_of_means(x_NM[train], unknown[train])
    found = auroc(said[check].tolist(), unknown[check].astype(float).tolist())
    return 0.5 if np.isnan(found) else found


def given_away(facts: Sequence[Known], located: Sequence[Place]) -> Floats:
    """What a regression says that sees no stream: tokens and letters of the name, and the ranks of its tokens in the
    vocabulary, which common ones come first in. Fitted on the other half of the entities.
    """
    rows, places = list[list[float]](), list[int]()
    for i, (fact, one) in enumerate(zip(facts, located, strict=True)):
        if fact.known is not None:
            ids = one.tokens[one.last + 1 - one.length : one.last + 1]
            ranks = [float(np.log1p(t)) for t in ids]
            name = fact.id.partition(": ")[2]
            shape = [float(len(ids)), float(len(name)), float(len(name.split()))]
            rows.append([*shape, sum(ranks) / len(ranks), max(ranks), ranks[-1]])
            places.append(i)
    found = np.full(len(facts), np.nan)
    found[places] = cross_fitted(rows, [float(facts[i].known is False) for i in places], [facts[i].id for i in places])
    return found


def latents(
    x_NM: Floats, stream: Sequence[Floats], unknown: Flags, train: Flags, kinds: NDArray[np.str_], sae: str, seed: int
) -> dict[str, Floats]:  # fmt: skip
    """The latent that is active more often for unknown entities, by most in its worst kind (MaxMin), and its null."""
    model, explained = autoencoder(x_NM[train], [s for s, used in zip(stream, train, strict=True) if used], sae, seed)
    codes_ND = np.asarray(model.encode(x_NM))
    active_ND = (codes_ND > ACTIVE).astype(float)
    parts = [train & (kinds == kind) for kind in dict.fromkeys(kinds.tolist())]
    parts = [rows for rows in parts if min((rows & unknown).sum(), (rows & ~unknown).sum()) >= LEAST] or [train]

    def most(labels: Flags) -> Floats:
        gaps = [active_ND[rows & labels].mean(axis=0) - active_ND[rows & ~labels].mean(axis=0) for rows in parts]
        return np.asarray(np.min(gaps, axis=0))

    best_D = most(unknown)
    best = int(best_D.argmax())
    rng = np.random.default_rng(seed_of("shuffled labels", seed))
    null = np.full(len(x_NM), np.nan)
    for p in range(min(PERMUTATIONS, len(x_NM))):
        labels = unknown.copy()
        for rows in parts:
            labels[rows] = rng.permutation(labels[rows])
        null[p] = float(most(labels).max())
    return {
        "latent": codes_ND[:, best], "latent_active": active_ND[:, best], "largest": np.full(len(x_NM), float(best_D[best])),
        "null": null, "explained": np.full(len(x_NM), explained),
    }  # fmt: skip


def autoencoder(x_NM: Floats, stream: Sequence[Floats], sae: str, seed: int) -> tuple[Any, float]:
    """The pretrained autoencoder, or one fitted to the last tokens of names and as many others; with what it explains."""
    if sae:
        return sparse.loaded(sae), math.nan
    rng = np.random.default_rng(seed_of("tokens of the autoencoder", seed))
    others = np.stack([s[rng.integers(len(s))] for s in stream]).astype(float)
    model = sparse.trained(np.concatenate([x_NM, others]), seed=seed)
    return model, model.explained(x_NM)
