"""``--tasks openenv:URL`` against a server made with openenv-core itself (``make test-extras``)."""

from __future__ import annotations

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

pytest.importorskip("openenv", reason="openenv-core is not installed: make test-extras")

from secondthought.engines.base import Request
from secondthought.engines.scripted import Scripted
from secondthought.errors import UserError
from secondthought.items.load import tasks_of
from secondthought.protocols.reflect_retry import CHAT, reflect_retry
from secondthought.rollouts import rollout

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    process = subprocess.Popen([sys.executable, "-m", "tests.extras.guess_server", str(port)], cwd=ROOT)
    url = f"http://127.0.0.1:{port}"
    try:
        for _ in range(120):
            try:
                urllib.request.urlopen(f"{url}/schema", timeout=2).close()
                break
            except OSError:
                time.sleep(0.5)
        yield url
    finally:
        process.terminate()
        process.wait(20)


def test_a_server_is_played(server: str) -> None:
    tasks = tasks_of(f"openenv:{server}?tasks=20&turns=3:all")
    assert len(tasks) == 20
    assert tasks[3].prompt[-1].content == (
        "Your whole answer is taken as number: A whole number from 0 to 9.\n\nI think of a number."
    )

    def say(request: Request) -> str:
        known: Any = request.task.answer
        turn = sum(s.name == request.name for s in request.segments)
        secret = known["seed"] * 7 % 10
        if request.name == "attempt":
            return str((secret + 1 + turn) % 10)
        return "Halve it." if request.name == "reflection" else str(secret) if turn else "???"

    groups = rollout(partial(reflect_retry, grade=tasks.grade, prompts=CHAT), [tasks[i] for i in range(8)], 2, Scripted(say))
    for group in groups:
        assert group[0].verdicts["attempt"].why == "not over: reward 0 in 3 turns"
        assert [e.verdicts["retry"].score for e in group] == [1.0, 1.0]
        assert [s.text for s in group[0].segments if s.name == "retry_observation"] == ["Too low."]


def test_what_is_wrong_is_said_in_one_sentence(server: str) -> None:
    for spec, said in (
        ("openenv:nowhere", "needs the address of a server"),
        ("openenv:http://127.0.0.1:9", "there is no OpenEnv server at"),
        (f"openenv:{server}?colour=red", "takes tasks and turns"),
    ):
        with pytest.raises(UserError, match=said):
            tasks_of(f"{spec}:all" if "http" in spec else spec)
