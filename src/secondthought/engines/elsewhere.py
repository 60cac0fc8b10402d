"""Engines that have weights of their own: a second copy, vLLM, servers, actors. A learner publishes to them before each step.

``engine.at`` says where: nothing means in this process (the learner's own model, or vLLM's with ``engine.backend=vllm``),
``http://a:8000,http://b:8000`` on servers (docs/vllm.md), ``ray:4`` on so many actors of a Ray cluster (docs/ray.md).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol

from torch import Tensor

from secondthought.chat import Dialect
from secondthought.engines.torch import EngineOptions
from secondthought.files import UserError
from secondthought.scene import Engine, Request


class Elsewhere(Engine, Protocol):
    """An engine with weights of its own."""

    def publish(self, weights: Iterable[tuple[str, Tensor]], config: Any, version: int) -> None:
        """Take these weights (named as in a Hugging Face checkpoint); what is sampled from now on bears ``version``."""
        ...

    def close(self) -> None:
        """Give back what was taken."""
        ...


def elsewhere(
    name: str, options: EngineOptions, dialect: Dialect, config: Any, *, rank: int = 0, crew: int = 1, apart: bool = False
) -> Elsewhere | None:
    """The engine that ``options`` ask for, or None where the learner's own model speaks.

    ``name`` is the model. Servers are dealt to the ``crew`` processes by ``rank``. ``apart``: weights of their own are needed,
    because the model learns while it speaks. Raises UserError for a place that is none, or that cannot be reached.
    """
    at, vllm = options.at, options.backend == "vllm"
    if at.startswith(("http://", "https://")):
        from secondthought.engines.served import Served

        urls = [url for url in at.split(",") if url]
        if len(urls) < crew:
            raise UserError(f"engine.at names {len(urls)} servers for {crew} processes; each needs one of its own")
        words, exchange = config.get_text_config().vocab_size, Path(options.exchange) if options.exchange else None
        return Served(urls[rank::crew], dialect, words, timeout=options.timeout, exchange=exchange)
    if told := re.fullmatch(r"ray:([1-9]\d*)", at):
        from secondthought.engines.actors import Actors

        return Actors(name, options, dialect, int(told[1]))
    if at:
        raise UserError(f"engine.at={at} is no place; write ray:N, or http://HOST:PORT with commas between several")
    if vllm:
        from secondthought.engines.vllm import VllmEngine

        return VllmEngine(name, options, dialect)
    if apart:
        from secondthought.engines.twin import Twin

        return Twin(name, options, dialect)
    return None


def deal(requests: Sequence[Request], hands: int) -> list[list[int]]:
    """The numbers of the requests that each of ``hands`` speakers gets: all of one task together, since they share a beginning,
    and about as many tokens to write for each.
    """
    tasks: dict[str, list[int]] = {}
    for i, request in enumerate(requests):
        tasks.setdefault(request.task.key, []).append(i)
    found: list[list[int]] = [[] for _ in range(hands)]
    load = [0] * hands
    for members in sorted(tasks.values(), key=lambda members: -len(members)):
        hand = load.index(min(load))
        found[hand] += members
        load[hand] += sum(requests[i].sampling.max_tokens for i in members)
    return [sorted(share) for share in found]


def plain_weights(model: Any) -> Iterator[tuple[str, Tensor]]:
    """The weights of a model by their names in a Hugging Face checkpoint, low-rank adapters added in."""
    adapted = {name: module for name, module in model.named_modules() if hasattr(module, "lora_A")}
    for name, parameter in model.named_parameters():
        if "lora_" in name:
            continue
        owner, _, rest = name.partition(".base_layer.")
        if rest and rest == "weight" and owner in adapted:
            module = adapted[owner]
            added = parameter.detach()
            for adapter in module.active_adapters:
                added = added + module.get_delta_weight(adapter).to(added.dtype)
            yield f"{owner}.weight", added
        else:
            yield (f"{owner}.{rest}" if rest else name), parameter.detach()
