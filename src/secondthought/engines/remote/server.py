"""A model of this process for others, over HTTP: what ``secondthought serve`` runs.

It understands as much of vLLM's language as :class:`secondthought.engines.remote.client.RemoteEngine` needs (tokens in, tokens
out, weights replaced from a folder, each answer with the version of its weights) and the completions and chat of OpenAI. Calls
that wait together are answered in one round of the engine.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from queue import Empty, Queue
from typing import Any

from secondthought.engines.base import Request, Sampled, Sampling
from secondthought.engines.torch.engine import TorchEngine
from secondthought.errors import UserError
from secondthought.models.chat import TemplateRenderer
from secondthought.models.weights import take
from secondthought.types import Message, Segment, Task

LINGER = 0.005  # seconds in which calls gather
REASONS = {"end": "stop", "string": "stop", "length": "length"}


class RequestQueue:
    """Owns the engine: one thread that answers what waits, or replaces the weights, never both."""

    def __init__(self, engine: TorchEngine, name: str) -> None:
        self.engine = engine
        self.name = name
        self.version = "default"
        self._waiting: Queue[tuple[Request | Callable[[], Any], Future[Any]]] = Queue()
        threading.Thread(target=self._work, daemon=True).start()

    @property
    def renderer(self) -> TemplateRenderer:
        """How the model renders turns."""
        return self.engine.renderer

    def ask(self, what: Request | Callable[[], Any]) -> Any:
        """Wait in line: a request to be answered (with the version that answered), or something to do between two rounds."""
        future: Future[Any] = Future()
        self._waiting.put((what, future))
        return future.result()

    def load(self, folder: Path) -> None:
        """Take the weights in ``folder``. Raises UserError if they are of another model."""
        take(self.engine.model, folder / "model.safetensors")
        self.engine.forget()

    def _work(self) -> None:
        while True:
            batch = [self._waiting.get()]
            time.sleep(LINGER)
            while True:
                try:
                    batch.append(self._waiting.get_nowait())
                except Empty:
                    break
            asked = [(what, future) for what, future in batch if isinstance(what, Request)]
            try:
                answers = self.engine.sample([what for what, _ in asked])
            except BaseException as error:
                for _, future in asked:
                    future.set_exception(error)
            else:
                for (_, future), sampled in zip(asked, answers, strict=True):
                    future.set_result((sampled, self.version))
            for what, future in batch:
                if not isinstance(what, Request):
                    try:
                        future.set_result(what())
                    except BaseException as error:
                        future.set_exception(error)


def serve(engine: TorchEngine, name: str, host: str = "127.0.0.1", port: int = 8000) -> ThreadingHTTPServer:
    """A server, listening; ``serve_forever`` makes it answer. Raises UserError if the port is taken."""
    queue = RequestQueue(engine, name)
    handler = type("Api", (_HttpApi,), {"queue": queue})
    try:
        return ThreadingHTTPServer((host, port), handler)
    except OSError as error:
        raise UserError(f"cannot listen on {host}:{port}: {error.strerror}; choose another --port") from error


class _HttpApi(BaseHTTPRequestHandler):
    queue: RequestQueue
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        queue = self.queue
        pages: dict[str, Any] = {
            "/health": {},
            "/weight_info": {"weight_version": queue.version},
            "/v1/models": {"object": "list", "data": [{"id": queue.name, "max_model_len": queue.engine.longest}]},
        }
        self._reply(
            pages.get(self.path, {"error": {"message": f"there is no {self.path}"}}), 200 if self.path in pages else 404
        )

    def do_POST(self) -> None:
        try:
            body = json.loads(self.rfile.read(int(self.headers.get("Content-Length") or 0)) or b"{}")
            answer = self._answers().get(self.path)
            if answer is None:
                self._reply({"error": {"message": f"there is no {self.path}"}}, 404)
                return
            if body.get("model", self.queue.name) != self.queue.name:
                raise UserError(f"there is no model {body['model']!r} here, but {self.queue.name!r}")
            made = answer(body)
            if body.get("stream") and self.path.startswith("/v1/"):
                self._stream(made)
            else:
                self._reply(made)
        except (UserError, ValueError, KeyError, TypeError, AttributeError) as error:
            self._reply({"error": {"message": str(error) if isinstance(error, UserError) else repr(error)}}, 400)
        except RuntimeError as error:
            self._reply({"error": {"message": str(error)}}, 500)

    def _answers(self) -> dict[str, Callable[[dict[str, Any]], dict[str, Any]]]:
        return {
            "/inference/v1/generate": self._generate, "/v1/completions": self._completions, "/v1/chat/completions": self._chat,
            "/collective_rpc": self._reload, "/update_weight_version": self._stamp, "/reset_prefix_cache": lambda _: {},
        }  # fmt: skip

    # --- what vLLM's servers understand --------------------------------------------------------------------------------------

    def _generate(self, body: dict[str, Any]) -> dict[str, Any]:
        asked = body["sampling_params"]
        sampled, version = self.queue.ask(request(body["token_ids"], asked, seed=int(asked.get("seed") or 0)))
        odds = [{"token_id": token, "logprob": x} for token, x in zip(sampled.tokens, sampled.logprobs, strict=True)]
        choice = {
            "token_ids": list(sampled.tokens),
            "finish_reason": REASONS[sampled.stop],
            "logprobs": {"content": odds},
            "weight_versions": [{"version": version, "start": 0, "end": len(sampled.tokens)}],
        }
        return {"choices": [choice]}

    def _reload(self, body: dict[str, Any]) -> dict[str, Any]:
        if body.get("method") != "take_weights":
            raise UserError(f"this server knows no method {body.get('method')!r}")
        self.queue.ask(lambda: self.queue.load(Path(body["kwargs"]["folder"])))
        return {"results": [None]}

    def _stamp(self, body: dict[str, Any]) -> dict[str, Any]:
        def stamp() -> None:
            self.queue.version = str(body["new_version"])

        self.queue.ask(stamp)
        return {"success": True}

    # --- what OpenAI's clients understand ------------------------------------------------------------------------------------

    def _completions(self, body: dict[str, Any]) -> dict[str, Any]:
        renderer, prompt = self.queue.renderer, body["prompt"]
        tokens = renderer.encode(prompt) if isinstance(prompt, str) else [int(token) for token in prompt]
        sampled, _ = self.queue.ask(request(tokens, body, seed=int(body.get("seed") or 0)))
        spoken = [token for token in sampled.tokens if token not in renderer.ends]
        odds = list(sampled.logprobs[: len(spoken)])
        logprobs = {"tokens": [renderer.decode([token]) for token in spoken], "token_logprobs": odds}
        choice = {"index": 0, "text": sampled.text, "logprobs": logprobs if body.get("logprobs") is not None else None}
        return self._openai(choice, len(tokens), sampled)

    def _chat(self, body: dict[str, Any]) -> dict[str, Any]:
        turns = tuple(Message(turn["role"], words_of(turn.get("content"))) for turn in body["messages"])
        tools = tuple(tool.get("function", tool) for tool in body.get("tools") or ())
        tokens = self.queue.renderer.encode(self.queue.renderer.apply(turns, tools, True))
        sampled, _ = self.queue.ask(request(tokens, body, seed=int(body.get("seed") or 0)))
        return self._openai({"index": 0, "message": {"role": "assistant", "content": sampled.text}}, len(tokens), sampled)

    def _openai(self, choice: dict[str, Any], read: int, sampled: Sampled) -> dict[str, Any]:
        used = {"prompt_tokens": read, "completion_tokens": len(sampled.tokens), "total_tokens": read + len(sampled.tokens)}
        kind = "chat.completion" if "message" in choice else "text_completion"
        return {
            "id": f"{kind}-{sampled.version}-{read}",
            "object": kind,
            "created": int(time.time()),
            "model": self.queue.name,
            "choices": [{**choice, "finish_reason": REASONS[sampled.stop]}],
            "usage": used,
        }

    def _stream(self, whole: dict[str, Any]) -> None:
        """The whole answer as server-sent events: one with the text, one with why it ended."""
        (choice,) = whole["choices"]
        reason, kept = choice.pop("finish_reason"), {**whole, "object": f"{whole['object']}.chunk"}
        kept.pop("usage")
        message = choice.pop("message", None)
        first = {**choice, "delta": message} if message is not None else choice
        last = {"index": 0, "delta": {}} if message is not None else {"index": 0, "text": ""}
        events = [{**kept, "choices": [{**one, "finish_reason": why}]} for one, why in ((first, None), (last, reason))]
        data = "".join(f"data: {json.dumps(event)}\n\n" for event in events) + "data: [DONE]\n\n"
        self._send(data.encode(), "text/event-stream", 200)

    def _reply(self, content: dict[str, Any], code: int = 200) -> None:
        self._send(json.dumps(content).encode(), "application/json", code)

    def _send(self, data: bytes, kind: str, code: int) -> None:
        try:
            self.send_response(code)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)
        except ConnectionError:  # nobody waits for it any more
            self.close_connection = True

    def log_message(self, *_: object) -> None:
        """Say nothing."""


def words_of(content: Any) -> str:
    """The words of a turn: a text, a list of parts, or nothing. Raises UserError for parts that are no text."""
    if isinstance(content, list):
        if other := sorted({str(part.get("type")) for part in content} - {"text"}):
            raise UserError(f"this model reads text only, and a turn has {', '.join(other)}")
        return "".join(str(part["text"]) for part in content)
    return str(content or "")


def request(tokens: list[int], asked: dict[str, Any], *, seed: int) -> Request:
    """A call as a request: a context of ids, and how to go on from it."""
    stop = asked.get("stop") or ()
    sampling = Sampling(
        temperature=float(asked.get("temperature", 1.0)),
        top_p=float(asked.get("top_p", 1.0)),
        max_tokens=int(asked.get("max_completion_tokens") or asked.get("max_tokens") or 16),
        stop=(stop,) if isinstance(stop, str) else tuple(stop),
        top_k=max(0, int(asked.get("top_k") or 0)),
        min_p=float(asked.get("min_p") or 0.0),
        repetition_penalty=float(asked.get("repetition_penalty") or 1.0),
    )
    task = Task(",".join(map(str, tokens[:64])), (), answer=None, family="served")
    return Request("answer", task, (), (Segment("prompt", "task", "user", "", tuple(tokens)),), seed, sampling)
