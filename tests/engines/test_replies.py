"""Odd replies of servers: understood, asked again, or named with the server's words; never graded as wrong, never paid twice."""

from __future__ import annotations

import json
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from secondthought import Draft, Episode, Group, Request, Sampling, Silence, Task, UserError, Verdict, rollout
from secondthought.engines.disk_cache import DiskCache
from secondthought.engines.remote.openai import endpoint, extra_of
from secondthought.probes.second_try import SecondTry
from secondthought.protocols.answer import answer
from secondthought.rollouts import drive
from secondthought.tasks import function_calling
from secondthought.tasks.grade import exact
from secondthought.types import UNGRADED

Reply = dict[str, Any] | bytes | int
PAY = {
    "name": "pay",
    "parameters": {"type": "dict", "properties": {"to": {"type": "string"}, "amount": {"type": "float"}}, "required": ["to"]},
}


def said(content: Any, reason: str | None = "stop", **more: Any) -> dict[str, Any]:
    message = {"role": "assistant", "content": content, **more}
    return {"choices": [{"message": message, "finish_reason": reason}], "usage": {"prompt_tokens": 9, "completion_tokens": 2}}


@contextmanager
def server(play: Callable[[dict[str, Any], int], Reply]) -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """A chat server that answers ``play(body, how often this body has come)``."""
    seen: list[dict[str, Any]] = []
    counts: Counter[str] = Counter()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            seen.append(body)
            key = json.dumps(body.get("messages") or body.get("prompt"))
            counts[key] += 1
            found = play(body, counts[key])
            code, data = (found["code"], found) if isinstance(found, dict) and "code" in found else (200, found)
            self.send_response(code)
            self.end_headers()
            self.wfile.write(data if isinstance(data, bytes) else json.dumps(data).encode())

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=http.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{http.server_port}/v1#m@chat", seen
    finally:
        http.shutdown()


def grade(task: Task, text: str) -> Verdict:
    return exact(task.answer, text)


def ask(url: str, tasks: list[Task], cache: Path | None = None, **settings: Any) -> list[Group]:
    there = endpoint(url, pause=0.01, retries=2, **settings)
    engine = there if cache is None else DiskCache(there, cache, there.digest)
    return rollout(partial(answer, grade=grade), tasks, 1, engine, Sampling(max_tokens=9))


def one(url: str, **settings: Any) -> Episode:
    return ask(url, [Task.of("2 + 2?", answer="4", family="sums")], **settings)[0][0]


ODD: list[tuple[str, Reply, str, float | None, int]] = [  # name, first reply, text, score, requests (the second reply is "4")
    ("parts", said([{"type": "text", "text": "4"}]), "4", 1, 1),
    ("thoughts of its own", said("4", reasoning_content="hm, 5?"), "<think>hm, 5?</think>4", 1, 1),
    ("cut off in its thoughts", said(None, "length", reasoning_content="hm"), "<think>hm", 0, 1),
    ("null, though it ended", said(None), "4", 1, 2),
    ("no content at all", {"choices": [{"message": {"role": "assistant"}, "finish_reason": "stop"}]}, "", 0, 1),
    ("filtered", said("", "content_filter"), "", None, 1),
    ("refused", said(None, refusal="I cannot"), "", None, 1),
    ("an error inside a success", {"error": {"message": "worker restarting"}}, "4", 1, 2),
    ("choices null", {"choices": None}, "4", 1, 2),
    ("choices empty", {"choices": []}, "4", 1, 2),
    ("usage null", {**said("4"), "usage": {"prompt_tokens": None, "completion_tokens": None}}, "4", 1, 1),
    ("a page", b"<html><body>Bad Gateway</body></html>", "4", 1, 2),
    ("a list", b"[1]", "4", 1, 2),
]


