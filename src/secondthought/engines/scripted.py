"""A function as a model: for tests, for docs, and for calibrating instruments on subjects of known truth."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from secondthought.chat import Dialect, plain
from secondthought.scene import Request, Sampled

END = 256


def bytes_dialect() -> Dialect:
    """Turns in the plain dialect; a token is a UTF-8 byte, and 256 ends a turn."""

    def decode(tokens: Sequence[int]) -> str:
        return bytes(t for t in tokens if t < END).decode("utf-8", errors="replace")

    return Dialect(apply=plain, encode=lambda text: list(text.encode()), decode=decode, ends={END: ""})


@dataclass
class Scripted:
    """``speak(request)`` returns what is said; ``calls`` records how many requests came in each round.

    Log-probabilities are 0: a script is certain.

    >>> from secondthought.scene import Draft, drive
    >>> from secondthought.types import Task
    >>> async def greet(task):
    ...     return await Draft(task).sample("greeting")
    >>> drive([greet(Task.of("Say hello.", answer=None, family="doc"))], Scripted(lambda request: "hello"))
    ['hello']
    """

    speak: Callable[[Request], str]
    version: int = 0
    dialect: Dialect = field(default_factory=bytes_dialect)
    calls: list[int] = field(default_factory=list)

    def sample(self, requests: Sequence[Request]) -> list[Sampled]:
        """Ask the function for each request."""
        self.calls.append(len(requests))
        answers = []
        for request in requests:
            text = self.speak(request)
            tokens = (*self.dialect.encode(text), END)
            answers.append(Sampled(tokens, (0.0,) * len(tokens), text, "end", self.version))
        return answers
