"""Sums as they are asked and read: letters, simplifications, splits."""

from __future__ import annotations

from random import Random

import pytest

from secondthought.errors import UserError
from secondthought.items.load import tasks_of
from secondthought.tasks.addition import (
    KINDS,
    Addition,
    Kind,
    Simplified,
    Sum,
    draw,
    posed,
    read_letters,
    read_step,
    read_total,
    said,
    simplified,
    split_of,
    sum_of,
    written,
)
from secondthought.tasks.topics import Topics, drawn


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("style", ["terse", "chat"])
def test_what_is_written_is_read(kind: Kind, style: str) -> None:
    rng = Random(0)
    for digits in range(1, 12):
        for _ in range(20):
            whole = draw(rng, digits)
            task = posed(whole, kind, style)
            answer = said(task, whole.total if kind == "fast" else simplified(whole))
            assert Addition(style=style).grade(task, answer).score == 1, answer  # type: ignore[arg-type]
            assert (read_total if kind == "fast" else read_step)(task, answer) is not None


def test_simplifying_to_the_end_adds() -> None:
    rng = Random(1)
    for _ in range(200):
        whole = draw(rng, rng.randint(1, 20))
        rest, found = whole, ""
        for _ in range(whole.digits):
            digit, rest = simplified(rest)
            found = f"{digit}{found}"
        assert int(f"{rest.total}{found}") == whole.total


def test_carries() -> None:
    assert [Sum(*one).carries for one in ((12, 34, 0), (58, 27, 0), (99, 1, 0), (95, 4, 1))] == [0, 1, 2, 2]


@pytest.mark.parametrize("text", ["", "B 0 C 6 D", "B 0 D 6 C 3", "C 6 D 3 E 1", "63", "B 0 C 6 D 3 , done"])
def test_broken_totals(text: str) -> None:
    assert read_total(posed(Sum(47, 16), "fast", "terse", 2), text) is None


@pytest.mark.parametrize(
    "text", ["", "D 7 + 6 = 13", "D 7 + 6 = x , C 4 + C 1", "D 7 + 6 = 13 , C 4", "C 4 + C 1 + 1", "D 3 ,  "]
)
def test_broken_steps(text: str) -> None:
    assert read_step(posed(Sum(47, 16), "slow", "terse", 2), text) is None


def test_steps_of_chat_models() -> None:
    task = posed(Sum(58, 27), "slow", "chat")
    assert read_step(task, "5; 5 + 2 + 1") == Simplified(5, Sum(5, 2, 1))
    assert read_step(task, "The answer: 5 ; 5+2") == Simplified(5, Sum(5, 2, 0))
    assert read_step(task, "85") is None


def test_endless_digits_are_no_answer_and_no_crash() -> None:
    long = "7" * 5000
    for kind, text in (("fast", long), ("fast", f"The answer is {long}."), ("slow", f"1; {long} + 2")):
        for style in ("chat", "terse"):
            verdict = Addition().grade(posed(Sum(58, 27), kind, style), text)  # type: ignore[arg-type]
            assert verdict.score == 0
            assert verdict.answer is None


def test_splits_share_no_sum_in_any_order() -> None:
    rng = Random(2)
    for _ in range(300):
        whole = draw(rng, 4)
        assert split_of(whole) == split_of(whole.swapped) == split_of(whole._replace(carry=1 - whole.carry))
    shares = [split_of(draw(rng, 6)) for _ in range(2000)]
    assert 0.16 < shares.count("test") / 2000 < 0.24


def test_specs() -> None:
    assert tasks_of("addition:6:test", style="terse")[0].family == "addition"
    lengths = {draws.stratum(draws[i]) for draws in [Addition("dev", 3, 5)] for i in range(50)}
    assert lengths == {"3", "4", "5"}
    for spec in ("addition:0", "addition:26", "addition:7-3"):
        with pytest.raises(UserError, match="1 to 25 digits"):
            tasks_of(spec)
    with pytest.raises(UserError, match="drawn, not read"):
        tasks_of("addition:file.txt")
    with pytest.raises(UserError, match="at most 25 digits"):
        posed(Sum(10**25, 1), "fast", "terse")


def test_questions_are_read() -> None:
    assert read_letters("C 4 D 7 + C 1 D 6") == (Sum(47, 16), 2)
    assert read_letters("C 4 D 7 + D 6 + 1") == (Sum(47, 6, 1), 2)
    for text in ("C 4 D 7", "A 4 B 7 + A 1 B 6", "C 4 D 7 + C 1 E 6", "C 4 D 7 + C 1 D 6 + 2", "pose"):
        assert read_letters(text) is None, text


@pytest.mark.parametrize("style", ["terse", "chat"])
def test_topics_pose_only_what_may_be_trained_on(style: str) -> None:
    topics = Topics(style)
    for number in range(100):
        task = topics.read(drawn(topics, topics[0], number))
        assert task is not None
    rng = Random(3)
    held = [draw(rng, 3, "test") for _ in range(20)]
    for whole in held:
        text = written(whole, style, 3, 4) if style == "terse" else f"{whole.a} + {whole.b}"
        assert topics.read(text) is None
    own = draw(rng, 2, "train")
    asked = Topics("chat").read(f"I like {own.a} + {own.b}. Next: 5 + 5")
    assert asked is not None
    assert sum_of(asked) == own._replace(carry=0)
    assert Topics("chat").read("twelve plus three") is None
    assert Topics("chat", digits=2).read("123 + 4") is None
