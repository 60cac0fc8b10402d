"""Countdown that must be announced: without ``done`` there is no answer."""

from __future__ import annotations

from typing import Any, cast

import pytest

from secondthought.errors import UserError
from secondthought.items.load import tasks_of
from secondthought.tasks.announced import Announced
from secondthought.tasks.countdown import problem, split_of

TASK, GAME = problem((3, 5, 2), 17, "terse"), Announced("test")


@pytest.mark.parametrize(
    ("text", "score", "answer"),
    [
        ("3 * 5 = 15 , 15 + 2 = 17 , done", 1.0, "3 * 5 = 15 , 15 + 2 = 17"),
        ("3 + 5 = 8 , 8 + 2 = 10 , wait , 3 * 5 = 15 , 15 + 2 = 17 , done", 1.0, "3 * 5 = 15 , 15 + 2 = 17"),
        ("3 * 5 = 15 , 15 + 2 = 17", 0.0, None),
        ("3 + 5 = 8 , 8 + 2 = 10 , done", 0.0, "3 + 5 = 8 , 8 + 2 = 10"),
        ("done", 0.0, None),
        ("think harder , done", 0.0, ""),
        ("3 * 5 = 15 , 15 + 2 = 17 , done , wait", 0.0, None),
        ("3 * 5 = 15 , 15 + 2 = 17 , done , done", 0.0, ""),
    ],
)
def test_answers(text: str, score: float, answer: str | None) -> None:
    found = GAME.grade(TASK, text)
    assert (found.score, found.answer) == (score, answer)


def test_what_an_unfinished_answer_has_come_to() -> None:
    assert GAME.so_far(TASK, "3 * 5 = 15 , 15 + 2 = 17 , ").score == 1
    assert GAME.so_far(TASK, "3 + 5 = 8 , 8 + 2 = 10 ,").answer == "3 + 5 = 8 , 8 + 2 = 10"
    assert GAME.so_far(TASK, "").answer is None


def test_problems_are_small_and_only_nano_models_are_asked() -> None:
    tasks = tasks_of("announced", style="terse", split="dev")
    for i in range(50):
        fields = cast(dict[str, Any], tasks[i].answer)
        assert max(fields["nums"]) <= 12
        assert split_of(fields["nums"]) == "dev"
    with pytest.raises(UserError, match="are for nano models"):
        tasks_of("announced", style="chat")
