"""A model of this process for others, over HTTP: what ``secondthought serve`` runs.

It understands as much of vLLM's language as :class:`secondthought.engines.remote.client.RemoteEngine` needs (tokens in, tokens
out, weights replaced from a folder, each answer with the version of its weights) and the completions and chat of OpenAI. Calls
that wait together are answered in one round of the engine.

Whoever reaches the port may ask; only who knows the token (:mod:`secondthought.engines.remote.access_token`) may change the
weights, and only to what lies in the exchange folder. What is asked is checked before it waits with others, pages of browsers
are turned away, and bodies, clients and their patience are limited.
"""

from __future__ import annotations

import contextlib
import hmac
import json
import socket
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from queue import Empty, Queue
from typing import Any

from secondthought.engines.base import Request, Sampled
from secondthought.engines.remote import access_token
from secondthought.engines.remote.asked import fields, request, turns_of
from secondthought.engines.torch.engine import TorchEngine
from secondthought.errors import UserError
from secondthought.models.chat import TemplateRenderer
from secondthought.models.weights import take

LINGER = 0.005  # seconds in which calls gather
REASONS = {"end": "stop", "string": "stop", "length": "length"}
LARGEST = 16 << 20  # bytes of a call
CLIENTS = 256  # that may be connected at once
PATIENCE = 60.0  # seconds in which a call must have arrived
LOCAL = ("127.0.0.1", "localhost", "::1")


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
            self._answer([(what, future) for what, future in batch if isinstance(what, Request)])
            for what, future in batch:
                if not isinstance(what, Request):
                    try:
                        future.set_result(what())
                    except BaseException as error:
                        future.set_exception(error)

    def _answer(self, asked: Sequence[tuple[Request, Future[Any]]]) -> None:
        """Answer calls in one round; where that fails, each in its own, so that a call's fault is its own."""
        try:
            answers = self.engine.sample([what for what, _ in asked])
        except Exception as error:
            if len(asked) > 1:
                for one in asked:
                    self._answer([one])
            else:
                for _, future in asked:
                    future.set_exception(error)
        else:
            for (_, future), sampled in zip(asked, answers, strict=True):
                future.set_result((sampled, self.version))


