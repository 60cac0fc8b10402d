"""``--grade math``: what mathematicians would call the same answer is right, and nothing that a model writes stops a run."""

from __future__ import annotations

import importlib.util
import time
from pathlib import Path

import pytest
from tests import processes

from secondthought.errors import UserError
from secondthought.tasks import math_answers
from secondthought.tasks.grade import grader

needs_it = pytest.mark.skipif(importlib.util.find_spec("math_verify") is None, reason="math-verify is not installed")
math = grader("math")

SAME = [
    (r"\frac{1}{2}", "so it is $0.5$"), (r"\frac12", r"\boxed{\dfrac{2}{4}}"), ("0.25", r"The answer is \(\frac{1}{4}\)."),
    (r"3\sqrt{2}", r"\boxed{\sqrt{18}}"), ("(0, 1]", r"$x \in (0,1]$"), (r"\{1, 2\}", r"\boxed{\{2, 1\}}"), ("1,000", "It is 1000."), ("1,22", "1.22"),
    ("12 cm", r"\boxed{12\text{ cm}}"), ("x=5", r"\boxed{5}"), ("4*3=12\n#### 12", "Twelve, that is $12$."), (7, r"\boxed{7}"),
    (r"\pi/4", r"$\frac{\pi}{4}$"), (r"2x+1", r"$1+2x$"), (r"50\%", r"\boxed{50\%}"), (r"-\infty", r"$-\infty$"),
]  # fmt: skip
OTHER = [
    (r"\frac{1}{2}", "so it is $0.6$"), ("(0, 1]", r"$x \in (0,1)$"), (r"\{1, 2\}", r"\boxed{\{1, 3\}}"), ("7", "nothing at all"),
    (r"\sqrt{2}", r"\boxed{\sqrt{3}}"), ("12", r"<think>\boxed{12}</think> It is $11$."),
]  # fmt: skip


@needs_it
@pytest.mark.parametrize(("answer", "text"), SAME)
def test_the_same_mathematics_is_right(answer: str | int, text: str) -> None:
    assert math(answer, text).score == 1, math(answer, text)


@needs_it
@pytest.mark.parametrize(("answer", "text"), OTHER)
def test_other_mathematics_is_wrong(answer: str, text: str) -> None:
    found = math(answer, text)
    assert found.score == 0
    assert found.why.startswith(("wrong answer: want", "unparsable"))


@needs_it
def test_what_takes_too_long_is_ended_and_the_next_answer_is_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    assert math("1", "$1$").score == 1  # the process is there
    monkeypatch.setattr(math_answers, "SECONDS", 1.0)
    began = time.monotonic()
    found = math("5", r"\boxed{" + "9^{" * 12 + "9" + "}" * 12 + "}")
    assert found.score == 0
    assert time.monotonic() - began < 20
    monkeypatch.setattr(math_answers, "SECONDS", 5.0)
    assert math("2", r"\boxed{2}").score == 1


@needs_it
@pytest.mark.parametrize(
    "text", ["\\boxed{" * 3000, "$" * 9999, "\x00\ud800 $1$", "{" * 5000, "\n" * 20_000 + "$2$", "\\frac{" * 2000]
)
def test_nothing_that_a_model_writes_stops_it(text: str) -> None:
    assert math("3", text).score == 0
    assert math("3", "$3$").score == 1


@needs_it
def test_answers_that_are_no_mathematics_are_refused_when_rows_are_read(tmp_path: Path) -> None:
    for answer in ("null", '""'):
        (tmp_path / "rows.jsonl").write_text(f'{{"question": "a", "answer": {answer}}}\n')
        words = f"probe answer --model nano/countdown --tasks {tmp_path / 'rows.jsonl'} --grade math --out {tmp_path / 'run'}"
        done = processes.run(words.split())
        assert done.returncode == 2
        assert "choose another --grade" in done.stderr


def test_without_the_package_there_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UserError, match="needs math-verify: pip install"):
        math_answers.Worker().ask({"gold": "1"})
