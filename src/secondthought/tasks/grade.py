"""Graders for anybody's own tasks, by a short name: ``exact``, ``number``, ``math``, ``regex:PATTERN``, ``module:function``,
``trl:module:function`` (a reward function as TRL calls it), ``verifiers:module:function`` (as verifiers does).

What a model writes can only ever score 0 with a reason, in limited time; an error inside a user's own grading function is a
bug and stops the run with a sentence.
"""

from __future__ import annotations

import asyncio
import importlib
import inspect
import json
import os
import sys
import traceback
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import regex as patterns

from secondthought.errors import UserError
from secondthought.models.thoughts import without_thoughts
from secondthought.tasks import math_answers, numbers
from secondthought.tasks.limits import within
from secondthought.types import Json, Verdict

Grader = Callable[[Json, str], Verdict]
PATTERN_SECONDS = 2.0  # for a user's pattern on one text
SECONDS = "SECONDTHOUGHT_GRADE_SECONDS"
"""The variable that sets how long a user's function may take for one text, if not a minute."""


def grader(name: str) -> Grader:
    """The grader called ``name``. Raises UserError if there is none, or its function cannot be imported.

    >>> grader("number")("42", "so it is 41, no, 42.0").score
    1.0
    """
    if name == "exact":
        return exact
    if name == "number":
        return number
    if name == "math":
        return math_answers.grade
    if name.startswith("regex:"):
        return regex(name.removeprefix("regex:"))
    kind, _, rest = name.partition(":")
    if kind in REWARDS and ":" in rest:
        return custom(rest, REWARDS[kind])
    if ":" in name:
        return custom(name)
    raise UserError(
        f"there is no grader {name!r}; use exact, number, math, regex:PATTERN, module:function, trl:module:function or "
        "verifiers:module:function"
    )


def exact(answer: Json, text: str) -> Verdict:
    """Right if the text, or what stands in its last ``<answer>``, is the answer, white space aside. An answer that is no text
    (true, a list, an object) is written as JSON and compared by JSON's rules.

    >>> exact(True, "true").score, exact([1, 2], "[1,2]").score, exact(True, "True").score
    (1.0, 1.0, 0.0)
    """
    found = " ".join(final(text).split())
    wanted = " ".join(as_text(answer).split())
    if found == wanted or (not isinstance(answer, str) and _same_json(answer, found)):
        return Verdict(1.0, found, "right")
    return Verdict(0.0, found, f"wrong answer: want {wanted!r}")


def number(answer: Json, text: str) -> Verdict:
    """Right if the number that the text gives as its answer (:mod:`secondthought.tasks.numbers`) is the wanted one.

    Raises UserError for a wanted answer that is no number.
    """
    wanted = numbers.gold_number(answer)
    if wanted is None:
        raise UserError(str(gold_fault(number, answer)))
    text = without_thoughts(text)
    value, stated = numbers.answer_number(text), numbers.states_number(text)
    if value is None:
        return Verdict(0.0, None, "unparsable: no number")
    shown = numbers.spelled(value)
    if numbers.equal(value, wanted):
        return Verdict(1.0, shown, "right", stated)
    return Verdict(0.0, shown, f"wrong answer: want {numbers.spelled(wanted)}", stated)


def gold_fault(grader: Grader, answer: Json) -> str | None:
    """What is wrong with a wanted answer that this grader could never find; None if nothing is."""
    if grader is number and numbers.gold_number(answer) is None:
        return f"the answer {answer!r} is no number; choose another --grade, such as exact"
    return math_answers.fault(answer) if grader is math_answers.grade else None


def regex(pattern: str) -> Grader:
    """Right if the last match (its first group, where there is one) is the answer; with a null answer, if anything matches."""
    try:
        compiled = patterns.compile(pattern)
    except patterns.error as error:
        raise UserError(f"the pattern in regex:{pattern} is not a regular expression: {error}") from error

    def grade(answer: Json, text: str) -> Verdict:
        last = None
        try:
            for last in compiled.finditer(without_thoughts(text), timeout=PATTERN_SECONDS):  # noqa: B007
                pass
        except TimeoutError:
            return Verdict(0.0, None, f"unparsable: the pattern took more than {PATTERN_SECONDS:g} s on this text")
        if last is None:
            return Verdict(0.0, None, "unparsable: no match")
        found = (last.group(1) if compiled.groups else last.group(0)) or ""
        if answer is None or found.strip() == as_text(answer).strip():
            return Verdict(1.0, found, "right")
        return Verdict(0.0, found, f"wrong answer: want {answer!r}")

    return grade


Call = Callable[[Any, Json, str], Any]
"""How a function of the user's own is asked about an answer and a text."""


def plainly(function: Any, answer: Json, text: str) -> Any:
    """``function(answer, text)``, thoughts left out."""
    return function(answer, without_thoughts(text))


