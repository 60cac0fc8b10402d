"""Models as Inspect reaches them: ``--model inspect:PROVIDER/MODEL`` (``inspect:openai/gpt-4o``, ``inspect:hf/...``).

Whatever ``inspect_ai.model.get_model`` knows can be measured, with its keys, rate limits and retries. Whole turns are asked
for: nobody goes on from words put into the model's mouth, tokens are not known (a token is a byte here), and nothing can be
trained.
"""

from __future__ import annotations

import asyncio
import re
import threading
from collections.abc import Coroutine, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from typing import Any, TypeVar

from secondthought.engines.base import EngineOptions, Request, Sampled
from secondthought.engines.scripted import END, bytes_renderer
from secondthought.errors import UserError
from secondthought.models.chat import TemplateRenderer, with_tools
from secondthought.models.thoughts import without_thoughts
from secondthought.types import THOUGHTS, Stop

T = TypeVar("T")
STOPS: dict[str, Stop] = {"max_tokens": "length", "model_length": "length"}


@dataclass
class InspectEngine:
    """One of Inspect's models. ``loop`` is where its calls are made; none: a loop of this process's own."""

    model: Any
    loop: asyncio.AbstractEventLoop | None = None
    renderer: TemplateRenderer = field(default_factory=bytes_renderer)
    continues: bool = False

    def __post_init__(self) -> None:
        self.renderer = replace(self.renderer, style=getattr(self.model.api, "style", "chat"))

    @property
    def digest(self) -> str:
        """What its answers are kept under in a cache."""
        return f"inspect {self.model}"

    def sample(self, requests: Sequence[Request]) -> list[Sampled]:
        """One call for each request, all at once; Inspect says how many connections there are.

        Raises UserError for a request that begins the model's turn for it, and for what the provider refuses.
        """
        for request in requests:
            if request.segments[-1].role == "assistant":
                raise UserError(
                    f"inspect:{self.model} answers whole turns, and cannot go on from words put into its mouth ({request.name})"
                )
        try:
            return self._run(self._all(requests))
        except UserError:
            raise
        except Exception as error:  # whatever a provider raises
            raise UserError(f"inspect:{self.model}: {type(error).__name__}: {in_a_line(error)}") from error

    def _run(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self.loop or _loop()).result()

    async def _all(self, requests: Sequence[Request]) -> list[Sampled]:
        return list(await asyncio.gather(*(self._ask(request) for request in requests)))

    async def _ask(self, request: Request) -> Sampled:
        from inspect_ai.model import ChatMessageAssistant, ChatMessageSystem, ChatMessageUser, GenerateConfig

        kinds = {"assistant": ChatMessageAssistant, "system": ChatMessageSystem, "user": ChatMessageUser}
        asked = [kinds[turn.role](content=turn.content) for turn in with_tools(request.task.prompt, request.task.tools)]
        spoken = [s for s in request.segments[1:] if not s.name.endswith(THOUGHTS)]
        asked += [kinds[segment.role](content=without_thoughts(segment.text)) for segment in spoken]
        settings = request.sampling
        config = GenerateConfig(
            max_tokens=settings.max_tokens, temperature=settings.temperature, top_p=settings.top_p,
            top_k=settings.top_k or None, seed=request.seed % 2**31, stop_seqs=list(settings.stop) or None,
        )  # fmt: skip
        answer = await self.model.generate(asked, config=config)
        text, stop = answer.completion, STOPS.get(answer.stop_reason, "end")
        tokens = [*self.renderer.encode(text), *([END] if stop == "end" else [])]
        return Sampled(tuple(tokens), (0.0,) * len(tokens), text, stop, 0)


@cache
def _loop() -> asyncio.AbstractEventLoop:
    loop = asyncio.new_event_loop()
    threading.Thread(target=loop.run_forever, name="inspect", daemon=True).start()
    return loop


def engine(model: str, options: EngineOptions) -> InspectEngine:
    """``inspect:PROVIDER/MODEL``. Raises UserError where Inspect is not installed or does not know the model."""
    try:
        from inspect_ai.model import get_model
    except ImportError as error:
        raise UserError("inspect: needs the package inspect-ai: pip install 'secondthought[inspect]'") from error
    try:
        return InspectEngine(get_model(model))
    except Exception as error:  # whatever a provider's module raises
        raise UserError(f"Inspect gives no model {model!r}: {in_a_line(error)}") from error


def in_a_line(error: Exception) -> str:
    """What a provider says, without its markup.

    >>> in_a_line(ValueError("no [bold][blue]KEY[/blue][/bold]  defined"))
    'no KEY defined'
    """
    return " ".join(re.sub(r"\[/?[a-z ]+\]", "", str(error)).split())[:300]
