"""All probes at once: what they cost is counted before, what a model does not allow is left out, and one page has it all."""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
from typer.testing import CliRunner

from secondthought.cli import app
from secondthought.engines.base import Access
from secondthought.engines.counting import Counting
from secondthought.engines.scripted import Scripted, bytes_renderer
from secondthought.errors import UserError
from secondthought.probes.base import Checkpoint
from secondthought.probes.checkpoints import checkpoints_of
from secondthought.probes.first_try import FirstTry
from secondthought.probes.run import Options
from secondthought.probes.subjects import reflecting
from secondthought.probes.suite import Wanted, estimated, run_suite
from secondthought.report import card, formats, terminal
from secondthought.runs.progress import Silence
from secondthought.runs.reading import read_run

NANO = "nano/duo-0.1m"
ONLY = ("first_try", "hint_faithfulness", "blind_spot", "self_trust")


def test_the_four_of_this_kind_and_the_older_ones_are_in_it() -> None:
    found = Wanted(n=3).probes(Access.HIDDEN, "terse")
    assert {*ONLY, "answer", "calibration", "second_try", "flawed_chain", "superficial", "self_correction"} <= set(found)
    assert all(probe.asks.endswith("?") for probe in found.values())
    assert {getattr(found[name], "tasks", "") for name in ("blind_spot", "flawed_chain")} == {"arithmetic"}
    words = Wanted(n=3, questions="multiple_choice:x.jsonl").probes(Access.SAMPLE, "chat")
    assert words["hint_faithfulness"].tasks == "multiple_choice:x.jsonl"  # type: ignore[attr-defined]
    assert words["blind_spot"].tasks == "scli"  # type: ignore[attr-defined]


def test_cost_is_what_is_asked_then() -> None:
    """A subject that answers as the count does costs the calls that were counted."""
    probe = FirstTry(tasks="multiple_choice", n=20, controls=False)
    counting = Counting(bytes_renderer(), "So it is 1. The answer is A.")
    probe.measure(counting, Silence())
    engine = Scripted(reflecting(1.0, 0.0))
    probe.measure(engine, Silence())
    assert counting.cost.calls == sum(engine.calls) == 20
    assert counting.cost.written == 20 * 512


def test_controls_with_as_many_tokens_are_counted_in_full() -> None:
    probe = FirstTry(tasks="multiple_choice", n=20)
    counting = Counting(bytes_renderer(), "So it is 1. The answer is A.", "\nWait. ")
    probe.measure(counting, Silence())
    engine = Scripted(reflecting(1.0, 0.0))
    probe.measure(engine, Silence())
    assert counting.cost.calls >= sum(engine.calls) > 20


def test_an_estimate_names_every_probe() -> None:
    found = estimated(Checkpoint(NANO, NANO), Wanted(n=4), Options())
    assert set(ONLY) <= set(found.costs)
    assert all(cost.read > 0 for cost in found.costs.values())
    sampled = [name for name, cost in found.costs.items() if cost.calls > 0 and cost.written > 0]
    assert set(found.costs) - set(sampled) == {"self_description"}  # whose answers are read from log-probabilities
    assert {"temperature", "enaction", "self_description", "entity_knowledge"} <= set(found.costs)
    assert found.speed > 0
    assert found.total.calls == sum(cost.calls for cost in found.costs.values())
    rows = {name: (cost.calls, cost.read, cost.written, found.seconds(cost)) for name, cost in found.costs.items()}
    assert "all together" in terminal.costs(NANO, rows)
    assert "$" in terminal.costs(NANO, rows, (1.0, 2.0))


def test_one_report_of_all(tmp_path: Path) -> None:
    out = tmp_path / "all"
    wanted = Wanted(n=4, only=ONLY)
    summary = run_suite(checkpoints_of([NANO]), wanted, out, Silence(), Options())
    assert [one["probe"] for one in summary["parts"]] == list(ONLY)
    page = formats.write(out)
    text = page.read_text(encoding="utf-8")
    for one in summary["parts"]:
        assert f"{one['folder']}/report.html" in text
        assert (out / one["folder"] / "summary.json").is_file()
    before = {path: path.stat().st_mtime_ns for path in out.glob("*/episodes/*.parquet")}
    run_suite(checkpoints_of([NANO]), wanted, out, Silence(), Options())
    assert before == {path: path.stat().st_mtime_ns for path in out.glob("*/episodes/*.parquet")}
    assert "Does it trust an answer" in terminal.suite(summary)


