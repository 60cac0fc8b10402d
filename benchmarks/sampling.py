"""Sampling: prompt 64, up to 64 new tokens, groups of 8, ragged stops, log-probabilities kept."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any
from unittest.mock import patch

from benchmarks import rivals
from benchmarks.clock import alternate, ratio
from benchmarks.floor import Products
from benchmarks.setting import GROUP, IDS, PROMPT, SIZES, model, parameters, requests
from secondthought.engines.base import EngineOptions, Request
from secondthought.engines.torch import native
from secondthought.engines.torch.engine import TorchEngine

BATCHES = (1, 16, 64, 256)


def afresh(engine: TorchEngine, asked: Sequence[Request]) -> None:
    """Sample with nothing carried over from the last time."""
    engine.forget()
    engine.sample(asked)


def in_pytorch(engine: TorchEngine, asked: Sequence[Request]) -> None:
    """The same without the compiled steps."""
    with patch.object(native, "library", lambda: None):
        afresh(engine, asked)


def measure(repeats: int, *, quick: bool = False) -> list[dict[str, Any]]:
    """One entry for each size and batch."""
    found = []
    for size in list(SIZES.values())[: 1 if quick else None]:
        network = model(size)
        fast, simple = TorchEngine(network, IDS), TorchEngine(network, IDS, EngineOptions(fast=False))
        for batch in BATCHES[: 2 if quick else None]:
            asked = requests(batch)
            limits = [r.sampling.max_tokens for r in asked]
            floor = Products(network)
            floor.decode(limits, PROMPT, -(-batch // GROUP))

            contenders: dict[str, Callable[[], Any]] = {
                "ours": partial(afresh, fast, asked),
                "generate": partial(rivals.sample, network, asked),
                "matrix products only": floor.runner(),
            }
            if size.name != "30M":  # a quarter of an hour for no new insight
                contenders["ours, generic path"] = partial(afresh, simple, asked)
                contenders["ours, nothing compiled"] = partial(in_pytorch, fast, asked)
            figures = alternate(contenders, repeats)
            tokens = sum(limits)
            found.append(
                {
                    "model": size.name,
                    "parameters": parameters(network),
                    "batch": batch,
                    "tokens": tokens,
                    "figures": figures,
                    "tokens_per_s": {name: round(tokens / f["wall_s"]) for name, f in figures.items()},
                    "against_generate": ratio(figures, "generate", "ours"),
                    "against_generate_cpu": ratio(figures, "generate", "ours", "cpu_s"),
                    "of_floor": ratio(figures, "ours", "matrix products only"),
                }
            )
            print(size.name, batch, found[-1]["tokens_per_s"], "x", found[-1]["against_generate"], flush=True)
    return found
