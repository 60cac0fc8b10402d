"""vLLM itself, where it is installed (``make test-vllm``): the same tokens as ours, weights that arrive, and what goes wrong."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch

pytest.importorskip("vllm", reason="vLLM is not installed: make test-vllm")

from secondthought.engines.base import Engine, EngineOptions, Sampling
from secondthought.engines.factory import torch_engine
from secondthought.engines.remote.client import RemoteEngine
from secondthought.engines.torch.engine import TorchEngine
from secondthought.engines.vllm.engine import VllmEngine
from secondthought.errors import UserError
from secondthought.models.hub import load
from secondthought.models.weights import plain_weights
from secondthought.protocols.reflect_retry import TERSE, reflect_retry
from secondthought.rollouts import rollout
from secondthought.tasks.countdown import Countdown
from secondthought.types import Group

MODEL = "nano/countdown"
TASKS = Countdown("train")
PROTOCOL = partial(reflect_retry, grade=TASKS.grade, prompts=TERSE)


def result(engine: Engine, temperature: float = 0.0) -> list[Group]:
    return rollout(PROTOCOL, [TASKS[i] for i in range(8)], 2, engine, Sampling(temperature=temperature, max_tokens=16), seed=5)


def agree(left: list[Group], right: list[Group]) -> None:
    """The same tokens everywhere, and log-probabilities within a thousandth of a nat."""
    for ours, theirs in zip(left, right, strict=True):
        for a, b in zip(ours, theirs, strict=True):
            assert [s.tokens for s in a.segments] == [s.tokens for s in b.segments]
            assert [s.stop for s in a.segments] == [s.stop for s in b.segments]
            for s, t in zip(a.segments, b.segments, strict=True):
                assert s.logprobs == pytest.approx(t.logprobs, abs=1e-3) if s.logprobs else t.logprobs is None


def shaken(engine: TorchEngine, seed: int) -> None:
    """Other weights."""
    torch.manual_seed(seed)
    with torch.no_grad():
        for parameter in engine.model.parameters():
            parameter.add_(torch.randn_like(parameter), alpha=0.02 * float(parameter.std()))


def follows_five_updates(engine: Any) -> None:
    ours = torch_engine(MODEL)
    agree(result(ours), result(engine))
    before = result(ours)
    for version in range(1, 6):
        shaken(ours, version)
        engine.publish(plain_weights(ours.model), ours.model.config, version)
        groups = result(engine)
        agree(result(ours), groups)
        assert {s.version for e in groups[0] for s in e.segments if s.logprobs is not None} == {version}
    assert [e.segments for e in result(ours)[0]] != [e.segments for e in before[0]]  # the updates were not too small to see


def scores_of(engine: TorchEngine, groups: list[Group], temperature: float) -> float:
    """The largest difference between recorded log-probabilities and the trainer's."""
    worst = 0.0
    for group in groups:
        for episode in group:
            context: tuple[int, ...] = ()
            for segment in episode.segments:
                if segment.logprobs:
                    (trained,) = engine.score([context], [segment.tokens], temperature)
                    worst = max(worst, *(abs(a - b) for a, b in zip(trained, segment.logprobs, strict=True)))
                context += segment.tokens
    return worst


@pytest.fixture(scope="module")
def inside() -> VllmEngine:
    return VllmEngine(MODEL, EngineOptions(precision="float32"), torch_engine(MODEL).renderer)


def test_in_process_it_says_what_we_say_after_every_update(inside: VllmEngine) -> None:
    follows_five_updates(inside)


def test_what_it_samples_has_the_log_probabilities_of_the_trainer(inside: VllmEngine) -> None:
    ours = torch_engine(MODEL)
    inside.publish(plain_weights(ours.model), ours.model.config, 1)
    for temperature in (1.0, 0.7):
        groups = result(inside, temperature)
        assert groups == result(inside, temperature)  # a request's seed decides
        assert scores_of(ours, groups, temperature) < 1e-3


def test_a_conversation_too_long_is_refused(inside: VllmEngine) -> None:
    with pytest.raises(UserError, match="lower max_tokens"):
        rollout(PROTOCOL, [TASKS[0]], 2, inside, Sampling(max_tokens=100_000))


# --- a server ----------------------------------------------------------------------------------------------------------


