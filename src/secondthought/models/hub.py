"""Weights and tokenizer of a shipped nano model, a folder, a hub name, or adapters; and how to save them again."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any, Literal

import torch

from secondthought.errors import UserError
from secondthought.models.chat import TemplateRenderer, renderer_of
from secondthought.models.names import base_of, resolve
from secondthought.runs.files import COMPLETE, new_folder


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
    known, rows = len(tokenizer), int(model.get_input_embeddings().weight.shape[0])
    if known > rows:
        raise UserError(
            f"the tokenizer of {name!r} has {known:,} tokens and the model only {rows:,}: they do not belong together, or "
            "the model was saved before resize_token_embeddings"
        )
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


def renderer_for(model: Any, tokenizer: Any, *, raw: bool = False) -> TemplateRenderer:
    """The renderer of a loaded model: its template (none if ``raw``), its end tokens, its style."""
    ends = model.generation_config.eos_token_id if model.generation_config else None
    listed = ends if isinstance(ends, list) else [ends] if ends is not None else []
    return renderer_of(tokenizer, style=getattr(model.config, "secondthought_style", "chat"), ends=listed, raw=raw)


def described(name: str) -> tuple[Any, TemplateRenderer]:
    """The configuration and the renderer of a model whose weights are loaded by somebody else.

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
    known = SimpleNamespace(config=config, generation_config=ends)  # all of a model that its renderer wants
    return config, renderer_for(known, tokenizer)
