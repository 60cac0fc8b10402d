"""From a name or options to an engine: in this process, vLLM, servers, actors, or an engine of one's own.

A model is named as ``nano/countdown``, a folder, a hub name, ``http://host:port/v1#model``, or ``ENGINE:MODEL``, where ENGINE
is ``vllm``, the path of a .py file or an installed entry point of ``secondthought.engines`` with a function
``engine(model, options)``. ``engine.at`` says where a training samples: nothing means in this process (the learner's own model,
or another backend's), ``http://a:8000,http://b:8000`` on servers (docs/vllm.md), ``ray:4`` on actors (docs/ray.md).
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from secondthought import catalog
from secondthought.engines.base import Engine, EngineOptions, Replica
from secondthought.engines.remote.openai import endpoint, is_endpoint
from secondthought.errors import UserError

if TYPE_CHECKING:
    from secondthought.engines.torch.engine import TorchEngine
    from secondthought.models.chat import TemplateRenderer

BUILT_IN = ("torch", "vllm")


def torch_engine(name: str, options: EngineOptions | None = None, **loading: Any) -> TorchEngine:
    """An engine in this process for the model called ``name``; ``loading`` goes to :func:`secondthought.models.hub.load`."""
    from secondthought.engines.torch.engine import TorchEngine
    from secondthought.models.hub import load, renderer_for

    model, tokenizer = load(name, **loading)
    thinking = options.thinking if options is not None else "template"
    return TorchEngine(model, renderer_for(model, tokenizer, thinking=thinking), options)


def engine_for(name: str, options: EngineOptions | None = None) -> Engine:
    """The engine of a model by its name (see above). Raises UserError, in one sentence, if there is none.

    >>> engine_for("nano/countdown").renderer.encode("use 3 5")  # doctest: +ELLIPSIS
    [...]
    """
    if is_endpoint(name):
        return endpoint(name)
    kind, model = split(name)
    if kind == "torch":
        return torch_engine(model, options)
    chosen = options or EngineOptions()
    if kind == "vllm":
        from secondthought.engines.vllm.engine import VllmEngine
        from secondthought.models.hub import described
        from secondthought.models.names import resolve

        place = resolve(model)
        return VllmEngine(place, chosen, described(place)[1])
    made: Engine = catalog.find("engines", kind)(model, chosen)
    return made


def engine_of(model: str | Engine) -> Engine | None:
    """The second model of a probe: an engine as it is, a name as :func:`engine_for` knows it, none for an empty one."""
    return (engine_for(model) if model else None) if isinstance(model, str) else model


def split(name: str) -> tuple[str, str]:
    """The kind of engine that a model's name asks for, and the model.

    >>> split("vllm:Qwen/Qwen3-8B"), split("nano/countdown"), split("mine.py:x")
    (('vllm', 'Qwen/Qwen3-8B'), ('torch', 'nano/countdown'), ('mine.py', 'x'))
    """
    kind, colon, model = name.partition(":")
    known = colon and (kind in BUILT_IN or catalog.exists("engines", kind))
    return (kind, model) if known else ("torch", name)


def replica_for(
    name: str, options: EngineOptions, renderer: TemplateRenderer, config: Any, *, rank: int = 0, world: int = 1,
    separate: bool = False,
) -> Replica | None:  # fmt: skip
    """The engine with weights of its own that ``options`` ask for, or None where the learner's own model is sampled from.

    ``name`` is the model. Servers are dealt to the ``world`` processes by ``rank``. ``separate``: weights of its own are
    needed, because the model learns while it is sampled from. Raises UserError for a place that is none, or that cannot be
    reached.
    """
    at = options.at
    if at.startswith(("http://", "https://")):
        from secondthought.engines.remote.client import RemoteEngine

        urls = [url for url in at.split(",") if url]
        if len(urls) < world:
            raise UserError(f"engine.at names {len(urls)} servers for {world} processes; each needs one of its own")
        words, exchange = config.get_text_config().vocab_size, Path(options.exchange) if options.exchange else None
        return RemoteEngine(urls[rank::world], renderer, words, timeout=options.timeout, exchange=exchange)
    if found := re.fullmatch(r"ray:([1-9]\d*)", at):
        from secondthought.engines.ray_actors import RayActors

        return RayActors(name, options, renderer, int(found[1]), replica_for)
    if at:
        raise UserError(f"engine.at={at} is no place; write ray:N, or http://HOST:PORT with commas between several")
    if options.backend == "vllm":
        from secondthought.engines.vllm.engine import VllmEngine

        return VllmEngine(name, options, renderer)
    if options.backend != "torch":
        made: Replica = catalog.find("engines", options.backend)(name, options)
        if not hasattr(made, "publish"):
            raise UserError(f"the engine {options.backend} cannot be trained with: it has no publish to take new weights")
        return made
    if separate:
        from secondthought.engines.local_copy import LocalCopy

        return LocalCopy(name, options, renderer)
    return None
