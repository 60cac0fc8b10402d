"""Who says that something was wrong: our rules against human labels, keyword lists, and a model as the judge."""

from __future__ import annotations

import csv
import json
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar

import pytest
from tests.published import published
from typer.testing import CliRunner

from secondthought.cli import app
from secondthought.engines.remote.openai import Endpoint as Remote
from secondthought.engines.scripted import Scripted
from secondthought.errors import UserError
from secondthought.probes.agreement import agreement, detect
from secondthought.probes.detectors import DETECTORS, cues, detector_of, first_cue, named, own_words, rules
from secondthought.probes.judges import shortened
from secondthought.probes.reflection_judge import Judge
from secondthought.protocols.base import Draft
from secondthought.rollouts import drive
from secondthought.types import Task

csv.field_size_limit(sys.maxsize)


def test_our_rules_agree_with_people() -> None:
    with (published("reflection_in_pretraining") / "human_labels_dev.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    for dataset in (None, "GSM8K", "CruxEval_O", "TriviaQA"):
        here = [row for row in rows if dataset in (None, row["Dataset"])]
        found = agreement(rules([r["Model Output"] for r in here]), [r["Annotation Label"] == "Yes" for r in here])
        assert found.f1.value >= (0.90 if dataset is None else 0.80), dataset
        assert found.specificity.value > 0.5, dataset  # it does not simply say yes, as most labels do


def test_our_rules_are_silent_on_plain_solutions() -> None:
    solutions = [json.loads(line)["answer"] for line in (published("gsm8k") / "test.jsonl").read_text().splitlines()]
    assert sum(map(bool, rules(solutions))) / len(solutions) < 0.02


@pytest.mark.parametrize(
    "text",
    [
        "That can't be right. Let me check our work.", "Hmm, I made a mistake in the second step.", "I thought it was pink.",
        "The function is incorrect, it should return 3.", "43 - 4 = 39, not 41.", "12.5 people? That is not a whole number!",
        "The output is not 'ab' but 'ba'!", "Let's try again.", "We forgot to add the child ticket.", "What did we do wrong?",
        "Wait, is that possible? I don\u2019t think so; the answer doesn\u2019t make sense.",
    ],
)  # fmt: skip
def test_reflection_is_heard(text: str) -> None:
    assert cues(text)
    assert first_cue(text) >= 0


@pytest.mark.parametrize(
    "text",
    [
        "200 dollars? That is a lot of money!", "So the answer is 14.", "She sells 9 * 2 = 18 eggs.", "", "wait, wait, wait",
        "Let's check the answer: 2 + 2 = 4. The answer is correct.", "Question 2: What is wrong with this sentence?",
        "Let's solve another problem. I made a mistake there.",
    ],
)  # fmt: skip
def test_other_words_are_not(text: str) -> None:
    assert not cues(text)


def test_what_another_harness_saved_is_unwrapped() -> None:
    assert own_words('[["That\\u2019s not right."]]') == "That's not right."
    assert own_words("[not json") == "[not json"


def test_keyword_lists_are_the_papers() -> None:
    assert DETECTORS["oat_zero"](["Let me Re-Evaluate this", "wait"]) == [True, False]
    assert DETECTORS["understand_r1_zero"](["I double-check", "try again"]) == [True, False]
    assert DETECTORS["markers"](["So 4. Wait, no", "nowait here", "However 5"]) == [True, False, True]
    with pytest.raises(UserError, match="no detector 'llm'"):
        named("llm")


def test_agreement_is_exact() -> None:
    found = agreement([True] * 6 + [False] * 3 + [None], [True] * 4 + [False] * 2 + [True] + [False] * 2 + [True])
    assert (found.precision.value, found.recall.value, found.specificity.value) == (4 / 6, 4 / 6, 2 / 4)
    assert found.f1.value == pytest.approx(4 / 6)
    assert found.f1.low < 4 / 6 < found.f1.high
    assert found.undecided == 1


def test_a_model_can_judge() -> None:
    def speak(request: Any) -> str:
        shown = request.task.prompt[-1].content.rpartition('Text: "')[2]
        return "Yes." if "oops" in shown else "I cannot say" if "mumble" in shown else "no"

    engine = Scripted(speak)
    assert Judge(engine)(["oops", "fine", "mumble"]) == [True, False, None]
    assert engine.calls == [3]
    assert len(shortened("x" * 10_000)) < 5_000


class Endpoint(BaseHTTPRequestHandler):
    """A chat endpoint that fails as a test asks."""

    failures: ClassVar[list[int]] = []
    seen: ClassVar[list[dict[str, Any]]] = []

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        Endpoint.seen.append({**body, "key": self.headers.get("Authorization")})
        if Endpoint.failures:
            self.send_response(Endpoint.failures.pop())
            self.end_headers()
            return
        said = "Yes" if "oops" in body["messages"][-1]["content"].rpartition("Text:")[2] else "No"
        answer = json.dumps(
            {"choices": [{"message": {"content": said}}], "usage": {"prompt_tokens": 6, "completion_tokens": 1}}
        ).encode()
        self.send_response(200)
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def endpoint() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Endpoint)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    Endpoint.failures.clear()
    Endpoint.seen.clear()
    yield f"http://127.0.0.1:{server.server_port}/v1"
    server.shutdown()


