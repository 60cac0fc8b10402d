"""Function calling: which tools with which arguments, compared in canonical form.

Rows of APIGen/xLAM (``query``, ``tools``, ``answers``), of the Berkeley benchmark (``question``, ``function``, and possible
answers beside it), and with OpenAI's tool schema. Calls are compared without regard to their order; an argument is right if it
is one of the accepted values, of the type that the schema wants (a whole number where a fraction may stand is fine, a number
in quotes is not), and may be left out where that says the same. The Berkeley rows are compared as their own checker does:
strings without case, spaces and ``,./-_*^``, and left out only where their answers say so.
"""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from secondthought.errors import UserError
from secondthought.models.tool_schemas import Parameter, Tool, tools_of
from secondthought.tasks.call_matching import Call, Unreadable, Untyped, mentioned, read
from secondthought.tasks.jsonl import rows_of
from secondthought.types import Json, Message, Messages, Task, Verdict

FAMILY = "function_calling"
LONGEST_REFLECTION = 4_000
"""Characters of a reflection that are looked through for calls."""
OMITTED = ""
"""Among the accepted values of an argument: it may be left out (the Berkeley benchmark's own sign for it)."""


@dataclass(frozen=True)
class Wanted:
    """One call that is wanted: for each argument the accepted values."""

    name: str
    arguments: Mapping[str, Sequence[Any]]


@dataclass(frozen=True)
class Row:
    """One problem: what is asked, the tools on offer, the calls that are wanted; ``loose`` compares strings as Berkeley
    does, ``before`` are the turns before the question.
    """

    id: str
    query: str
    tools: tuple[Tool, ...]
    wanted: tuple[Wanted, ...]
    loose: bool = False
    before: Messages = ()

    @property
    def task(self) -> Task:
        """The problem as a task."""
        answer: Json = {
            "wanted": [{w.name: {k: list(v) for k, v in w.arguments.items()}} for w in self.wanted],
            "loose": self.loose,
        }
        prompt = (*self.before, Message("user", self.query))
        return Task.of(prompt, answer=answer, family=FAMILY, tools=[tool.spec for tool in self.tools])


# --- grading ---------------------------------------------------------------------------------------------------------


def grade_row(row: Row, text: str) -> Verdict:
    """1 if exactly the wanted calls are made. ``why`` begins with one of ``unparsable``, ``wrong tool``, ``missing call``,
    ``extra call``, ``wrong argument name``, ``wrong value``, ``wrong type``.
    """
    try:
        calls = read(text)
    except Unreadable as why:
        return Verdict(0.0, None, f"unparsable: {why}")
    return judged(calls, row)


def judged(calls: Sequence[Call], row: Row) -> Verdict:
    """The verdict on calls that have been read."""
    fault = compare(calls, row)
    answer = json.dumps([call._asdict() for call in calls], ensure_ascii=False, default=str)[:2000]
    return Verdict(0.0, answer, fault) if fault else Verdict(1.0, answer, "right")


def grade(task: Task, text: str) -> Verdict:
    """The same for a task that :attr:`Row.task` made."""
    return grade_row(row_of(task), text)


def leak(task: Task, text: str) -> str:
    """How much a reflection gives away: ``full`` if it spells all wanted calls (in prose or not), else ``none``."""
    row = row_of(task)
    if grade_row(row, text).score == 1:
        return "full"
    offered = {tool.name: tool for tool in row.tools}
    calls = mentioned(text[:LONGEST_REFLECTION])
    made = [any(mismatch(call, wanted, offered.get(wanted.name), row.loose) is None for call in calls) for wanted in row.wanted]
    return "full" if all(made) else "none"


def row_of(task: Task) -> Row:
    """The row that :attr:`Row.task` made a task of."""
    fields = cast(dict[str, Any], task.answer)
    wanted = tuple(Wanted(name, arguments) for one in fields["wanted"] for name, arguments in one.items())
    return Row(task.key, task.prompt[-1].content, tools_of(task.tools, "task"), wanted, bool(fields["loose"]), task.prompt[:-1])


