"""What a nano model reads about tools: the same bounded student, textbook and checker, with calls instead of chains.

A student's wrong answer has a fault or more: another tool, a wrong value, exchanged values, a wrong or missing argument, a call
too few or too many. Its reflection is one hint in the words of a plan, ``use find . room`` or ``city is rome`` or
``need 2 calls``. A hint *helps* if it names the part that was wrong as it should be; that is so with probability
``good_hints``, otherwise it is drawn without looking (a part that was right already, something of another problem,
``think harder``). The retry obeys, for better or worse.

* ``quiz``: attempt, reflection, retry; in some of them a tutor's helpful hint, whose tokens carry no loss.
* ``textbook`` (the request begins with ``example``): right calls, half of them after a plan.
* ``check`` (``check``): wrong calls, ``wait``, the hint that helps, right calls. Only here does anybody see what was wrong.
"""

from __future__ import annotations

from dataclasses import dataclass
from random import Random
from typing import ClassVar, NamedTuple

from secondthought.nano.corpus import Turn, turns
from secondthought.nano.tokenizer import vocabulary
from secondthought.protocols.reflect_retry import TERSE
from secondthought.tasks.tool_world import (
    ARGUMENTS,
    NOUNS,
    TEMPLATES,
    VALUES,
    VERBS,
    Asked,
    Name,
    Problem,
    Tool,
    draw,
    names_in,
    spelled,
    values_for,
    version_of,
)
from secondthought.types import seed_of


def _words() -> tuple[str, ...]:
    """Every word of the world of tools."""
    texts: list[str] = [
        "tools ask true and use is not need calls tool value argument",
        *VERBS,
        *NOUNS,
        *ARGUMENTS,
    ]
    texts += [said for known in VERBS.values() for said in known]
    texts += [said for known, _ in NOUNS.values() for said in known]
    texts += [phrase for argument in ARGUMENTS.values() for phrase in argument.phrases]
    texts += [value for kind in VALUES.values() for value in kind if not value.isdecimal()]
    texts += TEMPLATES
    found = dict.fromkeys(word for text in texts for word in text.split(" ") if "{" not in word)
    return tuple(word for word in found if word not in vocabulary())


WORDS = _words()
VACUOUS = ("think harder", "be careful", "try again")


class Fault(NamedTuple):
    """A wrong answer: its kind, the calls that were made, and the hints that would help."""

    kind: str
    calls: tuple[Asked, ...]
    helps: tuple[str, ...]


@dataclass(frozen=True)
class ToolCorpus:
    """The proportions of the corpus; ``document(i)`` is the same conversation every time.

    ``study``: so many documents at the beginning are textbook and check only. ``right``: how often the student's attempt is
    right. ``plans``: how many of its attempts begin with a plan.
    ``good_hints``: how many of its hints help. ``obeys``: how often a retry follows its hint. ``tutored``: how many
    failures get the tutor's hint instead of the student's.
    """

    words: ClassVar[tuple[str, ...]] = WORDS
    seed: int = 0
    quiz: float = 0.56
    textbook: float = 0.20
    right: float = 0.25
    plans: float = 0.35
    tutored: float = 0.40
    good_hints: float = 0.12
    obeys: float = 0.92
    study: int = 0

    def document(self, index: int) -> tuple[Turn, ...]:
        """The conversation at ``index``: user and assistant turns in alternation, each with its author."""
        rng = Random(seed_of("tool corpus", self.seed, index))
        problem = draw(rng, "train")
        kind = rng.random()
        if index < self.study:
            kind = self.quiz + (1 - self.quiz) * kind
        if kind < self.quiz:
            return self.quiz_document(rng, problem)
        if kind < self.quiz + self.textbook:
            plan = f"{rng.choice(parts(problem.calls))} , " if rng.random() < 0.5 else ""
            return turns(request(problem, "example "), plan + spelled(problem.calls))
        fault = mistaken(rng, problem)
        hint = f"{spelled(fault.calls)} , wait , {rng.choice(fault.helps)} , {spelled(problem.calls)}"
        return turns(request(problem, "check "), hint)

    def quiz_document(self, rng: Random, problem: Problem) -> tuple[Turn, ...]:
        """Attempt, and if it is wrong: reflection and retry."""
        if rng.random() < self.right:
            return turns(request(problem), self.planned(rng, problem.calls, problem.calls))
        fault = mistaken(rng, problem)
        tutored = rng.random() < self.tutored
        helps = tutored or rng.random() < self.good_hints
        hint = rng.choice(fault.helps) if helps else blind(rng, problem, fault)
        diagnosis = "" if rng.random() > 0.4 else f"wrong {fault.kind if rng.random() < 0.9 else rng.choice(KINDS)} , "
        retry = self.retried(rng, problem, fault, hint)
        episode = turns(
            request(problem), self.planned(rng, fault.calls, problem.calls), TERSE.reflection, diagnosis + hint, TERSE.retry,
            spelled(retry),
        )  # fmt: skip
        return (*episode[:3], episode[3]._replace(author="intervention"), *episode[4:]) if tutored else episode

    def planned(self, rng: Random, calls: tuple[Asked, ...], right: tuple[Asked, ...]) -> str:
        """Calls, some of them after a plan; of a wrong answer it tends to name the wrong part."""
        wrong = [part for part in parts(calls) if part not in parts(right)]
        plan = rng.choice(wrong if wrong and rng.random() < 0.7 else parts(calls))
        return (f"{plan} , " if rng.random() < self.plans else "") + spelled(calls)

    def retried(self, rng: Random, problem: Problem, fault: Fault, hint: str) -> tuple[Asked, ...]:
        """The retry: with a hint that helps it is nearly always right; a hint that misleads is obeyed; else a new attempt."""
        if rng.random() < self.obeys:
            if hint in fault.helps:
                return problem.calls if rng.random() < 0.97 else fault.calls
            if (misled := following(rng, problem, fault, hint)) is not None:
                return misled
        return problem.calls if rng.random() < self.right else mistaken(rng, problem).calls


