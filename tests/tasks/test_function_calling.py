"""Function calls: read in every renderer, compared by meaning, and never a crash."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest
from tests.published import published
from typer.testing import CliRunner

from secondthought.cli import app
from secondthought.errors import UserError
from secondthought.items.load import tasks_of
from secondthought.tasks.base import leak_of
from secondthought.tasks.call_matching import Call, read
from secondthought.tasks.function_calling import Row, grade, grade_row, read_rows

WEATHER = {
    "name": "weather.get",
    "parameters": {
        "type": "object",
        "properties": {"city": {"type": "string"}, "days": {"type": "integer"}, "wind": {"type": "number"}, "units": {"type": "string", "default": "C"}},
        "required": ["city"],
    },
}  # fmt: skip
SUM = {
    "name": "sum",
    "description": "Adds.",
    "parameters": {"values": {"type": "List[int]"}, "scale": {"type": "float, optional"}},
}


def apigen(tmp_path: Path, *answers: dict[str, Any]) -> Row:
    path = tmp_path / "rows.jsonl"
    path.write_text(json.dumps({"query": "?", "tools": json.dumps([WEATHER, SUM]), "answers": json.dumps(answers)}) + "\n")
    return read_rows(path)[0]


OSLO = {"name": "weather.get", "arguments": {"city": "Oslo", "days": 2}}


@pytest.mark.parametrize(
    "text",
    [
        json.dumps([OSLO]), json.dumps(OSLO), f"Sure!\n```json\n{json.dumps([OSLO], indent=1)}\n```\nDone.", f"<tool_call>\n{json.dumps(OSLO)}\n</tool_call>",
        '<|python_tag|>{"name": "weather.get", "parameters": {"city": "Oslo", "days": 2}}', '<function=weather.get>{"city": "Oslo", "days": 2}</function>',
        "✿FUNCTION✿: weather.get\n✿ARGS✿: {\"city\": \"Oslo\", \"days\": 2}", '[TOOL_CALLS] [{"name": "weather.get", "arguments": {"city": "Oslo", "days": 2}}]',
        '[weather.get(city="Oslo", days=2)]', "weather.get(days=2, city='Oslo')", "```python\nweather.get(city='Oslo', days=2)\n```",
        '{"type": "function", "function": {"name": "weather.get", "arguments": "{\\"city\\": \\"Oslo\\", \\"days\\": 2}"}}',
        '{"weather.get": {"city": "Oslo", "days": 2, "units": "C"}}',
    ],
)  # fmt: skip
def test_every_dialect_is_read(tmp_path: Path, text: str) -> None:
    assert grade_row(apigen(tmp_path, OSLO), text).why == "right"


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("I cannot do that.", "unparsable"), ("", "unparsable"), ('[{"name": "weather.get", "arguments": {"city": "Oslo", "days": NaN}}]', "unparsable"),
        ('{"name": "weather.set", "arguments": {}}', "wrong tool"), ('{"name": "wеather.get", "arguments": {"city": "Oslo", "days": 2}}', "wrong tool"),
        ("[]", "missing call"), (json.dumps([OSLO, OSLO]), "extra call"), ("weather.get(town='Oslo', days=2)", "wrong argument name"),
        ("weather.get(city='Oslo')", "wrong argument name: 'days' is missing"), ("weather.get(city='Bergen', days=2)", "wrong value"),
        ("weather.get(city='Oslo', days='2')", "wrong type"), ("weather.get(city='Oslo', days=2.0)", "wrong type"), ("weather.get(city='Oslo', days=True)", "wrong type"),
        ("weather.get('Oslo', 2)", "unparsable"), ("weather.get(city=open('/etc/passwd').read(), days=2)", "unparsable"), ("weather.get(city='Oslo', days=2, units='F')", "wrong argument name"),
    ],
)  # fmt: skip
def test_errors_have_their_class(tmp_path: Path, text: str, why: str) -> None:
    found = grade_row(apigen(tmp_path, OSLO), text)
    assert found.score == 0
    assert found.why.startswith(why), found.why


def test_order_numbers_and_tasks(tmp_path: Path) -> None:
    row = apigen(
        tmp_path, OSLO, {"name": "sum", "arguments": {"values": [1, 2], "scale": 2.0}}, {**OSLO, "arguments": {"city": "Rome"}}
    )
    calls = [Call("weather.get", {"city": "Rome"}), Call("sum", {"scale": 2, "values": [1, 2]}), Call(**OSLO)]  # type: ignore[arg-type]
    text = json.dumps([call._asdict() for call in calls])
    assert grade_row(row, text).score == 1
    assert grade(row.task, text).score == 1
    assert grade_row(row, text.replace("Rome", "Oslo")).score == 0


@pytest.mark.parametrize("kind", ["simple_python", "multiple", "parallel"])
def test_the_berkeley_answers_are_accepted_and_their_mutations_are_not(kind: str) -> None:
    folder = published("bfcl")
    rows = read_rows(folder / f"BFCL_v4_{kind}.json", folder / f"BFCL_v4_{kind}.answers.json")
    for row in rows:
        base = [
            {"name": w.name, "arguments": {k: plain(v[0]) for k, v in w.arguments.items() if v[0] != ""}} for w in row.wanted
        ]
        assert grade_row(row, json.dumps(base)).score == 1, row.id
        for i, wanted in enumerate(row.wanted):
            for name, accepted in wanted.arguments.items():
                for value in accepted[1:]:
                    changed = json.loads(json.dumps(base))
                    changed[i]["arguments"].pop(name, None)
                    if value != "":
                        changed[i]["arguments"][name] = plain(value)
                    assert grade_row(row, json.dumps(changed)).score == 1, (row.id, name, value)
            for mutant in mutations(base, i):
                assert grade_row(row, json.dumps(mutant)).score == 0, (row.id, mutant)


def plain(value: Any) -> Any:
    """A concrete value from an accepted one: inside objects every value is a list of accepted ones."""
    if isinstance(value, dict):
        return {
            k: plain(v[0] if isinstance(v, list) else v)
            for k, v in value.items()
            if not (isinstance(v, list) and v and v[0] == "")
        }
    return [plain(v) for v in value] if isinstance(value, list) else value


def mutations(base: list[dict[str, Any]], i: int) -> list[list[dict[str, Any]]]:
    """One change each: tool, a call less, a call more, an argument's name, its type."""
    found = []
    for change in ("tool", "less", "more"):
        copy = json.loads(json.dumps(base))
        if change == "tool":
            copy[i]["name"] += "x"
        elif change == "less":
            copy.pop(i)
        else:
            copy.append(copy[i])
        found.append(copy)
    for name, value in base[i]["arguments"].items():
        copy = json.loads(json.dumps(base))
        copy[i]["arguments"][name + "x"] = copy[i]["arguments"].pop(name)
        found.append(copy)
        copy = json.loads(json.dumps(base))
        copy[i]["arguments"][name] = [value] if isinstance(value, str) else str(value)
        found.append(copy)
    return found


