"""Reading function calls out of what a model wrote; the text is parsed, never evaluated.

JSON lists and objects, fenced or bare, or the same as Python literals; the formats of Hermes, Qwen, Qwen3-Coder (XML), Llama 3
and 4, Mistral and DeepSeek; Python-call syntax (``[weather(city="Oslo", days=2)]``). Whatever cannot be read raises
:class:`Unreadable`, whose words become the verdict's.
"""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from secondthought.models.thoughts import without_thoughts

LONGEST = 100_000  # characters; nothing longer is parsed
DEEPEST = 40  # levels of nesting in arguments
MOST = 200  # calls, and brackets that are none
LONGEST_PYTHON = 8_000  # characters of Python's syntax, which is slow to parse


class Call(NamedTuple):
    """One call of one tool."""

    name: str
    arguments: dict[str, Any]


class Unreadable(ValueError):
    """There are no calls in this text that anybody could read."""


class Untyped(str):
    """An argument of a format that writes all values alike (XML): the tool's schema says what it is."""


_NAMED = re.compile(  # formats in which the tool's name stands before its arguments
    r"<function=(?P<llama>[^>\s]{1,200})>\s*"
    r"|✿FUNCTION✿:\s*(?P<qwen>\S{1,200})\s*✿ARGS✿:\s*"
    r"|(?:\[TOOL_CALLS\]|(?<=\}))\s*(?P<mistral>[A-Za-z_][\w.-]{0,200})\s*(?:\[CALL_ID\]\w{0,50}\s*)?\[ARGS\]\s*"
    r"|<｜tool▁call▁begin｜>(?:function<｜tool▁sep｜>)?(?P<deepseek>[^\s<｜]{1,200})(?:<｜tool▁sep｜>)?\s*(?:```(?:json)?\s*)?"
)
_PARAMETER = re.compile(r"\s*<parameter=([^>\s]{1,200})>\n?")
_OPEN = re.compile(r"<(?:tool_call|function_call)>\s*|<\|tool_call\|>\s*|<\|python_tag\|>\s*")
_CALL = re.compile(r"(?<![\w.])[A-Za-z_][\w.]{0,200}\s*\(")
_BEGIN = re.compile(f"{_NAMED.pattern}|(?P<open>{_OPEN.pattern})|(?P<bracket>[\\[{{])|(?P<call>{_CALL.pattern})")


def read(text: str) -> list[Call]:
    """The calls in a text, in order, wherever they stand behind its thoughts; prose around them is nothing.

    Raises :class:`Unreadable` if there are none, or for one that is begun and cannot be read.

    >>> read('<tool_call>{"name": "add", "arguments": {"a": 1}}</tool_call>')
    [Call(name='add', arguments={'a': 1})]
    >>> read('[geo.find(city="Oslo", near=[1, -2.5])]')
    [Call(name='geo.find', arguments={'city': 'Oslo', 'near': [1, -2.5]})]
    >>> read("As in [1]: `add(a=1)`, then {'name': 'add', 'arguments': {'a': 2}}")
    [Call(name='add', arguments={'a': 1}), Call(name='add', arguments={'a': 2})]
    """
    if len(text) > LONGEST:
        raise Unreadable(f"{len(text)} characters are more than anybody reads")
    text = without_thoughts(text)
    if text.strip() == "[]":
        return []
    found: list[Call] = []
    reason, at, failures = "no call is there" if text.strip() else "nothing is there", 0, 0
    while begin := _BEGIN.search(text, at):
        try:
            calls, at = _read_at(text, begin)
            found += calls
        except Unreadable as why:
            if begin["bracket"] is None and begin["call"] is None:
                raise  # a format of calls was begun
            reason, at, failures = str(why), begin.start() + 1, failures + 1
            if begin["call"]:
                at = begin.end()
            if failures > MOST:
                raise Unreadable(f"more than {MOST} brackets that are no calls") from why
            if _is_broken_call(text, begin):
                raise
        if len(found) > MOST:
            raise Unreadable(f"more than {MOST} calls")
    if not found:
        raise Unreadable(reason)
    return found


def mentioned(text: str) -> list[Call]:
    """Every call that can be read in a text, whatever else stands there and however broken it is."""
    found: list[Call] = []
    at = 0
    for _ in range(MOST):
        if (begin := _BEGIN.search(text, at)) is None:
            break
        try:
            calls, at = _read_at(text, begin)
            found += calls
        except Unreadable:
            at = begin.end() if begin["call"] else begin.start() + 1
    return found


