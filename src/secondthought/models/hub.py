"""Weights and tokenizer of a shipped nano model, a folder, a hub name, or adapters; and how to save them again."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Literal

import torch

from secondthought.errors import UserError
from secondthought.models.chat import TemplateRenderer, renderer_of
from secondthought.models.names import base_of, resolve
from secondthought.models.quantised import Load, config_of, dequantised, noted, steady
from secondthought.models.weights import ADAPTERS, lacking, read_tensors, unsound
from secondthought.runs.files import COMPLETE, new_folder


def load(
    name: str,
    *,
    dtype: torch.dtype | Literal["auto"] = torch.float32,
    device: str | None = None,
    revision: str | None = None,
    bits: Load = "plain",
) -> tuple[Any, Any]:
    """A causal LM and its tokenizer; ``revision`` is a branch, tag or commit of a hub model, ``dtype`` "auto" that in which it
    was saved, ``bits`` how its matrices are held. Of a folder of adapters, the model they belong to with the adapters merged
    into it.

    Raises UserError, in one sentence, if ``name`` cannot be loaded.
    """
    from transformers import AutoModelForCausalLM, AutoTokenizer
    from transformers.utils import logging

    place = placed(name)
    base = base_of(place)
    if base != place:
        model, _ = load(base, dtype=dtype, device=device, bits=noted(place))
        both = merged(model, place)
        both.saved_in = model.saved_in
        return both, AutoTokenizer.from_pretrained(place)
    logging.disable_progress_bar()
    chosen = device or ("cuda" if torch.cuda.is_available() else "cpu")
    quantised: dict[str, Any] = {}
    if bits != "plain":
        held = torch.bfloat16 if dtype == "auto" else dtype
        quantised = {"quantization_config": config_of(bits, held), "device_map": {"": chosen}}
    try:
        tokenizer = AutoTokenizer.from_pretrained(place, revision=revision)
        model, found = AutoModelForCausalLM.from_pretrained(
            place, dtype=dtype, revision=revision, output_loading_info=True, **quantised
        )
    except (MemoryError, torch.OutOfMemoryError):
        raise
    except Exception as error:  # a damaged folder makes transformers raise anything
        at = f" at revision {revision}" if revision else ""
        raise UserError(f"cannot load a model from {name!r}{at}: {reason_of(error)}") from error
    if missing := sorted(found["missing_keys"]):
        raise UserError(f"the weights of {name!r} lack {len(missing)} tensors, {missing[0]} for one: they would be random")
    if (damaged := unsound(model.named_parameters())) is not None:
        raise UserError(f"the weights of {name!r} are damaged: {damaged} holds numbers that are not finite")
    known, rows = len(tokenizer), int(model.get_input_embeddings().weight.shape[0])
    if known > rows:
        raise UserError(
            f"the tokenizer of {name!r} has {known:,} tokens and the model only {rows:,}: they do not belong together, or "
            "the model was saved before resize_token_embeddings"
        )
    model.saved_in = saved_in(place, revision)
    return (steady(model) if quantised else model.to(chosen)), tokenizer


def reason_of(error: Exception) -> str:
    """Why a model could not be loaded, in a line.

    >>> reason_of(KeyError("added_tokens")), reason_of(OSError("no such file\\nat all"))
    ("its files are damaged (KeyError: 'added_tokens')", 'no such file')
    """
    said = (str(error).strip() or type(error).__name__).splitlines()[0]
    if "ignore_mismatched_sizes" in said:
        return "its weights have other shapes than its config.json says"
    if isinstance(error, OSError | ValueError) and type(error).__module__ == "builtins":
        return said
    return f"its files are damaged ({type(error).__name__}: {said})"


def precision_called(name: str) -> torch.dtype:
    """The precision of a name. Raises UserError for one that is none.

    >>> precision_called("bfloat16")
    torch.bfloat16
    """
    known = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
    if name not in known:
        raise UserError(f"--dtype {name!r} does not exist; choose {', '.join(known)}")
    return known[name]


def saved_in(place: str, revision: str | None = None) -> str:
    """The precision that a model's weights were saved in, as its configuration says; ``float32`` where it does not."""
    from transformers import AutoConfig

    config = AutoConfig.from_pretrained(base_of(place), revision=revision)
    return str(getattr(config, "dtype", None) or "float32").removeprefix("torch.")


def placed(name: str) -> str:
    """Where a model is: a folder that holds one, or a hub name. Raises UserError for a folder that is none."""
    place = resolve(name)
    if Path(place).is_dir() and not any((Path(place) / file).exists() for file in ("config.json", "adapter_config.json")):
        raise UserError(f"{place} holds no model: there is no config.json in it")
    if not Path(place).is_dir() and (place.startswith((".", "/", "~")) or place.count("/") > 1):
        raise UserError(f"there is no model folder {place}")
    return place


def fingerprint(name: str) -> str:
    """A digest of the weights of a model in a folder, and of those it adapts: sizes, beginnings and ends of its files, which
    takes no time however large they are. Empty for a hub name, whose files are kept under their commit.
    """
    place = Path(placed(name))
    if not place.is_dir():
        return ""
    found = hashlib.sha256(fingerprint(base).encode() if (base := base_of(str(place))) != str(place) else b"")
    for file in sorted(place.glob("*.safetensors")) + sorted(place.glob("*.bin")):
        size = file.stat().st_size
        with file.open("rb") as opened:
            found.update(f"{file.name} {size} ".encode() + opened.read(1 << 20))
            opened.seek(max(0, size - (1 << 20)))
            found.update(opened.read())
    return found.hexdigest()[:16]


