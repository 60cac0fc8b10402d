"""One careful reader of numbers: graders, probes and the rule against leaks read the same."""

from __future__ import annotations

import json
import time
from fractions import Fraction
from pathlib import Path

import pytest

from secondthought import Task, UserError
from secondthought.items.load import tasks_of
from secondthought.items.templates import reading_of
from secondthought.tasks.answer_leaks import answer_in_text
from secondthought.tasks.grade import grader, number
from secondthought.tasks.numbers import answer_number, equal, gold_number
from secondthought.types import Json

DATA = Path(__file__).parents[3] / "shared" / "data" / "gsm8k" / "test.jsonl"

ANSWERS = [
    # signs and separators
    ("It fell to −4 degrees.", "-4"), ("a loss of $-7", "-7"), ("a loss of −$7.50", "-7.5"), ("- 3", "3"), ("2,500,000", "2500000"),
    ("1 250", "1250"), ("1\u202f250", "1250"), ("3{,}400", "3400"), ("3\\,400", "3400"), ("\\boxed{3,\\!400}", "3400"),
    ("12_000", "12000"), ("1,00,000", "100000"), ("1, 2, 3", "3"), ("1,2,3", "3"), ("(3, 4)", "4"), ("\\$45.00", "45"),
    ("40\\%", "40"), ("１２", "12"), ("18.", "18"), ("12th", "12"), ("5kg", "5"),
    # one number and not its last part
    ("3/4", "3/4"), ("1 3/4", "7/4"), ("2½", "5/2"), ("¾", "3/4"), ("\\frac{3}{4}", "3/4"), ("\\frac34", "3/4"), ("$2\\frac{1}{2}$", "5/2"),
    ("-3/4", "-3/4"), ("10^3", "1000"), ("10⁴", "10000"), ("2**10", "1024"), ("3e5", "300000"), ("1.5 × 10^3", "1500"),
    ("2 \\times 10^{-2}", "1/50"), ("$1.5 million", "1500000"), ("7k", "7000"), ("3 hundred", "300"),
    # what is stated
    ("First 20. The answer is **18**. (I checked it in 3 ways.)", "18"), ("\\boxed{18}. I used 2 steps.", "18"),
    ("The answer is 5. Wait, the answer is 7.", "7"), ("**Answer:** 42", "42"), ("The answer is:\n\n42", "42"), ("#### -12", "-12"),
    ("<answer>9</answer> and 10", "9"), ("<answer>first 3, then 7</answer>", "7"), ("Answer: 3 apples + 4 apples = 7 apples", "7"), ("so 41, no, 42.0", "42"),
    ("It is a 10 dollar shirt. 3 shirts cost 30 dollars.", "30"), ("40+20=60 hours", "60"), ("20 (4 × 5)", "20"), ("x = 5", "5"),
    # what is no number
    ("17 * 3", None), ("The answer is 17*3.", None), ("10-3", None), ("3 + 4", None), ("pages 3-5", None), ("at 3:30", None), ("1.2.3", None),
    ("2020-01-01", None), ("3/4/2024", None), ("1/0", None), ("x2", None), ("3\\pi", None), ("\\sqrt{2}", None), ("10^999999", None),
    ("", None), ("no idea", None),
]  # fmt: skip


@pytest.mark.parametrize(("text", "value"), ANSWERS)
def test_what_an_answer_is_worth(text: str, value: str | None) -> None:
    assert answer_number(text) == (None if value is None else Fraction(value))


GOLDS: list[tuple[Json, str | None]] = [
    (12, "12"), (2.5, "5/2"), ("12", "12"), ("#### 1,200", "1200"), ("3*4=<<3*4=12>>12\n#### 12", "12"), ("\\boxed{7}", "7"), ("51 pages", "51"),
    ("$18", "18"), ("50%", "50"), ("1/2", "1/2"), ("−5", "-5"), (True, None), (None, None), ([1], None), ("Paris", None), ("18 of 20", None),
    ("3:30", None), (float("nan"), None),
]  # fmt: skip


@pytest.mark.parametrize(("gold", "value"), GOLDS)
def test_what_a_wanted_answer_is_worth(gold: Json, value: str | None) -> None:
    assert gold_number(gold) == (None if value is None else Fraction(value))


