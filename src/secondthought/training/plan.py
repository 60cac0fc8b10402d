"""What a run will take, before anything starts: memory by what holds it, and the time of a step.

Only the configuration of the model is read, never its weights. Memory is counted, at the most a step can need; time is what the
matrix products and the reading of weights take on this device, which is measured for a second, times what the whole step was
measured to take beyond its matrix products (docs/performance.md). Expect both within a factor of two.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from transformers import AutoConfig

from secondthought.engines.base import EngineOptions
from secondthought.engines.torch.decoder import FAMILIES
from secondthought.engines.torch.forward import CHUNK
from secondthought.engines.torch.tuning import per_second, product_of, tuned
from secondthought.errors import UserError
from secondthought.learners.torch import FUSED, MICRO_BATCH
from secondthought.models.hub import placed
from secondthought.models.names import base_of, resolve, style_of
from secondthought.probes.base import Probe
from secondthought.training.counting import Count, counted, renderer_called
from secondthought.training.recipe import Recipe

BEYOND = 2.4  # whole step over its matrix products: 1.6 to 2.4 measured, on a CPU
SOME = 8  # problems that an evaluation is counted on
CHARACTERS = 3.5  # of a prompt, to a token


@dataclass(frozen=True)
class Shape:
    """What is known of a model from its configuration."""

    name: str
    parameters: int
    trained: int
    layers: int
    hidden: int
    kv_bytes: int  # of one token in float32, all layers
    words: int
    known: bool  # whether the fast path knows its family


@dataclass(frozen=True)
class Plan:
    """``memory`` in bytes and ``seconds`` of a step by what they go to; ``room`` is the memory of the device, ``evaluation``
    what is measured before, during and after training, and the seconds it takes.
    """

    shape: Shape
    device: str
    room: int
    memory: dict[str, int]
    seconds: dict[str, float]
    tokens: int
    evaluation: Mapping[str, tuple[Count, float]]
    advice: tuple[str, ...]

    @property
    def fits(self) -> bool:
        """Whether all of it fits at once."""
        return sum(self.memory.values()) <= 0.95 * self.room


def shape_of(name: str, lora: int) -> Shape:
    """The shape of a model. Raises UserError if its configuration cannot be read."""
    from transformers import AutoModelForCausalLM

    place = base_of(placed(name))
    try:
        config = AutoConfig.from_pretrained(place)
    except (OSError, ValueError) as error:
        reason = str(error).strip().splitlines()[0]
        raise UserError(
            f"cannot read the configuration of {name!r}: {reason}; a folder with its config.json will do"
        ) from error
    with torch.device("meta"):
        model: Any = AutoModelForCausalLM.from_config(config)
    config = model.config.get_text_config()
    parameters = sum(p.numel() for p in model.parameters())
    head = model.get_output_embeddings()
    adapters = sum(
        lora * (m.in_features + m.out_features) for m in model.modules() if isinstance(m, nn.Linear) and m is not head
    )
    heads = getattr(config, "num_key_value_heads", None) or config.num_attention_heads
    width = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    return Shape(
        name, parameters, adapters if lora else parameters, config.num_hidden_layers, config.hidden_size,
        4 * 2 * config.num_hidden_layers * heads * width, config.vocab_size, type(model).__name__ in FAMILIES,
    )  # fmt: skip


def plan(recipe: Recipe, *, device: str | None = None) -> Plan:
    """What ``recipe`` takes on ``device`` (default: the one it would use). Raises UserError for a model that is not there."""
    chosen = device or ("cuda" if torch.cuda.is_available() else "cpu")
    shape = shape_of(recipe.model, recipe.optim.lora)
    if recipe.engine.precision == "auto":
        recipe = replace(recipe, engine=precision_here(recipe.engine, recipe.model, chosen))
    prompt = _prompt_tokens(recipe)
    memory = dict(_memory(recipe, shape, chosen, prompt))
    rates = measured(chosen, recipe)
    seconds, tokens = _seconds(recipe, shape, prompt, *rates)
    room = _room(chosen)
    asked = {name: (count, seconds_of(count, shape, rates[0])) for name, count in evaluation(recipe).items()}
    return Plan(shape, chosen, room, memory, seconds, tokens, asked, tuple(_advice(recipe, shape, memory, room)))


def plan_probe(probe: Probe, model: str, engine: EngineOptions) -> tuple[Shape, Count, float]:
    """The shape of a model, what a probe asks of it at most, and the seconds that takes here."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    shape = shape_of(model, 0)
    chosen = precision_here(engine, model, device) if engine.precision == "auto" else engine
    count = counted(probe, renderer_called(model))
    return shape, count, seconds_of(count, shape, sampling_rate(device, chosen, model))


