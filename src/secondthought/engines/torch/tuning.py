"""What suits this machine now: the precision that sampling is done in and the number of threads, measured in a moment."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from secondthought.engines.base import EngineOptions

ROWS = 64  # sequences that get their next token together
WORTH = 1.15  # how much faster something must be to be taken
log = logging.getLogger("secondthought")


def tuned(options: EngineOptions, config: Any, *, saved_in: str, device: str = "") -> EngineOptions:
    """The options with ``precision`` and ``threads`` decided, and the threads of this process set to them.

    ``config`` is the model's, ``saved_in`` the precision of its weights. bfloat16 is only taken for models that were saved in
    it; threads that the environment fixes (OMP_NUM_THREADS) are left alone.
    """
    chosen = device or ("cuda" if torch.cuda.is_available() else "cpu")
    options = with_threads(options, config, chosen)
    if options.precision != "auto":
        return options
    if saved_in != "bfloat16":
        return replace(options, precision="model")
    if chosen == "cuda":
        return replace(options, precision="bfloat16" if torch.cuda.is_bf16_supported() else "model")
    full, half = (per_second(product_of(config, dtype)) for dtype in (torch.float32, torch.bfloat16))
    faster = half > WORTH * full
    log.info("sampling in %s: bfloat16 is %.1f times as fast here", "bfloat16" if faster else "float32", half / full)
    return replace(options, precision="bfloat16" if faster else "model")


def with_threads(options: EngineOptions, config: Any, device: str) -> EngineOptions:
    """The options with the number of threads that is used from now on."""
    if options.threads:
        torch.set_num_threads(options.threads)
        return options
    most = torch.get_num_threads()
    if device != "cpu" or most == 1 or os.environ.get("OMP_NUM_THREADS") or parameters(config) < 20_000_000:
        return replace(options, threads=most)
    product = product_of(config, torch.float32)
    all_of_them = per_second(product)
    torch.set_num_threads(1)
    one = per_second(product)
    threads = 1 if one > WORTH * all_of_them else most
    torch.set_num_threads(threads)
    if threads < most:
        log.info("1 thread instead of %d: it is %.1f times as fast beside what else runs here", most, one / all_of_them)
    return replace(options, threads=threads)


def parameters(config: Any) -> int:
    """About how many parameters the layers of a model have, from its configuration."""
    text = config.get_text_config()
    hidden, inner = int(text.hidden_size), int(getattr(text, "intermediate_size", 0) or 4 * text.hidden_size)
    return int(text.num_hidden_layers) * (4 * hidden * hidden + 3 * hidden * inner)


def product_of(config: Any, dtype: torch.dtype) -> Callable[[], Tensor]:
    """The largest matrix product of a layer, for :data:`ROWS` tokens."""
    text = config.get_text_config()
    hidden, inner = int(text.hidden_size), int(getattr(text, "intermediate_size", 0) or 4 * text.hidden_size)
    x_NM, w_IM = torch.randn(ROWS, hidden).to(dtype), torch.randn(inner, hidden).to(dtype)
    return lambda: torch.nn.functional.linear(x_NM, w_IM)


def per_second(work: Callable[[], Tensor], seconds: float = 0.05) -> float:
    """How often something can be done in a second, at the best of five short times."""
    work()
    best = 0.0
    for _ in range(5):
        done, began = 0, time.perf_counter()
        while (gone := time.perf_counter() - began) < seconds / 5:
            work()
            done += 1
        best = max(best, done / gone)
    return best
