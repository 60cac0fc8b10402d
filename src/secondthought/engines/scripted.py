"""A function as a model: for tests, for docs, and for calibrating probes on subjects of known truth."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from secondthought.engines.base import Request, Sampled
from secondthought.models.chat import TemplateRenderer, plain

END = 256


def bytes_renderer() -> TemplateRenderer:
    """Turns as the plain renderer writes them; a token is a UTF-8 byte, and 256 ends a turn."""

    def decode(tokens: Sequence[int]) -> str:
        return bytes(t for t in tokens if t < END).decode("utf-8", errors="replace")

    return TemplateRenderer(apply=plain, encode=lambda text: list(text.encode()), decode=decode, ends={END: ""})


@dataclass
class Scripted:
    """``write(request)`` returns the text; ``calls`` records how many requests came in each round.

    Log-probabilities are 0: a script is certain.

    >>> from secondthought.protocols.base import Draft
    >>> from secondthought.rollouts import drive
    >>> from secondthought.types import Task
    >>> async def greet(task):
    ...     return await Draft(task).sample("greeting")
    >>> drive([greet(Task.of("Say hello.", answer=None, family="doc"))], Scripted(lambda request: "hello"))
    ['hello']
    """

    write: Callable[[Request], str]
    version: int = 0
    renderer: TemplateRenderer = field(default_factory=bytes_renderer)
    calls: list[int] = field(default_factory=list)

    def sample(self, requests: Sequence[Request]) -> list[Sampled]:
        """Ask the function for each request."""
        self.calls.append(len(requests))
        answers = []
        for request in requests:
            text = self.write(request)
            tokens = (*self.renderer.encode(text), END)
            answers.append(Sampled(tokens, (0.0,) * len(tokens), text, "end", self.version))
        return answers
