"""The shapes of SmolLM2-135M and Qwen2.5-0.5B in bfloat16: sampling, the training step and the whole step, side by side.

Weights are random, since speed does not depend on them, and nothing has to be downloaded. All that can be is in bfloat16:
TRL and ``generate`` get weights in bfloat16; ours keeps float32 weights for full training (bfloat16 would lose small updates),
multiplies in bfloat16 (autocast) and samples from a bfloat16 copy. With adapters the frozen weights are bfloat16 for both.
"""

from __future__ import annotations

import argparse
import gc
import json
import tempfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import torch

from benchmarks import rivals
from benchmarks.clock import Taken, alternate, ratio
from benchmarks.floor import Products
from benchmarks.sampling import afresh
from benchmarks.setting import GROUP, IDS, REAL, Size, model, requests, saved
from benchmarks.whole_step import Ours, ThreeCalls, beside_trl, floor_of
from secondthought.engines.base import EngineOptions
from secondthought.engines.torch.engine import TorchEngine
from secondthought.learners.optim import Optim

HALF = torch.bfloat16
PROMPT = 200  # of a whole step
RANK = 16
AT_ONCE = {"SmolLM2-135M": 16, "Qwen2.5-0.5B": 2}  # completions that the rivals learn from at a time: more do not fit
WARM = {"SmolLM2-135M"}  # a step of TRL at the other size takes a third of an hour: the first one counts
BATCHES = {"SmolLM2-135M": (1, 8, 32, 128), "Qwen2.5-0.5B": (8, 32)}


def sampling(size: Size, dtype: torch.dtype, prompt: int, batch: int, repeats: int) -> dict[str, Any]:
    """Tokens a second of ours, ``generate`` and the floor."""
    network = model(size, dtype=dtype)
    asked = requests(batch, prompt)
    limits = [r.sampling.max_tokens for r in asked]
    floor = Products(network)
    floor.decode(limits, prompt, -(-batch // GROUP))
    takers: dict[str, Callable[[], Any]] = {
        "ours": partial(afresh, TorchEngine(network, IDS, EngineOptions(precision="model", threads=1)), asked),
        "generate": partial(generated, network, asked),
        "matrix products only": floor.runner(),
    }
    figures = alternate(takers, repeats)
    return {
        "part": "sampling", "model": size.name, "precision": str(dtype)[6:], "prompt": prompt, "batch": batch,
        "figures": figures, "tokens_per_s": {name: round(sum(limits) / f["wall_s"]) for name, f in figures.items()},
        "against_generate": ratio(figures, "generate", "ours"),
        "against_generate_cpu": ratio(figures, "generate", "ours", "cpu_s"),
        "of_floor": ratio(figures, "ours", "matrix products only"),
    }  # fmt: skip


def generated(network: Any, asked: Any) -> None:
    """The rival without gradients, as ``generate`` itself runs."""
    with torch.inference_mode():
        rivals.sample(network, asked)


def makers(size: Size, dtype: torch.dtype, lora: int, folder: Path) -> dict[str, Callable[[], Callable[[], Any]]]:
    """What makes each contender of a whole step but TRL, which runs in its own trainer; the model is saved in ``folder``."""
    half = dtype == HALF
    optim = Optim(
        lr=1e-5, kl=0.0, lora=lora, weights="bfloat16" if lora and half else "float32", autocast="bfloat16" if half else "off"
    )
    saved(size, folder, dtype)
    engine = EngineOptions(precision="bfloat16" if half else "model", threads=1)
    found: dict[str, Callable[[], Callable[[], Any]]] = {
        "ours": lambda: Ours(folder, prompt=PROMPT, optim=optim, engine=engine),
        "matrix products only": lambda: floor_of(size, prompt=PROMPT, dtype=dtype, frozen=bool(lora)).runner(),
    }
    if not lora:
        found["three generate calls"] = lambda: ThreeCalls(size, prompt=PROMPT, dtype=dtype, at_once=AT_ONCE[size.name])
    return found


def trl_alone(size: Size, dtype: torch.dtype, folder: Path, *, steps: int) -> None:
    """Some steps of TRL and nothing else."""
    from benchmarks.with_trl import trainer

    trainer(
        folder, Taken(), lambda _: None, steps=steps, prompt=PROMPT, dtype=str(dtype)[6:], at_once=AT_ONCE[size.name]
    ).train()  # fmt: skip


def whole(size: Size, dtype: torch.dtype, lora: int, repeats: int) -> dict[str, Any]:
    """The whole step against TRL, three ``generate`` calls (full training only) and the floor."""
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place) / "model"
        others = {name: make() for name, make in makers(size, dtype, lora, folder).items()}
        rival = {"prompt": PROMPT, "dtype": str(dtype)[6:], "lora": lora, "at_once": AT_ONCE[size.name]}
        figures = beside_trl(folder, others, repeats, warm=size.name in WARM, **rival)
    entry: dict[str, Any] = {
        "part": "whole step", "model": size.name, "precision": str(dtype)[6:], "lora": lora, "figures": figures,
        "of_floor": ratio(figures, "ours", "matrix products only"),
    }  # fmt: skip
    for other, key in (("TRL", "against_trl"), ("three generate calls", "against_three_calls")):
        if other in figures:
            entry |= {key: ratio(figures, other, "ours"), f"{key}_cpu": ratio(figures, other, "ours", "cpu_s")}
    return entry


def cases(quick: bool) -> Iterator[tuple[str, Callable[[int], dict[str, Any]]]]:
    """Everything that is measured, the shortest first."""
    smol, qwen = REAL.values()
    for size in (smol,) if quick else (smol, qwen):
        for dtype in (HALF,) if quick else (HALF, torch.float32):
            for prompt in (64,) if quick else (64, 400):
                for batch in BATCHES[size.name][: 1 if quick else None]:
                    yield (
                        f"sampling/{size.name}/{str(dtype)[6:]}/{prompt}/{batch}",
                        partial(sampling, size, dtype, prompt, batch),
                    )
    if not quick:
        for size, dtype, lora in ((smol, HALF, 0), (smol, HALF, RANK), (smol, torch.float32, 0), (qwen, HALF, RANK)):
            yield f"whole/{size.name}/{str(dtype)[6:]}/{lora or 'full'}", partial(whole, size, dtype, lora)


def measure(repeats: int, *, quick: bool = False, only: str = "") -> list[dict[str, Any]]:
    """One entry for each case whose name holds ``only``."""
    found = []
    for name, case in cases(quick):
        if only in name:
            found.append(case(1 if name.startswith("whole/Qwen") else min(repeats, 3)))
            print(name, {k: v for k, v in found[-1].items() if k not in ("figures", "part", "model")}, flush=True)
            gc.collect()
    return found


def main() -> None:
    """Some of the cases alone: ``python -m benchmarks.real_sizes NAME FILE``."""
    parser = argparse.ArgumentParser()
    parser.add_argument("only")
    parser.add_argument("file", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(1)
    options.file.write_text(json.dumps(measure(3, only=options.only), indent=1))


if __name__ == "__main__":
    main()
