"""From a name to a model: a shipped nano model, a folder, or a hub name."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Literal

import torch

from secondthought.chat import Dialect, dialect_of
from secondthought.engines.openai import endpoint, far
from secondthought.engines.torch import EngineOptions, TorchEngine
from secondthought.files import COMPLETE, UserError, new_folder
from secondthought.scene import Engine

SHIPPED = Path(__file__).parent.parent / "nano" / "checkpoints"


def resolve(name: str) -> str:
    """The folder of a shipped model (``nano/countdown``), or the name itself."""
    shipped = SHIPPED / name.removeprefix("nano/")
    if name.startswith("nano/") and not shipped.is_dir():
        known = ", ".join(sorted(f"nano/{p.name}" for p in SHIPPED.iterdir() if p.is_dir()))
        raise UserError(f"there is no shipped model {name!r}; there is {known}")
    return str(shipped) if name.startswith("nano/") else name


def style_of(model: str) -> str:
    """The wording a model understands: ``terse`` for the nano family, ``chat`` for all others."""
    config = Path(base_of(resolve(model.removeprefix("vllm:")))) / "config.json"
    told: dict[str, Any] = json.loads(config.read_text()) if config.exists() else {}
    return str(told.get("secondthought_style", "chat"))


def base_of(place: str) -> str:
    """The model that a folder of adapters belongs to; any other place is itself."""
    told = Path(place) / "adapter_config.json"
    return str(json.loads(told.read_text())["base_model_name_or_path"]) if told.is_file() else place


def load(
    name: str,
    *,
    dtype: torch.dtype | Literal["auto"] = torch.float32,
    device: str | None = None,
    revision: str | None = None,
) -> tuple[Any, Any]:
    """A causal LM and its tokenizer; ``revision`` is a branch, tag or commit of a hub model, ``dtype`` "auto" that in which it
    was saved. Of a folder of adapters, the model they belong to with the adapters merged into it.

    Raises UserError, in one sentence, if ``name`` cannot be loaded.
    """
    from transformers import AutoModelForCausalLM, AutoTokenizer
    from transformers.utils import logging

    place = resolve(name)
    base = base_of(place)
    if base != place:
        model, _ = load(base, dtype=dtype, device=device)
        return merged(model, place), AutoTokenizer.from_pretrained(place)
    if Path(place).is_dir() and not (Path(place) / "config.json").exists():
        raise UserError(f"{place} holds no model: there is no config.json in it")
    if not Path(place).is_dir() and (place.startswith((".", "/", "~")) or place.count("/") > 1):
        raise UserError(f"there is no model folder {place}")
    logging.disable_progress_bar()
    try:
        tokenizer = AutoTokenizer.from_pretrained(place, revision=revision)
        model = AutoModelForCausalLM.from_pretrained(place, dtype=dtype, revision=revision)
    except (OSError, ValueError) as error:
        reason = str(error).strip().splitlines()[0]
        at = f" at revision {revision}" if revision else ""
        raise UserError(f"cannot load a model from {name!r}{at}: {reason}") from error
    chosen = device or ("cuda" if torch.cuda.is_available() else "cpu")
    return model.to(chosen), tokenizer


def merged(model: Any, adapters: str) -> Any:
    """The model with adapters added to its matrices. Raises UserError if peft is missing, or if they are not this model's."""
    try:
        from peft import PeftModel
    except ImportError as error:
        raise UserError(f"{adapters} holds adapters, which need the package peft: pip install 'secondthought[lora]'") from error
    try:
        return PeftModel.from_pretrained(model, adapters).merge_and_unload()
    except (RuntimeError, ValueError) as error:
        raise UserError(f"the adapters in {adapters} do not fit their model: {str(error).splitlines()[0]}") from error


def save(name: str, out: Path, push: str | None = None) -> None:
    """Write the model called ``name`` into a new folder ``out`` in Hugging Face layout, adapters merged, in the precision in
    which it was saved; also to the hub as ``push``. Raises UserError if there is no such model, or if the hub refuses.
    """
    if out.exists():
        raise UserError(f"{out} exists already; choose another --out")
    model, tokenizer = load(name, dtype="auto", device="cpu")
    with new_folder(out) as folder:
        model.save_pretrained(folder)
        tokenizer.save_pretrained(folder)
    (out / COMPLETE).unlink()
    if push:
        try:
            model.push_to_hub(push)
            tokenizer.push_to_hub(push)
        except (OSError, ValueError) as error:
            why = str(error).strip().splitlines()[0]
            raise UserError(f"{out} is written, but the hub refuses {push}: {why}; hf auth login may help") from error


def dialect_for(model: Any, tokenizer: Any, *, raw: bool = False) -> Dialect:
    """The dialect of a loaded model: its template (none if ``raw``), its end tokens, its style."""
    ends = model.generation_config.eos_token_id if model.generation_config else None
    listed = ends if isinstance(ends, list) else [ends] if ends is not None else []
    return dialect_of(tokenizer, style=getattr(model.config, "secondthought_style", "chat"), ends=listed, raw=raw)


def described(name: str) -> tuple[Any, Dialect]:
    """The configuration and the dialect of a model whose weights are somebody else's to load.

    Raises UserError if it has none.
    """
    from transformers import AutoConfig, AutoTokenizer, GenerationConfig

    place = resolve(name)
    try:
        config = AutoConfig.from_pretrained(base_of(place))
        tokenizer = AutoTokenizer.from_pretrained(place)
    except (OSError, ValueError) as error:
        raise UserError(f"cannot load a model from {name!r}: {str(error).strip().splitlines()[0]}") from error
    try:
        ends = GenerationConfig.from_pretrained(base_of(place))
    except OSError:
        ends = None
    known = SimpleNamespace(config=config, generation_config=ends)  # all of a model that its dialect wants
    return config, dialect_for(known, tokenizer)


def torch_engine(name: str, options: EngineOptions | None = None, **loading: Any) -> TorchEngine:
    """An engine in this process for the model called ``name``; ``loading`` goes to :func:`load`."""
    model, tokenizer = load(name, **loading)
    return TorchEngine(model, dialect_for(model, tokenizer), options)


def engine_for(name: str, options: EngineOptions | None = None) -> Engine:
    """What speaks for a name: a model of this process, ``vllm:MODEL``, or an endpoint (``http://host:port/v1#model``)."""
    if far(name):
        return endpoint(name)
    if name.startswith("vllm:"):
        from secondthought.engines.vllm import VllmEngine

        place = resolve(name.removeprefix("vllm:"))
        return VllmEngine(place, options or EngineOptions(), described(place)[1])
    return torch_engine(name, options)