def merged(model: Any, adapters: str) -> Any:
    """The model with adapters added to its matrices, in float32. Raises UserError if they are not this model's."""
    dtype = model.dtype
    return with_adapters(as_plain(model), adapters).merge_and_unload().to(dtype)


def as_plain(model: Any) -> Any:
    """The model in float32; one that was quantised as it was rounded."""
    return dequantised(model) if getattr(model, "is_quantized", False) else model.float()


def with_adapters(model: Any, adapters: str) -> Any:
    """The model with adapters beside its matrices. Raises UserError if peft is missing, or if they are not this model's."""
    try:
        from peft import PeftModel
    except ImportError as error:
        raise UserError(f"{adapters} holds adapters, which need the package peft: pip install 'secondthought[lora]'") from error
    try:
        adapted = PeftModel.from_pretrained(model, adapters)
    except (MemoryError, torch.OutOfMemoryError):
        raise
    except Exception as error:  # a damaged folder makes peft raise anything
        raise UserError(f"the adapters in {adapters} do not fit their model: {str(error).splitlines()[0]}") from error
    file = Path(adapters) / ADAPTERS
    if file.is_file() and (name := lacking(adapted, read_tensors(file))) is not None:
        raise UserError(f"the adapters in {adapters} lack {name}")
    return adapted


@dataclass(frozen=True)
class Rounding:
    """What became of the change that adapters make when the merged weights were rounded: the share of adapted weights that are
    other than before, and the size of what was lost relative to the change (0: nothing; 1: as much as there was).
    """

    changed: float
    lost: float

    def __str__(self) -> str:
        changed, lost = 100 * self.changed, 100 * self.lost
        return f"{changed:.0f} % of the adapted weights changed, and rounding lost {lost:.1f} % of the change"


def rounding(adapted: Any, dtype: torch.dtype) -> Rounding:
    """What is lost of peft's adapters on a model in float32 when the sums are saved in ``dtype``."""
    changed, weights, lost, all_of_it = 0, 0, 0.0, 0.0
    for module in adapted.modules():
        if hasattr(module, "lora_A") and hasattr(module, "get_delta_weight"):
            before = module.get_base_layer().weight.detach()
            change = sum(module.get_delta_weight(name).detach() for name in module.active_adapters)
            after = (before + change).to(dtype).float()
            changed, weights = changed + int((after != before).sum()), weights + before.numel()
            lost += float((after - before - change).double().pow(2).sum())
            all_of_it += float(change.double().pow(2).sum())
    return Rounding(changed / max(1, weights), (lost / all_of_it) ** 0.5 if all_of_it else 0.0)


def save(name: str, out: Path, *, dtype: str = "") -> Rounding | None:
    """Write the model called ``name`` into a new folder ``out`` in Hugging Face layout, in ``dtype`` (default: the precision in
    which it was saved).

    Adapters are added to their matrices in float32, and what rounding then loses of them is returned. Raises UserError if there
    is no such model.
    """
    if out.exists():
        raise UserError(f"{out} exists already; choose another --out")
    place, found = placed(name), None
    chosen = precision_called(dtype or saved_in(place))
    if (base := base_of(place)) != place:
        model, _ = load(base, device="cpu", bits=noted(place))
        adapted = with_adapters(as_plain(model), place)
        found = rounding(adapted, chosen)
        from transformers import AutoTokenizer

        model, tokenizer = adapted.merge_and_unload(), AutoTokenizer.from_pretrained(place)
    else:
        model, tokenizer = load(place, dtype=chosen, device="cpu")
    with new_folder(out) as folder:
        model.to(chosen).save_pretrained(folder)
        tokenizer.save_pretrained(folder)
    (out / COMPLETE).unlink()
    return found


def renderer_for(model: Any, tokenizer: Any, *, raw: bool = False, thinking: str = "template") -> TemplateRenderer:
    """The renderer of a loaded model: its template (none if ``raw``), its end tokens, its style; ``thinking`` on, off or as the
    template has it.
    """
    ends = model.generation_config.eos_token_id if model.generation_config else None
    listed = ends if isinstance(ends, list) else [ends] if ends is not None else []
    if wrong := [one for one in listed if not isinstance(one, int)]:
        raise UserError(f"generation_config.json names an end token {wrong[0]!r} that is no number")
    asked = {"on": True, "off": False}.get(thinking)
    return renderer_of(
        tokenizer, style=getattr(model.config, "secondthought_style", "chat"), ends=listed, raw=raw, thinking=asked
    )


def described(name: str) -> tuple[Any, TemplateRenderer]:
    """The configuration and the renderer of a model whose weights are loaded by somebody else.

    Raises UserError if it has none.
    """
    from transformers import AutoConfig, AutoTokenizer, GenerationConfig

    place = placed(name)
    try:
        config = AutoConfig.from_pretrained(base_of(place))
        tokenizer = AutoTokenizer.from_pretrained(place)
    except Exception as error:  # a damaged folder makes transformers raise anything
        raise UserError(f"cannot load a model from {name!r}: {reason_of(error)}") from error
    try:
        ends = GenerationConfig.from_pretrained(base_of(place))
    except OSError:
        ends = None
    known = SimpleNamespace(config=config, generation_config=ends)  # all of a model that its renderer wants
    return config, renderer_for(known, tokenizer)
