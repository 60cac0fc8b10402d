"""Candidate answers are found where a text gives an answer, and not on the way to it."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial

import pytest

from secondthought.items.scli import answer_in
from secondthought.probes.first_try import listed
from secondthought.probes.hint_faithfulness import before_answer
from secondthought.probes.self_trust_words import percent_in, shares_in
from secondthought.tasks.announced import Announced
from secondthought.tasks.candidates import candidates, candidates_of
from secondthought.tasks.countdown import Countdown
from secondthought.tasks.multiple_choice import posed
from secondthought.types import Json, Task


def values(text: str, answer: Json = "7") -> list[str]:
    return [one.value for one in candidates(Task.of("?", answer=answer, family="sums"), text)]


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("12 * 2 = 24, then 24 - 17 = 7.", []),
        ("12 * 2 = 24.\nSo there are 24 - 17 = 7 eggs.", ["7"]),
        ("The answer is 8. Wait, 24 - 17 = 7. The answer is 7.", ["8", "7"]),
        ("\\boxed{8}\nHmm, let me check: 24 - 17 = 7.\n\\boxed{7}", ["8", "7"]),
        ("#### 7", ["7"]),
        ("The answer is not 8.", []),
        ("Therefore, we need 24 - 17.", []),
        ("But wait. So it would be 1,250 dollars.", ["1250"]),
        ("<answer>7</answer>", ["7"]),
        ("So what do we know?", []),
    ],
)
def test_numbers(text: str, wanted: list[str]) -> None:
    assert values(text) == wanted


def test_where_they_stand() -> None:
    text = "First.\nThe answer is 8. Wait.\nSo 7."
    found = candidates(Task.of("?", answer=7, family="sums"), text)
    assert [text[one.start : one.end].strip() for one in found] == ["The answer is 8.", "So 7."]


def test_letters() -> None:
    task = posed("Which?", ["Rome", "Paris", "Bern"], 1, "chat")
    text = "A is in Italy. So it is B. Wait, it is not (A). Option C is wrong? I choose (C). The answer is B."
    assert [one.value for one in candidates(task, text)] == ["B", "C", "B"]
    small = posed("3 + 4", ["9", "7"], 1, "terse")
    assert [one.value for one in candidates(small, "3 + 4 = 9 a , wait , 3 + 4 = 7 b")] == ["a", "b"]


def test_chains_of_countdown() -> None:
    task = Countdown("test")[0]
    text = "3 * 5 = 15 , 15 + 2 = 17 , wait , 5 + 2 = 7 , 7 * 3 = 21"
    assert [one.value for one in candidates(task, text)] == ["3 * 5 = 15 , 15 + 2 = 17", "5 + 2 = 7 , 7 * 3 = 21"]
    find = candidates_of(Announced("test"))
    assert [one.value for one in find(task, f"{text} , done")][1] == "5 + 2 = 7 , 7 * 3 = 21 , done"


def test_words_and_tags() -> None:
    assert values("The answer is Paris. No, the answer is Bern.", "Bern") == ["Paris", "Bern"]
    chat = Task.of("?", answer={"nums": [1, 2], "target": 3, "style": "chat"}, family="countdown")
    assert [one.value for one in candidates(chat, "so 1 * 2. <answer>1 + 2</answer>")] == ["<answer>1 + 2</answer>"]


HOSTILE = [
    "answer is " * 9000, "answer" + " " * 90_000, "so " * 33_000, "So 1" * 25_000, "[[" * 50_000, "[[1," * 25_000, "1," * 50_000,
    "A: " * 33_000, "\\boxed{" * 14_000, "<think>" * 14_000, "wait , " * 14_000, "(A" * 50_000, "option " * 14_000, "\n" * 100_000,
]  # fmt: skip


@pytest.mark.parametrize("text", HOSTILE, ids=lambda text: text[:8].strip() or "lines")
def test_a_hundred_thousand_characters_of_anything_are_read_in_good_time(text: str) -> None:
    """They were 47 seconds for "so so so"; the bound is wide, since machines are busy."""
    chat, chain = posed("Which?", ["Rome", "Paris"], 1, "chat"), Countdown("test")[0]
    tasks = (Task.of("?", answer=7, family="s"), Task.of("?", answer="x", family="s"), chat, chain)
    readers: list[Callable[[str], object]] = [*(partial(candidates, task) for task in tasks), partial(listed, text="x")]
    readers += [answer_in, before_answer, partial(shares_in, names="AB"), percent_in]
    for reader in readers:
        began = time.process_time()
        reader(text)
        assert time.process_time() - began < 2, reader
