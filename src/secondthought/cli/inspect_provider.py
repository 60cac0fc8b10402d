"""Our engines as Inspect's models: ``inspect eval TASK --model secondthought/nano/countdown`` (a folder, a hub name, vllm:...).

What waits at the same time is sampled as one batch.
"""

from __future__ import annotations

import asyncio
from typing import Any

from inspect_ai.model import (
    ChatCompletionChoice,
    ChatMessage,
    ChatMessageAssistant,
    GenerateConfig,
    ModelAPI,
    ModelOutput,
    ModelUsage,
    modelapi,
)  # fmt: skip
from inspect_ai.tool import ToolChoice, ToolInfo

from secondthought.engines.base import Engine, Request, Sampled, Sampling
from secondthought.engines.factory import engine_for
from secondthought.types import Message, Segment, Task, seed_of

PAUSE = 0.01  # seconds in which others may join a batch


class Provider(ModelAPI):
    """One engine. Raises what :func:`secondthought.engines.factory.engine_for` raises, and ValueError for tools."""

    def __init__(
        self, model_name: str, base_url: str | None = None, api_key: str | None = None,
        config: GenerateConfig | None = None, **_: Any,
    ) -> None:  # fmt: skip
        super().__init__(model_name, base_url, api_key, [], config or GenerateConfig())
        self.engine: Engine = engine_for(model_name)
        self.style = self.engine.renderer.style  # how our own tasks should be put
        self._waiting: list[tuple[Request, asyncio.Future[Sampled]]] = []
        self._at_work = False
        self._asked = 0

    def max_connections(self) -> int:
        """How many requests may wait at once: they share a batch."""
        return 256

    async def generate(
        self, input: list[ChatMessage], tools: list[ToolInfo], tool_choice: ToolChoice, config: GenerateConfig
    ) -> ModelOutput:
        """One answer to a conversation that ends with a user's turn."""
        if tools:
            raise ValueError("models of secondthought are asked for text here; Inspect's tools cannot be given to them")
        request = self._request(input, config)
        future: asyncio.Future[Sampled] = asyncio.get_running_loop().create_future()
        self._waiting.append((request, future))
        if not self._at_work:
            await self._work()
        found = await future
        read = sum(len(segment.tokens) for segment in request.segments)
        usage = ModelUsage(input_tokens=read, output_tokens=len(found.tokens), total_tokens=read + len(found.tokens))
        said = ChatMessageAssistant(content=found.text, model=self.model_name, source="generate")
        choice = ChatCompletionChoice(message=said, stop_reason="max_tokens" if found.stop == "length" else "stop")
        return ModelOutput(model=self.model_name, choices=[choice], usage=usage)

    async def _work(self) -> None:
        self._at_work = True
        try:
            while self._waiting:
                await asyncio.sleep(PAUSE)
                batch, self._waiting = self._waiting, []
                try:
                    answers = await asyncio.to_thread(self.engine.sample, [request for request, _ in batch])
                except Exception as error:
                    for _, future in batch:
                        future.set_exception(error)
                else:
                    for (_, future), answer in zip(batch, answers, strict=True):
                        future.set_result(answer)
        finally:
            self._at_work = False

    def _request(self, messages: list[ChatMessage], config: GenerateConfig) -> Request:
        first = next((i for i, one in enumerate(messages) if one.role == "assistant"), len(messages))
        roles: dict[str, Any] = {"tool": "user"}
        task = Task.of(
            tuple(Message(roles.get(one.role, one.role), one.text) for one in messages[:first]), answer=None, family="inspect"
        )
        segments = [Segment("prompt", "task", task.prompt[-1].role, "\n".join(m.content for m in task.prompt))]
        for number, one in enumerate(messages[first:]):
            role = roles.get(one.role, one.role)
            author: Any = "intervention" if role == "assistant" else "task"
            segments.append(Segment(f"turn_{number}", author, role, one.text, stop="end" if role == "assistant" else None))
        self._asked += 1
        usual = Sampling()
        sampling = Sampling(
            temperature=usual.temperature if config.temperature is None else config.temperature,
            max_tokens=config.max_tokens or 512, stop=tuple(config.stop_seqs or ()),
            top_p=usual.top_p if config.top_p is None else config.top_p, top_k=config.top_k or usual.top_k,
        )  # fmt: skip
        seed = self._asked if config.seed is None else config.seed
        rendered = self.engine.renderer.render(task, segments)
        return Request("answer", task, (), rendered, seed_of("inspect", task.key, len(segments), seed), sampling)


@modelapi(name="secondthought")
def secondthought() -> type[ModelAPI]:
    """Inspect's name for our engines."""
    return Provider
