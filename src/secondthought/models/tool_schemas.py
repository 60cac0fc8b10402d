"""Tools as their schema describes them: OpenAI's JSON Schema, the Berkeley benchmark's dialect of it, and APIGen's (xLAM).

Only what grading and rendering need is kept: names, types, what is required. A schema is data; references in it are not
followed.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from secondthought.errors import UserError

DEEPEST = 20  # levels of nesting in a schema

TYPES = {
    "string": "string", "str": "string", "integer": "integer", "int": "integer", "long": "integer", "number": "number",
    "float": "number", "double": "number", "boolean": "boolean", "bool": "boolean", "array": "array", "list": "array",
    "tuple": "array", "set": "array", "arraylist": "array", "object": "object", "dict": "object", "hashmap": "object",
    "any": "any", "null": "any", "none": "any",
}  # fmt: skip
"""Type names of the three dialects, and what we call them."""


@dataclass(frozen=True)
class Parameter:
    """One argument: its type (one of string, integer, number, boolean, array, object, any) and what is inside of it."""

    name: str
    type: str = "any"
    required: bool = False
    items: Parameter | None = None
    properties: Mapping[str, Parameter] = field(default_factory=dict)


@dataclass(frozen=True)
class Tool:
    """A function that can be called; ``spec`` is its schema as it was given, to be shown to a model."""

    name: str
    parameters: Mapping[str, Parameter]
    spec: Mapping[str, Any] = field(default_factory=dict)

    @property
    def required(self) -> tuple[str, ...]:
        """Arguments that must be given."""
        return tuple(name for name, parameter in self.parameters.items() if parameter.required)


def tools_of(specs: Any, where: str) -> tuple[Tool, ...]:
    """Tools from their schemas. Raises UserError, naming ``where``, for a malformed schema or two tools of one name."""
    if not isinstance(specs, Sequence) or isinstance(specs, str):
        raise UserError(f"{where}: tools must be a list of schemas")
    tools = tuple(tool_of(spec, where) for spec in specs)
    names = [tool.name for tool in tools]
    if doubled := sorted({name for name in names if names.count(name) > 1}):
        raise UserError(f"{where}: there are two tools called {doubled[0]!r}")
    return tools


def tool_of(spec: Any, where: str) -> Tool:
    """One tool; OpenAI's wrapping in ``function`` is taken off."""
    if isinstance(spec, Mapping) and isinstance(spec.get("function"), Mapping):
        spec = spec["function"]
    if not isinstance(spec, Mapping) or not isinstance(spec.get("name"), str) or not spec["name"]:
        raise UserError(f"{where}: a tool needs a name")
    name, parameters = spec["name"], spec.get("parameters") or {}
    if not isinstance(parameters, Mapping):
        raise UserError(f"{where}: the parameters of {name!r} must be an object")
    if _nested(parameters):
        inner, required = parameters.get("properties") or {}, parameters.get("required") or ()
    else:
        inner, required = parameters, [k for k, v in parameters.items() if isinstance(v, Mapping) and is_required(v)]
    if not isinstance(inner, Mapping) or not isinstance(required, Sequence) or isinstance(required, str):
        raise UserError(f"{where}: the parameters of {name!r} are no schema")
    if any(value is None for value in inner.values()):  # rows that went through Arrow: keys of other rows' tools, as nulls
        return tool_of(unpadded(spec), where)
    found = {key: _parameter(key, value, key in required, 0, f"{where}, tool {name!r}") for key, value in inner.items()}
    return Tool(name, found, dict(spec))


def unpadded(value: Any) -> Any:
    """The same without the keys whose value is null.

    >>> unpadded({"city": {"type": "string", "default": None}, "days": None})
    {'city': {'type': 'string'}}
    """
    if isinstance(value, Mapping):
        return {key: unpadded(one) for key, one in value.items() if one is not None}
    return [unpadded(one) for one in value] if isinstance(value, list) else value


def json_schema(tool: Mapping[str, Any]) -> dict[str, Any]:
    """A tool as chat endpoints want it: arguments under ``properties``, types as JSON Schema calls them.

    >>> pay = {"name": "pay", "parameters": {"amount": {"type": "float"}, "note": {"type": "str, optional"}}}
    >>> json_schema(pay)["parameters"]
    {'type': 'object', 'properties': {'amount': {'type': 'number'}, 'note': {'type': 'string'}}, 'required': ['amount']}
    """
    parameters = tool.get("parameters") or {}
    if not _nested(parameters):
        required = [key for key, schema in parameters.items() if isinstance(schema, Mapping) and is_required(schema)]
        parameters = {"type": "object", "properties": parameters, "required": required}
    return {**tool, "parameters": _typed(parameters)}


def _typed(schema: Any) -> Any:
    """The same with our names of types; one that says nothing is left out."""
    if isinstance(schema, list):
        return [_typed(one) for one in schema]
    if not isinstance(schema, Mapping):
        return schema
    found = {key: _typed(one) for key, one in schema.items() if key != "type" or not isinstance(one, str)}
    kind = type_of(schema.get("type")) if isinstance(schema.get("type"), str) else "any"
    return {"type": kind, **found} if kind != "any" else found


def _nested(parameters: Mapping[str, Any]) -> bool:
    """Whether arguments stand under "properties", as in JSON Schema; APIGen writes them down directly."""
    return "properties" in parameters or isinstance(parameters.get("type"), str)


def is_required(schema: Mapping[str, Any]) -> bool:
    """In APIGen an argument is required unless its type says optional or it has a default."""
    return "optional" not in str(schema.get("type", "")) and "default" not in schema


def _parameter(name: str, schema: Any, required: bool, depth: int, where: str) -> Parameter:
    if depth > DEEPEST:
        raise UserError(f"{where}: the schema is nested more than {DEEPEST} levels deep")
    if not isinstance(schema, Mapping):
        raise UserError(f"{where}: the schema of {name!r} must be an object")
    if "$ref" in schema:
        return Parameter(name, "any", required)
    kind = type_of(schema.get("type"))
    items, properties = schema.get("items"), schema.get("properties")
    return Parameter(
        name,
        kind,
        required,
        _parameter(name, items, False, depth + 1, where) if isinstance(items, Mapping) else None,
        {key: _parameter(key, value, False, depth + 1, where) for key, value in properties.items()}
        if isinstance(properties, Mapping)
        else {},
    )


def type_of(declared: Any) -> str:
    """Our name of a type: ``List[int], optional`` is an array. Unknown types and unions are ``any``.

    >>> type_of("List[int], optional"), type_of("dict"), type_of(["string", "null"]), type_of("spline")
    ('array', 'object', 'string', 'any')
    """
    if isinstance(declared, Sequence) and not isinstance(declared, str):
        kinds = {type_of(one) for one in declared if one != "null"}
        return kinds.pop() if len(kinds) == 1 else "any"
    if not isinstance(declared, str):
        return "any"
    word = re.match(r"\s*(?:typing\.)?(?:Optional\[)?\s*([A-Za-z]+)", declared)
    return TYPES.get(word[1].lower(), "any") if word else "any"