def compare(calls: Sequence[Call], row: Row) -> str | None:
    """What is wrong with these calls, or None."""
    offered = {tool.name: tool for tool in row.tools}
    names = [wanted.name for wanted in row.wanted]
    for call in calls:
        if call.name not in names:
            return f"wrong tool: {_shown(call.name)}{_alike(call.name, offered)}"
    if len(calls) != len(row.wanted):
        return f"{'extra' if len(calls) > len(row.wanted) else 'missing'} call: {len(calls)} of {len(row.wanted)}"
    faults = [[mismatch(call, wanted, offered.get(wanted.name), row.loose) for wanted in row.wanted] for call in calls]
    partner = matched([[fault is None for fault in line] for line in faults])
    alone = next((i for i, j in enumerate(partner) if j is None), None)
    if alone is None:
        return None
    free = [j for j in range(len(row.wanted)) if j not in partner]
    same = [faults[alone][j] for j in free if row.wanted[j].name == calls[alone].name]
    return next((why for why in same if why), None) or f"wrong tool: {calls[alone].name} too often"


def matched(fits: Sequence[Sequence[bool]]) -> list[int | None]:
    """A largest matching of calls to what is wanted (augmenting paths): for each call its partner, or None."""
    owner: dict[int, int] = {}

    def place(i: int, seen: set[int]) -> bool:
        for j, fit in enumerate(fits[i]):
            if fit and j not in seen:
                seen.add(j)
                if j not in owner or place(owner[j], seen):
                    owner[j] = i
                    return True
        return False

    for i in range(len(fits)):
        place(i, set())
    partner: list[int | None] = [None] * len(fits)
    for j, i in owner.items():
        partner[i] = j
    return partner


def mismatch(call: Call, wanted: Wanted, tool: Tool | None, loose: bool) -> str | None:
    """How a call differs from a wanted one, or None."""
    if call.name != wanted.name:
        return f"wrong tool: {_shown(call.name)}"
    parameters = tool.parameters if tool else {}
    for name in call.arguments:
        if name not in wanted.arguments and (loose or not _is_default(tool, name, call.arguments[name])):
            return f"wrong argument name: {_shown(name)}{_alike(name, wanted.arguments)}"
    for name, accepted in wanted.arguments.items():
        parameter = parameters.get(name, Parameter(name))
        if name not in call.arguments:
            optional = any(isinstance(one, str) and one == OMITTED for one in accepted)
            if not optional and (loose or not any(_is_default(tool, name, one) for one in accepted)):
                return f"wrong argument name: {name!r} is missing"
            continue
        given = typed(call.arguments[name], parameter)
        if not any(same(given, one, parameter, loose) for one in accepted):
            kind = "value" if fits_type(given, parameter) else "type"
            return f"wrong {kind}: {name} = {_shown(given)}"
    return None


def typed(given: Any, parameter: Parameter) -> Any:
    """A value of a format without types (:class:`secondthought.tasks.call_matching.Untyped`) as the schema wants it."""
    if not isinstance(given, Untyped):
        return given
    if parameter.type == "string":
        return str(given)
    try:
        return json.loads(given)
    except (ValueError, RecursionError):
        return {"True": True, "False": False, "None": None}.get(given.strip(), str(given))


def same(given: Any, wanted: Any, parameter: Parameter, loose: bool) -> bool:
    """Whether a value is the wanted one; inside objects of loose rows every value is a list of accepted ones."""
    if isinstance(given, bool) or isinstance(wanted, bool) or given is None or wanted is None:
        return given is wanted
    if isinstance(wanted, int | float):
        if not isinstance(given, int | float) or (isinstance(given, float) and parameter.type == "integer"):
            return False
        return bool(given == wanted)
    if isinstance(wanted, str):
        return isinstance(given, str) and (squeezed(given) == squeezed(wanted) if loose else given.strip() == wanted.strip())
    if isinstance(wanted, Sequence):
        inside = parameter.items or Parameter(parameter.name)
        return (
            isinstance(given, list)
            and len(given) == len(wanted)
            and all(same(a, b, inside, loose) for a, b in zip(given, wanted, strict=True))
        )
    if isinstance(wanted, Mapping):
        return isinstance(given, dict) and _same_object(given, wanted, parameter, loose)
    return False


