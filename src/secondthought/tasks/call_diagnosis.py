"""What a tutor says about a wrong call: which part is wrong and what the tool's own schema says of it, never the right call.

Made by program from the grader's finding. It stands for the reflection of somebody who knows what went wrong: as the text that
a model may imitate before it is rewarded, and as the upper end of what a reflection could do
(:mod:`secondthought.protocols.tutored`).
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from secondthought.models.tool_schemas import Tool
from secondthought.tasks.call_matching import Call, Unreadable, read
from secondthought.tasks.function_calling import Row, Wanted, fits_type, mismatch, row_of, typed
from secondthought.types import Task

LONGEST = 160  # characters that are quoted of a description or a value


def diagnosis(task: Task, text: str) -> str:
    """What was wrong with ``text`` as an answer to ``task``, in a sentence or two, without the answer; "" if it was right."""
    row = row_of(task)
    offered = {tool.name: tool for tool in row.tools}
    try:
        calls = read(text)
    except Unreadable:
        return (
            'My answer held no call that can be read. I have to write one JSON object with "name" and "arguments", plain JSON '
            f"without comments, for {_either(list(offered))}."
        )
    if len(calls) != len(row.wanted):
        return f"I made {_calls(len(calls))}, but {_calls(len(row.wanted))} {'is' if len(row.wanted) == 1 else 'are'} needed."
    wanted = {one.name: one for one in row.wanted}
    for call in calls:
        if call.name not in wanted:
            return _wrong_tool(call, offered)
        if fault := _wrong_argument(call, wanted[call.name], offered.get(call.name), row):
            return fault
    return ""


def _wrong_tool(call: Call, offered: Mapping[str, Tool]) -> str:
    others = [name for name in offered if name != call.name]
    if call.name not in offered:
        return f"There is no function {call.name[:LONGEST]}. I have to call {_either(others)}, by exactly that name."
    about = _short(offered[call.name].spec.get("description", ""))
    return f"{call.name} was the wrong function: {about} What was asked for is done by {_either(others)}."


def _wrong_argument(call: Call, wanted: Wanted, tool: Tool | None, row: Row) -> str:
    """What is wrong with the arguments of a call of the right tool; "" if nothing is."""
    fault = mismatch(call, wanted, tool, row.loose)
    if fault is None:
        return ""
    known = list(tool.parameters) if tool else []
    if unknown := [name for name in call.arguments if tool and name not in tool.parameters]:
        return f"{call.name} has no argument `{unknown[0][:LONGEST]}`; it takes {_listed(known)}."
    if surplus := [name for name in call.arguments if name not in wanted.arguments]:
        return f"`{surplus[0]}` was not asked for, so I have to leave it out."
    for name, accepted in wanted.arguments.items():
        alone = Call(call.name, {name: call.arguments[name]} if name in call.arguments else {})
        if mismatch(alone, Wanted(wanted.name, {name: accepted}), tool, row.loose) is None:
            continue
        if name not in call.arguments:
            return f"I left out `{name}`.{_about(tool, name)}"
        given = call.arguments[name]
        parameter = tool.parameters.get(name) if tool else None
        if parameter is not None and not fits_type(typed(given, parameter), parameter):
            return f"`{name}` has to be of the type {parameter.type}, and {_value(given)} is not.{_about(tool, name)}"
        return f"The value of `{name}` was wrong: {_value(given)} is not what was asked for.{_about(tool, name)}"
    return f"The arguments of {call.name} do not go together."


def _about(tool: Tool | None, name: str) -> str:
    """What the schema says of an argument: its description and the values that it allows."""
    parameters: Mapping[str, Any] = (tool.spec.get("parameters") or {}) if tool else {}
    schema = (parameters.get("properties") or parameters).get(name)
    if not isinstance(schema, Mapping):
        return ""
    allowed = schema.get("enum")
    one_of = f" It is one of {_listed([str(one) for one in allowed[:8]])}." if isinstance(allowed, list) and allowed else ""
    text = _short(schema.get("description", ""))
    return (f" It is to be: {text}" if text else "") + one_of


def _short(text: Any) -> str:
    words = " ".join(str(text).split())
    cut = words if len(words) <= LONGEST else words[:LONGEST].rsplit(" ", 1)[0] + " ..."
    return cut if not cut or cut.endswith((".", "!", "?")) else cut + "."


def _value(given: Any) -> str:
    text = json.dumps(given, ensure_ascii=False, default=str)
    return text if len(text) <= LONGEST else text[:LONGEST] + "..."


def _listed(names: Sequence[str]) -> str:
    return ", ".join(f"`{name}`" for name in names) or "nothing"


def _either(names: Sequence[str]) -> str:
    return " or ".join(f"`{name}`" for name in names[:6]) or "nothing"


def _calls(count: int) -> str:
    return f"{count} call{'' if count == 1 else 's'}"