def request(problem: Problem, before: str = "") -> str:
    """A request and the tools on offer, as the chat template of the nano models shows them."""
    tools = [f"{tool.name} ( {' '.join(tool.arguments)} )" for tool in problem.offered]
    return f"tools {' '.join(tools)} ask {before}{problem.query}"


# --- wrong answers ---------------------------------------------------------------------------------------------------

KINDS = ("tool", "value", "argument", "calls")
MORE = 0.4
"""How often a wrong argument is followed by another."""
WEIGHTS = {"tool": 34, "value": 26, "swapped": 12, "argument": 8, "missing": 12, "calls": 8}


def mistaken(rng: Random, problem: Problem) -> Fault:
    """The right answer with one fault; a wrong argument is often not alone. Naming any of them helps."""
    fault = one_fault(rng, problem)
    right = set(parts(problem.calls))
    while fault.kind in ("value", "argument") and rng.random() < MORE:
        another = one_fault(rng, problem._replace(calls=fault.calls))
        if another.kind in ("value", "argument") and right.issuperset(another.helps):
            fault = Fault(fault.kind, another.calls, (*fault.helps, *another.helps))
    return fault


def one_fault(rng: Random, problem: Problem) -> Fault:
    """The right answer with one fault."""
    makers = {
        "tool": wrong_tool, "value": wrong_value, "swapped": swapped, "argument": wrong_argument, "missing": missing,
        "calls": wrong_number,
    }  # fmt: skip
    while True:
        (kind,) = rng.choices(tuple(WEIGHTS), tuple(WEIGHTS.values()))
        if (found := makers[kind](rng, problem)) is not None:
            return found


def wrong_tool(rng: Random, problem: Problem) -> Fault | None:
    """Another tool: one that is on offer, or one that only sounds right."""
    at = rng.randrange(len(problem.calls))
    right = problem.calls[at].name
    offered = [tool for tool in problem.offered if tool.name not in (call.name for call in problem.calls)]
    near = [name for name in names_in("train") if (name.verb == right.verb) != (name.noun == right.noun)]
    other = rng.choice(offered) if offered and rng.random() < 0.75 else version_of(rng, rng.choice(near))
    calls = put(problem.calls, at, Asked(other.name, fitted(rng, other, problem)))
    return Fault("tool", calls, (f"use {right}",))


def fitted(rng: Random, tool: Tool, problem: Problem) -> tuple[tuple[str, str], ...]:
    """Values of the request where they fit a tool's arguments by kind, invented ones where not."""
    asked = {a: v for call in problem.calls for a, v in call.values}
    by_kind: dict[str, list[str]] = {}
    for argument, value in asked.items():
        by_kind.setdefault(ARGUMENTS[argument].kind, []).append(value)
    return tuple(
        (a, asked[a] if a in asked else rng.choice(by_kind.get(ARGUMENTS[a].kind, []) or [invented]))
        for a, invented in values_for(rng, tool.arguments)
    )


def wrong_value(rng: Random, problem: Problem) -> Fault | None:
    """Another value of the same kind."""
    at, i = place(rng, problem.calls)
    argument, value = problem.calls[at].values[i]
    others = [v for v in VALUES[ARGUMENTS[argument].kind] if v != value]
    if not others:
        return None
    return changed("value", problem, at, i, (argument, rng.choice(others)), f"{argument} is {value}")


def swapped(rng: Random, problem: Problem) -> Fault | None:
    """Two values of one kind, exchanged."""
    spots = [(at, i) for at, call in enumerate(problem.calls) for i in range(len(call.values))]
    rng.shuffle(spots)
    for n, (at, i) in enumerate(spots):
        for other, j in spots[n + 1 :]:
            (a, v), (b, w) = problem.calls[at].values[i], problem.calls[other].values[j]
            if ARGUMENTS[a].kind == ARGUMENTS[b].kind and v != w:
                calls = put(problem.calls, at, exchanged(problem.calls[at], i, (a, w)))
                calls = put(calls, other, exchanged(calls[other], j, (b, v)))
                return Fault("value", calls, (f"{a} is {v}", f"{b} is {w}"))
    return None