@pytest.mark.parametrize(("first", "text", "score", "requests"), [case[1:] for case in ODD], ids=[case[0] for case in ODD])
def test_odd_replies(first: Reply, text: str, score: float | None, requests: int) -> None:
    with server(lambda body, times: first if times == 1 else said("4")) as (url, seen):
        episode = one(url)
    assert "".join(segment.text for segment in episode.segments if segment.author == "policy") == text
    assert len(seen) == requests
    assert episode.verdicts["attempt"] == UNGRADED if score is None else episode.verdicts["attempt"].score == score


@pytest.mark.parametrize(
    ("reply", "words"),
    [
        ({"error": {"message": "the model is overloaded"}}, "it reports an error: the model is overloaded"),
        (b"data: {\"choices\": []}\n\n", "it answered something that is no JSON: 'data: "),
        ({"code": 418, "error": {"message": "no tea"}}, "refuses: HTTP 418 .* \\(no tea\\)"),
    ],
)  # fmt: skip
def test_what_stays_odd_is_named_with_the_servers_words(reply: Reply, words: str) -> None:
    with server(lambda body, times: reply) as (url, _), pytest.raises(UserError, match=words):
        one(url)


def test_every_answer_is_kept_the_moment_it_is_there(tmp_path: Path) -> None:
    tasks = [Task.of(f"{i} + 1?", answer=str(i + 1), family="sums") for i in range(9)]

    def play(body: dict[str, Any], times: int) -> Reply:
        asked = body["messages"][0]["content"]
        return {"code": 400, "error": {"message": "bad one"}} if broken and asked.startswith("3") else said("4")

    broken = True
    with server(play) as (url, seen):
        for _ in range(3):
            with pytest.raises(UserError, match="bad one"):
                ask(url, tasks, tmp_path / "cache.sqlite")
        assert len(seen) == 8 + 3
        broken = False
        groups = ask(url, tasks, tmp_path / "cache.sqlite")
        assert len(seen) == 8 + 3 + 1
    assert [group[0]["attempt"].text for group in groups] == ["4"] * 9


def test_what_a_server_would_not_answer_is_not_kept(tmp_path: Path) -> None:
    with server(lambda body, times: said("", "content_filter") if times == 1 else said("4")) as (url, seen):
        first = ask(url, [Task.of("2 + 2?", answer="4", family="sums")], tmp_path / "c")[0][0]
        second = ask(url, [Task.of("2 + 2?", answer="4", family="sums")], tmp_path / "c")[0][0]
    assert first["attempt"].stop == "nothing"
    assert second.verdicts["attempt"].score == 1
    assert len(seen) == 2


def test_servers_are_asked_in_the_words_that_they_take() -> None:
    def play(body: dict[str, Any], times: int) -> Reply:
        if "max_tokens" in body:
            return {
                "code": 400,
                "error": {"message": "Unsupported parameter: 'max_tokens'. Use 'max_completion_tokens' instead."},
            }
        if "temperature" in body:
            return {"code": 400, "error": {"message": "'temperature' does not support 0.5 with this model."}}
        return said("4")

    with server(play) as (url, seen):
        assert one(url, extra={"reasoning_effort": "low", "seed": None}).verdicts["attempt"].score == 1
    assert seen[-1]["max_completion_tokens"] == 9
    assert seen[-1]["reasoning_effort"] == "low"
    assert {"seed", "max_tokens", "temperature"} & seen[-1].keys() == set()
    for text in ("{", "[1]"):
        with pytest.raises(UserError, match="--extra"):
            extra_of(text)


