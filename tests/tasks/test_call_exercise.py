"""Exercises in obeying: a hint that asks for one change, and a call that has exactly that change."""

from __future__ import annotations

import json
from collections import Counter
from random import Random
from typing import Any

from tests.tasks.test_call_diagnosis import RIGHT, ROW

from secondthought.tasks.call_exercise import another, exercise
from secondthought.tasks.call_matching import read

ARGUMENTS: dict[str, Any] = {**RIGHT, "unit": "C"}
CALL = {"name": "weather", "arguments": ARGUMENTS}


def test_the_retry_differs_in_what_the_hint_names_and_in_nothing_else() -> None:
    kinds: Counter[str] = Counter()
    for spaces in range(60):  # other texts of one call: other exercises
        made = exercise(ROW.task, json.dumps(CALL) + " " * spaces)
        assert made is not None
        hint, retry = made
        (call,) = read(retry)
        if "wrong function" in hint:
            kinds["tool"] += 1
            assert (call.name, call.arguments) == ("news", ARGUMENTS)
            assert "`news`" in hint
        elif "leave it out" in hint:
            kinds["left out"] += 1
            (gone,) = ARGUMENTS.keys() - call.arguments.keys()
            assert f"`{gone}`" in hint
            assert call.name == "weather"
        else:
            kinds["value"] += 1
            (changed,) = [name for name, value in ARGUMENTS.items() if call.arguments[name] != value]
            assert f"The value of `{changed}` was wrong: {json.dumps(ARGUMENTS[changed])}" in hint
            assert hint.endswith(f"It has to be {json.dumps(call.arguments[changed])}.")
    assert min(kinds[kind] for kind in ("tool", "left out", "value")) > 5
    assert exercise(ROW.task, json.dumps(CALL)) == exercise(ROW.task, json.dumps(CALL))


def test_values_stay_of_their_kind() -> None:
    rng = Random(0)
    for value in (True, 3, 2.5, "Oslo", [1, 2], ["a"], []):
        other = another(value, None, rng)
        assert isinstance(other, type(value))
        assert other != value or value == []
    assert another("C", ["C", "F"], rng) == "F"
    assert another({"a": 1}, None, rng) is None


def test_what_is_not_one_call_makes_no_exercise() -> None:
    assert exercise(ROW.task, "It will rain.") is None
    assert exercise(ROW.task, json.dumps([CALL, CALL])) is None
    assert exercise(ROW.task, json.dumps({"name": "weather", "arguments": {}})) is not None  # another tool can be asked for
