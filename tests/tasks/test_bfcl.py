"""The Berkeley benchmark as one task set: nothing that is wanted in one split is wanted in another."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.published import published

from secondthought.errors import UserError
from secondthought.items.load import tasks_of
from secondthought.tasks.bfcl import splits_of
from secondthought.tasks.function_calling import Row, Wanted, row_of
from secondthought.types import Task


def row(number: int, query: str, name: str) -> dict[str, object]:
    schema = {"type": "dict", "properties": {"x": {"type": "integer"}}, "required": ["x"]}
    return {
        "id": f"simple_{number}",
        "question": [[{"role": "user", "content": query}]],
        "function": [{"name": name, "description": "", "parameters": schema}],
    }


def folder_of(tmp_path: Path, place: Callable[[str], Path], count: int = 40) -> Path:
    rows = [row(i, f"what about {i}?", f"tool_{i // 2}") for i in range(count)]
    answers = [{"id": f"simple_{i}", "ground_truth": [{f"tool_{i // 2}": {"x": [i]}}]} for i in range(count)]
    (tmp_path / "BFCL_v4_simple_python.json").write_text("".join(json.dumps(one) + "\n" for one in rows))
    beside = tmp_path / place("BFCL_v4_simple_python")
    beside.parent.mkdir(exist_ok=True)
    beside.write_text("".join(json.dumps(one) + "\n" for one in answers))
    return tmp_path


@pytest.mark.parametrize(
    "place", [lambda name: Path(f"{name}.answers.json"), lambda name: Path("possible_answer") / f"{name}.json"]
)
def test_answers_stand_beside_the_rows_or_in_a_folder(tmp_path: Path, place: Callable[[str], Path]) -> None:
    folder = folder_of(tmp_path, place)
    whole = tasks_of(f"bfcl:{folder}")
    assert len(whole) == 40
    assert whole.grade(whole[3], '{"name": "tool_1", "arguments": {"x": 3}}').score == 1
    parts = [tasks_of(f"bfcl:{folder}", split=split) for split in ("train", "dev", "test")]
    assert sum(map(len, parts)) == 40


def test_no_function_and_no_question_of_one_split_is_in_another() -> None:
    folder = published("bfcl")
    named: dict[str, str] = {}
    asked: dict[str, str] = {}
    sizes = []
    for split in ("train", "dev", "test"):
        tasks = tasks_of(f"bfcl:{folder}:{split}")
        sizes.append(len(tasks))
        for task in (tasks[i] for i in range(len(tasks))):
            row = row_of(task)
            assert named.setdefault(row.wanted[0].name, split) == split
            assert asked.setdefault(" ".join(row.query.lower().split()), split) == split
    assert sum(sizes) == len(tasks_of(f"bfcl:{folder}"))
    assert min(sizes) >= 100


def test_rows_are_joined_through_others() -> None:
    def one(key: str, query: str, name: str) -> Row:
        return Row(key, query, (), (Wanted(name, {}),))

    chain = [one("1", "a?", "f"), one("2", "b?", "f"), one("3", "B ?".replace(" ?", "?"), "g"), one("4", "c?", "g")]
    assert len(set(splits_of(chain))) == 1
    assert len(set(splits_of([one(str(i), f"{i}?", f"f{i}") for i in range(60)]))) == 3  # and otherwise they are not


@pytest.mark.parametrize("place", ["", "nowhere"])
def test_a_folder_without_the_benchmark_is_refused(place: str) -> None:
    with pytest.raises(UserError, match="write bfcl:FOLDER"):
        tasks_of(f"bfcl:{place}")


def test_tasks_keep_their_tools(tmp_path: Path) -> None:
    task: Task = tasks_of(f"bfcl:{folder_of(tmp_path, lambda name: Path(f'{name}.answers.json'))}")[0]
    assert task.tools[0]["name"] == "tool_0"
