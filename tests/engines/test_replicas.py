"""Engines with weights of their own say what the learner's model says, and those that go wrong are named in time."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch
from tests.conftest import random_llama

from secondthought.engines.base import Engine, EngineOptions, Request, Sampled, Sampling, deal
from secondthought.engines.factory import replica_for
from secondthought.engines.local_copy import LocalCopy
from secondthought.engines.remote.client import RemoteEngine, settings, written
from secondthought.engines.remote.http import Place
from secondthought.engines.remote.openai import endpoint
from secondthought.engines.remote.server import serve
from secondthought.engines.torch.engine import TorchEngine
from secondthought.errors import UserError
from secondthought.learners.optim import Optim
from secondthought.learners.rows import Rows, compile_rows
from secondthought.learners.torch import TorchLearner
from secondthought.models.hub import load, renderer_for
from secondthought.models.weights import plain_weights
from secondthought.nano import tokenizer as words
from secondthought.protocols.reflect_retry import TERSE, reflect_retry
from secondthought.rollouts import rollout
from secondthought.tasks.countdown import Countdown
from secondthought.types import Group, Segment, Signal, Task

TASKS = Countdown("train")
PROTOCOL = partial(reflect_retry, grade=TASKS.grade, prompts=TERSE)


def result(engine: Engine, n: int = 6) -> list[Group]:
    return rollout(PROTOCOL, [TASKS[i] for i in range(n)], 3, engine, Sampling(max_tokens=10), seed=5)


def same(left: list[Group], right: list[Group]) -> bool:
    pairs = [pair for a, b in zip(left, right, strict=True) for pair in zip(a, b, strict=True)]
    segments = [pair for a, b in pairs for pair in zip(a.segments, b.segments, strict=True)]
    return all(
        s.tokens == t.tokens and s.stop == t.stop and (s.logprobs or ()) == pytest.approx(t.logprobs or (), abs=1e-4)
        for s, t in segments
    )


def versions(groups: list[Group]) -> set[int | None]:
    return {s.version for group in groups for e in group for s in e.segments if s.logprobs is not None}


def engine_of(seed: int) -> TorchEngine:
    model = random_llama(seed)
    return TorchEngine(model, renderer_for(model, words.build()))


@pytest.fixture
def servers() -> Iterator[list[str]]:
    """Two servers with a random model each, in threads."""
    running = [serve(engine_of(0), "tiny", port=0) for _ in range(2)]
    for server in running:
        threading.Thread(target=server.serve_forever, daemon=True).start()
    yield [f"http://127.0.0.1:{server.server_port}" for server in running]
    for server in running:
        server.shutdown()
        server.server_close()


def client_of(urls: list[str], timeout: float = 20.0, exchange: Path | None = None) -> RemoteEngine:
    engine = engine_of(0)
    return RemoteEngine(urls, engine.renderer, engine.model.config.vocab_size, timeout=timeout, exchange=exchange)


# --- what they say -------------------------------------------------------------------------------------------------------


def test_two_servers_say_what_one_process_says_and_take_new_weights(servers: list[str], tmp_path: Path) -> None:
    there, ours = client_of(servers, exchange=tmp_path), engine_of(0)
    assert same(result(there), result(ours))
    other = engine_of(1)
    assert not same(result(there), result(other))
    there.publish(plain_weights(other.model), other.model.config, 7)
    assert same(result(there), result(other))
    assert versions(result(there)) == {7}
    assert not list(tmp_path.iterdir())  # the weights are gone from the exchange


def test_a_server_answers_what_any_client_asks(servers: list[str]) -> None:
    """Completions and chat, as an OpenAI client sends them, say what the engine says."""
    ours, tasks = engine_of(0), [TASKS[i] for i in range(3)]
    greedy = Sampling(temperature=0.0, max_tokens=8)
    expected = rollout(PROTOCOL, tasks, 1, ours, greedy)
    chat = rollout(PROTOCOL, tasks, 1, endpoint(f"{servers[0]}/v1#tiny@chat"), greedy)
    assert [g[0]["attempt"].text for g in chat] == [g[0]["attempt"].text for g in expected]
    prompt = list(expected[0][0].segments[0].tokens)
    result = Place(servers[0]).post("/v1/completions", {"prompt": prompt, "max_tokens": 8, "temperature": 0, "logprobs": 0})
    assert result["choices"][0]["text"] == expected[0][0]["attempt"].text
    assert result["usage"]["prompt_tokens"] == len(prompt)
    with pytest.raises(UserError, match=r"HTTP 400 .*longer than"):
        Place(servers[0]).post("/v1/completions", {"prompt": prompt, "max_tokens": 10**6})
    with pytest.raises(UserError, match=r"HTTP 400 .*there is no model 'other' here"):
        Place(servers[0]).post("/v1/completions", {"model": "other", "prompt": prompt})
    with pytest.raises(UserError, match=r"HTTP 404 .*there is no /v2"):
        Place(servers[0]).get("/v2")


def test_a_twin_keeps_its_weights_while_the_model_learns(tiny_folder: Path) -> None:
    model = load(str(tiny_folder))[0]
    copy = LocalCopy(str(tiny_folder), EngineOptions(), engine_of(0).renderer)
    before = result(copy)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(1.5)
    assert same(result(copy), before)
    copy.publish(plain_weights(model), model.config, 3)
    assert not same(result(copy), before)
    assert versions(result(copy)) == {3}
    with pytest.raises(UserError, match="of another model"):
        copy.publish([("model.other", torch.zeros(1))], model.config, 4)


def test_weights_with_adapters_are_published_whole(tiny_folder: Path, tmp_path: Path) -> None:
    learner = TorchLearner(str(tiny_folder), Optim(lora=4), steps=1)
    with torch.no_grad():
        for parameter in learner.trained:
            parameter.normal_(std=0.3)
    learner.save(tmp_path / "step")
    merged = dict(load(str(tmp_path / "step" / "model"))[0].named_parameters())
    found = dict(plain_weights(learner.model))
    assert found.keys() == merged.keys()
    for name, tensor in found.items():
        torch.testing.assert_close(tensor, merged[name].detach(), atol=1e-5, rtol=1e-5)


def test_requests_of_one_task_stay_together() -> None:
    tasks = [TASKS[i] for i in (0, 1, 0, 2, 1, 0)]
    prompt = (Segment("prompt", "task", "user", "", (1,)),)
    requests = [Request("attempt", task, (i,), prompt, i) for i, task in enumerate(tasks)]
    hands = deal(requests, 2)
    assert sorted(i for hand in hands for i in hand) == list(range(6))
    assert [0, 2, 5] in hands
    assert deal(requests[:1], 3).count([]) == 2


def test_places_that_are_none_are_refused() -> None:
    ours = engine_of(0)

    def at(place: str, **more: Any) -> object:
        return replica_for("tiny", EngineOptions(at=place, **more), ours.renderer, ours.model.config, world=2)

    assert at("") is None
    with pytest.raises(UserError, match=r"engine\.at=moon is no place"):
        at("moon")
    with pytest.raises(UserError, match="1 servers for 2 processes"):
        at("http://127.0.0.1:9")
    with pytest.raises(UserError, match="needs vLLM"):
        at("", backend="vllm")


# --- what goes wrong -----------------------------------------------------------------------------------------------------


def test_what_is_missing_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    from secondthought.cli.base import run
    from secondthought.distributed.ray import launch
    from secondthought.engines.vllm.engine import serve as serve_vllm

    with pytest.raises(UserError, match="needs vLLM"):
        serve_vllm("nano/countdown", "127.0.0.1", 8000, ())
    with pytest.raises(UserError, match=r"the Ray cluster at 127\.0\.0\.1:9 cannot be reached: .*refused"):
        launch(["train", "rrr_countdown"], 2, "127.0.0.1:9", run)
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(UserError, match="Ray is needed for this"):
        launch(["train", "rrr_countdown"], 2, "local", run)


def test_a_server_that_another_run_uses_is_named(servers: list[str]) -> None:
    first, second = client_of(servers), client_of(servers[:1])
    weights = list(plain_weights(engine_of(0).model))
    first.publish(weights, engine_of(0).model.config, 1)
    second.publish(weights, engine_of(0).model.config, 1)
    with pytest.raises(UserError, match=f"{servers[0]} answered with weights .*-1 where .*-1 were expected"):
        result(first)


def test_a_server_of_another_model_refuses_the_weights(servers: list[str]) -> None:
    with pytest.raises(UserError, match=f"{servers[0]} refuses: HTTP 400 .*of another model"):
        client_of(servers[:1]).publish(plain_weights(random_llama(0, width=64)), engine_of(0).model.config, 1)


class Faulty(BaseHTTPRequestHandler):
    """Answers like a server, but in the way a test asks for."""

    wrong: ClassVar[dict[str, Any]] = {}
    codes: ClassVar[list[int]] = []
    pause: ClassVar[str] = ""
    key: ClassVar[str | None] = None

    def do_GET(self) -> None:
        self._tell({"data": [{"id": "m"}], "weight_version": "default"})

    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        Faulty.key = self.headers.get("Authorization")
        if Faulty.codes:
            self.send_response(Faulty.codes.pop())
            if Faulty.pause:
                self.send_header("Retry-After", Faulty.pause)
            self.end_headers()
            return
        tokens = [5] * asked["sampling_params"]["max_tokens"]
        choice = {
            "token_ids": tokens,
            "logprobs": {"content": [{"logprob": -1.0}] * len(tokens)},
            "weight_versions": [{"version": "default"}],
        }
        self._tell({"choices": [{**choice, **Faulty.wrong}]})

    def _tell(self, answer: dict[str, Any]) -> None:
        self.send_response(200)
        self.end_headers()
        self.wfile.write(json.dumps(answer).encode())

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def faulty() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Faulty)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    Faulty.wrong, Faulty.codes, Faulty.pause = {}, [], ""
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"token_ids": [10**6] * 10}, "tokens that this model does not have"),
        ({"logprobs": {"content": [{"logprob": 0.7}] * 10}}, "log-probabilities that are none"),
        ({"logprobs": None}, "does not answer with tokens, log-probabilities and their version"),
        ({"weight_versions": [{"version": "default"}, {"version": "x"}]}, "was it started again"),
        ({"token_ids": [5], "logprobs": {"content": [{"logprob": -1.0}]}, "finish_reason": "abort"}, "cut short .abort."),
    ],
)
def test_answers_that_cannot_be_are_refused(faulty: str, wrong: dict[str, Any], said: str) -> None:
    engine = client_of([faulty])
    Faulty.wrong = wrong
    with pytest.raises(UserError, match=f"{faulty}.*{said}"):
        result(engine, 1)


def test_a_stumbling_server_is_asked_again_and_a_broken_one_is_named(faulty: str) -> None:
    engine = client_of([faulty])
    Faulty.codes = [503, 500]
    assert result(engine, 1)
    Faulty.codes = [500] * 1000
    began = time.monotonic()
    with pytest.raises(UserError, match=f"{faulty} could not be reached .*HTTP 500"):
        result(engine, 1)
    assert time.monotonic() - began < 20


def test_a_server_is_waited_for_as_long_as_it_asks(faulty: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("A_KEY", "secret")
    waits: list[float] = []
    me, sleep = threading.get_ident(), time.sleep  # other threads may be left over from other tests
    monkeypatch.setattr(time, "sleep", lambda s: waits.append(s) if threading.get_ident() == me else sleep(s))
    Faulty.codes, Faulty.pause = [503, 429], "1.5"
    assert Place(faulty, pause=0.25, key="A_KEY").post("/x", {"sampling_params": {"max_tokens": 1}})["choices"]
    assert waits == [1.5, 1.5]
    assert Faulty.key == "Bearer secret"
    Place(faulty).post("/x", {"sampling_params": {"max_tokens": 1}})
    assert Faulty.key is None  # a server that samples is not shown anybody's key
    Faulty.codes = [429]
    with pytest.raises(UserError, match=r"tried once\): HTTP 429"):
        Place(faulty, timeout=1.0).post("/x", {})


def test_a_server_that_is_not_there_is_named() -> None:
    place = Place("http://127.0.0.1:9", timeout=5.0, retries=1, pause=0.01)
    with pytest.raises(UserError, match=r"could not be reached \(tried 2 times\): .*refused"):
        place.get("/health")


def test_a_model_that_is_plainly_another_teaches_nothing(tiny_folder: Path) -> None:
    learner = TorchLearner(str(tiny_folder), Optim(), steps=1)
    groups = result(learner.publish())
    paid = [[{"reflection": Signal(policy=1.0)} if "reflection" in e else {} for e in group] for group in groups]
    rows = compile_rows(groups, paid)
    learner.replica = LocalCopy(str(tiny_folder), EngineOptions(), learner.renderer)
    before = [p.clone() for p in learner.trained]

    def shifted(by: float) -> Rows:
        moved = [replace(row, targets=tuple(replace(t, sampler=t.sampler - by) for t in row.targets)) for row in rows.rows]
        return replace(rows, rows=tuple(moved))

    with pytest.raises(UserError, match=r"differs from the trainer by 3\.0 nats"):
        learner.step(shifted(3.0))
    assert all(torch.equal(a, b) for a, b in zip(before, learner.trained, strict=True))
    assert learner.step(shifted(0.01))["sampler_gap/mean"] == pytest.approx(0.01, abs=1e-3)


def test_a_frozen_server_and_a_dead_one_are_named_in_time(tiny_folder: Path) -> None:
    words = [sys.executable, "-m", "secondthought.cli", "serve", str(tiny_folder), "--port"]
    with ThreadingHTTPServer(("127.0.0.1", 0), Faulty) as free:
        port = free.server_port
    process = subprocess.Popen([*words, str(port)], stdout=subprocess.DEVNULL, env={**os.environ, "OMP_NUM_THREADS": "1"})
    url = f"http://127.0.0.1:{port}"
    try:
        for _ in range(1200):
            try:
                urllib.request.urlopen(f"{url}/health", timeout=1)
                break
            except OSError:
                time.sleep(0.1)
        engine = client_of([url], timeout=3.0)
        before = result(engine)
        process.send_signal(signal.SIGSTOP)
        began = time.monotonic()
        with pytest.raises(UserError, match=f"{url} could not be reached .*no answer in 3 s"):
            result(engine)
        assert time.monotonic() - began < 30
        process.send_signal(signal.SIGCONT)
        assert same(result(engine), before)
        process.kill()
        process.wait()
        with pytest.raises(UserError, match=f"{url} could not be reached"):
            result(engine)
    finally:
        process.kill()
        process.wait()


def test_what_vllm_is_asked_leaves_nothing_to_its_defaults() -> None:
    ours, task = engine_of(0), Task.of("?", answer=None, family="t")
    request = Request("attempt", task, (), (Segment("prompt", "task", "user", "", (1, 2)),), 2**62, Sampling(max_tokens=4))
    asked = settings(request, ours.renderer)
    assert (asked["top_k"], asked["repetition_penalty"], asked["seed"]) == (0, 1.0, 2**62)
    assert set(asked["stop_token_ids"]) == set(ours.renderer.ends)
    shaped = settings(replace(request, sampling=Sampling(top_p=0.9, top_k=7, min_p=0.1, repetition_penalty=1.1)), ours.renderer)
    assert [shaped[name] for name in ("top_p", "top_k", "min_p", "repetition_penalty")] == [0.9, 7, 0.1, 1.1]
    end = next(iter(ours.renderer.ends))
    ended: Sampled = written(request, ours.renderer, [5, end, 9], [-1.0, -2.0, -3.0], 4, "stop")
    assert (ended.tokens, ended.logprobs, ended.stop, ended.version) == ((5, end), (-1.0, -2.0), "end", 4)
    assert written(request, ours.renderer, [5, 6], [-1.0, -1.0], 0, "stop").stop == "end"
    assert written(request, ours.renderer, [5, 6, 7, 8], [-1.0] * 4, 0, "length").stop == "length"
