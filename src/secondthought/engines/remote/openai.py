"""Any OpenAI-compatible endpoint, for measuring and for judges: ``http://host:port/v1#model``.

A *completions* endpoint goes on from any text, so it can be given a flawed chain of thought of its own; turns are written as
``User:`` and ``Assistant:``, since the template of a model far away is not known. A *chat* endpoint
(``http://host:port/v1#model@chat``) answers whole turns only. Neither can be trained: its tokens are not known here, so a token
is what the endpoint says it is, or else a byte. The key comes from the environment (OPENAI_API_KEY).
"""

from __future__ import annotations

import json
import math
import re
import threading
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

from secondthought.engines.base import Request, Sampled, Sampling
from secondthought.engines.remote.http import Place, Refused
from secondthought.engines.remote.replies import reply_of
from secondthought.engines.scripted import END, bytes_renderer
from secondthought.errors import UserError
from secondthought.models.chat import PLAIN_STOP, TemplateRenderer, Tools, with_tools
from secondthought.models.thoughts import without_thoughts
from secondthought.models.tool_schemas import json_schema
from secondthought.types import THOUGHTS, Messages, Stop

FURTHER = ("top_k", "min_p", "repetition_penalty")  # beyond OpenAI's own; vLLM, SGLang and llama.cpp know them
MANY = 20  # failures after which the others are not asked any more


@dataclass
class Usage:
    """What was used so far: calls, tokens read and written, and what they cost at ``prices`` (dollars for a million of each).

    >>> usage = Usage((2.0, 10.0)); usage.add(1_000_000, 100_000); usage.dollars
    3.0
    """

    prices: tuple[float, float] = (0.0, 0.0)
    calls: int = 0
    read: int = 0
    written: int = 0
    unknown: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False, compare=False)

    def add(self, read: int | None, written: int | None) -> None:
        """One more call; None where the server does not say what it took."""
        with self._lock:
            self.calls, self.read, self.written = self.calls + 1, self.read + (read or 0), self.written + (written or 0)
            self.unknown += read is None or written is None

    @property
    def dollars(self) -> float:
        """What it cost."""
        return (self.read * self.prices[0] + self.written * self.prices[1]) / 1e6

    def __str__(self) -> str:
        cost = f", ${self.dollars:.2f}" if any(self.prices) else ""
        silent = f" at least: the server does not say what {self.unknown:,} of the calls took" if self.unknown else ""
        return f"{self.calls:,} calls, {self.read:,} tokens read and {self.written:,} written{cost}{silent}"


class PieceVocabulary:
    """Numbers for the words of an endpoint whose vocabulary is not known: bytes first, then pieces as they are met. They are
    written to ``path``, so that numbers which were kept mean the same later.

    >>> vocabulary = PieceVocabulary()
    >>> vocabulary.renderer().decode([vocabulary.number(" the"), vocabulary.number("re")])
    ' there'
    """

    def __init__(self, path: Path | None = None) -> None:
        self._path = path
        lines = path.read_text(encoding="utf-8").splitlines() if path is not None and path.exists() else []
        self._pieces: list[str] = [json.loads(line) for line in lines]
        self._numbers = {piece: END + 1 + i for i, piece in enumerate(self._pieces)}
        self._lock = threading.Lock()

    def number(self, piece: str) -> int:
        """The number of a piece, from now on."""
        with self._lock:
            if piece not in self._numbers:
                self._numbers[piece] = END + 1 + len(self._pieces)
                self._pieces.append(piece)
                if self._path is not None:
                    with self._path.open("a", encoding="utf-8") as file:
                        file.write(json.dumps(piece) + "\n")
            return self._numbers[piece]

    def renderer(self) -> TemplateRenderer:
        """The plain renderer; written turns are bytes, and pieces are spelled out."""
        base = bytes_renderer()

        def decode(tokens: Sequence[int]) -> str:
            spelled = b"".join(bytes([t]) if t < END else self._pieces[t - END - 1].encode() for t in tokens if t != END)
            return spelled.decode("utf-8", errors="replace")

        note = "turns are written as 'User:' and 'Assistant:', since the template of a model far away is not known"
        return replace(base, decode=decode, stop=PLAIN_STOP, note=note)


