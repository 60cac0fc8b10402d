"""A served model under attack: one call's fault is its own, weights are changed by nobody else, and nobody blocks the door."""

from __future__ import annotations

import http.client
import json
import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from tests.conftest import random_llama

from secondthought.engines.remote import server as served
from secondthought.engines.remote.access_token import known
from secondthought.engines.remote.server import Server, serve
from secondthought.engines.torch.engine import TorchEngine
from secondthought.models.hub import renderer_for
from secondthought.nano import tokenizer as words


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv("SECONDTHOUGHT_TOKEN", raising=False)
    model = random_llama(0)
    running = serve(TorchEngine(model, renderer_for(model, words.build())), "tiny", port=0, exchange=tmp_path / "exchange")
    threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
    yield running
    running.shutdown()
    running.server_close()
    assert not list((tmp_path / "cache" / "secondthought" / "serve").iterdir())  # the token is gone


def call(server: Server, path: str, body: Any, **headers: str) -> tuple[int, Any]:
    """POST; the status and what is answered."""
    connection = http.client.HTTPConnection("127.0.0.1", server.server_port, timeout=20)
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    connection.request("POST", path, data, {"Content-Type": "application/json", **headers})
    reply = connection.getresponse()
    text = reply.read()
    connection.close()
    return reply.status, json.loads(text or b"{}")


def asking(**changes: Any) -> dict[str, Any]:
    return {"prompt": [5, 6, 7], "max_tokens": 4, "temperature": 0, **changes}


FAULTS: list[tuple[str, dict[str, Any]]] = [
    ("not empty", asking(prompt=[])), ("not empty", asking(prompt="")), ("no token of this model", asking(prompt=[5, 10**6])),
    ("no token of this model", asking(prompt=[-1])), ("no token of this model", asking(prompt=["a"])),
    ("no token of this model", asking(prompt=[True])), ("prompt must be", asking(prompt={"a": 1})),
    ("temperature must be", asking(temperature=float("nan"))), ("temperature must be", asking(temperature=-1)),
    ("temperature must be", asking(temperature="hot")), ("temperature must be", asking(temperature=float("inf"))),
    ("top_p must be", asking(top_p=0)), ("top_p must be", asking(top_p=2)), ("top_k must be", asking(top_k=-5)),
    ("min_p must be", asking(min_p=3)), ("repetition_penalty must be", asking(repetition_penalty=0)),
    ("max_tokens must be", asking(max_tokens=0)), ("max_tokens must be", asking(max_tokens=-3)),
    ("max_tokens must be", asking(max_tokens=1.5)), ("longer than", asking(max_tokens=10**6)), ("seed must be", asking(seed="x")),
    ("seed must be", asking(seed=1.5)), ("stop must be", asking(stop=[1])), ("stop must be", asking(stop=[""])),
    ("one answer to a call", asking(n=3)), ("there is no model", asking(model="other")),
]  # fmt: skip
CHATS: list[tuple[str, Any]] = [
    ("messages must be", None), ("messages must be", []), ("messages must be", "hello"), ("a turn must be", ["hello"]),
    ("has the role", [{"role": "wizard", "content": "hi"}]), ("has the role", [{"content": "hi"}]),
    ("content of a turn", [{"role": "user", "content": 5}]), ("reads text only", [{"role": "user", "content": [{"type": "image"}]}]),
    ("a part of a turn", [{"role": "user", "content": ["x"]}]),
]  # fmt: skip


def test_every_fault_is_one_sentence_and_a_right_call_beside_it_is_answered(server: Server) -> None:
    def ask(one: tuple[str, dict[str, Any]]) -> tuple[tuple[int, Any], tuple[int, Any]]:
        path = "/v1/chat/completions" if "messages" in one[1] else "/v1/completions"
        return call(server, path, one[1]), call(server, "/v1/completions", asking())

    wanted = call(server, "/v1/completions", asking())[1]["choices"][0]["text"]
    every = [*FAULTS, *((why, {"messages": turns, "max_tokens": 2}) for why, turns in CHATS)]
    with ThreadPoolExecutor(8) as pool:
        for (why, _), ((status, answer), (beside, right)) in zip(every, pool.map(ask, every), strict=True):
            assert status == 400, why
            assert why in answer["error"]["message"]
            assert beside == 200, why
            assert right["choices"][0]["text"] == wanted


def test_a_call_that_breaks_the_engine_breaks_no_other(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    engine = server.RequestHandlerClass.queue.engine  # type: ignore[attr-defined]
    sample = engine.sample

    def broken(requests: Any) -> Any:
        if any(request.tokens[0] == 9 for request in requests):
            raise RuntimeError("out of something")
        return sample(requests)

    monkeypatch.setattr(engine, "sample", broken)
    monkeypatch.setattr(served, "LINGER", 0.3)  # all of them in one round
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda first: call(server, "/v1/completions", asking(prompt=[first, 6])), (5, 9, 7, 8)))
    assert [status for status, _ in found] == [200, 500, 200, 200]