def precision_here(engine: EngineOptions, model: str, device: str) -> EngineOptions:
    """The engine's options with the precision that would be taken here."""
    config = AutoConfig.from_pretrained(base_of(resolve(model)))
    saved = str(getattr(config, "dtype", None) or "float32").removeprefix("torch.")
    return tuned(engine, config, saved_in=saved, device=device)


def dtype_of(engine: EngineOptions) -> torch.dtype:
    """What sampling is done in."""
    return torch.bfloat16 if engine.precision == "bfloat16" else torch.float32


def seconds_of(count: Count, shape: Shape, flops: float) -> float:
    """How long the answers of a measurement take, many at a time."""
    return BEYOND * 2 * shape.parameters * (count.written + count.read) / flops


def evaluation(recipe: Recipe) -> dict[str, Count]:
    """What is measured before and after training, and for the curve, counted on a few problems."""
    few, renderer = replace(recipe, eval_problems=SOME, dev_problems=SOME), renderer_called(recipe.model)

    def asked(*, dev: bool) -> Count:
        return sum((counted(probe, renderer) for probe in few.exam(dev=dev)), Count())

    curves = recipe.total_steps // recipe.eval_every
    found = {"before and after": asked(dev=False).times(2 * recipe.eval_problems / SOME)}
    if curves:
        found[f"the curve, {curves} times"] = asked(dev=True).times(curves * recipe.dev_problems / SOME)
    return {name: count for name, count in found.items() if count.answers}


def _memory(recipe: Recipe, shape: Shape, device: str, prompt: int) -> Iterator[tuple[str, int]]:
    optim, held = recipe.optim, 2 if recipe.optim.weights == "bfloat16" else 4
    sampled = {"float32": 4, "bfloat16": 2}.get(recipe.engine.precision, held)
    yield "weights", shape.parameters * held
    yield "gradients and AdamW", shape.trained * 12
    if optim.kl and not optim.lora:
        yield "reference", shape.parameters * held
    fast = recipe.engine.fast and shape.known
    fused = shape.parameters * held * (1 if optim.lora else 2)
    if fast:
        yield "the copy that samples", shape.parameters * sampled
        if fused <= FUSED:
            yield "fused copy in training" if optim.lora else "fused copy in training, with its gradient", fused
    longest = prompt + 3 * recipe.max_tokens + 100
    rows = recipe.groups * recipe.group_size
    slot = shape.kv_bytes * sampled // 4
    yield "keys and values", min(rows * longest * slot, recipe.engine.kv_mb << 20) + (recipe.engine.kept_mb << 20)
    tree = prompt + 2 * recipe.max_tokens + 100 + recipe.group_size * 2 * recipe.max_tokens
    fed = max(
        min(optim.micro_batch_tokens or MICRO_BATCH.get(device, 16_384), rows * tree),
        min(tree, prompt + rows * recipe.max_tokens),
    )
    size = 2 if optim.autocast == "bfloat16" or held == 2 else 4
    layer = 17 * shape.hidden * size * fed  # 34 bytes a token and hidden unit in half precision (arXiv 2205.05198)
    yield "activations", layer + shape.hidden * size * fed * shape.layers if optim.recompute else layer * shape.layers
    if not fast or fused > FUSED:
        yield "attention masks", fed * min(tree, fed)
    yield "logits and their gradient", 3 * min(CHUNK, 4 * shape.words * fed)