@dataclass
class Endpoint:
    """One model behind one URL (up to and with ``/v1``); at most ``concurrency`` calls at a time.

    ``raw``: what is asked is the beginning of a text, without turns. ``extra`` are further fields of every request
    (``{"reasoning_effort": "low"}``; null takes one of ours away), ``without`` are those that this server refuses, which are
    found out: a temperature, a seed, tools (which it gets as text then). Raises UserError where the endpoint cannot be reached,
    refuses, or (``chat``) is asked to go on from words put into its mouth.
    """

    url: str
    model: str
    chat: bool = False
    raw: bool = False
    concurrency: int = 8
    timeout: float = 60.0
    retries: int = 4
    pause: float = 0.5
    extra: Mapping[str, Any] = field(default_factory=dict)
    without: set[str] = field(default_factory=set)
    usage: Usage = field(default_factory=Usage)
    vocabulary: PieceVocabulary = field(default_factory=PieceVocabulary, repr=False)

    def __post_init__(self) -> None:
        self._place = Place(self.url, self.timeout, self.retries, self.pause, key="OPENAI_API_KEY")
        self._renamed = False
        plain = self.vocabulary.renderer()
        self.renderer: TemplateRenderer = replace(plain, apply=bare, stop=()) if self.raw else plain

    @property
    def continues(self) -> bool:
        """Whether it can go on from words put into the model's mouth."""
        return not self.chat

    @property
    def digest(self) -> str:
        """What its answers are kept under in a cache."""
        extra = f" {json.dumps(dict(self.extra), sort_keys=True)}" if self.extra else ""
        return f"{self.url} {self.model} {'chat' if self.chat else 'completions'}{extra}"

    def sample(self, requests: Sequence[Request]) -> list[Sampled]:
        """One call for each request, a few at a time, answers in order."""
        found: dict[int, Sampled] = dict(self.as_completed(requests))
        return [found[i] for i in range(len(requests))]

    def as_completed(self, requests: Sequence[Request]) -> Iterator[tuple[int, Sampled]]:
        """Each answer with the number of its request, the moment it is there. One that cannot be had ends this only when all
        others have been.
        """
        for request in requests if self.chat else ():
            if request.segments[-1].role == "assistant" or request.task.prompt[-1].role == "assistant":
                raise UserError(
                    f"{self.url} is asked as a chat endpoint, which cannot go on from words put into its mouth "
                    f"({request.name}); a completions endpoint can"
                )
        failures: list[UserError] = []
        pool = ThreadPoolExecutor(self.concurrency)
        try:
            waiting = {pool.submit(self._ask, request): i for i, request in enumerate(requests)}
            for done in as_completed(waiting):
                if done.cancelled():
                    continue
                try:
                    yield waiting[done], done.result()
                except UserError as error:
                    failures.append(error)
                    if len(failures) == MANY:
                        for future in waiting:
                            future.cancel()
        finally:
            pool.shutdown(cancel_futures=True)  # after Ctrl-C, nothing more is asked and paid for
        if failures:
            others = f" ({len(failures)} requests failed; the answers of the others are kept)" if len(failures) > 1 else ""
            raise UserError(f"{failures[0]}{others}") from failures[0]

    def _ask(self, request: Request) -> Sampled:
        while True:
            path, body = self._body(request)
            try:
                reply = self._place.post(path, body, partial(reply_of, chat=self.chat))
            except Refused as error:
                if not self._learn(str(error), body):
                    raise
                continue
            self.usage.add(reply.read, reply.written)
            return self._sampled(reply.text, reply.stop, reply.logprobs)

    def _body(self, request: Request) -> tuple[str, dict[str, Any]]:
        """Where a request goes and what it says, in the words that this server takes."""
        settings, tools = request.sampling, request.task.tools
        stops = [*settings.stop, *(() if self.chat else self.renderer.stop)]
        body: dict[str, Any] = {
            "model": self.model, "temperature": settings.temperature,
            "max_completion_tokens" if self._renamed else "max_tokens": settings.max_tokens,
            "top_p": settings.top_p, "seed": request.seed % 2**31,
        }  # fmt: skip
        usual = Sampling()
        body |= {name: v for name in FURTHER if (v := getattr(settings, name)) != getattr(usual, name)}
        if stops:
            body["stop"] = stops
        if self.chat:
            prompt = with_tools(request.task.prompt, tools) if "tools" in self.without else request.task.prompt
            turns = [m._asdict() for m in prompt]
            spoken = [s for s in request.segments[1:] if not s.name.endswith(THOUGHTS)]  # they are no part of the history
            body["messages"] = turns + [{"role": s.role, "content": without_thoughts(s.text)} for s in spoken]
            if tools:
                body["tools"] = [{"type": "function", "function": json_schema(tool)} for tool in tools]
        else:
            body |= {"prompt": self.renderer.decode(request.tokens), "logprobs": 0}
        body = {name: value for name, value in {**body, **self.extra}.items() if name not in self.without and value is not None}
        return "/chat/completions" if self.chat else "/completions", body

    def _learn(self, refusal: str, sent: Mapping[str, Any]) -> bool:
        """Learn from a refusal how this server wants to be asked; whether anything can be asked otherwise."""
        if "max_completion_tokens" in refusal and "max_tokens" in sent:
            self._renamed = True
            return True
        for name in ("temperature", "top_p", "seed", "logprobs", "tools", *FURTHER):
            if name in sent and name not in self.extra and re.search(rf"\b{name}\b", refusal):
                self.without.add(name)
                return True
        return False

    def _sampled(self, text: str, stop: Stop, found: Mapping[str, Any]) -> Sampled:
        """Tokens and log-probabilities where the endpoint gives them and they spell the text; else bytes of no known odds."""
        pieces, odds = [str(piece) for piece in found.get("tokens") or []], found.get("token_logprobs") or []
        while pieces and len("".join(pieces[:-1])) >= len(text):  # those of the stop string, which is no part of the text
            pieces.pop()
        sound = all(one is None or (isinstance(one, int | float) and -math.inf < one <= 1e-3) for one in odds)
        known = text and sound and "".join(pieces) == text and len(odds) >= len(pieces)
        tokens = [self.vocabulary.number(piece) for piece in pieces] if known else self.renderer.encode(text)
        logprobs = [min(float(x or 0.0), 0.0) for x in odds[: len(tokens)]] if known else [0.0] * len(tokens)
        if stop == "end":
            tokens, logprobs = [*tokens, END], [*logprobs, 0.0]
        return Sampled(tuple(tokens), tuple(logprobs), text, stop, 0)


