"""A critic by program: what is right or wrong about an answer, step by step, and a verdict at the end.

Nano models read critiques in their own words (``3 * 5 = 15 right , too low by 2 , wrong``), others in sentences that end with
``Conclusion: right`` or ``Conclusion: wrong`` (the format of Critique Fine-Tuning, arXiv 2501.17703). A task set may bring its
own ``critique(task, text, show)``; Countdown and arithmetic have theirs here, all others get what their grader can say.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable
from fractions import Fraction
from typing import cast

from secondthought.tasks import arithmetic, countdown
from secondthought.tasks.expressions import evaluate
from secondthought.tasks.grade import as_text
from secondthought.types import Task, TaskSet

Critic = Callable[[Task, str, bool], str]
"""``critic(task, text, show)``: a critique of an answer; with ``show`` it names a right answer where ``text`` is wrong."""


def critic_of(tasks: TaskSet) -> Critic:
    """The critic of a task set: its own, that of its family, or one that says no more than its grader."""

    def graded(task: Task, text: str, show: bool) -> str:
        found = tasks.grade(task, text)
        if found.score == 1:
            return said("The answer is right", True)
        what = "There is no answer to be found" if found.answer is None else f"The answer {found.answer} is not right"
        return said(what + (f"; it should be {as_text(task.answer)}" if show else ""), False)

    own: Critic | None = getattr(tasks, "critique", None)
    return own or {countdown.FAMILY: of_countdown, arithmetic.FAMILY: of_arithmetic}.get(tasks[0].family, graded)


def solution_of(tasks: TaskSet) -> Callable[[Task], str]:
    """How a right answer to a task reads: by the set's own ``solution``, a chain of steps in Countdown and arithmetic, or the
    answer itself.
    """

    def solved(task: Task) -> str:
        if task.family == countdown.FAMILY:
            fields = cast(dict[str, object], task.answer)
            chain = way_of(tuple(cast(list[int], fields["nums"])), cast(int, fields["target"]))
            return chain if fields["style"] == "terse" else f"<answer> {expression_of(chain)} </answer>"
        if task.family == arithmetic.FAMILY:
            return f"{arithmetic.spelled(asked_steps(task))} , done {task.answer}"
        return as_text(task.answer)

    own: Callable[[Task], str] | None = getattr(tasks, "solution", None)
    return own or solved


def way_of(numbers: tuple[int, ...], target: int) -> str:
    """One chain from the numbers to the target; empty where there is none with whole, small results."""
    ways = countdown.solutions(tuple(sorted(numbers)), max(99, target, *numbers)).get(target, ())
    return arithmetic.spelled(ways[0]) if ways else ""


def expression_of(chain: str) -> str:
    """A chain as one expression.

    >>> expression_of("3 * 5 = 15 , 15 + 2 = 17")
    '(3 * 5) + 2'
    """
    made: dict[int, list[str]] = {}
    text = ""
    for step in countdown.read_chain(chain):
        left, right = (made[n].pop() if made.get(n) else str(n) for n in (step.left, step.right))
        text = f"{left} {step.op} {right}"
        made.setdefault(step.result, []).append(f"({text})")
    return text


def asked_steps(task: Task) -> countdown.Chain:
    """The chain that an arithmetic task asks for."""
    text = task.prompt[-1].content
    start = re.search(r"start with (\d+)", text)
    assert start is not None
    operations = tuple(arithmetic.Operation(op, int(number)) for op, number in re.findall(r"([-+*]) (\d+)", text))
    return arithmetic.execute(arithmetic.Problem(int(start[1]), operations)) or ()


def said(text: str, right: bool) -> str:
    """In sentences, with the verdict at the end."""
    return f"{text}. Conclusion: {'right' if right else 'wrong'}"


def verdict_in(text: str) -> bool | None:
    """The verdict of a critique: the last ``right`` or ``wrong`` in it, what ``Conclusion:`` says before all others.

    >>> verdict_in("3 * 5 = 15 right , too low by 2 , wrong"), verdict_in("Conclusion: right [END] wrong"), verdict_in("hm")
    (False, True, None)
    """
    stated = re.findall(r"conclusion:?\W*(right|wrong|correct|incorrect)", text, re.IGNORECASE)
    words = stated or re.findall(r"\b(right|wrong|correct|incorrect)\b", text, re.IGNORECASE)
    return words[-1].lower() in ("right", "correct") if words else None


def of_countdown(task: Task, text: str, show: bool) -> str:
    """Every step with its verdict, what is missing or off, and the verdict on the whole.

    >>> of_countdown(countdown.problem((3, 5, 2), 17, "terse"), "3 * 5 = 15 , 15 + 3 = 18", False)
    '3 * 5 = 15 right , 15 + 3 = 18 wrong , avoid 3 , wrong'
    """
    fields = cast(dict[str, object], task.answer)
    numbers, target = tuple(cast(list[int], fields["nums"])), cast(int, fields["target"])
    found = countdown.grade(task, text)
    right, terse = found.score == 1, fields["style"] == "terse"
    solution = way_of(numbers, target) if show and not right else ""
    if not terse:
        what = f"{found.answer} = {target}" if right else found.why.partition(": ")[2] or found.why
        more = f"; one way is {solution.replace(' , ', ', then ')}" if solution else ""
        return said(what[:1].upper() + what[1:] + more, right)
    notes = _steps(found.answer or "", tuple(numbers))
    if not right:
        notes.append(_off(found.why, target))
    return " , ".join([*notes, "right" if right else "wrong", *([f"then {solution}"] if solution else [])])


def _steps(chain: str, numbers: tuple[int, ...]) -> list[str]:
    """Each step of a chain as it stands, with ``right`` or, from the first fault on, ``wrong``."""
    pool, notes = Counter(numbers), []
    for step in countdown.read_chain(chain):
        left_over = pool - Counter((step.left, step.right))
        known = (pool - left_over).total() == 2
        good = known and (step.op, step.right) != ("/", 0) and evaluate(f"{step.left} {step.op} {step.right}")[0] == step.result
        notes.append(f"{step} {'right' if good else 'wrong'}")
        if not good:
            break
        pool = left_over + Counter((step.result,))
    return notes


def _off(why: str, target: int) -> str:
    """The fault in nano's words."""
    kind, _, rest = why.partition(": ")
    if kind == "missed target" and (got := re.search(r"got (-?\d+(?:/\d+)?)", rest)):
        gap = Fraction(got[1]) - target
        if gap.denominator == 1 and abs(gap) < 100:
            return f"too {'high' if gap > 0 else 'low'} by {abs(gap)}"
    if kind == "invalid number" and (number := re.search(r"\d+", rest)):
        return f"avoid {number[0]}"
    if kind == "missing number" and (number := re.search(r"\d+", rest)):
        return f"use {number[0]}"
    if kind == "wrong arithmetic" and (step := re.match(r"(\d+ [-+*/] \d+) is", rest)):
        return f"step {step[1]}"
    return "be careful"


def of_arithmetic(task: Task, text: str, show: bool) -> str:
    """Every step of a chain against the one that was asked for, and the verdict on what it states.

    >>> task = arithmetic.task_of(arithmetic.Problem(7, (arithmetic.Operation("+", 5), arithmetic.Operation("*", 2))))
    >>> of_arithmetic(task, "7 + 5 = 13 , 13 * 2 = 26 , done 26", False)
    '7 + 5 = 13 wrong , wrong'
    """
    steps = asked_steps(task)
    right, notes = arithmetic.grade(task, text).score == 1, []
    for match, wanted in zip(countdown.STEP.finditer(text), steps, strict=False):
        good = match[0] == str(wanted)
        notes.append(f"{match[0]} {'right' if good else 'wrong'}")
        if not good:
            break
    solution = f"then {arithmetic.spelled(steps)}" if show and not right else ""
    return " , ".join([*notes, "right" if right else "wrong", *([solution] if solution else [])])