def test_chat_servers_get_the_tools_and_their_calls_are_read() -> None:
    row = {
        "id": "1",
        "question": "Pay 5 to Ann.",
        "function": [PAY],
        "ground_truth": [{"pay": {"to": ["Ann"], "amount": [5.0, 5]}}],
    }
    task = function_calling.rows_from([(1, row)], "rows")[0].task
    called = [{"id": "a", "type": "function", "function": {"name": "pay", "arguments": '{"to": "Ann", "amount": 5}'}}]
    protocol = partial(answer, grade=function_calling.grade)
    with server(lambda body, times: said(None, "tool_calls", tool_calls=called)) as (url, seen):
        ((episode,),) = rollout(protocol, [task], 1, endpoint(url), Sampling())
    assert episode.verdicts["attempt"].score == 1
    (tool,) = seen[0]["tools"]
    assert tool["function"]["parameters"]["properties"]["amount"] == {"type": "number"}

    def without(body: dict[str, Any], times: int) -> Reply:
        if "tools" in body:
            return {"code": 400, "error": {"message": "this model does not support tools"}}
        return said('[{"name": "pay", "arguments": {"to": "Ann", "amount": 5}}]')

    with server(without) as (url, seen):
        ((episode,),) = rollout(protocol, [task], 1, endpoint(url), Sampling())
    assert episode.verdicts["attempt"].score == 1
    assert '"name": "pay"' in seen[-1]["messages"][0]["content"]


def test_many_at_once_learn_together_how_a_server_wants_to_be_asked() -> None:
    together = threading.Barrier(8)

    def play(body: dict[str, Any], times: int) -> Reply:
        if "max_tokens" in body:
            together.wait(10)  # all of them are refused before any can have learned from it
            return {"code": 400, "error": {"message": "use 'max_completion_tokens' instead"}}
        return said("4")

    with server(play) as (url, seen):
        groups = ask(url, [Task.of(f"{i} + 1?", answer="4", family="sums") for i in range(8)])
    assert [group[0].verdicts["attempt"].score for group in groups] == [1] * 8
    assert len(seen) == 16


def test_after_a_stop_nothing_more_is_asked(tmp_path: Path) -> None:
    class Stop(Exception):
        pass

    with server(lambda body, times: said("4")) as (url, seen):
        there = endpoint(url, concurrency=2)
        tasks = [Task.of(f"{i} + 1?", answer="4", family="sums") for i in range(50)]
        requests = [Request("attempt", task, (0,), Draft(task).segments, seed=1) for task in tasks]
        with pytest.raises(Stop):
            for _ in there.as_completed(requests):
                raise Stop
    assert len(seen) < 25


def test_what_a_server_refused_is_neither_reflected_on_nor_counted() -> None:
    tasks = [Task.of(f"{i} + 1?", answer="4", family="sums") for i in range(6)]

    def play(body: dict[str, Any], times: int) -> Reply:
        asked = body["messages"][0]["content"]
        return said("", "content_filter") if asked.startswith(("0", "1")) else said("4" if len(body["messages"]) > 3 else "5")

    class Listed:
        def __len__(self) -> int:
            return len(tasks)

        def __getitem__(self, index: int) -> Task:
            return tasks[index]

        def grade(self, task: Task, text: str) -> Verdict:
            return grade(task, text)

    probe = SecondTry(tasks=Listed(), n=6)
    with server(play) as (url, seen):
        report = probe.report(probe.measure(endpoint(url), Silence()))
    assert report.arm("first").estimate.n == 4
    assert report.arm("second").estimate.n == 4
    assert report.arm("retry_after_failure").estimate.value == 1
    assert not [body for body in seen if body["messages"][0]["content"].startswith("0") and len(body["messages"]) > 1]


def test_thoughts_are_no_part_of_the_history_that_is_sent() -> None:
    async def twice(task: Task) -> Episode:
        draft = Draft(task)
        await draft.sample("attempt")
        draft.write("again", "Sure?")
        await draft.sample("second")
        return draft.close()

    with server(lambda body, times: said("<think>hm</think>4")) as (url, seen):
        (episode,) = drive([twice(Task.of("2 + 2?", answer="4", family="sums"))], endpoint(url))
    assert [s.name for s in episode.segments] == ["prompt", "attempt_thoughts", "attempt", "again", "second_thoughts", "second"]
    assert [turn["content"] for turn in seen[-1]["messages"]] == ["2 + 2?", "4", "Sure?"]
