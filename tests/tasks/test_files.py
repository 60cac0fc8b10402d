"""Files as people have them: a BOM, one JSON array, CSV, half characters, endless integers, a saved DatasetDict."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from secondthought import UserError, tasks_of

ROWS = [{"prompt": f"What is {i} + 7?", "answer": i + 7} for i in range(5)]
LINES = "\n".join(json.dumps(row) for row in ROWS)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("bom.jsonl", "\ufeff" + LINES), ("array.json", json.dumps(ROWS, indent=2)), ("bom.json", "\ufeff" + json.dumps(ROWS)),
        ("crlf.jsonl", LINES.replace("\n", "\r\n")), ("rows.csv", "prompt,answer\n" + "\n".join(f'"{r["prompt"]}",{r["answer"]}' for r in ROWS)),
    ],
)  # fmt: skip
def test_files_as_people_have_them(name: str, text: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text(text, encoding="utf-8", newline="")
    tasks = tasks_of(str(tmp_path / name), grade="number")
    assert [tasks.grade(tasks[i], f"It is {i + 7}.").score for i in range(5)] == [1] * 5


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ('{"prompt": "bad \\ud83d emoji", "answer": 1}', r"line 6: half a character \(\\ud83d\)"),
        ('{"prompt": "big?", "answer": ' + "9" * 5000 + "}", "line 6 is not JSON: an integer of 5000 digits is longer than"),
        ('{"prompt": "cut', "line 6 is not JSON"),
        ("[1]", "line 6: a JSON object is wanted, not list"),
    ],
)
def test_rows_that_cannot_be_used_are_named(line: str, words: str, tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text(f"{LINES}\n{line}\n")
    with pytest.raises(UserError, match=words):
        tasks_of(str(path))


def test_a_saved_dataset_dict_is_read_by_its_train_split(tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    rows = datasets.Dataset.from_list(ROWS)
    datasets.DatasetDict({"train": rows, "test": rows.select([0])}).save_to_disk(str(tmp_path / "both"))
    assert len(tasks_of(f"hf:{tmp_path / 'both'}")) == 5
    datasets.DatasetDict({"a": rows, "b": rows}).save_to_disk(str(tmp_path / "neither"))
    with pytest.raises(UserError, match="has the splits a, b and no train"):
        tasks_of(f"hf:{tmp_path / 'neither'}")
