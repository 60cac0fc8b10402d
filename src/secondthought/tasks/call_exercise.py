"""Exercises in obeying: one change to a call, in the words of a tutor, and the call with exactly that change.

Whether the change is for the better plays no part, so that what is learned is to do as the reflection says and not what the
request says anyway. A model that ignores its own reflections can learn nothing from being paid for them.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from random import Random
from typing import Any

from secondthought.models.tool_schemas import Tool
from secondthought.tasks.call_matching import Call, Unreadable, read
from secondthought.tasks.function_calling import row_of
from secondthought.types import Task, seed_of


def exercise(task: Task, text: str) -> tuple[str, str] | None:
    """A hint about the call in ``text``, and the call that obeys it; the same every time. None where there is not one call."""
    try:
        calls = read(text)
    except Unreadable:
        return None
    if len(calls) != 1:
        return None
    rng, (call,) = Random(seed_of("exercise", task.key, text)), calls
    tools = {tool.name: tool for tool in row_of(task).tools}
    made = [one for one in (_other_tool(call, tools, rng), _left_out(call, rng), _other_value(call, tools, rng)) if one]
    if not made:
        return None
    reflection, obeyed = rng.choice(made)
    return reflection, json.dumps({"name": obeyed.name, "arguments": obeyed.arguments}, ensure_ascii=False)


def _other_tool(call: Call, tools: Mapping[str, Tool], rng: Random) -> tuple[str, Call] | None:
    others = [name for name in tools if name != call.name]
    if not others:
        return None
    other = rng.choice(others)
    return f"{call.name} was the wrong function. I have to call `{other}`.", Call(other, call.arguments)


def _left_out(call: Call, rng: Random) -> tuple[str, Call] | None:
    if len(call.arguments) < 2:
        return None
    gone = rng.choice(list(call.arguments))
    kept = {name: value for name, value in call.arguments.items() if name != gone}
    return f"`{gone}` was not asked for, so I have to leave it out.", Call(call.name, kept)


def _other_value(call: Call, tools: Mapping[str, Tool], rng: Random) -> tuple[str, Call] | None:
    if not call.arguments:
        return None
    name = rng.choice(list(call.arguments))
    given, schema = call.arguments[name], _schema(tools.get(call.name), name)
    value = another(given, schema.get("enum"), rng)
    shown, wanted = (json.dumps(one, ensure_ascii=False, default=str) for one in (given, value))
    said = f"The value of `{name}` was wrong: {shown} is not what was asked for. It has to be {wanted}."
    return said, Call(call.name, {**call.arguments, name: value})


def _schema(tool: Tool | None, name: str) -> Mapping[str, Any]:
    parameters: Mapping[str, Any] = (tool.spec.get("parameters") or {}) if tool else {}
    found = (parameters.get("properties") or parameters).get(name)
    return found if isinstance(found, Mapping) else {}


def another(given: Any, allowed: Any, rng: Random) -> Any:
    """Another value of the same kind.

    >>> another(True, None, Random(0)), another("red", ["red", "blue"], Random(0)), another([1, 2], None, Random(0))
    (False, 'blue', [1])
    """
    others = [one for one in allowed if one != given] if isinstance(allowed, list) else []
    if others:
        return rng.choice(others)
    if isinstance(given, bool):
        return not given
    if isinstance(given, int):
        return given + rng.choice((-1, 1, 2, 10))
    if isinstance(given, float):
        return given + rng.choice((-0.5, 0.5, 1.5))
    if isinstance(given, list):
        return given[:-1] if len(given) > 1 else [*given, *given]
    if isinstance(given, str):
        return rng.choice([word for word in WORDS if word != given])
    return None


WORDS = ("north", "Lisbon", "2021-05-04", "blue", "daily", "premium", "x**2", "Maria", "km", "all")
"""What strings are changed to where the schema names no values."""