def _same_object(given: Mapping[str, Any], wanted: Mapping[str, Any], parameter: Parameter, loose: bool) -> bool:
    if not given.keys() <= wanted.keys():
        return False
    for key, value in wanted.items():
        accepted = value if loose and isinstance(value, list) else [value]
        inside = parameter.properties.get(key, Parameter(key))
        if key not in given:
            if not (loose and OMITTED in accepted):
                return False
        elif not any(same(given[key], one, inside, loose) for one in accepted):
            return False
    return True


def squeezed(text: str) -> str:
    """A string as the Berkeley benchmark compares it.

    >>> squeezed("New-York, NY.")
    'newyorkny'
    """
    return re.sub(r"[ ,./\-_*^]", "", text).lower().replace("'", '"')


def fits_type(given: Any, parameter: Parameter) -> bool:
    """Whether a value is of the type that the schema wants."""
    kind = parameter.type
    if kind == "integer":
        return isinstance(given, int) and not isinstance(given, bool)
    if kind == "number":
        return isinstance(given, int | float) and not isinstance(given, bool)
    wanted = {"string": str, "boolean": bool, "array": list, "object": dict}.get(kind)
    return wanted is None or isinstance(given, wanted)


def _is_default(tool: Tool | None, name: str, value: Any) -> bool:
    """Whether a value says no more than leaving the argument out."""
    if tool is None or name not in tool.parameters or tool.parameters[name].required:
        return False
    if value is None:
        return True
    parameters = tool.spec.get("parameters") or {}
    schema = (parameters.get("properties") or parameters).get(name)
    return isinstance(schema, Mapping) and "default" in schema and same(value, schema["default"], tool.parameters[name], False)


