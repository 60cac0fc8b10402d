"""A small world of tools, for function calling by nano models: 384 functions with typed arguments, templated requests.

A tool is a verb and a noun (``book . flight``). It comes in many versions, with one to three of the arguments that fit its
noun, so its schema has to be read and cannot be remembered. One to eight tools are offered, some of them close to the right
one; one request in ten wants two calls. Tools and sentence templates belong to splits by their content: no dev or test tool
occurs in training, neither as the right one nor among the offered, and no dev or test template. Odd problems of dev and test
hold out the tool, even ones the template. All words occur in training.

The tools of a task are JSON schemas, shown to a model by its own chat template. That of the nano models shows them as

    tools book . flight ( goal count ) find . room ( city ) ask please reserve a plane for 3 to paris

and they answer ``book . flight ( goal = paris , count = 3 )``; other models answer in any dialect that
:mod:`secondthought.tasks.call_matching` reads.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from random import Random
from typing import Any, Literal, NamedTuple

from secondthought.tasks.base import Split, nowhere
from secondthought.tasks.call_matching import Call
from secondthought.tasks.function_calling import grade_row, judged, row_of
from secondthought.types import Json, Task, Verdict, seed_of

FAMILY = "tool_world"
MODEL = "nano/duo-1m"
LONGEST_ANSWER = 600
"""Characters; two calls with three arguments each need a quarter of it."""

VERBS: Mapping[str, tuple[str, ...]] = {
    "book": ("book", "reserve"), "cancel": ("cancel", "drop"), "find": ("find", "look for"), "move": ("move", "shift"),
    "open": ("open", "unlock"), "close": ("close", "shut"), "send": ("send", "mail"), "buy": ("buy", "purchase"),
    "sell": ("sell", "offer"), "rate": ("rate", "judge"), "share": ("share", "show"), "plan": ("plan", "arrange"),
    "test": ("test", "inspect"), "copy": ("copy", "clone"), "start": ("start", "begin"), "stop": ("stop", "halt"),
}  # fmt: skip
"""Verbs of tools, and the ways in which people say them."""

NOUNS: Mapping[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "flight": (("flight", "plane"), ("origin", "goal", "count", "day")),
    "train": (("train", "railway"), ("origin", "goal", "hour", "quiet")),
    "taxi": (("taxi", "cab"), ("origin", "goal", "hour", "fast")),
    "hotel": (("hotel", "inn"), ("city", "nights", "price", "guest")),
    "room": (("room", "chamber"), ("city", "nights", "color", "quiet")),
    "table": (("table", "desk"), ("count", "hour", "color", "guest")),
    "meeting": (("meeting", "session"), ("guest", "hour", "day", "count")),
    "alarm": (("alarm", "bell"), ("hour", "day", "level", "quiet")),
    "song": (("song", "tune"), ("singer", "level", "count", "fast")),
    "film": (("film", "movie"), ("singer", "day", "hour", "price")),
    "ticket": (("ticket", "pass"), ("city", "day", "count", "price")),
    "gift": (("gift", "present"), ("guest", "color", "price", "day")),
    "letter": (("letter", "note"), ("sender", "guest", "day", "fast")),
    "parcel": (("parcel", "box"), ("sender", "goal", "size", "fast")),
    "lamp": (("lamp", "light"), ("color", "level", "size", "hour")),
    "door": (("door", "gate"), ("color", "size", "hour", "quiet")),
    "car": (("car", "auto"), ("city", "color", "price", "nights")),
    "bike": (("bike", "cycle"), ("city", "color", "size", "nights")),
    "garden": (("garden", "yard"), ("city", "size", "owner", "day")),
    "house": (("house", "home"), ("city", "size", "owner", "price")),
    "photo": (("photo", "picture"), ("owner", "size", "color", "count")),
    "lesson": (("lesson", "class"), ("owner", "hour", "day", "level")),
    "game": (("game", "match"), ("owner", "level", "count", "fast")),
    "report": (("report", "paper"), ("sender", "owner", "size", "count")),
}  # fmt: skip
"""Nouns of tools, the ways in which people say them, and the arguments that their tools can have."""


class Argument(NamedTuple):
    """What an argument holds (a kind of value) and the ways in which it is asked for."""

    kind: str
    phrases: tuple[str, ...]


ARGUMENTS: Mapping[str, Argument] = {
    "origin": Argument("city", ("from {}", "out of {}")), "goal": Argument("city", ("to {}", "into {}")),
    "city": Argument("city", ("in {}", "near {}")), "count": Argument("number", ("for {}", "{} of them")),
    "hour": Argument("number", ("at {}", "by {}")), "nights": Argument("number", ("for {} nights", "{} nights")),
    "price": Argument("number", ("under {}", "below {}")), "size": Argument("number", ("of size {}", "as large as {}")),
    "level": Argument("number", ("up to {}", "as high as {}")), "guest": Argument("name", ("for {}", "with {}")),
    "singer": Argument("name", ("by {}", "with {}")), "sender": Argument("name", ("from {}", "in the name of {}")),
    "owner": Argument("name", ("of {}", "near {}")), "color": Argument("color", ("in {}", "as {}")),
    "day": Argument("day", ("on {}", "by {}")), "quiet": Argument("flag", ("quietly", "at low level")),
    "fast": Argument("flag", ("quickly", "at high level")),
}  # fmt: skip

CITIES = "paris rome oslo berlin madrid vienna prague dublin lisbon athens cairo tokyo delhi lima quito boston"
PEOPLE = "anna bob carl dora emil frida greta hugo ida jonas karin leo mona nils olga peter"
VALUES: Mapping[str, tuple[str, ...]] = {
    "city": tuple(CITIES.split(" ")), "name": tuple(PEOPLE.split(" ")), "number": tuple(map(str, range(1, 100))),
    "color": ("red", "blue", "green", "white", "black", "yellow"), "flag": ("true",),
    "day": ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"),
}  # fmt: skip
TYPES = {"number": "integer", "flag": "boolean"}
"""JSON types of the kinds of values; the others are strings."""

TEMPLATES = (
    "please {verb} a {noun} {rest}", "{verb} the {noun} {rest}", "i want to {verb} a {noun} {rest}",
    "can you {verb} my {noun} {rest}", "{rest} {verb} a {noun}", "{verb} {noun} {rest} please",
    "we need to {verb} the {noun} {rest}", "i need you to {verb} {noun} {rest}", "the {noun} {rest} please {verb}",
    "can we {verb} the {noun} {rest}", "{verb} me a {noun} {rest}", "you can {verb} my {noun} {rest} now",
    "now {verb} {rest} a {noun}", "a {noun} {rest} please {verb} now", "i want you to {verb} {rest} my {noun}",
    "my {noun} {rest} need to {verb} now", "please {verb} {rest} the {noun}", "{rest} can you {verb} the {noun}",
    "we want to {verb} {noun} {rest}", "{rest} the {noun} please {verb} me",
)  # fmt: skip
OFFERED = (1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 4, 4, 6, 8)
"""How many tools are on offer (drawn uniformly from these: 2.9 on average)."""
PAIRS = 1 / 10


class Name(NamedTuple):
    """The name of a tool."""

    verb: str
    noun: str

    def __str__(self) -> str:
        return f"{self.verb} . {self.noun}"

    @property
    def dotted(self) -> str:
        """The name as a schema has it."""
        return f"{self.verb}.{self.noun}"


NAMES = tuple(Name(verb, noun) for verb in VERBS for noun in NOUNS)


@cache
def split_of(thing: Name | str) -> Split:
    """The split of a tool (by its name) or of a template: 70 % train, 10 % dev, 20 % test.

    Templates are few, so they are dealt by their place rather than drawn.
    """
    bucket = seed_of("tool split", *thing) % 10 if isinstance(thing, Name) else (TEMPLATES.index(thing) * 7 + 3) % 10
    return "test" if bucket < 2 else "dev" if bucket == 2 else "train"


@cache
def names_in(split: Split) -> tuple[Name, ...]:
    """The tools of a split."""
    return tuple(name for name in NAMES if split_of(name) == split)


@cache
def templates_in(split: Split) -> tuple[str, ...]:
    """The sentence templates of a split."""
    return tuple(template for template in TEMPLATES if split_of(template) == split)


class Tool(NamedTuple):
    """A tool on offer: its name and the arguments that this version of it takes, in the order of its schema."""

    name: Name
    arguments: tuple[str, ...]


def version_of(rng: Random, name: Name) -> Tool:
    """A random version of a tool: one to three of the arguments that fit its noun."""
    return Tool(name, tuple(rng.sample(NOUNS[name.noun][1], rng.choice((1, 2, 2, 3)))))


@lru_cache(maxsize=20_000)
def schema(tool: Tool) -> dict[str, Any]:
    """The tool as a JSON schema. Flags are optional and false unless given."""
    name = tool.name
    found: dict[str, dict[str, Any]] = {}
    for argument in tool.arguments:
        kind = ARGUMENTS[argument].kind
        found[argument] = {
            "type": TYPES.get(kind, "string"),
            "description": f"as in: {ARGUMENTS[argument].phrases[0].format('...')}",
        }
        if kind in ("color", "day"):
            found[argument]["enum"] = list(VALUES[kind])
        if kind == "flag":
            found[argument]["default"] = False
    required = [argument for argument in found if ARGUMENTS[argument].kind != "flag"]
    verb, noun = VERBS[name.verb][0], NOUNS[name.noun][0][0]
    return {
        "name": name.dotted, "description": f"{verb} a {noun}",
        "parameters": {"type": "object", "properties": found, "required": required},
    }  # fmt: skip


class Asked(NamedTuple):
    """One call that is wanted: the tool, and the value of each argument as it is written."""

    name: Name
    values: tuple[tuple[str, str], ...]

    def __str__(self) -> str:
        return f"{self.name} ( {' , '.join(f'{argument} = {value}' for argument, value in self.values)} )"


class Problem(NamedTuple):
    """The tools on offer, the calls that are wanted, and the request in words."""

    offered: tuple[Tool, ...]
    calls: tuple[Asked, ...]
    query: str


def values_for(rng: Random, arguments: Sequence[str]) -> tuple[tuple[str, str], ...]:
    """Random values for the arguments of a tool; a flag is raised half of the time, but never is nothing asked."""
    found = [
        (argument, rng.choice(VALUES[ARGUMENTS[argument].kind]))
        for argument in arguments
        if ARGUMENTS[argument].kind != "flag" or rng.random() < 0.5
    ]
    return tuple(found) or tuple((argument, "true") for argument in arguments[:1])


def words_for(rng: Random, asked: Asked, template: str) -> str:
    """A request for one call."""
    rest = [rng.choice(ARGUMENTS[argument].phrases).format(value) for argument, value in asked.values]
    rng.shuffle(rest)
    verb, noun = rng.choice(VERBS[asked.name.verb]), rng.choice(NOUNS[asked.name.noun][0])
    return template.format(verb=verb, noun=noun, rest=" ".join(rest))


def draw(rng: Random, split: Split, *, hold_tool: bool = True) -> Problem:
    """A problem of a split; in dev and test, what is held out is the tool or else the template."""
    tools, templates = names_in(split if hold_tool else "train"), templates_in("train" if hold_tool else split)
    others = names_in("train") if split == "train" else NAMES
    wanted = rng.sample(tools, 2 if rng.random() < PAIRS else 1)
    offered = list(wanted)
    for _ in range(rng.choice(OFFERED) - len(wanted)):
        close = [name for name in others if (name.verb == wanted[0].verb) != (name.noun == wanted[0].noun)]
        choice = [name for name in (close if rng.random() < 0.6 else others) if name not in offered]
        offered.append(rng.choice(choice))
    versions = [version_of(rng, name) for name in offered]
    calls = tuple(Asked(tool.name, values_for(rng, tool.arguments)) for tool in versions[: len(wanted)])
    rng.shuffle(versions)
    query = " and ".join(words_for(rng, call, rng.choice(templates)) for call in calls)
    return Problem(tuple(versions), calls, query)


def spelled(calls: Sequence[Asked]) -> str:
    """Calls as the nano models write them."""
    return " and ".join(map(str, calls))


def typed(value: str) -> Any:
    """A value as JSON: a whole number, a truth value, or a word."""
    return int(value) if value.isdecimal() else {"true": True, "false": False}.get(value, value)


def task_of(problem: Problem, held: str = "") -> Task:
    """The problem as a task; ``held`` says what of it is held out (``tool``, ``template`` or nothing)."""
    answer: Json = {
        "wanted": [{call.name.dotted: {a: [typed(v)] for a, v in call.values}} for call in problem.calls],
        "loose": False, "held": held,
    }  # fmt: skip
    return Task.of(problem.query, answer=answer, family=FAMILY, tools=[schema(tool) for tool in problem.offered])


def calls_of(task: Task) -> tuple[Asked, ...]:
    """The calls that a task of :func:`task_of` wants."""
    return tuple(
        Asked(Name(*wanted.name.split(".")), tuple((a, str(v[0]).lower()) for a, v in wanted.arguments.items()))
        for wanted in row_of(task).wanted
    )


@dataclass(frozen=True)
class ToolWorld:
    """Problems of one split, endless: ``self[i]`` is drawn from a hashed seed. ``held`` keeps to one kind of held-out problem.

    >>> ToolWorld("test")[0].answer["held"], ToolWorld("test")[1].answer["held"]
    ('template', 'tool')
    """

    split: Split = "train"
    size: int = 1_000_000
    held: Literal["", "tool", "template"] = ""

    def __len__(self) -> int:
        return self.size

    def __getitem__(self, index: int) -> Task:
        if not 0 <= index < self.size:
            raise IndexError(index)
        held = "" if self.split == "train" else self.held or ("template", "tool")[index % 2]
        rng = Random(seed_of(FAMILY, self.split, index, held))
        return task_of(draw(rng, self.split, hold_tool=held != "template"), held)

    def grade(self, task: Task, text: str) -> Verdict:
        """1 if exactly the wanted calls are made; see :func:`grade`."""
        return grade(task, text)

    def leak(self, task: Task, text: str) -> str:
        """How much of the answer a reflection gives away; see :func:`leak`."""
        return leak(task, text)


# --- grading ---------------------------------------------------------------------------------------------------------

_ARGUMENT = r"[a-z_]{1,30} = [a-z0-9]{1,30}"
_CALL = rf"[a-z]{{1,30}} \. [a-z]{{1,30}} \( (?:{_ARGUMENT} (?:, {_ARGUMENT} )*)?\)"
_LAST = re.compile(rf"{_CALL}(?: and {_CALL})*$")


def last_calls(text: str) -> str:
    """The calls at the end of a terse answer; a plan before them does not count. Empty if there are none.

    >>> last_calls("use find . room , find . room ( city = rome )")
    'find . room ( city = rome )'
    """
    found = _LAST.search(text[-LONGEST_ANSWER:].rstrip())
    return found.group() if found else ""


def asked_in(text: str) -> tuple[Asked, ...]:
    """What :func:`last_calls` found, in the words of this world."""
    return tuple(
        Asked(Name(*call.name.split(".")), tuple((a, str(v).lower()) for a, v in call.arguments.items()))
        for call in read_calls(text)
    )


def read_calls(text: str) -> list[Call]:
    """What :func:`last_calls` found, as calls."""
    found = []
    for call in text.split(" and ") if text else ():
        name, _, inside = call.removesuffix(" )").removesuffix("(").partition(" ( ")
        pairs = [pair.split(" = ") for pair in inside.split(" , ") if pair]
        found.append(
            Call(name.strip().replace(" . ", "."), {argument.strip(): typed(value.strip()) for argument, value in pairs})
        )
    return found


def grade(task: Task, text: str) -> Verdict:
    """Score calls in the language of the nano models, or in any dialect that function calling reads.

    >>> task = ToolWorld("test")[0]
    >>> grade(task, spelled(calls_of(task))).score
    1.0
    """
    if calls := last_calls(text):
        return judged(read_calls(calls), row_of(task))
    return grade_row(row_of(task), text)


_HINT = re.compile(r"(?:use|not) ([a-z]+) \. ([a-z]+)|([a-z]+) is ([a-z0-9]+)")


def leak(task: Task, text: str) -> str:
    """``full`` if the text spells the calls, ``first step`` if it names a wanted tool or value, ``hint`` if another one of
    this problem, else ``none``.
    """
    if grade(task, text).score == 1:
        return "full"
    calls = calls_of(task)
    true = {call.name.dotted for call in calls} | {f"{a} is {v}" for call in calls for a, v in call.values}
    named = {f"{m[1]}.{m[2]}" if m[1] else m[0] for m in _HINT.finditer(text[:LONGEST_ANSWER])}
    if named & true and "not " not in text:
        return "first step"
    words = set(re.findall(r"[a-z0-9]+", task.prompt[-1].content))
    offered = {tool.name for tool in row_of(task).tools}
    mentions = named & offered or any(one.rpartition(" is ")[2] in words for one in named)
    return "hint" if mentions or "calls" in text else "none"


def task_set(place: str, split: Split | None, style: str) -> ToolWorld:
    """``tool_world[:SPLIT]``, endless."""
    nowhere(FAMILY, place)
    return ToolWorld(split or "test")
