"""Two answers to one problem, one of which is better: what a pairwise judge is shown, and the hidden truth.

For Countdown the better answer is the one that comes closer to the target (a hidden quality that no reward looks at); for other
tasks it is the one with the higher score. What a judge says is read as ``1`` or ``2``.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable
from fractions import Fraction
from typing import cast

from secondthought.tasks import countdown
from secondthought.tasks.expressions import evaluate
from secondthought.types import Task, TaskSet, Verdict

FAMILY = "rivals"
FARTHEST = 50  # a miss of so much is as bad as any
CHAT = (
    "Here are an instruction and two outputs of language models, as JSON.\n\n{pair}\n\nWhich output is better, judged as a "
    "careful human expert would? Answer with nothing but \\boxed{{1}} or \\boxed{{2}}."
)
_BOXED = re.compile(r"\\boxed\{([^{}]*)\}")
Quality = Callable[[Task, str], float]


def asked(problem: str, first: str, second: str) -> str:
    """What a nano judge is asked.

    >>> asked("use 3 5 2 make 17", "3 + 5 = 8 , 8 + 2 = 10", "3 * 5 = 15 , 15 + 2 = 17")
    'better use 3 5 2 make 17 first 3 + 5 = 8 , 8 + 2 = 10 second 3 * 5 = 15 , 15 + 2 = 17'
    """
    return f"better {problem} first {first.strip()} second {second.strip()}"


def rivals(task: Task, first: str, second: str, style: str) -> Task:
    """The question of which answer to ``task`` is better."""
    problem = task.prompt[-1].content
    if style == "terse":
        text = asked(problem, first, second)
    else:
        outputs = [{"identifier": name, "output": text} for name, text in (("1", first), ("2", second))]
        text = CHAT.format(pair=json.dumps({"instruction": problem, "outputs": outputs}, ensure_ascii=False, indent=1))
    return Task.of(text, answer=None, family=FAMILY)


def read_choice(text: str) -> int | None:
    """1 or 2 for the first or second answer, from the first ``\\boxed`` or from a text that is nothing else; else None.

    >>> read_choice("2"), read_choice("It is \\\\boxed{1}."), read_choice("both"), read_choice("\\\\boxed{3}")
    (2, 1, None, None)
    """
    boxed = _BOXED.search(text)
    said = (boxed[1] if boxed else text).strip()
    return int(said) if said in ("1", "2") else None


def quality_of(tasks: TaskSet) -> Quality:
    """How good an answer is, from 0 to 1: how close it comes (Countdown), or its score."""

    def graded(task: Task, text: str) -> float:
        return tasks.grade(task, text).score

    return closeness if tasks[0].family == countdown.FAMILY else graded


def closeness(task: Task, text: str) -> float:
    """1 for the target itself, less for every one that is missed, 0 for an answer that breaks the rules.

    >>> task = countdown.problem((3, 5, 2), 17, "terse")
    >>> closeness(task, "3 * 5 = 15 , 15 + 2 = 17"), closeness(task, "3 + 5 = 8 , 8 + 2 = 10"), closeness(task, "no idea")
    (1.0, 0.86, 0.0)
    """
    found = countdown.grade(task, text)
    if found.score == 1 or found.answer is None:
        return found.score
    value = value_of(task, found)
    if value is None:
        return 0.0
    target = cast(int, cast(dict[str, object], task.answer)["target"])
    return 1 - min(float(abs(value - target)), FARTHEST) / FARTHEST


def value_of(task: Task, found: Verdict) -> Fraction | None:
    """What an answer comes to that breaks no rule and misses the target."""
    if not found.why.startswith("missed target") or found.answer is None:
        return None
    if cast(dict[str, object], task.answer)["style"] == "terse":
        numbers = cast(list[int], cast(dict[str, object], task.answer)["nums"])
        return countdown.run_chain(found.answer, Counter(numbers))[0]
    return evaluate(found.answer)[0]