def bare(messages: Messages, tools: Tools, generate: bool) -> str:
    """A conversation as the beginning of a text, as base models are asked."""
    return "".join(message.content for message in with_tools(messages, tools))


def endpoint(name: str, *, chat: bool = False, **settings: Any) -> Endpoint:
    """``http://host:port/v1#model``, or ``...#model@chat``. Raises UserError where no model is named.

    >>> endpoint("http://localhost:8000/v1#me/model@chat").chat
    True
    """
    url, _, model = name.partition("#")
    if not model.removesuffix("@chat"):
        raise UserError(f"{name} names no model; write {url}#MODEL, or {url}#MODEL@chat for a chat endpoint")
    return Endpoint(url, model.removesuffix("@chat"), chat or model.endswith("@chat"), **settings)


def prices_of(text: str | None) -> tuple[float, float]:
    """Two prices as they are written on a command line. Raises UserError for anything else.

    >>> prices_of("0.15,0.60")
    (0.15, 0.6)
    """
    try:
        read, written = (float(part) for part in (text or "0,0").split(","))
    except ValueError as error:
        raise UserError(f"--prices {text}: write two numbers with a comma, such as 0.15,0.60") from error
    return read, written


def extra_of(text: str | None) -> dict[str, Any]:
    """Further fields of a request as they are written on a command line. Raises UserError for anything but a JSON object.

    >>> extra_of('{"reasoning_effort": "low"}')
    {'reasoning_effort': 'low'}
    """
    try:
        found = json.loads(text or "{}")
    except ValueError as error:
        raise UserError(f"--extra is not JSON: {error}") from error
    if not isinstance(found, dict):
        raise UserError(f'--extra must be a JSON object, such as {{"reasoning_effort": "low"}}, not {text}')
    return found


def is_endpoint(name: str) -> bool:
    """Whether a model's name is the address of an endpoint."""
    return name.startswith(("http://", "https://"))
