"""A language model as the detector of explicit reflection: few-shot, yes or no, over any engine."""

from __future__ import annotations

from collections.abc import Sequence

from secondthought.engines.base import Engine, Sampling
from secondthought.protocols.base import Draft
from secondthought.rollouts import drive
from secondthought.types import Message, Task

LONGEST = 3000  # characters of the text that the judge is shown

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
        self.sampling = Sampling(temperature=0.0, max_tokens=max_tokens)

    def __call__(self, texts: Sequence[str]) -> list[bool | None]:
        """Ask about every text, all in one call of the engine."""

        async def ask(task: Task) -> str:
            return await Draft(task).sample("judgement", author="judge")

        answers = drive([ask(question(text)) for text in texts], self.engine, self.sampling)
        return [verdict(answer) for answer in answers]


def question(text: str) -> Task:
    """What the judge is asked; the text is cut in the middle where it is very long."""
    half = LONGEST // 2
    shown = text if len(text) <= LONGEST else f"{text[:half]} [...] {text[-half:]}"
    return Task.of(
        (Message("user", f'{INSTRUCTION}Text: "{shown}"\nAnswer Yes or No.\nAnswer:'),), answer=None, family="judgement"
    )


def verdict(answer: str) -> bool | None:
    """What a judge's words mean.

    >>> verdict(" Yes."), verdict("**No**, it restates"), verdict("maybe")
    (True, False, None)
    """
    words = answer.strip().strip("*\"'. ").lower()
    return True if words.startswith("yes") else False if words.startswith("no") else None