class Server(ThreadingHTTPServer):
    """Listens for a :class:`RequestQueue`, with a limited number of clients, each of which must speak in time."""

    daemon_threads = True
    request_queue_size = CLIENTS  # that may knock at once: five by default, and the sixth waits for seconds

    def __init__(self, queue: RequestQueue, host: str, port: int, exchange: Path) -> None:
        super().__init__((host, port), type("Api", (_HttpApi,), {"queue": queue, "timeout": PATIENCE}))
        self.exchange = exchange.resolve()
        self.hosts = {f"{name}:{self.server_port}" for name in (*LOCAL, "[::1]")} if host in LOCAL else None
        self.token = access_token.made(self.server_port, local=host in LOCAL)
        self.listening: dict[socket.socket, float] = {}
        self._clients = threading.BoundedSemaphore(CLIENTS)

    def process_request(self, request: Any, client_address: Any) -> None:
        """A thread for the client, if there is room."""
        if not self._clients.acquire(blocking=False):
            with contextlib.suppress(OSError):
                request.sendall(b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
            self.shutdown_request(request)
            return
        super().process_request(request, client_address)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        """The client's thread."""
        try:
            super().process_request_thread(request, client_address)
        finally:
            self.listening.pop(request, None)
            self._clients.release()

    def service_actions(self) -> None:
        """Hang up on those whose call is overdue, however slowly it still drips."""
        now = time.monotonic()
        for client, since in list(self.listening.items()):
            if now - since > PATIENCE:
                with contextlib.suppress(OSError):
                    client.shutdown(socket.SHUT_RDWR)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Clients that hang up are nobody's concern."""

    def server_close(self) -> None:
        """Stop listening; the token goes as well."""
        super().server_close()
        access_token.forgotten(self.server_port)


def serve(engine: TorchEngine, name: str, host: str = "127.0.0.1", port: int = 8000, exchange: Path | None = None) -> Server:
    """A server, listening; ``serve_forever`` makes it answer. Weights are taken from folders in ``exchange`` only (default:
    where temporary files are). Raises UserError if the port is taken.
    """
    try:
        return Server(RequestQueue(engine, name), host, port, exchange or Path(tempfile.gettempdir()))
    except OSError as error:
        raise UserError(f"cannot listen on {host}:{port}: {error.strerror}; choose another --port") from error


class Turned(UserError):
    """A call that is turned away, with its HTTP status."""

    def __init__(self, status: int, why: str) -> None:
        super().__init__(why)
        self.status = status


class _HttpApi(BaseHTTPRequestHandler):
    queue: RequestQueue
    server: Server
    protocol_version = "HTTP/1.1"

    def handle_one_request(self) -> None:
        """One call, which must have arrived in time."""
        self.server.listening[self.connection] = time.monotonic()
        super().handle_one_request()

    def do_GET(self) -> None:
        try:
            self._admit()
        except Turned as error:
            self._reply({"error": {"message": str(error)}}, error.status)
            return
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
            self._admit()
            body = self._body()
            answer = self._answers().get(self.path)
            if answer is None:
                raise Turned(404, f"there is no {self.path}")
            if body.get("model", self.queue.name) != self.queue.name:
                raise UserError(f"there is no model {body['model']!r} here, but {self.queue.name!r}")
            made = answer(body)
            if body.get("stream") and self.path.startswith("/v1/"):
                self._stream(made)
            else:
                self._reply(made)
        except UserError as error:
            self._reply({"error": {"message": str(error)}}, getattr(error, "status", 400))
        except Exception as error:  # the next call must still find a server
            self._reply({"error": {"message": f"{type(error).__name__}: {error}"}}, 500)

    def _admit(self) -> None:
        """Raise Turned for what names another host (DNS rebinding) or comes from a page in a browser."""
        host, origin = self.headers.get("Host", ""), self.headers.get("Origin")
        if self.server.hosts is not None and host not in self.server.hosts:
            raise Turned(403, f"this server answers only to {' or '.join(sorted(self.server.hosts))}")
        if origin is not None and origin != f"http://{host}":
            raise Turned(403, "this server answers no pages of browsers")

    def _body(self) -> dict[str, Any]:
        """What is asked, a JSON object of a sensible size."""
        length = self.headers.get("Content-Length") or "0"
        if not length.isdecimal() or int(length) > LARGEST or self.headers.get("Transfer-Encoding"):
            self.close_connection = True  # what would follow is not read
            raise Turned(413, f"a call must say its length, of at most {LARGEST >> 20} MB")
        data = self.rfile.read(int(length))
        self.server.listening.pop(self.connection, None)  # it has arrived; the answer takes as long as it takes
        if data and self.headers.get_content_type() != "application/json":
            raise Turned(415, "a call must be JSON (Content-Type: application/json)")
        try:
            return fields(json.loads(data or b"{}"), "the call")
        except (ValueError, RecursionError) as error:
            raise UserError(f"the call is no JSON: {error}") from error

    def _trusted(self) -> None:
        """Raise Turned for a call that changes weights without the token."""
        given = self.headers.get("Authorization", "").removeprefix("Bearer ")
        if not hmac.compare_digest(given.encode(), self.server.token.encode()):
            raise Turned(401, f"weights are changed only by who knows the token: set {access_token.VARIABLE} here and there")

    def _answers(self) -> dict[str, Callable[[dict[str, Any]], dict[str, Any]]]:
        return {
            "/inference/v1/generate": self._generate, "/v1/completions": self._completions, "/v1/chat/completions": self._chat,
            "/collective_rpc": self._reload, "/update_weight_version": self._stamp, "/reset_prefix_cache": self._reset,
        }  # fmt: skip

    # --- what vLLM's servers understand --------------------------------------------------------------------------------------

    def _generate(self, body: dict[str, Any]) -> dict[str, Any]:
        asked = fields(body.get("sampling_params"), "sampling_params")
        sampled, version = self.queue.ask(request(body.get("token_ids"), asked, self.queue.engine))
        odds = [{"token_id": token, "logprob": x} for token, x in zip(sampled.tokens, sampled.logprobs, strict=True)]
        choice = {
            "token_ids": list(sampled.tokens),
            "finish_reason": REASONS[sampled.stop],
            "logprobs": {"content": odds},
            "weight_versions": [{"version": version, "start": 0, "end": len(sampled.tokens)}],
        }
        return {"choices": [choice]}

    def _reload(self, body: dict[str, Any]) -> dict[str, Any]:
        self._trusted()
        if body.get("method") != "take_weights":
            raise UserError(f"this server knows no method {body.get('method')!r}")
        folder = Path(str(fields(body.get("kwargs"), "kwargs").get("folder", ""))).resolve()
        if not folder.is_relative_to(self.server.exchange):
            raise Turned(403, f"weights are taken from {self.server.exchange} only; serve --exchange DIR names another folder")
        self.queue.ask(lambda: self.queue.load(folder))
        return {"results": [None]}

    def _reset(self, _: dict[str, Any]) -> dict[str, Any]:
        self._trusted()
        return {}

    def _stamp(self, body: dict[str, Any]) -> dict[str, Any]:
        self._trusted()

        def stamp() -> None:
            self.queue.version = str(body.get("new_version"))[:200]

        self.queue.ask(stamp)
        return {"success": True}

    # --- what OpenAI's clients understand ------------------------------------------------------------------------------------

    def _completions(self, body: dict[str, Any]) -> dict[str, Any]:
        renderer, prompt = self.queue.renderer, body.get("prompt")
        tokens = renderer.encode(prompt) if isinstance(prompt, str) else prompt
        asked = request(tokens, body, self.queue.engine)
        sampled, _ = self.queue.ask(asked)
        spoken = [token for token in sampled.tokens if token not in renderer.ends]
        odds = list(sampled.logprobs[: len(spoken)])
        logprobs = {"tokens": [renderer.decode([token]) for token in spoken], "token_logprobs": odds}
        choice = {"index": 0, "text": sampled.text, "logprobs": logprobs if body.get("logprobs") is not None else None}
        return self._openai(choice, len(asked.tokens), sampled)

    def _chat(self, body: dict[str, Any]) -> dict[str, Any]:
        turns, tools = turns_of(body)
        tokens = self.queue.renderer.encode(self.queue.renderer.apply(turns, tools, True))
        sampled, _ = self.queue.ask(request(tokens, body, self.queue.engine))
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
