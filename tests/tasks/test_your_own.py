"""Tasks that somebody brings along: files, graders, specs."""

from __future__ import annotations

import json
import math
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from secondthought.errors import UserError
from secondthought.items.load import tasks_of
from secondthought.tasks.countdown import split_of
from secondthought.tasks.grade import grader
from secondthought.types import Verdict

ROWS: list[dict[str, Any]] = [{"prompt": f"Say {i}", "answer": str(i)} for i in range(100)]


def write(path: Path, rows: list[Any]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def mine(answer: str, text: str) -> float:
    return 0.25 if text == answer else 0.0


def verdict(answer: str, text: str) -> Verdict:
    return Verdict(1.0, text, "because")


@pytest.mark.parametrize(
    ("name", "answer", "text", "score"),
    [
        ("exact", "blue", " blue\n", 1),
        ("exact", "blue", "I think <answer> blue </answer>", 1),
        ("exact", "blue", "blueish", 0),
        ("exact", 7, "7", 1),
        ("number", 12.5, "first 3, then 12.50", 1),
        ("number", "1,200", "that makes 1200", 1),
        ("number", "3", "3 or 4", 0),
        ("number", "3", "none", 0),
        ("number", "3", "9" * 100_000, 0),
        (r"regex:answer is (\w+)", "B", "the answer is A. No: the answer is B", 1),
        (r"regex:answer is (\w+)", "A", "the answer is A. No: the answer is B", 0),
        (r"regex:DONE", None, "well DONE", 1),
        (r"regex:DONE", None, "well", 0),
        ("tests.tasks.test_your_own:mine", "a", "a", 0.25),
        ("tests.tasks.test_your_own:verdict", "a", "b", 1),
    ],
)
def test_graders(name: str, answer: Any, text: str, score: float) -> None:
    found = grader(name)(answer, text)
    assert found.score == score
    assert found.why


@pytest.mark.parametrize("name", ["fuzzy", "regex:(", "no.such.module:f", "json:no_such_function"])
def test_unknown_graders_are_one_sentence(name: str) -> None:
    with pytest.raises(UserError):
        grader(name)


def test_a_bug_in_a_users_grader_is_a_sentence_with_its_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UserError, match=r"os:getcwd failed to grade 'b': TypeError: .*takes no arguments.*\(grade.py, line"):
        grader("os:getcwd")("a", "b")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "own_graders.py").write_text(
        "import re, time\n"
        "def nothing(answer, text): return None\n"
        "def endless(answer, text): return float('inf')\n"
        "def word(answer, text): return 'x'\n"
        "def divides(answer, text): return 1 / 0\n"
        "def sleeps(answer, text): time.sleep(60)\n"
        "def swallows(answer, text):\n"
        "    while True:\n"
        "        try: time.sleep(60)\n"
        "        except Exception: pass\n"
        "def explodes(answer, text): return bool(re.match(r'(a|a)*b', 'a' * 60))\n"
    )
    monkeypatch.setenv("SECONDTHOUGHT_GRADE_SECONDS", "0.5")
    for name, why in (
        ("nothing", "returned None; a bool"), ("endless", "must be in"), ("word", "returned 'x'; a bool"),
        ("divides", r"ZeroDivisionError: division by zero \(own_graders.py, line 5\)"), ("sleeps", "more than 0.5 s"),
        ("swallows", "more than 0.5 s"), ("explodes", "more than 0.5 s"),
    ):  # fmt: skip
        with pytest.raises(UserError, match=why):
            grader(f"own_graders:{name}")("a", "b")
    with ThreadPoolExecutor(1) as pool, pytest.raises(UserError, match=r"more than 0.5 s"):
        pool.submit(lambda: grader("own_graders:sleeps")("a", "b")).result()
    (tmp_path / "broken_graders.py").write_text("x = 1 / 0\n")
    with pytest.raises(UserError, match="cannot import the grader broken_graders:f: ZeroDivisionError"):
        grader("broken_graders:f")


REWARDS = """
import math
def accuracy(completions, solution, **_):
    return [float(one[0]["content"] == want) for one, want in zip(completions, solution)]
def short(prompts, completions):
    return [1.0 if len(completions[0]) < 5 else 0.25]
def unsure(completions, **_):
    return [None for _ in completions]
def bare(completions):
    return 1.0
def negative(completions):
    return [-1.0]
"""


def test_reward_functions_as_trl_calls_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "rewards_of_mine.py").write_text(REWARDS)
    monkeypatch.chdir(tmp_path)
    accuracy, short = grader("trl:rewards_of_mine:accuracy"), grader("trl-text:rewards_of_mine:short")
    assert [accuracy("4", text).score for text in ("4", "5")] == [1.0, 0.0]
    assert [short("4", text).score for text in ("four", "fourteen")] == [1.0, 0.25]
    assert math.isnan(grader("trl:rewards_of_mine:unsure")("4", "4").score)
    with pytest.raises(UserError, match="a list with one reward for each completion is wanted"):
        grader("trl:rewards_of_mine:bare")("4", "4")
    with pytest.raises(UserError, match="a score must be in"):
        grader("trl:rewards_of_mine:negative")("4", "4")