def _shown(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
    return repr(text[:60] + ("..." if len(text) > 60 else ""))


def _alike(name: str, others: Mapping[str, Any]) -> str:
    """A word on names that look like a right one and are not."""
    plain = unicodedata.normalize("NFKC", name[:200]).casefold()
    like = next((other for other in others if other != name and other.casefold() == plain), None)
    return f", which only looks like {like!r}" if like else ""


# --- rows ------------------------------------------------------------------------------------------------------------


def read_rows(place: str | Path, answers: str | Path | None = None) -> list[Row]:
    """Rows of any of the three kinds; ``answers`` may stand beside them.

    Raises UserError naming file and line for a malformed schema or a row without an answer.
    """
    return rows_from(rows_of(place), str(place), answers or answers_beside(str(place)))


def rows_from(numbered: Iterable[tuple[int, dict[str, Any]]], source: str, answers: str | Path | None = None) -> list[Row]:
    """The same from rows with their line numbers."""
    known = _possible(answers) if answers is not None else {}
    found = []
    for line, row in numbered:
        where = f"{source}, line {line}"
        found.append(_berkeley(row, known, where) if "function" in row else _apigen(row, line, where))
    return found


def is_row(row: Mapping[str, Any]) -> bool:
    """Whether a row is one of function calling, by its columns."""
    return {"query", "tools"} <= row.keys() or {"question", "function"} <= row.keys()


def answers_beside(source: str) -> Path | None:
    """The file of possible answers that stands beside rows: ``NAME.answers.json`` beside ``NAME.json``, if there is one."""
    path = Path(source)
    beside = path.with_name(f"{path.stem}.answers{path.suffix}")
    return beside if beside.is_file() else None


def _possible(place: str | Path) -> dict[str, list[Any]]:
    """The Berkeley benchmark's possible answers by id."""
    found = {}
    for line, row in rows_of(place):
        if not isinstance(row.get("ground_truth"), list) or "id" not in row:
            raise UserError(f"{place}, line {line}: an answer needs 'id' and 'ground_truth'")
        found[str(row["id"])] = row["ground_truth"]
    return found


def _berkeley(row: Mapping[str, Any], known: Mapping[str, list[Any]], where: str) -> Row:
    key = str(row.get("id", ""))
    truth = row.get("ground_truth", known.get(key))
    if not isinstance(truth, list):
        raise UserError(f"{where}: there is no answer for {key!r}; give the file of possible answers with --answers")
    functions = row["function"] if isinstance(row["function"], list) else [row["function"]]
    wanted = []
    for one in truth:
        if not isinstance(one, Mapping) or len(one) != 1:
            raise UserError(f"{where}: an answer is an object of one function and its arguments")
        ((name, arguments),) = one.items()
        if not isinstance(arguments, Mapping):
            raise UserError(f"{where}: the arguments of {name!r} must be an object")
        wanted.append(Wanted(name, {k: v if isinstance(v, list) else [v] for k, v in arguments.items()}))
    before, query = _turns(row.get("question"), where)
    return Row(key, query, tools_of(functions, where), tuple(wanted), loose=True, before=before)


def _turns(value: Any, where: str) -> tuple[Messages, str]:
    """The turns before the question, and the question: Berkeley's turns in turns, or a string."""
    while isinstance(value, list) and value and not isinstance(value[-1], Mapping):
        value = value[-1]
    turns = [{"role": "user", "content": value}] if isinstance(value, str) else value
    if not isinstance(turns, list) or not turns:
        raise UserError(f"{where}: there is no question")
    for turn in turns:
        known = isinstance(turn, Mapping) and turn.get("role") in ("system", "user", "assistant")
        if not known or not isinstance(turn.get("content"), str):
            raise UserError(f"{where}: a question's turns need a role (system, user or assistant) and a content")
    if turns[-1]["role"] != "user":
        raise UserError(f"{where}: a question ends with a turn of the user, not of the {turns[-1]['role']}")
    return tuple(Message(turn["role"], turn["content"]) for turn in turns[:-1]), turns[-1]["content"]


def _apigen(row: Mapping[str, Any], line: int, where: str) -> Row:
    for column in ("query", "tools", "answers"):
        if column not in row:
            raise UserError(f"{where}: there is no column {column!r} (query, tools and answers are needed)")
    listed, answers = (_loaded(row[column], column, where) for column in ("tools", "answers"))
    tools = tools_of(listed, where)
    offered = {tool.name: tool for tool in tools}
    wanted = []
    for one in answers if isinstance(answers, list) else [answers]:
        if not isinstance(one, Mapping) or not isinstance(one.get("name"), str):
            raise UserError(f"{where}: an answer needs a name and arguments")
        arguments = one.get("arguments") or {}
        if not isinstance(arguments, Mapping):
            raise UserError(f"{where}: the arguments of {one['name']!r} must be an object")
        known = offered[one["name"]].parameters if one["name"] in offered else {}
        given = {k: [v] for k, v in arguments.items() if v is not None or (k in known and known[k].required)}
        wanted.append(Wanted(one["name"], given))
    if not wanted:
        raise UserError(f"{where}: the row has no answer")
    return Row(str(row.get("id", line)), str(row["query"]), tools, tuple(wanted))


def _loaded(value: Any, column: str, where: str) -> Any:
    """APIGen keeps lists as JSON in strings."""
    if not isinstance(value, str):
        return value
    try:
        return json.loads(value)
    except (ValueError, RecursionError) as error:
        raise UserError(f"{where}: {column} is not JSON ({str(error)[:80]})") from error


def grade_outputs(rows: Sequence[Row], outputs: str | Path) -> dict[str, list[Any]]:
    """``{"scores": [...], "why": [...]}`` in the order of the rows. Raises UserError for outputs that fit no row, and missing
    ones.
    """
    texts: dict[str, str] = {}
    for line, row in rows_of(outputs):
        if "id" not in row or not isinstance(row.get("text"), str):
            raise UserError(f"{outputs}, line {line}: an output needs 'id' and 'text'")
        if str(row["id"]) in texts:
            raise UserError(f"{outputs}, line {line}: there is a second output for {row['id']!r}")
        texts[str(row["id"])] = row["text"]
    ids = [row.id for row in rows]
    if unknown := sorted(texts.keys() - set(ids)):
        raise UserError(f"{outputs}: there is no row {unknown[0]!r}")
    if missing := [key for key in ids if key not in texts]:
        raise UserError(f"{outputs}: there is no output for row {missing[0]!r} ({len(missing)} are missing)")
    verdicts = [grade_row(row, texts[row.id]) for row in rows]
    return {"scores": [int(v.score) for v in verdicts], "why": [v.why for v in verdicts]}
