"""GGUF files, llama.cpp's format of (mostly 4-bit) weights: dequantised once into a folder in Hugging Face layout.

``FILE.gguf`` is a file here, ``hub/name:FILE.gguf`` one of a hub repository. What was rounded to 4 bits stays rounded: expect a
little less than the model that it was made of.
"""

from __future__ import annotations

import hashlib
import logging
from pathlib import Path
from typing import Any

from secondthought.errors import UserError
from secondthought.runs.files import COMPLETE, cache_folder, new_folder

SAMPLE = 1 << 20  # bytes at the beginning and at the end of a file that its name in the cache depends on


def is_gguf(name: str) -> bool:
    """Whether a model's name means a GGUF file.

    >>> is_gguf("model-q4.gguf"), is_gguf("hub/name:model-q4.gguf"), is_gguf("hub/name")
    (True, True, False)
    """
    return name.lower().endswith(".gguf")


def dequantised(name: str) -> Path:
    """The folder with the model of a GGUF file, made now if it is not in the user's cache yet.

    Raises UserError if there is no such file, if it is none, or of an architecture that transformers does not read.
    """
    file = _file(name)
    if not file.is_file():
        raise UserError(f"there is no file {file}")
    with file.open("rb") as opened:
        if opened.read(4) != b"GGUF":
            raise UserError(f"{file} is no GGUF file")
    folder = cache_folder() / "gguf" / f"{file.stem}-{_digest(file)}"
    if not (folder / COMPLETE).exists():
        _write(file, folder)
    return folder


def _file(name: str) -> Path:
    repository, colon, inner = name.rpartition(":")
    if not colon or Path(name).exists():
        return Path(name).expanduser()
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    try:
        return Path(hf_hub_download(repository, inner))
    except (OSError, HfHubHTTPError, HFValidationError, LocalEntryNotFoundError) as error:
        raise UserError(f"cannot get {inner} of {repository}: {str(error).strip().splitlines()[0]}") from error


def _digest(file: Path) -> str:
    size = file.stat().st_size
    digest = hashlib.blake2b(str(size).encode(), digest_size=8)
    with file.open("rb") as opened:
        digest.update(opened.read(SAMPLE))
        opened.seek(max(0, size - SAMPLE))
        digest.update(opened.read())
    return digest.hexdigest()


def _write(file: Path, folder: Path) -> None:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer
    from transformers.utils import logging as theirs

    logging.getLogger("secondthought").warning("dequantising %s (once; kept in %s)", file.name, folder)
    theirs.disable_progress_bar()
    place: dict[str, Any] = {"pretrained_model_name_or_path": str(file.parent), "gguf_file": file.name}
    try:
        tokenizer = AutoTokenizer.from_pretrained(**place)
        model = AutoModelForCausalLM.from_pretrained(**place, dtype=torch.float32)
    except ImportError as error:
        raise UserError(f"{file.name} needs the package gguf: pip install 'secondthought[gguf]'") from error
    except (OSError, ValueError, KeyError, RuntimeError, NotImplementedError) as error:
        raise UserError(f"cannot read {file}: {(str(error).strip() or repr(error)).splitlines()[0]}") from error
    model.hf_quantizer, model.is_quantized = None, False  # it is not any more, and may be saved
    if hasattr(model.config, "quantization_config"):
        del model.config.quantization_config
    with new_folder(folder) as part:
        model.to(torch.bfloat16).save_pretrained(part)
        tokenizer.save_pretrained(part)
