"""Reading function calls out of what a model wrote; the text is parsed, never evaluated.

JSON lists and objects, fenced or bare; the tags of Hermes, Qwen, Llama 3 and Mistral; Python-call syntax
(``[weather(city="Oslo", days=2)]``). Whatever cannot be read raises :class:`Unreadable`, whose words become the verdict's.
"""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

LONGEST = 100_000  # characters; nothing longer is parsed
DEEPEST = 40  # levels of nesting in arguments
MOST = 200  # JSON values one after another
LONGEST_PYTHON = 8_000  # characters of Python's syntax, which is slow to parse


class Call(NamedTuple):
    """One call of one tool."""

    name: str
    arguments: dict[str, Any]


class Unreadable(ValueError):
    """There are no calls in this text that anybody could read."""


_TAGGED = re.compile(r"<tool_call>\s*(.*?)\s*(?:</tool_call>|$)", re.DOTALL)
_LLAMA = re.compile(r"<function=([^>\s]{1,200})>\s*(.*?)\s*</function>", re.DOTALL)
_QWEN = re.compile(r"✿FUNCTION✿:\s*(\S{1,200})\s*✿ARGS✿:\s*(.*?)(?=✿|$)", re.DOTALL)
_FENCED = re.compile(r"```[a-zA-Z_]*[ \t]*\n?(.*?)(?:```|$)", re.DOTALL)
_BETWEEN = re.compile(r"[\s;,]*")
_PREFIXES = ("<|python_tag|>", "[TOOL_CALLS]", "<|tool_call|>", "<tool_calls>")


def read(text: str) -> list[Call]:
    """The calls in a text, in order. Raises :class:`Unreadable`.

    >>> read('<tool_call>{"name": "add", "arguments": {"a": 1}}</tool_call>')
    [Call(name='add', arguments={'a': 1})]
    >>> read('[geo.find(city="Oslo", near=[1, -2.5])]')
    [Call(name='geo.find', arguments={'city': 'Oslo', 'near': [1, -2.5]})]
    """
    if len(text) > LONGEST:
        raise Unreadable(f"{len(text)} characters are more than anybody reads")
    if tagged := _TAGGED.findall(text):
        return [call for part in tagged for call in _calls(_whole(part))]
    if named := [*_LLAMA.findall(text), *_QWEN.findall(text)]:
        return [Call(name, _arguments(_whole(arguments))) for name, arguments in named]
    for prefix in _PREFIXES:
        text = text.replace(prefix, " ")
    reasons = []
    for part in [*_FENCED.findall(text), text]:
        try:
            return _bare(part.strip())
        except Unreadable as why:
            reasons.append(str(why))
    raise Unreadable(reasons[-1])


def _bare(text: str) -> list[Call]:
    """JSON from the first bracket on, or Python calls."""
    if not text:
        raise Unreadable("nothing is there")
    first = re.search(r"[\[{]", text)
    if first:
        try:
            return _calls(_first_json(text[first.start() :]))
        except Unreadable:
            if '"name"' in text:
                raise
    return python_calls(text[first.start() :] if first and first.group() == "[" and first.start() == 0 else text)


def _first_json(text: str) -> Any:
    """The JSON value at the beginning of a text; several objects one after another are a list."""
    decoder = json.JSONDecoder(parse_constant=_no_constant)
    values, position = [], 0
    try:
        while position < len(text) and text[position] in "[{":
            value, position = decoder.raw_decode(text, position)
            values.append(value)
            if len(values) > MOST:
                raise Unreadable(f"more than {MOST} values one after another")
            position = _BETWEEN.match(text, position).end()  # type: ignore[union-attr]
    except (ValueError, RecursionError) as error:
        if not values:
            raise Unreadable(f"no JSON: {str(error)[:80]}") from error
    return values[0] if len(values) == 1 else values


