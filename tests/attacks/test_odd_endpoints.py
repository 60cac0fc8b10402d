"""Endpoints that answer oddly, slowly or from somewhere else: nothing is graded, priced or believed that was not said."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from secondthought.cli import app
from secondthought.engines.base import Request, Sampling
from secondthought.engines.remote.http import Place
from secondthought.engines.remote.openai import Endpoint
from secondthought.errors import UserError
from secondthought.types import Segment, Task

TASK = Task.of("2 + 2?", answer="4", family="sums")
REQUEST = Request("attempt", TASK, (), (Segment("prompt", "task", "user", "2 + 2?", (1, 2)),), 1, Sampling(max_tokens=4))


@contextmanager
def answering(answer: Callable[[socket.socket], None]) -> Iterator[str]:
    """A server that reads a call and then does what a test says; its address."""
    server = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        while True:
            try:
                client, _ = server.accept()
            except OSError:
                return
            threading.Thread(target=one, args=(client,), daemon=True).start()

    def one(client: socket.socket) -> None:
        with client, suppress(OSError):
            client.recv(1 << 16)
            answer(client)

    threading.Thread(target=serve, daemon=True).start()
    yield f"http://127.0.0.1:{server.getsockname()[1]}"
    server.close()


def reply(body: Any) -> bytes:
    data = json.dumps(body).encode()
    return b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(data) + data


def said(usage: Any = None, logprobs: Any = None) -> dict[str, Any]:
    return {"choices": [{"text": "4", "finish_reason": "stop", "logprobs": logprobs}], "usage": usage}


@pytest.mark.parametrize("usage", [
    None, {}, [], "many", {"prompt_tokens": -5, "completion_tokens": -1}, {"prompt_tokens": "x", "completion_tokens": None},
    {"prompt_tokens": 1.5, "completion_tokens": True}, {"prompt_tokens": 3},
])  # fmt: skip
def test_what_a_server_does_not_say_it_took_is_unknown(usage: Any) -> None:
    with answering(lambda client: client.sendall(reply(said(usage)))) as url:
        there = Endpoint(url, "m", pause=0.01)
        assert there.sample([REQUEST])[0].text == "4"
    assert there.usage.unknown == 1
    assert min(there.usage.read, there.usage.written) >= 0
    assert "does not say" in str(there.usage)


@pytest.mark.parametrize("odds", [[float("nan")], [float("inf")], [3.0], ["x"], [[1]], []])
def test_log_probabilities_that_are_none_are_not_believed(odds: list[Any]) -> None:
    with answering(lambda client: client.sendall(reply(said({}, {"tokens": ["4"], "token_logprobs": odds})))) as url:
        sampled = Endpoint(url, "m", pause=0.01).sample([REQUEST])[0]
    assert (sampled.text, set(sampled.logprobs)) == ("4", {0.0})


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_nobody_is_followed_to_another_address(status: int) -> None:
    asked = list[bytes]()

    def note(client: socket.socket) -> None:
        asked.append(b"asked")
        client.sendall(reply(said()))

    with answering(note) as other:
        sent = f"HTTP/1.1 {status} Moved\r\nLocation: {other}/v1\r\nContent-Length: 0\r\n\r\n".encode()
        with (
            answering(lambda client: client.sendall(sent)) as url,
            pytest.raises(UserError, match=f"sends its callers to {other}"),
        ):
            Endpoint(url, "m", pause=0.01).sample([REQUEST])
    assert not asked


@pytest.mark.parametrize("where", ["headers", "body"])
def test_a_server_that_drips_is_hung_up_on(where: str) -> None:
    def drip(client: socket.socket) -> None:
        client.sendall(b"HTTP/1.1 200 OK\r\n" + (b"" if where == "headers" else b"Content-Length: 1000\r\n\r\n"))
        for _ in range(300):
            client.sendall(b"X")
            time.sleep(0.1)

    with answering(drip) as url:
        began = time.monotonic()
        with pytest.raises(UserError, match="no answer in 1 s"):
            Place(url, timeout=1.0, retries=3, pause=0.01).get("/v1/models")
        assert time.monotonic() - began < 5


@pytest.mark.parametrize(
    "body", [b"[" * 100_000, b"\xff\xfe", b"<html>", b"NaN", b'"x"', b'{"choices": "x"}', b'{"choices": [[]]}']
)
def test_what_is_no_answer_is_named(body: bytes) -> None:
    sent = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body
    with (
        answering(lambda client: client.sendall(sent)) as url,
        pytest.raises(UserError, match="gave no answer that can be used"),
    ):
        Endpoint(url, "m", pause=0.01, retries=1).sample([REQUEST])


def test_a_key_in_an_address_is_in_no_file_and_no_message(tmp_path: Path) -> None:
    key, rows = "sk-never-to-be-seen-42", tmp_path / "rows.jsonl"
    rows.write_text('{"prompt": "2 + 2?", "answer": "4"}\n{"prompt": "1 + 3?", "answer": "4"}\n')
    with answering(lambda client: client.sendall(reply(said()))) as url:
        place = f"{url}/{key}/v1?api_key={key}#m"
        words = ["probe", "answer", "--model", place, "--tasks", f"{rows}:all", "--out", str(tmp_path / "run")]
        for _ in range(2):  # the second time it goes on from what is written
            done = CliRunner().invoke(app, words)
            assert done.exit_code == 0, done.output
            assert key not in done.output
    found = [path for path in (tmp_path / "run").rglob("*") if path.is_file()]
    assert len(found) > 4
    for path in found:
        assert key not in str(path)
        assert key.encode() not in path.read_bytes(), path
