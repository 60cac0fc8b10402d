from __future__ import annotations

import itertools
import time
from fractions import Fraction
from operator import add, mul, sub
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from secondthought.tasks.countdown import Countdown, chat, grade, leak, problem, reachable, solutions, split_of
from secondthought.tasks.expressions import evaluate

CHAT, TERSE = problem((3, 5, 2), 17, "chat"), problem((3, 5, 2), 17, "terse")


def numbers_of(task: object) -> tuple[int, ...]:
    return tuple(sorted(task.answer["nums"]))  # type: ignore[attr-defined]


def test_splits_share_no_multiset() -> None:
    seen = {name: {numbers_of(Countdown(name)[i]) for i in range(3000)} for name in ("train", "dev", "test")}
    seen_chat = {name: {numbers_of(chat(name)[i]) for i in range(300)} for name in ("train", "dev", "test")}
    for a, b in itertools.combinations(("train", "dev", "test"), 2):
        assert not (seen[a] | seen_chat[a]) & (seen[b] | seen_chat[b])
    for name, multisets in seen.items():
        assert all(split_of(m) == name == split_of(m[::-1]) for m in multisets)


def test_the_nano_corpus_has_training_problems_only() -> None:
    from secondthought.nano.corpus import Corpus

    for index in range(2000):
        words = Corpus().document(index)[0].content.split()
        assert split_of([int(w) for w in words if w.isdigit()][:3]) == "train"


def test_tasks_are_deterministic_and_equal_problems_have_equal_keys() -> None:
    assert [Countdown("test")[i] for i in range(50)] == [Countdown("test")[i] for i in range(50)]
    by_problem: dict[object, set[str]] = {}
    for i in range(3000):
        task = Countdown("test")[i]
        by_problem.setdefault((numbers_of(task), task.answer["target"]), set()).add(task.key)  # type: ignore[call-overload, index]
    assert all(len(keys) == 1 for keys in by_problem.values())
    assert len(by_problem) > 1500


@pytest.mark.parametrize("index", range(40))
def test_gold_scores_1_in_both_styles(index: int) -> None:
    task = Countdown("train")[index]
    chain = solutions(numbers_of(task), 99)[task.answer["target"]][0]  # type: ignore[call-overload, index]
    assert grade(task, " , ".join(map(str, chain))).score == 1
    assert grade(task, "start with nothing , " + " , ".join(map(str, chain))).score == 1


def brute(numbers: tuple[int, ...]) -> dict[Fraction, str]:
    """Every value with an expression for it, by another road: all trees over all orders, in rationals."""
    if len(numbers) == 1:
        return {Fraction(numbers[0]): str(numbers[0])}
    found: dict[Fraction, str] = {}
    for size in range(1, len(numbers)):
        for chosen in itertools.combinations(range(len(numbers)), size):
            left = brute(tuple(numbers[i] for i in chosen))
            right = brute(tuple(n for i, n in enumerate(numbers) if i not in chosen))
            for (a, x), (b, y) in itertools.product(left.items(), right.items()):
                for symbol, op in (("+", add), ("-", sub), ("*", mul)):
                    found.setdefault(op(a, b), f"({x} {symbol} {y})")
                if b:
                    found.setdefault(a / b, f"({x} / {y})")
    return found


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(1, 30), min_size=3, max_size=4), st.data())
def test_the_grader_agrees_with_an_independent_solver(numbers: list[int], data: st.DataObject) -> None:
    values = brute(tuple(numbers))
    value = data.draw(st.sampled_from(sorted(values)))
    computed, used = evaluate(values[value])
    assert computed == value
    assert sorted(used.elements()) == sorted(numbers)
    target = data.draw(st.integers(1, 100))
    task = problem(tuple(numbers), target, "chat")
    assert grade(task, f"<answer>{values[value]}</answer>").score == (value == target)
    if target in values:
        assert grade(task, f"so <answer> {values[Fraction(target)]} </answer>.").score == 1
    whole = solutions(tuple(sorted(numbers)), 99)
    assert all(Fraction(t) in values for t in whole)