@pytest.mark.parametrize(
    ("left", "right", "same"),
    [
        ("4400307054", "4400307055", False), ("9007199254740993", "9007199254740992", False), ("12345678.90", "12345678.91", False),
        ("0.50", "1/2", True), ("0.3333333333", "1/3", True), ("0.33", "1/3", False), ("1" * 3000, "1" * 2999 + "2", False),
    ],
)  # fmt: skip
def test_whole_numbers_are_compared_as_whole_numbers(left: str, right: str, same: bool) -> None:
    a, b = answer_number(left), answer_number(right)
    assert a is not None
    assert b is not None
    assert equal(a, b) == same
    assert number(right, left).score == same


def test_a_wanted_answer_that_is_no_number_is_refused_before_anything_runs(tmp_path: Path) -> None:
    rows = [{"prompt": f"{i}?", "answer": i} for i in range(3)] + [{"prompt": "capital?", "answer": "Lima"}]
    path = tmp_path / "rows.jsonl"
    path.write_text("\n".join(json.dumps(row) for row in rows))
    with pytest.raises(UserError, match=r"line 4: the answer 'Lima' is no number; choose another --grade"):
        tasks_of(str(path), grade="number")
    assert len(tasks_of(str(path), grade="exact")) == 4


JSON: list[tuple[Json, str, float]] = [
    (True, "true", 1), (True, "True", 0), (False, "false", 1), ([1, 2], "[1,2]", 1), ({"a": 1, "b": 2}, '{"b": 2, "a": 1}', 1), (1, "true", 0),
    ("true", "true", 1), (None, "null", 1),
]  # fmt: skip


@pytest.mark.parametrize(("gold", "text", "score"), JSON)
def test_values_of_json_are_compared_by_its_rules(gold: Json, text: str, score: float) -> None:
    assert grader("exact")(gold, text).score == score


LEAKS: list[tuple[Json, str, str]] = [
    ("1,200", "it is 1200", "full"), (1200, "it is 1,200", "full"), (-5, "it is −5", "full"), (5, "it is -5", "none"), (4, "0.4 or 4.5", "none"),
    ("#### 12", "so 12", "full"), (0.5, "a half, 1/2", "full"), (12, "take 12*1", "full"), ("Lima", "it is Lima.", "full"), ("Lima", "Limassol", "none"),
    (True, "it is true", "full"),
]  # fmt: skip


@pytest.mark.parametrize(("gold", "text", "degree"), LEAKS)
def test_leaks_are_found_however_they_are_written(gold: Json, text: str, degree: str) -> None:
    assert answer_in_text(Task.of("?", answer=gold, family="x"), text) == degree


@pytest.mark.parametrize("name", ["number", "exact", "regex:(\\d+)"])
def test_thoughts_are_not_graded(name: str) -> None:
    grade = grader(name)
    assert grade("4", "<think>perhaps 5</think>4").score == 1
    assert grade("4", "perhaps 5, hm.</think>\n4").score == 1  # the template had opened it
    assert grade("4", "<think>so it is 4").score == 0  # cut off before any answer
    assert grade("4", "<think>it is 4</think>I do not know").score == 0


def test_scores_outside_of_one_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "twice.py").write_text("def reward(answer, text):\n    return 2.0 if text == answer else float('nan')\n")
    monkeypatch.chdir(tmp_path)
    for text in ("4", "5"):
        with pytest.raises(UserError, match=r"twice:reward returned (2\.0|nan); a score must be in \[0, 1\]"):
            grader("twice:reward")("4", text)


def test_long_and_hostile_texts_are_read_in_no_time() -> None:
    for text in (
        "1" * 10**6,
        "1," * 10**5,
        "(" * 10**5,
        "\\boxed{" * 10**4,
        "1/" * 10**5,
        "- " * 10**5,
        "9^9^9^9",
        "answer is " * 10**4,
    ):
        began = time.process_time()
        answer_number(text)
        assert time.process_time() - began < 2


@pytest.mark.skipif(not DATA.is_file(), reason="GSM8K is not here")
def test_right_solutions_of_gsm8k_are_right_with_and_without_their_last_line() -> None:
    rows = [json.loads(line) for line in DATA.read_text().splitlines()]
    golds = [gold_number(row["answer"]) for row in rows]
    assert None not in golds
    reading = reading_of("gsm8k", "clean")
    assert [answer_number(row["answer"]) for row in rows] == golds
    said = [
        f"{row['answer'].rpartition('####')[0]}The answer is **{row['answer'].rpartition('####')[2].strip()}**." for row in rows
    ]
    assert [gold_number(reading.read(text) or "") for text in said] == golds
