"""A language model as the detector of explicit reflection: few-shot, yes or no, over any engine."""

from __future__ import annotations

from collections.abc import Sequence

from secondthought.engines.base import Engine
from secondthought.probes.judges import judgements, shortened, yes_or_no

INSTRUCTION = (
    "You read what a language model wrote after it was shown a solution. Decide whether it contains explicit self-reflection: "
    "words whose meaning is that something in the reasoning before may be wrong. These count, whether or not the end is right: "
    "admitting or suspecting a mistake, calculating again to check, saying what should have come out instead, and remarks on "
    "one's own thinking. These do not count: surprise, remarks on how large a number is, restating, and turning to another "
    "problem.\n\n"
    'Text: "That can\'t be right. Let me check the second step again."\nAnswer: Yes\n\n'
    'Text: "60 boxes? That is a lot of boxes! They must be very heavy."\nAnswer: No\n\n'
    'Text: "So the total is 14. The answer is 14."\nAnswer: No\n\n'
    'Text: "The function does not return the list, it should return its length, 3."\nAnswer: Yes\n\n'
)


class Judge:
    """``Judge(engine)(texts)``: True, False, or None where the judge answers neither yes nor no."""

    def __init__(self, engine: Engine, *, max_tokens: int = 8) -> None:
        self.engine = engine
        self.max_tokens = max_tokens

    def __call__(self, texts: Sequence[str]) -> list[bool | None]:
        """Ask about every text, all in one call of the engine."""
        questions = [f'{INSTRUCTION}Text: "{shortened(text)}"\nAnswer Yes or No.\nAnswer:' for text in texts]
        return [yes_or_no(answer) for answer in judgements(self.engine, questions, max_tokens=self.max_tokens)]