ADVERSARIAL = [
    "",
    CHAT.prompt[0].content,
    "<answer></answer>",
    "<answer>17</answer>",
    "<answer>3*5+2",
    "3*5+2",
    "<answer>3*5+2</answer> <answer>3+5+2</answer>",
    " ".join(f"<answer>{a}{x}{b}{y}{c}</answer>" for a, b, c in itertools.permutations("352") for x in "+-*/" for y in "+-*/")
    + "<answer>no</answer>",
    "<answer>٣*٥+٢</answer>",
    "<answer>３*５+２</answer>",
    "<answer>3**5+2</answer>",
    "<answer>9**9**9**9</answer>",
    "<answer>3*5+2=18</answer>",
    "<answer>3*5=15</answer>",
    "<answer>3*5+2=17=17</answer>",
    "<answer>17=3*5+2</answer>",
    "<answer>(3*5)+(2</answer>",
    "<answer>3*5+2)</answer>",
    "<answer>-(-3)*5+2</answer>",
    "<answer>3 5 2</answer>",
    "<answer>35/2</answer>",
    "<answer>3*5+2+0</answer>",
    "<answer>3/(5-5)+2</answer>",
    "<answer>3*5+2+3-3</answer>",
    "<answer>__import__('os').system('true')</answer>",
    "<answer>int('17')</answer>",
    "<answer>" + "9" * 10**6 + "</answer>",
    "<answer>" + "(" * 10**6 + "</answer>",
    "<answer>" + "(" * 10**6 + "3*5+2" + ")" * 10**6 + "</answer>",
    "(" * 10**6,
    "<answer>" * 10**5,
    "<answer>3*5+2</answer>" + "<answer>" * 1000 + "</answer>",
    "<answer>3 * 5 + 2\x00</answer>",
    "<answer>1e1+7</answer>",
    "<answer>3,5,2</answer>",
    "\ud800<answer>\ud800</answer>",
]


@pytest.mark.parametrize("text", ADVERSARIAL, ids=range(len(ADVERSARIAL)))
def test_the_adversarial_suite_scores_0_quickly_with_a_reason(text: str) -> None:
    for task in (CHAT, TERSE):
        began = time.process_time()
        verdict = grade(task, text)
        assert verdict.score == 0
        assert verdict.why
        assert time.process_time() - began < 0.5


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("3 * 5 = 15 , 15 + 3 = 18", "invalid number"),
        ("3 * 5 = 15", "missing number"),
        ("3 * 5 = 16 , 16 + 2 = 18", "wrong arithmetic"),
        ("3 * 5 = 15 , 15 - 2 = 13", "missed target"),
        ("think harder", "unparsable"),
        ("3 * 5 = 15 , 15 + 2 = 17 , hurray", "unparsable"),
        ("3 + 5 = 8 , 15 + 2 = 17", "invalid number"),
        ("5 / 0 = 17", "invalid number"),
    ],
)
def test_terse_errors_have_their_class(text: str, why: str) -> None:
    assert grade(TERSE, text).why.startswith(why)


@pytest.mark.parametrize(
    ("text", "degree"),
    [
        ("think harder", "none"),
        ("too high by 40", "hint"),
        ("use * first", "hint"),
        ("start with 3 * 5", "first step"),
        ("start with 7 * 9", "none"),
        ("3 * 5 = 15 , 15 + 2 = 17", "full"),
        ("You should have computed (3 * 5) + 2 instead.", "full"),
    ],
)
def test_leaks_by_degree(text: str, degree: str) -> None:
    assert leak(TERSE, text) == degree


@pytest.mark.parametrize("answer", [
    "3*5+2 = 17", "3 × 5 + 2", "`3 * 5 + 2`", "$3 \\times 5 + 2$", "3·5+2", "3x5+2", "[3*5]+2", "3 * 5 + 2.", "**3 * 5 + 2**",
    "\\(3 \\cdot 5 + 2\\)",
])  # fmt: skip
def test_an_expression_is_read_however_it_is_written(answer: str) -> None:
    assert grade(problem((3, 5, 2), 17, "chat"), f"<answer>{answer}</answer>").score == 1


def test_what_can_be_made_is_what_a_search_through_fractions_finds() -> None:
    def values(numbers: list[Fraction]) -> set[Fraction]:
        if len(numbers) == 1:
            return {numbers[0]}
        found = set[Fraction]()
        for i, j in itertools.combinations(range(len(numbers)), 2):
            rest, a, b = [n for k, n in enumerate(numbers) if k not in (i, j)], numbers[i], numbers[j]
            made = [a + b, a * b, a - b, b - a, *([a / b] if b else []), *([b / a] if a else [])]
            found |= set[Fraction]().union(*(values([*rest, value]) for value in made))
        return found

    rng = Random(0)
    rows = [[rng.randint(0, 20) for _ in range(4)] for _ in range(25)]
    targets = [rng.randint(1, 60) for _ in rows]
    right = [Fraction(target) in values([Fraction(n) for n in row]) for row, target in zip(rows, targets, strict=True)]
    assert 3 < sum(right) < 22
    assert reachable(rows, targets) == right
