"""What a model wrote, made fit to be looked at: tokens as text, and text in which nothing is invisible or endless."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

from secondthought.models.names import SHIPPED
from secondthought.runs.files import complete_folders

WINDOW = 4  # tokens before one that can change how it is spelled
LIMIT = 4_000  # characters of a segment that a page shows at once


class TokenTexts:
    """Token ids as text, with the tokenizer that lies beside a run's newest checkpoint or its model, if there is one here."""

    def __init__(self, folder: Path, model: str) -> None:
        self.tokenizer: Any = None
        if place := _tokenizer_of(folder, model):
            from tokenizers import Tokenizer

            self.tokenizer = Tokenizer.from_file(str(place))

    def pieces(self, tokens: Sequence[int]) -> list[str] | None:
        """What each token adds to the text, its space included; None where nobody knows."""
        if self.tokenizer is None:
            return None
        found = []
        for i, token in enumerate(tokens):
            past, whole = (self._text(tokens[max(0, i - WINDOW) : end]) for end in (i, i + 1))
            found.append(whole.removeprefix(past) if whole.startswith(past) else self._text([token]))
        return found

    def _text(self, tokens: Sequence[int]) -> str:
        return str(self.tokenizer.decode(list(tokens), skip_special_tokens=False))


def _tokenizer_of(folder: Path, model: str) -> Path | None:
    from huggingface_hub import try_to_load_from_cache
    from huggingface_hub.errors import HFValidationError

    checkpoints = [path / "model" for path in complete_folders(folder / "checkpoints")]
    places = [*checkpoints[-1:], SHIPPED / model.removeprefix("nano/"), Path(model)]
    for place in places:
        if (place / "tokenizer.json").is_file():
            return place / "tokenizer.json"
    try:
        cached = try_to_load_from_cache(model, "tokenizer.json")
    except HFValidationError:  # no name that the hub could know
        return None
    return Path(cached) if isinstance(cached, str) else None


def inert(text: str, limit: int | None = LIMIT) -> str:
    """The text with control characters, bidirectional marks and lone surrogates spelled out; longer ones cut.

    >>> inert("a\\u202eb\\x00")
    'a⟨U+202E⟩b␀'
    """
    cut = text if limit is None or len(text) <= limit else text[:limit]
    return "".join(map(_shown, cut))


@lru_cache(maxsize=4096)
def _shown(character: str) -> str:
    if character in "\n\t" or character.isprintable():
        return character
    code = ord(character)
    if code < 0x20:
        return chr(0x2400 + code)
    # Marks that have no width (joiners in emoji, accents) belong to what stands around them.
    if unicodedata.category(character) in ("Mn", "Mc", "Me") or character in "\u200c\u200d":
        return character
    return " " if unicodedata.category(character) == "Zs" else f"⟨U+{code:04X}⟩"