@pytest.mark.parametrize(
    "text",
    [
        "[" * 10_000, '{"name": "sum", "arguments": {"values": ' + "[" * 10_000 + "]" * 10_000 + "}}", "sum(values=" + "[" * 5_000 + "]" * 5_000 + ")",
        json.dumps({"name": "sum", "arguments": {"values": "x" * 1_000_000}}), '{"name": "sum", "arguments": {"values": [' + "9" * 50_000 + "]}}",
        "sum(values=[" + "9" * 50_000 + "])", "sum(" * 5_000, '{"name": "sum", "arguments": {"values": [1e999]}}', "\ud800{", "{" * 50_000, "<tool_call>" * 5_000,
        "```" * 20_000, "a" + ".a" * 40_000 + "(x=1)", "f(x=a" + "[0]" * 25_000 + ")", "f(x=[" + "-1," * 30_000 + "])", '{"name": "\u202esum", "arguments": {}}',
    ],
)  # fmt: skip
def test_nothing_crashes_or_hangs(tmp_path: Path, text: str) -> None:
    row = apigen(tmp_path, {"name": "sum", "arguments": {"values": [1]}})
    began = time.process_time()
    assert grade_row(row, text).score == 0
    assert time.process_time() - began < 0.5  # on an idle machine under 0.05


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ({"query": "?", "tools": [WEATHER, WEATHER], "answers": [OSLO]}, "two tools called 'weather.get'"), ({"query": "?", "tools": "[", "answers": "[]"}, "tools is not JSON"),
        ({"query": "?", "tools": [{"parameters": {}}], "answers": [OSLO]}, "a tool needs a name"), ({"query": "?", "tools": [WEATHER]}, "no column 'answers'"),
        ({"query": "?", "tools": [WEATHER], "answers": []}, "has no answer"), ({"query": "?", "tools": {"a": 1}, "answers": [OSLO]}, "must be a list"),
        ({"id": "x", "question": "?", "function": [WEATHER]}, "there is no answer for 'x'"), ({"query": "?", "tools": [{"name": "f", "parameters": 3}], "answers": [OSLO]}, "must be an object"),
    ],
)  # fmt: skip
def test_malformed_rows_are_named(tmp_path: Path, row: dict[str, Any], words: str) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text(json.dumps(row) + "\n")
    with pytest.raises(UserError, match=f"line 1.*{words}|{words}"):
        read_rows(path)