def test_a_pattern_that_explodes_is_no_match_with_a_reason() -> None:
    began = time.monotonic()
    found = grader(r"regex:^(a|aa)+$")("x", "a" * 60 + "!")
    assert (found.score, "more than 2 s" in found.why) == (0.0, True)
    assert time.monotonic() - began < 10


def test_rows_are_split_by_prompt_and_every_row_is_somewhere(tmp_path: Path) -> None:
    path = write(tmp_path / "t.jsonl", ROWS)
    whole = tasks_of(str(path))
    parts = [tasks_of(f"{path}:{name}") for name in ("train", "dev", "test")]
    assert sum(map(len, parts)) == len(whole) == 100
    keys = [{part[i].key for i in range(len(part))} for part in parts]
    assert not keys[0] & keys[1] | keys[1] & keys[2] | keys[0] & keys[2]


def test_chat_messages_and_families(tmp_path: Path) -> None:
    prompt = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "2 + 2?"}]
    tasks = tasks_of(str(write(tmp_path / "t.jsonl", [{"prompt": prompt, "answer": 4, "family": "sums"}])), grade="number")
    assert [m.role for m in tasks[0].prompt] == ["system", "user"]
    assert tasks[0].family == "sums"
    assert tasks.grade(tasks[0], "4").score == 1


def test_countdown_rows_keep_countdowns_own_splits(tmp_path: Path) -> None:
    path = write(tmp_path / "c.jsonl", [{"nums": [i, i + 3, 5], "target": 2 * i + 8} for i in range(1, 60)])
    for name in ("train", "dev", "test"):
        tasks = tasks_of(f"{path}:{name}", style="terse")
        assert all(split_of(tasks[i].answer["nums"]) == name for i in range(len(tasks)))  # type: ignore[call-overload, index, arg-type]
    task = tasks_of(str(path), style="terse")[0]
    assert task.prompt[0].content.startswith("use 1 4 5 make 10")
    assert tasks_of(str(path), style="terse").grade(task, "1 + 4 = 5 , 5 + 5 = 10").score == 1


def test_a_datasets_folder(tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets", reason="the optional package datasets is not installed")
    folder = tmp_path / "saved"
    datasets.Dataset.from_list([{"nums": [3, 5, 2], "target": 17}] * 3).save_to_disk(str(folder))
    tasks = tasks_of(f"hf:{folder}")
    assert len(tasks) == 1
    assert "equals 17" in tasks[0].prompt[0].content


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('{"prompt": "a", "answer": 1}\n{"prompt": ', "line 2 is not JSON"),
        ('{"prompt": "a", "answer": 1}\n{"prompt": "b"}', "line 2: there is no column 'answer'"),
        ('{"answer": 1}', "line 1: there is no column 'prompt'"),
        ("[1, 2]", "line 1: a JSON object"),
        ('{"prompt": [{"role": "wizard", "content": "x"}], "answer": 1}', "line 1: a prompt's roles"),
        ('{"prompt": 7, "answer": 1}', "line 1: a prompt is a string or a list"),
        ('{"nums": "x", "target": 3}', "line 1: nums must be"),
        ('{"nums": [3.7, 5, 2], "target": 17}', "line 1: nums must be"),
        ('{"nums": [3, 5, -2], "target": 13}', "line 1: nums must be"),
        ('{"nums": [true, 5, 2], "target": 17}', "line 1: nums must be"),
        ('{"nums": [3, 5, 2], "target": 17.5}', "line 1: nums must be"),
        ('{"nums": [3, 5, 2], "target": -17}', "line 1: nums must be"),
        ('{"nums": [3, 1e30], "target": 17}', "line 1: nums must be"),
        ('{"nums": [7], "target": 7}', "line 1: nums must be"),
        ('{"nums": [3, 5, 2], "target": 17}\n{"nums": [1, 1, 1], "target": 17}', "line 2: 17 cannot be made of 1, 1, 1"),
        ("", "has no rows"),
    ],
)
def test_broken_files_name_the_file_and_the_line(tmp_path: Path, content: str, message: str) -> None:
    path = tmp_path / "broken.jsonl"
    path.write_text(content)
    with pytest.raises(UserError) as caught:
        tasks_of(str(path))
    assert message in str(caught.value)
    assert "broken.jsonl" in str(caught.value)


def test_unknown_specs(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="there are no tasks 'sudoku'"):
        tasks_of("sudoku")
    with pytest.raises(UserError, match="there is no file"):
        tasks_of(str(tmp_path / "absent.jsonl"))
    with pytest.raises(UserError, match="none of them falls into"):
        path = write(tmp_path / "one.jsonl", ROWS[:1])
        for name in ("train", "dev", "test"):
            tasks_of(f"{path}:{name}")
