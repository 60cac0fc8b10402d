"""Endpoints of others: what they are asked, what is kept and counted, and that no key is written anywhere."""

from __future__ import annotations

import json
import shutil
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar

import pytest
from typer.testing import CliRunner

from secondthought.cli import app
from secondthought.engines.base import Sampling
from secondthought.engines.remote.openai import Endpoint, PieceVocabulary, Usage, endpoint, prices_of
from secondthought.errors import UserError
from secondthought.protocols.base import Draft
from secondthought.rollouts import drive
from secondthought.types import Task

KEY = "sk-never-to-be-seen"


class Oracle(BaseHTTPRequestHandler):
    """A completions and chat endpoint that answers in capitals, with tokens if a test asks for them."""

    seen: ClassVar[list[dict[str, Any]]] = []
    plays: ClassVar[bool] = False

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        Oracle.seen.append({**body, "path": self.path, "key": self.headers.get("Authorization")})
        text = " SO BE IT"
        odds = {"tokens": [" SO", " BE", " IT", "\n\nUser:"], "token_logprobs": [-0.5, -0.25, None, -1.0]}
        choice: dict[str, Any] = {"finish_reason": "stop"}
        if self.path.endswith("/chat/completions"):
            choice["message"] = {"role": "assistant", "content": text}
        else:
            choice |= {"text": text, "logprobs": odds if Oracle.plays else None}
        answer = json.dumps({"choices": [choice], "usage": {"prompt_tokens": 100, "completion_tokens": 3}}).encode()
        self.send_response(200)
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def oracle() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Oracle)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    Oracle.seen.clear()
    Oracle.plays = False
    yield f"http://127.0.0.1:{server.server_port}/v1"
    server.shutdown()


async def prefilled(task: Task) -> Draft:
    draft = Draft(task)
    draft.write("chain", "First, 7 x 8 = 54.", role="assistant", author="intervention")
    await draft.sample("rest")
    draft.write("ask", "Sure?")
    await draft.sample("again")
    return draft


TASK = Task.of("What is 7 x 8?", answer="56", family="t")


def test_a_completions_endpoint_goes_on_from_words_put_into_its_mouth(oracle: str) -> None:
    (draft,) = drive([prefilled(TASK)], endpoint(f"{oracle}#m"), Sampling(max_tokens=9))
    first, second = Oracle.seen
    assert first["path"].endswith("/v1/completions")
    assert first["prompt"] == "User: What is 7 x 8?\n\nAssistant:First, 7 x 8 = 54."
    assert (first["max_tokens"], first["temperature"], first["stop"]) == (9, 1.0, ["\n\nUser:"])
    assert second["prompt"] == first["prompt"] + " SO BE IT\n\nUser: Sure?\n\nAssistant:"
    assert draft.segments[2].text == " SO BE IT"


def test_tokens_and_log_probabilities_are_kept_where_they_are_told(oracle: str) -> None:
    Oracle.plays = True
    there = endpoint(f"{oracle}#m")
    (draft,) = drive([prefilled(TASK)], there)
    rest = draft.segments[2]
    assert (len(rest.tokens), rest.logprobs) == (4, (-0.5, -0.25, 0.0, 0.0))  # three pieces and the end of the turn
    assert there.renderer.text_of(rest.tokens) == " SO BE IT"
    assert Oracle.seen[1]["prompt"].endswith(" SO BE IT\n\nUser: Sure?\n\nAssistant:")


def test_a_raw_endpoint_is_given_the_beginning_of_a_text(oracle: str) -> None:
    drive([prefilled(TASK)], Endpoint(oracle, "m", raw=True))
    assert Oracle.seen[0]["prompt"] == "What is 7 x 8?First, 7 x 8 = 54."
    assert "stop" not in Oracle.seen[0]


def test_a_chat_endpoint_says_why_it_cannot(oracle: str) -> None:
    with pytest.raises(UserError, match="chat endpoint, which cannot go on from words put into its mouth"):
        drive([prefilled(TASK)], endpoint(f"{oracle}#m@chat"))
    assert not Oracle.seen


def test_names_and_prices_are_checked() -> None:
    with pytest.raises(UserError, match="names no model"):
        endpoint("http://x/v1#@chat")
    with pytest.raises(UserError, match="two numbers with a comma"):
        prices_of("cheap")
    bill = Usage((1.0, 2.0))
    bill.add(500_000, 250_000)
    assert str(bill) == "1 calls, 500,000 tokens read and 250,000 written, $1.00"


def test_a_model_far_away_is_measured_and_paid_for_once(
    oracle: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    Oracle.plays = True
    out = tmp_path / "eval"
    words = ["probe", "answer", "--model", f"{oracle}#m", "--tasks", "countdown", "--out", str(out), "--n", "6"]
    first = CliRunner().invoke(app, [*words, "--prices", "10,1000"])
    assert first.exit_code == 0, first.output
    assert len(Oracle.seen) == 6
    assert Oracle.seen[0]["key"] == f"Bearer {KEY}"
    (out / "summary.json").unlink()
    shutil.rmtree(out / "reports")  # as if it had been killed at the end
    second = CliRunner().invoke(app, words)
    assert second.exit_code == 0, second.output
    assert len(Oracle.seen) == 6
    assert "6 calls, 600 tokens read and 18 written, $0.02" in first.output
    assert "0 calls" in second.output
    result = first.output + second.output + capsys.readouterr().err
    assert KEY not in result
    for path in out.rglob("*"):
        assert not path.is_file() or KEY.encode() not in path.read_bytes(), path


def test_numbers_of_words_mean_the_same_later(tmp_path: Path) -> None:
    first = PieceVocabulary(tmp_path / "words")
    numbers = [first.number(piece) for piece in (" SO", " BE", "\n", " SO")]
    again = PieceVocabulary(tmp_path / "words")
    assert again.number(" IT") not in numbers
    assert again.renderer().decode(numbers) == " SO BE\n SO"


def test_the_reflection_probe_takes_an_endpoint_but_not_a_chat(oracle: str, tmp_path: Path) -> None:
    words = ["probe", "flawed_chain", "--tasks", "arithmetic", "--n", "3"]
    found = CliRunner().invoke(app, [*words, "--model", f"{oracle}#m", "--out", str(tmp_path / "far")])
    assert found.exit_code == 0, found.output + repr(found.exception)
    assert (tmp_path / "far" / "summary.json").exists()
    refused = CliRunner().invoke(app, [*words, "--model", f"{oracle}#m@chat", "--out", str(tmp_path / "chat")])
    assert "cannot go on from words" in str(refused.exception)