def start(port: int) -> subprocess.Popen[bytes]:
    words = [sys.executable, "-m", "secondthought.cli", "serve", MODEL, "--backend", "vllm", "--port", str(port)]
    words += ["--dtype", "float32", "--enforce-eager", "--max-num-seqs", "64", "--max-model-len", "192"]
    return subprocess.Popen(words, start_new_session=True, env={**os.environ, "OMP_NUM_THREADS": "1"})


def up(port: int, process: subprocess.Popen[bytes]) -> str:
    url = f"http://127.0.0.1:{port}"
    for _ in range(600):
        assert process.poll() is None, "the server ended"
        try:
            urllib.request.urlopen(f"{url}/health", timeout=5)
            return url
        except OSError:
            time.sleep(0.5)
    raise AssertionError("the server never answered")


def end(process: subprocess.Popen[bytes]) -> None:
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        return
    process.wait()


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as free:
        return int(free.getsockname()[1])


@pytest.fixture(scope="module")
def server() -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    port = free_port()
    process = start(port)
    try:
        yield up(port, process), process
    finally:
        end(process)


def client_of(url: str, timeout: float = 60.0) -> RemoteEngine:
    model = load(MODEL)[0]
    return RemoteEngine([url], torch_engine(MODEL).renderer, model.config.vocab_size, timeout=timeout)


def test_a_server_says_what_we_say_after_every_update(server: tuple[str, subprocess.Popen[bytes]]) -> None:
    follows_five_updates(client_of(server[0]))


def train(out: Path, *settings: str, processes: int = 1) -> subprocess.CompletedProcess[str]:
    words = [sys.executable, "-m", "secondthought.cli", *(["launch", "--processes", str(processes)] if processes > 1 else [])]
    words += ["train", "rrr_countdown", "--out", str(out)]
    small = ["steps=3", "groups=4", "group_size=4", "eval_problems=8", "dev_problems=4", "eval_every=3", "checkpoint_every=3"]
    words += [word for setting in (*small, *settings) for word in ("--set", setting)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.run(words, capture_output=True, text=True, timeout=400, check=False, env=environment)


def gaps(out: Path) -> list[float]:
    lines = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    return [line["sampler_gap/max"] for line in lines if line.get("sampler_gap/max") is not None]


def test_training_samples_from_a_server(server: tuple[str, subprocess.Popen[bytes]], tmp_path: Path) -> None:
    ended = train(tmp_path / "run", f"engine.at={server[0]}", "asynchronous=true", "eval_every=9", "checkpoint_every=9")
    assert ended.returncode == 0, ended.stderr
    aged = gaps(tmp_path / "run")
    assert aged[0] < 1e-3 < aged[1]  # from the second step on it is sampled with weights a step old


@pytest.mark.parametrize("processes", [1, 2])
def test_training_samples_in_each_process(processes: int, tmp_path: Path) -> None:
    ended = train(tmp_path / "run", "engine.backend=vllm", "engine.precision=float32", processes=processes)
    assert ended.returncode == 0, ended.stderr
    assert max(gaps(tmp_path / "run")) < 1e-3


def test_a_server_that_freezes_or_dies_is_named_in_time(server: tuple[str, subprocess.Popen[bytes]]) -> None:
    url, process = server
    engine = client_of(url, timeout=8.0)
    result(engine)
    os.killpg(process.pid, signal.SIGSTOP)
    began = time.monotonic()
    with pytest.raises(UserError, match=f"{url} could not be reached.*no answer in 8 s"):
        result(engine)
    assert time.monotonic() - began < 60
    os.killpg(process.pid, signal.SIGCONT)
    result(engine)  # and goes on as if nothing had been
    end(process)
    began = time.monotonic()
    with pytest.raises(UserError, match=f"{url} could not be reached"):
        result(engine)
    assert time.monotonic() - began < 60


def test_a_model_is_measured_in_vllm(tmp_path: Path) -> None:
    words = [sys.executable, "-m", "secondthought.cli", "eval", "answer", "--model", f"vllm:{MODEL}", "--tasks", "countdown"]
    words += ["--n", "8", "--out", str(tmp_path / "eval")]
    ended = subprocess.run(words, capture_output=True, text=True, timeout=300, check=False)
    assert ended.returncode == 0, ended.stderr
    assert json.loads((tmp_path / "eval" / "summary.json").read_text())["after"]["first"]["n"] == 8
