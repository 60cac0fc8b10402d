"""Calls are found wherever they stand behind the thoughts, in the format of every model family whose template takes tools."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest

from secondthought.tasks.call_matching import LONGEST, Call, Unreadable, read
from secondthought.tasks.function_calling import grade_row, rows_from

BOOK: dict[str, Any] = {
    "name": "book", "parameters": {"type": "object", "required": ["room"], "properties": {
        "room": {"type": "string"}, "nights": {"type": "integer"}, "late": {"type": "boolean", "default": False},
        "guests": {"type": "array", "items": {"type": "string"}}}},
}  # fmt: skip
OTHER: dict[str, Any] = {"name": "cancel", "parameters": {"type": "object", "properties": {}}}
JSON = '{"name": "book", "arguments": {"room": "12", "nights": 3}}'


def score(text: str, *calls: dict[str, Any]) -> float:
    answers = [{"name": "book", "arguments": call} for call in calls or ({"room": "12", "nights": 3},)]
    row = rows_from([(1, {"query": "?", "tools": [BOOK, OTHER], "answers": answers})], "rows")[0]
    return grade_row(row, text).score


@pytest.mark.parametrize(
    "text",
    [
        JSON, f"[{JSON}]", f"```json\n{JSON}\n```", f"<tool_call>\n{JSON}\n</tool_call>", f"<tool_call>\n{JSON}",  # Hermes, Qwen
        f"<|tool_call|>{JSON}<|/tool_call|>", f"<|python_tag|>{JSON}", f"[TOOL_CALLS] [{JSON}]",
        "<tool_call>\n<function=book>\n<parameter=room>\n12\n</parameter>\n<parameter=nights>\n3\n</parameter>\n</function>\n</tool_call>",
        '<function=book>{"room": "12", "nights": 3}</function>', "[book(room='12', nights=3)]", "book(room='12', nights=3)",  # Llama
        '[TOOL_CALLS]book[ARGS]{"room": "12", "nights": 3}', '[TOOL_CALLS]book[CALL_ID]x1[ARGS]{"room": "12", "nights": 3}',  # Mistral
        '<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>function<｜tool▁sep｜>book\n```json\n{"room": "12", "nights": 3}\n```<｜tool▁call▁end｜><｜tool▁calls▁end｜>',
        '<｜tool▁call▁begin｜>book<｜tool▁sep｜>{"room": "12", "nights": 3}<｜tool▁call▁end｜>',  # DeepSeek
        '✿FUNCTION✿: book\n✿ARGS✿: {"room": "12", "nights": 3}\n✿RESULT✿', "{'name': 'book', 'arguments': {'room': '12', 'nights': 3}}",
        f"Booking [the room]: {JSON}", f"As in [1] and [docs](http://x), - [x] done:\n{JSON}", "I will call `book(room='12', nights=3)`.",
        f"<think>maybe {JSON} or cancel()</think>\n{JSON}", f"in my mind: cancel()</think>{JSON}", f"Let me (quickly) do it. {JSON} Done (really).",
    ],
)  # fmt: skip
def test_one_call_in_every_dress(text: str) -> None:
    assert score(text) == 1


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (f"<think>{JSON}</think>I cannot.", "no call"), (f"<think>I will call {JSON}", "nothing is there"),  # only thought of
        (f"```json\n{JSON}\n```\n```json\n{JSON}\n```", "extra call"), (f"{JSON}\nand also\n[{JSON}]", "extra call"),
        (f"<tool_call>{JSON}</tool_call> and cancel()", "wrong tool"), ('<tool_call>{"name": "book", </tool_call>', "no JSON"),
        ("<function=book>room 12</function>", "no arguments behind book"), ('[{"name": "book", "arguments": {"room": "12"', "no JSON"),
        ("book('12', 3)", "arguments without names"), ("[the room] (12)", "unparsable"), ("", "nothing is there"), ('{"room": "12"}', "an object without a name"),
        (f'[{JSON}, {{"foo": 1, "bar": 2}}]', "an object without a name"),
    ],
)  # fmt: skip
def test_what_is_no_answer(text: str, reason: str) -> None:
    row = rows_from([(1, {"query": "?", "tools": [BOOK, OTHER], "answers": json.loads(f"[{JSON}]")})], "rows")[0]
    verdict = grade_row(row, text)
    assert verdict.score == 0
    assert reason in verdict.why


def test_tags_and_brackets_inside_of_strings_are_text() -> None:
    for room in ("a </tool_call> b", "a</function>b", "[x] {y", "it's", 'say "hi"', "<think>"):
        call = json.dumps({"name": "book", "arguments": {"room": room}})
        for text in (call, f"<tool_call>{call}</tool_call>", f"<function=book>{json.dumps({'room': room})}</function>"):
            if "<think>" not in room:
                assert score(text, {"room": room}) == 1, text


def test_values_without_types_are_what_the_schema_says() -> None:
    text = '<function=book><parameter=room>\n12\n</parameter><parameter=late>\ntrue\n</parameter><parameter=guests>\n["a"]\n</parameter></function>'
    assert score(text, {"room": "12", "late": True, "guests": ["a"]}) == 1
    assert score(text.replace("true", "True"), {"room": "12", "late": True, "guests": ["a"]}) == 1
    assert score(text.replace("true", "maybe"), {"room": "12", "late": True, "guests": ["a"]}) == 0


def test_padding_of_arrow_is_no_argument() -> None:
    assert score(JSON, {"room": "12", "nights": 3, "late": None, "no_such": None}) == 1
    assert score('{"name": "book", "arguments": {"room": "12", "nights": 3, "late": null}}') == 1
    padded = {
        "name": "book",
        "parameters": {"room": {"type": "str", "default": None}, "date": None, "nights": {"type": "int, optional"}},
    }
    row = rows_from(
        [(1, {"query": "?", "tools": [padded], "answers": [{"name": "book", "arguments": {"room": "12", "date": None}}]})],
        "rows",
    )[0]
    assert grade_row(row, "book(room='12')").score == 1
    assert row.tools[0].required == ("room",)
    assert "date" not in json.dumps(row.tools[0].spec)


def test_every_turn_of_a_benchmark_row_is_asked() -> None:
    turns = [[{"role": "system", "content": "Today is Friday."}, {"role": "user", "content": "Hi."}, {"role": "assistant", "content": "Yes?"},
              {"role": "user", "content": "Book 12."}]]  # fmt: skip
    row = {"id": "1", "question": turns, "function": [BOOK], "ground_truth": [{"book": {"room": ["12"]}}]}
    (found,) = rows_from([(1, row)], "rows")
    assert [turn.content for turn in found.task.prompt] == ["Today is Friday.", "Hi.", "Yes?", "Book 12."]


def test_hostile_texts_are_read_in_no_time() -> None:
    for text in (
        "[" * 10**5,
        "{" * 10**5,
        '{"name": ' * 10**4,
        "f(" * 10**4,
        "<tool_call>" * 10**4,
        '["' * 10**4,
        "<function=a>" * 10**4,
        "[1] " * 10**4,
    ):
        began = time.process_time()
        with pytest.raises(Unreadable):
            read(text[:LONGEST])
        assert time.process_time() - began < 2, text[:20]
    assert read("[]") == []
    assert read("cancel()") == [Call("cancel", {})]
