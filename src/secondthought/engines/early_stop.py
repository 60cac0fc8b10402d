"""Stop at the first answer: an engine that ends every turn behind its K-th candidate answer (early stopping, arXiv 2510.08308).

What a model writes behind its first answer mostly confirms it, and costs a third of the tokens and more. The engine samples in
pieces and looks for candidate answers after each; behind the K-th one the turn ends. Thoughts that are still open are closed,
and the model states its answer; of an engine that cannot go on from words put into the model's mouth (chat endpoints) the whole
is sampled and cut, the answer being the candidate.

The tokens that close the thoughts are written, not sampled: do not train on what comes from here.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from secondthought.engines.base import Around, Engine, Renderer, Request, Sampled, continues
from secondthought.errors import UserError
from secondthought.models.chat import spelling
from secondthought.models.thoughts import OPENING, closing, opens_thoughts, thoughts_end
from secondthought.types import Segment, Stop, Task, seed_of

Found = Callable[[Task, str], Sequence[tuple[int, int, str]]]
"""The candidate answers in a text: where their line begins and ends (characters), and their value."""

PIECE = 64  # tokens between two looks
ANSWER = 128  # tokens to state an answer with, behind closed thoughts


class StopAfterAnswer(Around):
    """``engine``, whose turns end behind the candidate number ``answers`` that ``found`` sees; it looks every ``piece`` tokens.

    Raises UserError for a number below 1.

    >>> from secondthought.engines.scripted import Scripted
    >>> engine = StopAfterAnswer(Scripted(lambda request: "So 7. Wait. So 7."), 1, lambda task, text: [(0, 5, "7")])
    >>> engine.sample([Request("attempt", Task.of("3 + 4?", answer="7", family="sums"), (), (), 0)])[0].text
    'So 7.'
    """

    def __init__(self, engine: Engine, answers: int, found: Found, *, piece: int = PIECE) -> None:
        if answers < 1:
            raise UserError(f"stop_after_first_answer={answers}: at least one answer must be written")
        super().__init__(engine)
        self.answers, self.found, self.piece = answers, found, piece

    def sample(self, requests: Sequence[Request]) -> list[Sampled]:
        """As the engine samples, up to the K-th answer."""
        turns = [_Turn(request, self) for request in requests]
        while waiting := [turn for turn in turns if turn.stop is None]:
            for turn, got in zip(waiting, self.engine.sample([turn.request() for turn in waiting]), strict=True):
                turn.take(got)
        return [turn.sampled() for turn in turns]


@dataclass
class _Turn:
    """A turn that is being sampled."""

    asked: Request
    engine: StopAfterAnswer
    tokens: list[int] = field(default_factory=list)
    logprobs: list[float] = field(default_factory=list)
    text: str = ""
    stop: Stop | None = None
    version: int = 0
    rounds: int = 0
    closed: bool = False  # the thoughts were closed for it

    @property
    def left(self) -> int:
        return ANSWER if self.closed else self.asked.sampling.max_tokens - len(self.tokens)

    def request(self) -> Request:
        """The next piece: what is there so far is a beginning that the engine goes on from."""
        size = self.left if self.closed or not continues(self.engine) else min(self.engine.piece, self.left)
        so_far = Segment(self.asked.name, "policy", "assistant", self.text, tuple(self.tokens), tuple(self.logprobs), 0)
        return replace(
            self.asked, sampling=replace(self.asked.sampling, max_tokens=size),
            segments=(*self.asked.segments, so_far) if self.tokens else self.asked.segments,
            seed=seed_of("piece", self.asked.seed, self.rounds) if self.rounds else self.asked.seed,
        )  # fmt: skip

    def take(self, got: Sampled) -> None:
        """Add what was sampled, and see whether the turn is over."""
        renderer = self.engine.renderer
        self.tokens += got.tokens
        self.logprobs += got.logprobs
        self.version, self.rounds = got.version, self.rounds + 1
        whole = renderer.decode(self.tokens)  # pieces alone may lose a space, or half of a character
        self.text = whole[: len(whole) - max(0, len(renderer.decode(got.tokens)) - len(got.text))]
        if self.closed:
            self.stop = got.stop
            return
        over = got.stop != "length" or self.left <= 0
        complete = [one for one in self.engine.found(self.asked.task, self.text) if over or one[1] < len(self.text)]
        if len(complete) >= self.engine.answers:
            _, end, value = complete[self.engine.answers - 1]
            opening = renderer.decode(self.asked.segments[-1].tokens[-OPENING:]) if self.asked.segments else ""
            thinking = thoughts_end(self.text[:end], opened=opens_thoughts(opening)) == end
            if thinking or self.text[end:].strip():
                self.cut(end, renderer)
                if thinking:
                    self.close(opening + self.text, value, renderer)
                return
        if over:
            self.stop = got.stop

    def cut(self, end: int, renderer: Renderer) -> None:
        """End behind an answer."""
        kept = spelling(renderer.decode, self.tokens, end)
        self.tokens, self.logprobs, self.text, self.stop = self.tokens[:kept], self.logprobs[:kept], self.text[:end], "string"

    def close(self, opened: str, value: str, renderer: Renderer) -> None:
        """Close thoughts that were ended; the answer is still to be stated, or is the candidate."""
        self.closed = continues(self.engine)
        self.write(closing(opened) + ("" if self.closed else f"The answer is {value}."), renderer)
        self.stop = None if self.closed else "string"

    def write(self, text: str, renderer: Renderer) -> None:
        """Words that nobody sampled."""
        tokens = renderer.encode(text)
        self.tokens += tokens
        self.logprobs += [0.0] * len(tokens)
        self.text += text

    def sampled(self) -> Sampled:
        """What it came to."""
        return Sampled(tuple(self.tokens), tuple(self.logprobs), self.text, self.stop or "length", self.version)
