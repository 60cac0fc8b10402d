"""A tutor names the fault of a call and never the right call."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

import pytest
from tests.published import published

from secondthought.items.load import tasks_of
from secondthought.models.tool_schemas import tools_of
from secondthought.tasks.call_diagnosis import diagnosis
from secondthought.tasks.function_calling import Row, Wanted, grade, leak, row_of

TOOLS = [
    {
        "name": "weather",
        "description": "Weather of a city.",
        "parameters": {
            "type": "object",
            "properties": {
                "city": {"type": "string", "description": "City and country, e.g. Oslo, Norway"},
                "days": {"type": "integer"},
                "unit": {"type": "string", "enum": ["C", "F"]},
            },
            "required": ["city", "days"],
        },
    },
    {"name": "news", "description": "Reads the news", "parameters": {"type": "object", "properties": {}}},
]
ROW = Row("1", "Rain in Rome in the next 3 days?", tools_of(TOOLS, "here"), (Wanted("weather", {"city": ["Rome, Italy"], "days": [3], "unit": ["C", ""]}),), loose=True)  # fmt: skip
RIGHT: dict[str, Any] = {"city": "Rome, Italy", "days": 3}


@pytest.mark.parametrize(
    ("call", "said"),
    [
        ("It will rain.", "held no call that can be read"),
        ({"name": "forecast", "arguments": RIGHT}, "There is no function forecast. I have to call `weather` or `news`"),
        ({"name": "news", "arguments": {}}, "news was the wrong function: Reads the news. What was asked for is done by `weather`"),
        ({"name": "weather", "arguments": {**RIGHT, "town": "Rome"}}, "has no argument `town`; it takes `city`, `days`, `unit`"),
        ({"name": "weather", "arguments": {"city": "Rome, Italy"}}, "I left out `days`."),
        ({"name": "weather", "arguments": {**RIGHT, "days": "3"}}, '`days` has to be of the type integer, and "3" is not.'),
        ({"name": "weather", "arguments": {**RIGHT, "city": "Rome"}}, "`city` was wrong: \"Rome\" is not what was asked for. It is to be: City and country"),
        ({"name": "weather", "arguments": {**RIGHT, "unit": "F"}}, "It is one of `C`, `F`."),
        ([{"name": "weather", "arguments": RIGHT}] * 2, "I made 2 calls, but 1 call is needed."),
    ],
)  # fmt: skip
def test_every_kind_of_fault_is_named(call: Any, said: str) -> None:
    text = call if isinstance(call, str) else json.dumps(call)
    found = diagnosis(ROW.task, text)
    assert said in found
    assert leak(ROW.task, found) == "none"


def test_a_right_call_has_no_fault() -> None:
    assert diagnosis(ROW.task, json.dumps({"name": "weather", "arguments": RIGHT})) == ""


def test_on_the_benchmark_every_wrong_call_is_explained_and_no_explanation_is_an_answer() -> None:
    tasks = tasks_of(f"bfcl:{published('bfcl')}:test")
    kinds: Counter[str] = Counter()
    for task in (tasks[i] for i in range(0, len(tasks), 3)):
        row = row_of(task)
        wanted = row.wanted[0]
        first = {
            name: next(v for v in values if v != "")
            for name, values in wanted.arguments.items()
            if any(v != "" for v in values)
        }
        wrong = ["no", *({"name": tool.name, "arguments": first} for tool in row.tools if tool.name != wanted.name)]
        wrong += [{"name": wanted.name, "arguments": {**first, name: "qqqq"}} for name in first]
        wrong += [{"name": wanted.name, "arguments": {k: v for k, v in first.items() if k != name}} for name in first]
        for one in wrong:
            text = one if isinstance(one, str) else json.dumps(one)
            verdict = grade(task, text)
            if verdict.score == 1:
                assert diagnosis(task, text) == ""
                continue
            kinds[verdict.why.partition(":")[0]] += 1
            said = diagnosis(task, text)
            assert said
            assert leak(task, said) == "none"
    assert min(kinds[kind] for kind in ("unparsable", "wrong tool", "wrong argument name", "wrong value", "wrong type")) > 20