def test_an_endpoint_judges_and_is_asked_again_when_it_stumbles(endpoint: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "secret")
    Endpoint.failures[:] = [503, 429]
    engine = Remote(endpoint, "gpt", chat=True, pause=0.01)
    assert Judge(engine)(["oops", "fine"]) == [True, False]
    assert engine.usage.written == 2
    assert Endpoint.seen[-1]["key"] == "Bearer secret"
    assert "secret" not in repr(engine)


def test_an_endpoint_that_refuses_or_is_away_is_named(endpoint: str) -> None:
    Endpoint.failures[:] = [401]
    with pytest.raises(UserError, match="refuses: HTTP 401"):
        Judge(Remote(endpoint, "gpt", chat=True, pause=0.01))(["a"])
    with pytest.raises(UserError, match="could not be reached \\(tried 2 times\\)"):
        Judge(Remote("http://127.0.0.1:9/v1", "gpt", chat=True, pause=0.01, retries=1))(["a"])

    async def prefilled(task: Task) -> str:
        draft = Draft(task)
        draft.write("chain", "so far", role="assistant", author="intervention")
        return await draft.sample("rest")

    with pytest.raises(UserError, match="cannot go on from words put into its mouth"):
        drive([prefilled(Task.of("?", answer=None, family="t"))], Remote(endpoint, "gpt", chat=True))
    with pytest.raises(UserError, match="names no model"):
        detector_of("judge:http://x/v1")


def test_the_command_reads_a_csv_in_order(tmp_path: Path) -> None:
    path = tmp_path / "texts.csv"
    path.write_text('said,gold\n"That is wrong, ""sorry"",\nI forgot",Yes\nfine,No\n"I was wrong",no\n', encoding="utf-8-sig")
    result = CliRunner().invoke(app, ["data", "detect", str(path), "--text", "said", "--label", "gold", "--json"])
    found = json.loads(result.stdout)
    assert found["predictions"] == [True, False, True]
    assert found["precision"]["value"] == 0.5
    shown = CliRunner().invoke(app, ["data", "detect", str(path), "--text", "said", "--label", "gold"]).stdout
    assert "2 of 3 texts reflect" in shown


@pytest.mark.parametrize(
    ("content", "label", "words"),
    [
        (b"other\nx\n", None, "no column 'said'"), (b"said\n", None, "no rows"), (b"said,gold\nx,maybe\n", "gold", "line 2: 'maybe' is no label"),
        (b"said\n\xff\xfe\n", None, "not UTF-8"), (None, None, "there is no file"), (b"said,gold\nx,Yes\n", "label", "no column 'label'"),
    ],
)  # fmt: skip
def test_a_broken_csv_is_named(tmp_path: Path, content: bytes | None, label: str | None, words: str) -> None:
    path = tmp_path / "texts.csv"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(UserError, match=words):
        detect(path, "said", label, "rules")