def _is_broken_call(text: str, begin: re.Match[str]) -> bool:
    """Whether JSON that cannot be read was meant as a call: nothing behind it can make up for it."""
    return begin["bracket"] is not None and bool(
        re.match(r"[\[{\s]*[\"']name[\"']\s*:", text[begin.start() : begin.start() + 200])
    )


def _read_at(text: str, begin: re.Match[str]) -> tuple[list[Call], int]:
    """The calls that begin here, and where they end."""
    name = begin["llama"] or begin["qwen"] or begin["mistral"] or begin["deepseek"]
    if name:
        return _named(text, name, begin.end())
    if begin["open"]:
        if nested := _NAMED.match(text, begin.end()):
            return _read_at(text, _BEGIN.match(text, nested.start()) or begin)
        if _CALL.match(text, begin.end()):
            return _python_at(text, begin.end())
        value, end = _value_at(text, begin.end())
        return _calls(value), end
    if begin["call"]:
        return _python_at(text, begin.start())
    value, end = _value_at(text, begin.start())
    if _likely(value):
        return _calls(value), end
    if isinstance(value, list):
        return [], end  # a list of something else
    raise Unreadable("an object without a name")


def _likely(value: Any) -> bool:
    """Whether a value looks like calls; then every part of it must be one."""
    if isinstance(value, list):
        return any(isinstance(one, dict) for one in value)
    return isinstance(value, dict) and (
        len(value) == 1 or any(key in value for key in ("name", "function", "tool", "tool_name", "tool_calls"))
    )


def _named(text: str, name: str, at: int) -> tuple[list[Call], int]:
    """A call whose name stands before its arguments: JSON, or one tag for each."""
    arguments: dict[str, Any] = {}
    end = at
    while (parameter := _PARAMETER.match(text, end)) and (closed := text.find("</parameter>", parameter.end())) >= 0:
        if parameter[1] in arguments:
            raise Unreadable(f"the argument {parameter[1]} stands twice")
        arguments[parameter[1]] = Untyped(text[parameter.end() : closed].removesuffix("\n"))
        end = closed + len("</parameter>")
    if arguments:
        return [Call(name, arguments)], end
    if text[at : at + 1] == "{":
        value, end = _value_at(text, at)
        return [Call(name, _arguments(value))], end
    if nothing := re.compile(r"\s*</function>").match(text, at):
        return [Call(name, {})], nothing.end()
    raise Unreadable(f"no arguments behind {name[:60]}")


def _value_at(text: str, at: int) -> tuple[Any, int]:
    """The JSON value (or the Python literal) that begins here, and where it ends."""
    try:
        return _DECODER.raw_decode(text, at)
    except (ValueError, RecursionError) as error:
        why = Unreadable(f"no JSON: {str(error)[:80]}")
    end = _closing(text, at)
    if end is None:
        raise why
    try:
        return _literal(ast.parse(text[at:end], mode="eval").body), end
    except (SyntaxError, ValueError, MemoryError, RecursionError):
        raise why from None


def _closing(text: str, at: int) -> int | None:
    """Where the bracket that opens here is closed, quotes respected; None if it is not, or not within reach."""
    depth, quote, place = 0, "", at
    for place in range(at, min(len(text), at + LONGEST_PYTHON)):
        sign = text[place]
        if quote:
            if sign == quote and text[place - 1] != "\\":
                quote = ""
        elif sign in "\"'":
            quote = sign
        elif sign in "([{":
            depth += 1
            if depth > 2 * DEEPEST:
                return None
        elif sign in ")]}":
            depth -= 1
            if depth == 0:
                return place + 1
    return None


def _python_at(text: str, at: int) -> tuple[list[Call], int]:
    """The call that begins here as Python writes it."""
    end = _closing(text, text.index("(", at))
    if end is None:
        raise Unreadable("a call that is not closed")
    try:
        return [_python_call(ast.parse(text[at:end], mode="eval").body)], end
    except (SyntaxError, ValueError, MemoryError, RecursionError) as error:
        raise error if isinstance(error, Unreadable) else Unreadable("no call that can be read") from error


def _whole(text: str) -> Any:
    """A text that is one JSON value."""
    try:
        return json.loads(text, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise Unreadable(f"no JSON: {str(error)[:80]}") from error


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is no number")


_DECODER = json.JSONDecoder(parse_constant=_no_constant)


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