@pytest.mark.parametrize(("body", "headers", "status"), [
    (b"{", {}, 400), (b"[]", {}, 400), (b"[" * 100_000, {}, 400), (b'"x"', {}, 400), (b"\xff\xfe", {}, 400),
    (b"prompt=5", {"Content-Type": "application/x-www-form-urlencoded"}, 415), (b"{}", {"Content-Type": "text/plain"}, 415),
    (b"{}", {"Host": "evil.example:80"}, 403), (b"{}", {"Origin": "http://evil.example"}, 403), (b"{}", {"Origin": "null"}, 403),
    (b"", {"Content-Length": str(1 << 40)}, 413), (b"", {"Content-Length": "-1"}, 413), (b"", {"Content-Length": "x"}, 413),
])  # fmt: skip
def test_what_is_no_call_is_turned_away(server: Server, body: bytes, headers: dict[str, str], status: int) -> None:
    assert call(server, "/v1/completions", body, **headers)[0] == status
    assert call(server, "/v1/completions", asking())[0] == 200


def test_weights_are_changed_only_with_the_token_from_the_exchange_and_never_in_part(server: Server, tmp_path: Path) -> None:
    queue = server.RequestHandlerClass.queue  # type: ignore[attr-defined]
    before = {name: tensor.clone() for name, tensor in queue.engine.model.state_dict().items()}
    inside, outside = tmp_path / "exchange" / "new", tmp_path / "outside"
    for folder in (inside, outside):
        folder.mkdir(parents=True)
        save_file(
            {name: tensor + 1 for name, tensor in before.items() if name != "lm_head.weight"}, folder / "model.safetensors"
        )
    sly = tmp_path / "exchange" / "sly"
    sly.symlink_to(outside)
    token = known(f"http://127.0.0.1:{server.server_port}")
    assert len(token) == 64

    def reload(folder: Path, **headers: str) -> int:
        body = {"method": "take_weights", "kwargs": {"folder": str(folder)}}
        return call(server, "/collective_rpc", body, **headers)[0]

    right = {"Authorization": f"Bearer {token}"}
    for path, body in (("/update_weight_version", {"new_version": "9"}), ("/reset_prefix_cache", {})):
        assert call(server, path, body)[0] == 401
    assert reload(inside) == reload(inside, Authorization="Bearer x") == 401
    assert reload(outside, **right) == reload(sly, **right) == reload(inside / ".." / ".." / "outside", **right) == 403
    other = tmp_path / "exchange" / "other"
    other.mkdir()
    tensors = {name: tensor + 1 for name, tensor in before.items() if name != "lm_head.weight"}
    first, last = min(tensors), max(tensors)
    for damage in ({first: torch.zeros(2)}, {last: torch.full_like(tensors[last], float("nan"))}, {"more": torch.zeros(1)}):
        save_file({**tensors, **damage}, other / "model.safetensors")
        assert reload(other, **right) == 400
    save_file({name: tensor for name, tensor in tensors.items() if name != last}, other / "model.safetensors")
    assert reload(other, **right) == 400
    assert all(torch.equal(tensor, before[name]) for name, tensor in queue.engine.model.state_dict().items())
    assert queue.version == "default"
    assert reload(inside, **right) == 200
    assert not torch.equal(queue.engine.model.state_dict()[first], before[first])


def test_slow_and_many_clients_block_nobody(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(served, "PATIENCE", 0.5)
    slow = [socket.create_connection(("127.0.0.1", server.server_port)) for _ in range(20)]
    for one in slow:
        one.sendall(b"POST /v1/completions HTTP/1.1\r\nHost: 127.0.0.1\r\nX: ")
    began = time.monotonic()
    assert call(server, "/v1/completions", asking())[0] == 200
    assert time.monotonic() - began < 10
    for one in slow:  # a byte at a time does not keep them in
        one.settimeout(5)
        try:
            while one.recv(100):
                pass
        except ConnectionError:
            pass
        one.close()
    assert time.monotonic() - began < 15


def test_a_full_house_says_so(server: Server) -> None:
    many = [socket.create_connection(("127.0.0.1", server.server_port)) for _ in range(served.CLIENTS + 20)]
    time.sleep(0.5)
    many[-1].settimeout(5)
    assert many[-1].recv(100).startswith(b"HTTP/1.1 503")
    for one in many:
        one.close()
    time.sleep(0.5)
    assert call(server, "/v1/completions", asking())[0] == 200