def test_the_command_says_the_cost_first(tmp_path: Path) -> None:
    words = ["probe", "all", "--model", NANO, "--n", "4", "--only", "answer", "--out", str(tmp_path / "all")]
    planned = CliRunner().invoke(app, [*words, "--plan"])
    assert planned.exit_code == 0, planned.output
    assert "what it takes" in planned.output
    assert not (tmp_path / "all").exists()
    done = CliRunner().invoke(app, words)
    assert done.exit_code == 0, done.output
    assert (tmp_path / "all" / "report.html").is_file()
    assert "| question | nano/duo-0.1m |" in (tmp_path / "all" / "card.md").read_text()
    listed = CliRunner().invoke(app, ["probe", "--help"]).output
    assert "all" in listed
    assert "self_trust" in listed


def test_a_card_has_models_side_by_side_and_says_what_could_not_be_asked(tmp_path: Path) -> None:
    out = tmp_path / "all"
    models = [Checkpoint(NANO, NANO), Checkpoint("nano/countdown", "a|b")]
    run_suite(models, Wanted(n=4, only=("answer", "second_try")), out, Silence(), Options())
    made = card.of(read_run(out))
    assert [one["probe"] for one in made["questions"]] == ["answer", "second_try"]
    assert all(set(one["answers"]) == {NANO, "a|b"} for one in made["questions"])
    summary = json.loads((out / "answer" / "summary.json").read_text())
    claims = {model["checkpoint"]["name"]: model["report"]["claim"] for model in summary["models"]}
    assert {name: one["claim"] for name, one in made["questions"][0]["answers"].items()} == claims
    made["left_out"] = {NANO: Wanted(only=("enaction", "answer")).not_asked(Access.SAMPLE)}
    text = card.markdown(made)
    assert r"| question | nano/duo-0.1m | a\|b |" in text
    assert "nano/duo-0.1m: enaction (needs " in text
    assert "answer (needs" not in text
    assert "probe all --model nano/duo-0.1m,a|b --n 4" in text


class Chat(BaseHTTPRequestHandler):
    """A chat endpoint that thinks, and then answers A."""

    asked = 0

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        type(self).asked += 1
        message = {"content": "The answer is A.", "reasoning_content": "The answer is B. Wait. The answer is A."}
        body = json.dumps({"choices": [{"message": message, "finish_reason": "stop"}], "usage": {}}).encode()
        self.send_response(200)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *words: object) -> None:
        """Says nothing."""


@pytest.fixture
def chat() -> str:
    server = HTTPServer(("127.0.0.1", 0), Chat)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return f"http://127.0.0.1:{server.server_port}/v1#thinker@chat"


def test_an_endpoint_is_asked_only_with_leave(chat: str, tmp_path: Path) -> None:
    words = ["probe", "all", "--model", chat, "--n", "2", "--only", ",".join(ONLY), "--out", str(tmp_path / "all")]
    refused = CliRunner().invoke(app, [*words, "--prices", "1,2"])
    assert isinstance(refused.exception, UserError)
    assert "--yes" in str(refused.exception)
    assert Chat.asked == 0
    done = CliRunner().invoke(app, [*words, "--yes"])
    assert done.exit_code == 0, done.output
    first = json.loads((tmp_path / "all" / "first_try" / "summary.json").read_text())["models"][0]["report"]
    assert first["figures"]["candidates"]["value"] == 2  # in its thoughts
    assert "words of its own" in json.dumps(json.loads((tmp_path / "all" / "blind_spot" / "summary.json").read_text()))


def test_bad_input_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="there is no probe"):
        Wanted(only=("nothing",)).probes(Access.SAMPLE, "chat")
