"""What a model wrote, made harmless to look at: nothing invisible, nothing that turns the page around, nothing endless."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

LIMIT = 4_000  # characters of a segment that a page shows


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


class Pieces:
    """Token ids in words, with the tokenizer that lies beside a run's newest checkpoint or its model, if there is one."""

    def __init__(self, folder: Path, model: str) -> None:
        places = sorted((folder / "checkpoints").glob("step_*/model/tokenizer.json"))
        shipped = Path(__file__).parents[1] / "nano" / "checkpoints" / model.removeprefix("nano/") / "tokenizer.json"
        places = [place for place in (*places[-1:], shipped, Path(model) / "tokenizer.json") if place.is_file()]
        self.tokenizer: Any = None
        if places:
            from tokenizers import Tokenizer

            self.tokenizer = Tokenizer.from_file(str(places[0]))

    def of(self, tokens: Sequence[int]) -> list[str] | None:
        """What each token looks like; None where nobody knows."""
        if self.tokenizer is None:
            return None
        return [self.tokenizer.decode([token], skip_special_tokens=False) for token in tokens]