def _seconds(
    recipe: Recipe, shape: Shape, prompt: int, sampling: float, training: float, bandwidth: float
) -> tuple[dict[str, float], int]:
    """Seconds by phase at full length, where every problem fails and every turn takes all its tokens; and tokens sampled."""
    rows, most = recipe.groups * recipe.group_size, recipe.max_tokens
    width = {"bfloat16": 2}.get(recipe.engine.precision, 4)

    def spoken(batch: int) -> float:
        return most * max(2 * shape.parameters * batch / sampling, shape.parameters * width / bandwidth)

    fed = recipe.groups * (prompt + most) + rows * 2 * most
    passes = 6 + (2 if recipe.optim.recompute else 0) + (2 if recipe.optim.kl else 0) - (2 if recipe.optim.lora else 0)
    found = {
        "attempts": spoken(recipe.groups), "reflections": spoken(rows), "retries": spoken(rows),
        "training": passes * shape.parameters * fed / training * recipe.optim.updates,
    }  # fmt: skip
    return {name: BEYOND * seconds for name, seconds in found.items()}, recipe.groups * most + 2 * rows * most


def measured(device: str, recipe: Recipe) -> tuple[float, float, float]:
    """Floating-point operations a second in sampling and in training, and bytes a second read, on this device now."""
    half = torch.bfloat16
    sampling = sampling_rate(device, recipe.engine, recipe.model)
    training = rate(device, half if recipe.optim.autocast == "bfloat16" else torch.float32)
    big = torch.ones((256 << 20) // 4 if device == "cpu" else 1 << 29, device=device)
    return sampling, training, big.nbytes / _timed(big.sum, device)


def sampling_rate(device: str, engine: EngineOptions, model: str) -> float:
    """Operations a second of the products that sampling is made of: a row for each sequence, as many as the cache holds."""
    if device != "cpu":
        return rate(device, dtype_of(engine))
    product = product_of(AutoConfig.from_pretrained(base_of(resolve(model))), dtype_of(engine))
    rows, inner = product().shape
    hidden = AutoConfig.from_pretrained(base_of(resolve(model))).get_text_config().hidden_size
    return float(2 * rows * inner * hidden) * per_second(product)


def rate(device: str, dtype: torch.dtype) -> float:
    """Operations a second of a large matrix product."""
    size = 1024 if device == "cpu" else 8192
    a = torch.randn(size, size, device=device, dtype=dtype)
    return 2 * size**3 / _timed(lambda: a @ a, device)


def _timed(work: Any, device: str) -> float:
    """The median time of a few calls, after one to warm up."""
    found = []
    for i in range(6):
        began = time.perf_counter()
        made: Tensor = work()
        if device != "cpu":
            torch.cuda.synchronize()
        del made
        if i:
            found.append(time.perf_counter() - began)
    return sorted(found)[len(found) // 2]


def _room(device: str) -> int:
    if device != "cpu":
        return int(torch.cuda.get_device_properties(device).total_memory)
    found = Path("/proc/meminfo")
    if not found.exists():
        import os

        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return int(found.read_text().split("MemTotal:")[1].split()[0]) << 10


def _prompt_tokens(recipe: Recipe) -> int:
    """About how many tokens a problem has, from the first few."""
    some = [recipe.tasks[i] for i in range(min(8, len(recipe.tasks)))]
    characters = [sum(len(m.content) for m in task.prompt) + sum(len(str(tool)) for tool in task.tools) for task in some]
    return int(max(characters) / (1.5 if style_of(recipe.model) == "terse" else CHARACTERS)) + 20


def _advice(recipe: Recipe, shape: Shape, memory: dict[str, int], room: int) -> Iterator[str]:
    """What makes it smaller, the most helpful first, if it does not fit."""
    if sum(memory.values()) <= 0.95 * room:
        return
    optim, saved = recipe.optim, []
    if not optim.lora:
        kept = memory["gradients and AdamW"] + memory.get("reference", 0)
        saved.append((kept, "lora=16 --set weights=bfloat16" if optim.weights == "float32" else "lora=16"))
    if not optim.recompute:
        saved.append((memory["activations"] * (shape.layers - 2) // shape.layers, "recompute=true"))
    if recipe.engine.precision != "bfloat16":
        saved.append((memory.get("the copy that samples", 0) // 2, "engine.precision=bfloat16"))
    if memory["keys and values"] > 2 << 30:
        saved.append((memory["keys and values"] // 2, f"engine.kv_mb={recipe.engine.kv_mb // 2}"))
    for size, setting in sorted(saved, reverse=True):
        yield f"--set {setting} saves about {size / 2**30:.1f} GiB"