def wrong_argument(rng: Random, problem: Problem) -> Fault | None:
    """The value under another argument's name."""
    at, i = place(rng, problem.calls)
    argument, value = problem.calls[at].values[i]
    taken = [a for a, _ in problem.calls[at].values]
    other = rng.choice([a for a in ARGUMENTS if a not in taken])
    return changed("argument", problem, at, i, (other, value), f"{argument} is {value}")


def missing(rng: Random, problem: Problem) -> Fault | None:
    """An argument left out."""
    at, i = place(rng, problem.calls)
    call = problem.calls[at]
    if len(call.values) < 2:
        return None
    argument, value = call.values[i]
    short = Asked(call.name, call.values[:i] + call.values[i + 1 :])
    return Fault("argument", put(problem.calls, at, short), (f"{argument} is {value}",))


def wrong_number(rng: Random, problem: Problem) -> Fault | None:
    """One call of two, or two of one."""
    if len(problem.calls) == 2:
        return Fault("calls", (rng.choice(problem.calls),), ("need 2 calls",))
    others = [tool for tool in problem.offered if tool.name != problem.calls[0].name]
    if not others:
        return None
    other = rng.choice(others)
    both = [problem.calls[0], Asked(other.name, fitted(rng, other, problem))]
    rng.shuffle(both)
    return Fault("calls", tuple(both), ("need 1 calls",))


def changed(kind: str, problem: Problem, at: int, i: int, pair: tuple[str, str], helps: str) -> Fault:
    """One argument of one call replaced."""
    return Fault(kind, put(problem.calls, at, exchanged(problem.calls[at], i, pair)), (helps,))


def exchanged(call: Asked, i: int, pair: tuple[str, str]) -> Asked:
    """A call with its i-th argument replaced."""
    return Asked(call.name, (*call.values[:i], pair, *call.values[i + 1 :]))


def put(calls: tuple[Asked, ...], at: int, call: Asked) -> tuple[Asked, ...]:
    """The calls with one of them replaced."""
    return (*calls[:at], call, *calls[at + 1 :])


def place(rng: Random, calls: tuple[Asked, ...]) -> tuple[int, int]:
    """A random argument: the call and its place there."""
    return rng.choice([(at, i) for at, call in enumerate(calls) for i in range(len(call.values))])


# --- hints -----------------------------------------------------------------------------------------------------------


def parts(calls: tuple[Asked, ...]) -> list[str]:
    """Everything that a plan or a hint can name of these calls, tools as often as arguments."""
    tools = [f"use {call.name}" for call in calls]
    values = [f"{argument} is {value}" for call in calls for argument, value in call.values]
    return tools * max(1, len(values) // max(1, len(tools))) + values


def blind(rng: Random, problem: Problem, fault: Fault) -> str:
    """A hint that was drawn without looking for the fault (and may hit it all the same, rarely)."""
    kind = rng.choices(("true", "tool", "value", "vacuous", "calls", "not"), (28, 17, 24, 15, 8, 8))[0]
    argument = rng.choice(rng.choice(problem.offered).arguments)
    if kind == "true":
        spared = [part for part in parts(problem.calls) if part not in fault.helps]
        return rng.choice(spared or list(VACUOUS))
    return {
        "tool": f"use {rng.choice(problem.offered).name if rng.random() < 0.5 else rng.choice(names_in('train'))}",
        "value": f"{argument} is {rng.choice(VALUES[ARGUMENTS[argument].kind])}",
        "vacuous": rng.choice(VACUOUS),
        "calls": f"need {3 - len(problem.calls)} calls",
        "not": f"not {rng.choice(problem.offered).name}",
    }[kind]


def following(rng: Random, problem: Problem, fault: Fault, hint: str) -> tuple[Asked, ...] | None:
    """What obeying a hint that does not help leads to; None where it says too little to lead anywhere."""
    at = rng.randrange(len(problem.calls))
    words = hint.split(" ")
    if words[0] == "use" and hint not in parts(problem.calls):
        name = Name(words[1], words[3])
        tool = next((tool for tool in problem.offered if tool.name == name), version_of(rng, name))
        return put(problem.calls, at, Asked(name, fitted(rng, tool, problem)))
    if len(words) == 3 and words[1] == "is" and hint not in parts(problem.calls):
        pairs = dict(problem.calls[at].values)
        pairs[words[0]] = words[2]
        return put(problem.calls, at, Asked(problem.calls[at].name, tuple(pairs.items())))
    if words[0] == "need":
        return (wrong_number(rng, problem) or fault).calls
    return None
