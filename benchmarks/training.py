"""The training step: forward and backward of 8 groups of 8 ragged completions (prompt 64), without the optimiser."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import torch

from benchmarks import rivals
from benchmarks.clock import alternate, ratio
from benchmarks.floor import Products
from benchmarks.setting import SIZES, model, parameters, rows
from secondthought.engines.torch.decoder import Decoder
from secondthought.engines.torch.forward import logprobs_of
from secondthought.learners.dense import DenseReader
from secondthought.learners.loss import loss_of, scale_of, tensors
from secondthought.learners.rows import Row, Rows, pack
from secondthought.learners.torch import MICRO_BATCH, Reader
from secondthought.learners.trees import TreeReader

GROUPS = 8


def step(network: Any, reader: Reader, batch_rows: list[Row], autocast: bool) -> None:
    """What the learner does with a batch, up to the gradient."""
    network.zero_grad()
    scale = scale_of(batch_rows, "grpo", 32)
    for part in pack(Rows(tuple(batch_rows), len(batch_rows), 0), budget=MICRO_BATCH["cpu"]):
        batch = tensors(part)
        with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
            hidden, head = reader.forward(reader.collate(part))
            logits = head(hidden)
        logp = logprobs_of(logits, batch.targets_N)
        batch = replace(batch, sampler_N=logp.detach())  # nobody sampled these rows; a sampler would have agreed
        loss_of(batch, logp, logp.detach(), None, scale).loss.backward()  # type: ignore[no-untyped-call]


def padded(network: Any, batch_rows: list[Row], autocast: bool) -> None:
    """The padded way."""
    network.zero_grad()
    with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
        rivals.padded_step(network, batch_rows)


def measure(repeats: int, *, quick: bool = False) -> list[dict[str, Any]]:
    """One entry for each size and precision."""
    found = []
    cases = [("1.5M", False), ("7M", False), ("1.5M", True)]
    for name, autocast in cases[: 1 if quick else None]:
        network = model(SIZES[name])
        batch_rows = rows(GROUPS)
        tree, dense = TreeReader(Decoder(network)), DenseReader(network)
        floor = Products(network)
        floor.training(sum(len(row.tokens) for row in batch_rows), sum(len(row.targets) for row in batch_rows))
        contenders: dict[str, Callable[[], Any]] = {
            "ours": partial(step, network, tree, batch_rows, autocast),
            "ours, generic path": partial(step, network, dense, batch_rows, autocast),
            "padded": partial(padded, network, batch_rows, autocast),
        }
        if not autocast:
            contenders["matrix products only"] = floor.runner()
        figures = alternate(contenders, repeats)
        entry: dict[str, Any] = {
            "model": name,
            "parameters": parameters(network),
            "precision": "bfloat16 autocast" if autocast else "float32",
            "tokens": sum(len(row.tokens) for row in batch_rows),
            "trained_tokens": sum(len(row.targets) for row in batch_rows),
            "figures": figures,
            "against_padded": ratio(figures, "padded", "ours"),
            "against_padded_cpu": ratio(figures, "padded", "ours", "cpu_s"),
        }
        if not autocast:
            entry["of_floor"] = ratio(figures, "ours", "matrix products only")
        found.append(entry)
        print(name, entry["precision"], {k: f["wall_s"] for k, f in figures.items()}, "x", entry["against_padded"], flush=True)
    return found
