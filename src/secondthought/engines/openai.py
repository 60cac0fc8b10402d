"""Any OpenAI-compatible chat endpoint, for judges: ``judge:http://host:port/v1#model``.

Only whole turns can be asked for: a chat endpoint takes no prefilled words, so it cannot be given a flawed chain of its own.
The key comes from the environment (OPENAI_API_KEY) and is never written anywhere.
"""

from __future__ import annotations

import http.client
import json
import os
import time
import urllib.error
import urllib.request
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

from secondthought.chat import Dialect
from secondthought.engines.scripted import bytes_dialect
from secondthought.files import UserError
from secondthought.scene import Request, Sampled

RETRIED = (408, 409, 429, 500, 502, 503, 504)


@dataclass
class ChatEndpoint:
    """One model behind one URL (up to and with ``/v1``). Failed calls are retried with growing pauses; ``tokens`` counts what
    was used.

    Raises UserError where the endpoint cannot be reached, refuses, or is asked to continue words in its own mouth.
    """

    url: str
    model: str
    concurrency: int = 8
    timeout: float = 60.0
    retries: int = 4
    pause: float = 0.5
    tokens: int = 0
    dialect: Dialect = field(default_factory=bytes_dialect)

    def sample(self, requests: Sequence[Request]) -> list[Sampled]:
        """One call for each request, a few at a time, answers in order."""
        for request in requests:
            if request.segments[-1].role == "assistant":
                raise UserError(
                    f"{self.url} is a chat endpoint: it cannot go on from words put into its mouth ({request.name})"
                )
        with ThreadPoolExecutor(self.concurrency) as pool:
            return list(pool.map(self._ask, requests))

    def _ask(self, request: Request) -> Sampled:
        turns = [m._asdict() for m in request.task.prompt]
        turns += [{"role": s.role, "content": s.text} for s in request.segments[1:]]
        settings = request.sampling
        body: dict[str, Any] = {
            "model": self.model, "messages": turns, "temperature": settings.temperature, "max_tokens": settings.max_tokens,
            "top_p": settings.top_p, "seed": request.seed % 2**31,
        }  # fmt: skip
        if settings.stop:
            body["stop"] = list(settings.stop)
        answer = self._post(body)
        try:
            text = str(answer["choices"][0]["message"]["content"] or "")
            self.tokens += int((answer.get("usage") or {}).get("total_tokens", 0))
        except (KeyError, IndexError, TypeError) as error:
            raise UserError(f"{self.url} answered without a message; is it an OpenAI-compatible endpoint?") from error
        tokens = tuple(self.dialect.encode(text))
        return Sampled(tokens, (0.0,) * len(tokens), text, "end", 0)

    def _post(self, body: dict[str, Any]) -> dict[str, Any]:
        headers = {"Content-Type": "application/json"}
        if key := os.environ.get("OPENAI_API_KEY"):
            headers["Authorization"] = f"Bearer {key}"
        call = urllib.request.Request(f"{self.url.rstrip('/')}/chat/completions", json.dumps(body).encode(), headers)
        for attempt in range(self.retries + 1):
            try:
                with urllib.request.urlopen(call, timeout=self.timeout) as reply:
                    found: dict[str, Any] = json.loads(reply.read())
                    return found
            except urllib.error.HTTPError as error:
                why = f"HTTP {error.code}"
                if error.code not in RETRIED:
                    raise UserError(f"{self.url} refuses: {why} {error.reason}") from error
            except (OSError, http.client.HTTPException, ValueError) as error:
                why = str(error) or type(error).__name__
            if attempt < self.retries:
                time.sleep(self.pause * 2**attempt)
        raise UserError(f"{self.url} could not be reached after {self.retries + 1} attempts: {why}")