def _whole(text: str) -> Any:
    """A text that is one JSON value."""
    try:
        return json.loads(text, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise Unreadable(f"no JSON: {str(error)[:80]}") from error


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is no number")


def _calls(value: Any) -> list[Call]:
    """Calls from a JSON value in any of the usual shapes."""
    if isinstance(value, list):
        return [call for one in value for call in _calls(one)]
    if not isinstance(value, dict):
        raise Unreadable(f"a call is an object, not {type(value).__name__}")
    if isinstance(value.get("function"), dict):
        value = value["function"]
    if isinstance(value.get("tool_calls"), list):
        return _calls(value["tool_calls"])
    name = next((value[k] for k in ("name", "function", "tool", "tool_name") if isinstance(value.get(k), str)), None)
    if name is not None:
        arguments: Any = next((value[k] for k in ("arguments", "parameters", "args", "input") if k in value), {})
        return [Call(name, _arguments(arguments))]
    if len(value) == 1:
        key, inside = next(iter(value.items()))
        if isinstance(inside, dict):
            return [Call(key, _arguments(inside))]
    raise Unreadable("an object without a name")


def _arguments(value: Any) -> dict[str, Any]:
    if isinstance(value, str):
        value = _whole(value) if value.strip() else {}
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise Unreadable(f"arguments are an object, not {type(value).__name__}")
    if depth_of(value) > DEEPEST:
        raise Unreadable(f"arguments are nested more than {DEEPEST} levels deep")
    return value


def depth_of(value: Any) -> int:
    """How many levels a JSON value has, without recursion."""
    deepest, waiting = 0, [(value, 1)]
    while waiting:
        one, depth = waiting.pop()
        deepest = max(deepest, depth)
        inside: Sequence[Any] = list(one.values()) if isinstance(one, dict) else one if isinstance(one, list) else ()
        waiting += [(part, depth + 1) for part in inside]
    return deepest


# --- Python-call syntax ----------------------------------------------------------------------------------------------

_CALL = re.compile(r"[A-Za-z_][\w.]{0,200}\s*\(")


def python_calls(text: str) -> list[Call]:
    """Calls as Python writes them, one or a list, literal keyword arguments only."""
    source = text.strip().rstrip(";")
    if len(source) > LONGEST_PYTHON:
        raise Unreadable(f"no JSON, and {len(source)} characters are more than anybody reads as Python")
    if not _CALL.search(source):
        raise Unreadable("no call is there")
    try:
        tree = ast.parse(source, mode="eval").body
    except (SyntaxError, ValueError, MemoryError, RecursionError):
        lines = [line.strip() for line in source.splitlines() if _CALL.match(line.strip())]
        try:
            tree = ast.parse(f"[{', '.join(lines)}]", mode="eval").body
        except (SyntaxError, ValueError, MemoryError, RecursionError) as error:
            raise Unreadable("no call that can be read") from error
    nodes = tree.elts if isinstance(tree, ast.List | ast.Tuple) else [tree]
    if not nodes:
        raise Unreadable("no call is there")
    return [_python_call(node) for node in nodes]


def _python_call(node: ast.expr) -> Call:
    if not isinstance(node, ast.Call):
        raise Unreadable("something else than a call")
    if node.args:
        raise Unreadable("arguments without names")
    arguments: dict[str, Any] = {}
    for keyword in node.keywords:
        if keyword.arg is None or keyword.arg in arguments:
            raise Unreadable("arguments without names, or named twice")
        arguments[keyword.arg] = _literal(keyword.value)
    return Call(".".join(_name(node.func)), arguments)


def _name(node: ast.expr) -> Iterator[str]:
    if isinstance(node, ast.Attribute):
        yield from _name(node.value)
        yield node.attr
    elif isinstance(node, ast.Name):
        yield node.id
    else:
        raise Unreadable("a call of something without a name")


def _literal(node: ast.expr) -> Any:
    if isinstance(node, ast.Name) and node.id in ("true", "false", "null"):
        return {"true": True, "false": False, "null": None}[node.id]
    try:
        value = ast.literal_eval(node)
    except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError) as error:
        raise Unreadable("an argument that is no literal") from error
    return _as_json(value)


def _as_json(value: Any) -> Any:
    """Tuples and sets as lists; what JSON does not have is unreadable."""
    if isinstance(value, list | tuple | set):
        return [_as_json(one) for one in value]
    if isinstance(value, dict):
        return {str(key): _as_json(one) for key, one in value.items()}
    if isinstance(value, float) and (value != value or value in (float("inf"), float("-inf"))):
        raise Unreadable("a number that is none")
    if value is None or isinstance(value, bool | int | float | str):
        return value
    raise Unreadable(f"an argument of type {type(value).__name__}")