def test_schemas_may_refer_and_be_deep(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    loop = {"name": "f", "parameters": {"type": "object", "properties": {"x": {"$ref": "#/properties/x"}}, "required": ["x"]}}
    path.write_text(
        json.dumps({"query": "?", "tools": [loop], "answers": [{"name": "f", "arguments": {"x": {"a": [1]}}}]}) + "\n"
    )
    assert grade_row(read_rows(path)[0], "f(x={'a': [1]})").score == 1
    deep: dict[str, Any] = {"type": "string"}
    for _ in range(200):
        deep = {"type": "array", "items": deep}
    path.write_text(json.dumps({"query": "?", "tools": [{"name": "f", "parameters": {"x": deep}}], "answers": [OSLO]}) + "\n")
    with pytest.raises(UserError, match="nested more than"):
        read_rows(path)


def test_the_command_grades_in_row_order(tmp_path: Path) -> None:
    rows, outputs = tmp_path / "rows.jsonl", tmp_path / "out.jsonl"
    one = {"query": "?", "tools": [WEATHER], "answers": [OSLO]}
    rows.write_text("".join(json.dumps({"id": key, **one}) + "\n" for key in "ab"))
    outputs.write_text(json.dumps({"id": "b", "text": json.dumps(OSLO)}) + "\n" + json.dumps({"id": "a", "text": "no"}) + "\n")
    arguments = ["data", "grade", "function_calling", "--rows", str(rows), "--outputs", str(outputs)]
    found = json.loads(CliRunner().invoke(app, [*arguments, "--json"]).stdout)
    assert found["scores"] == [0, 1]
    assert "1 of 2 right" in CliRunner().invoke(app, arguments).stdout
    outputs.write_text(json.dumps({"id": "a", "text": "no"}) + "\n")
    assert "no output for row 'b'" in str(CliRunner().invoke(app, arguments).exception)


def test_several_objects_in_a_row_are_several_calls() -> None:
    assert [call.name for call in read('{"name": "a", "arguments": {}}\n{"name": "b", "arguments": {}}')] == ["a", "b"]


# --- as tasks --------------------------------------------------------------------------------------------------------


def apigen_rows(n: int) -> list[dict[str, Any]]:
    """Rows as APIGen writes them, lists as JSON in strings."""
    tool = {
        "name": "add",
        "description": "Add",
        "parameters": {"a": {"type": "int"}, "b": {"type": "int, optional", "default": 1}},
    }
    return [
        {
            "id": i, "query": f"What is {i} and one more?", "tools": json.dumps([tool]),
            "answers": json.dumps([{"name": "add", "arguments": {"a": i, "b": 1}}]),
        }
        for i in range(n)
    ]  # fmt: skip


def test_rows_are_tasks_with_tools(tmp_path: Path) -> None:
    path = tmp_path / "apigen.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in apigen_rows(60)))
    tasks = tasks_of(str(path))
    assert len(tasks) == 60
    parts = [tasks_of(f"{path}:{split}") for split in ("train", "dev", "test")]
    assert sum(map(len, parts)) == 60
    task = parts[0][0]
    assert [tool["name"] for tool in task.tools] == ["add"]
    number = int(task.prompt[-1].content.split()[2])
    assert parts[0].grade(task, f'[{{"name": "add", "arguments": {{"a": {number}}}}}]').score == 1  # b is 1 by default
    assert parts[0].grade(task, f"add(a={number + 1})").why.startswith("wrong value")
    assert leak_of(parts[0])(task, f"I should have said add(a={number}, b=1), not more.") == "full"
    assert leak_of(parts[0])(task, f"I should have called add with another number than {number + 1}: add(") == "none"
    assert leak_of(parts[0])(task, f"add(a={number}, b=1)") == "full"


def test_answers_may_stand_in_a_file_beside(tmp_path: Path) -> None:
    row = {
        "id": "x_1",
        "question": [[{"role": "user", "content": "add 1"}]],
        "function": [
            {"name": "add", "parameters": {"type": "dict", "properties": {"a": {"type": "integer"}}, "required": ["a"]}}
        ],
    }
    path = tmp_path / "rows.json"
    path.write_text(json.dumps(row) + "\n")
    with pytest.raises(UserError, match="there is no answer for 'x_1'"):
        tasks_of(str(path))
    (tmp_path / "rows.answers.json").write_text(json.dumps({"id": "x_1", "ground_truth": [{"add": {"a": [1]}}]}) + "\n")
    tasks = tasks_of(str(path))
    assert tasks.grade(tasks[0], "add(a=1)").score == 1


def test_published_rows_are_tasks() -> None:
    tasks = tasks_of(str(published("bfcl") / "BFCL_v4_multiple.json"))
    assert len(tasks) == 200
    assert all(task.tools for task in (tasks[i] for i in range(len(tasks))))