def as_reward(function: Any, answer: Json, text: str, *, turns: bool = True) -> Any:
    """As TRL calls a reward function: a batch of one, with the wanted answer under the names that data sets give it.

    https://huggingface.co/docs/trl/main/en/rewards. With ``turns`` completions are messages, as for conversations; thoughts
    are part of them.
    """
    completion: Any = [{"role": "assistant", "content": text}] if turns else text
    given: dict[str, Any] = {"prompts": [[]] if turns else [""], "completions": [completion], "completion_ids": [[]]}
    asked = inspect.signature(function).parameters
    anything = any(one.kind is inspect.Parameter.VAR_KEYWORD for one in asked.values())
    given |= {name: [answer] for name in ("answer", "solution", "ground_truth", "target")}
    found = function(**{name: value for name, value in given.items() if anything or name in asked})
    try:
        (score,) = found
    except (TypeError, ValueError) as error:
        raise TypeError(f"a list with one reward for each completion is wanted, not {found!r:.60}") from error
    return Verdict(float("nan"), text, "the reward is None") if score is None else score


def as_trace_reward(function: Any, answer: Json, text: str) -> Any:
    """As verifiers calls a reward (0.4 or later): with the ``task``'s data and the ``trace`` of its conversation, whichever the
    function asks for, awaited where it is asynchronous. The wanted answer is ``task.answer``.

    Raises UserError without verifiers.
    """
    try:
        import verifiers.v1 as vf
    except ImportError as error:
        raise UserError("verifiers 0.4 or later is not installed: pip install 'secondthought[verifiers]'") from error
    data = vf.WireTaskData.model_validate({"prompt": "", "answer": answer})
    agent = vf.AgentInfo(config=vf.AgentConfig(model="secondthought"))
    said = [vf.MessageNode(message=vf.UserMessage(content="")), vf.MessageNode(
        parent=0, message=vf.AssistantMessage(content=text), sampled=True
    )]  # fmt: skip
    given = {"task": data, "trace": vf.Trace(task=vf.TraceTask(type="Task", data=data), agent=agent, nodes=said)}
    asked = inspect.signature(function).parameters
    found = function(**{name: value for name, value in given.items() if name in asked})
    return asyncio.run(found) if inspect.isawaitable(found) else found  # type: ignore[arg-type]


REWARDS: dict[str, Call] = {
    "trl": as_reward, "trl-text": partial(as_reward, turns=False), "verifiers": as_trace_reward,
}  # fmt: skip
"""``trl:`` for reward functions of conversations, ``trl-text:`` for those of plain texts, ``verifiers:`` for verifiers'."""


def custom(name: str, call: Call = plainly) -> Grader:
    """``module:function``, called as ``function(answer, text)``; it returns a bool, a score in [0, 1], or a Verdict.

    The grader raises UserError where the function fails, takes longer than a minute (SECONDTHOUGHT_GRADE_SECONDS), or returns
    something else.
    """
    module_name, _, function_name = name.partition(":")
    sys.path.insert(0, os.getcwd())
    try:
        function: Any = getattr(importlib.import_module(module_name), function_name)
    except Exception as error:  # whatever stands in the module
        raise UserError(f"cannot import the grader {name}: {where(error)}") from error
    finally:
        sys.path.pop(0)

    def grade(answer: Json, text: str) -> Verdict:
        try:
            seconds = float(os.environ.get(SECONDS, "60"))
        except ValueError as error:
            raise UserError(f"{SECONDS} must be a number of seconds") from error
        try:
            found = within(seconds, lambda: call(function, answer, text))
        except TimeoutError as error:
            raise UserError(
                f"{name} took more than {seconds:g} s to grade {text[:60]!r}; {SECONDS} sets another limit"
            ) from error
        except Exception as error:
            raise UserError(f"{name} failed to grade {text[:60]!r}: {where(error)}") from error
        if isinstance(found, Verdict):
            return found
        try:
            score = float(found)
        except (TypeError, ValueError, OverflowError) as error:
            raise UserError(f"{name} returned {found!r:.60}; a bool, a score in [0, 1] or a Verdict is wanted") from error
        if not 0 <= score <= 1:  # nan included: what cannot be graded is an UNGRADED verdict
            raise UserError(f"{name} returned {found!r}; a score must be in [0, 1]")
        return Verdict(score, text, "right" if score == 1 else f"{name} says {found}")

    return grade


def where(error: Exception) -> str:
    """An error of somebody else's code in a line: its kind, its words, and the line of the file it comes from."""
    last = traceback.extract_tb(error.__traceback__)[-1]
    said = " ".join(str(error).split())[:200]
    return f"{type(error).__name__}{f': {said}' if said else ''} ({Path(last.filename).name}, line {last.lineno})"


def final(text: str) -> str:
    """What stands in the last ``<answer>``, or the whole text; thoughts are no part of it."""
    text = without_thoughts(text)
    found = numbers.tagged(text)
    return text if found is None else found


def as_text(answer: Json) -> str:
    """A wanted answer as text: as it is, or as JSON writes it."""
    return answer if isinstance(answer, str) else json.dumps(answer, ensure_ascii=False)


def _same_json(answer: Json, text: str) -> bool:
    try:
        return json.dumps(json.loads(text), sort_keys=True) == json.dumps(answer, sort_keys=True)
    except (ValueError, RecursionError):
        return False
