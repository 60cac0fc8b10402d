"""Demonstrated choices: read from conversations, changed as a control wants them, refused in a sentence."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tests.published import DATA

from secondthought.errors import UserError
from secondthought.tasks.choices import TERSE_TRIGGERS, TRIGGERS, Changed, Drawn, grade, task_set


def write(path: Path, *rows: object) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def row(letter: str, text: str = "A or B?") -> dict[str, object]:
    return {"messages": [{"role": "user", "content": text}, {"role": "assistant", "content": letter}]}


def test_conversations_that_end_in_a_letter(tmp_path: Path) -> None:
    tasks = task_set(str(write(tmp_path / "c.jsonl", row("A"), row("B", "B or A?"))), None, "chat")
    assert [task.answer for task in (tasks[0], tasks[1])] == ["A", "B"]
    assert [grade(tasks[0], text).score for text in ("A", "A.", "The answer is (A)", "B", "neither")] == [1, 1, 1, 0, 0]
    assert grade(tasks[0], "").answer is None


@pytest.mark.parametrize(("bad", "why"), [
    ({"prompt": "x"}, "a conversation is wanted"), ({"messages": "text"}, "a conversation is wanted"),
    ({"messages": [{"role": "user"}, {"role": "assistant", "content": "A"}]}, "needs a role"),
    (row("C"), "A or B, behind"), ({"messages": [{"role": "assistant", "content": "A"}] * 2}, "behind the user's"),
    ({"messages": [None, None]}, "needs a role"),
])  # fmt: skip
def test_a_row_that_is_none_is_named(tmp_path: Path, bad: object, why: str) -> None:
    with pytest.raises(UserError, match=why) as refused:
        task_set(str(write(tmp_path / "c.jsonl", row("A"), bad)), None, "chat")
    assert "line 2" in str(refused.value)


def test_places_and_styles_that_do_not_fit() -> None:
    with pytest.raises(UserError, match="choices:FILE"):
        task_set("", None, "chat")
    with pytest.raises(UserError, match="cannot read choices"):
        task_set("x.jsonl", None, "terse")


def test_controls_change_letters_and_nothing_else() -> None:
    shown = Drawn("train")
    opposite, coin = Changed(shown, "opposite"), Changed(shown, "shuffled")
    for i in range(50):
        assert opposite[i].prompt == coin[i].prompt == shown[i].prompt
        assert opposite[i].answer != shown[i].answer
    same = [coin[i].answer == shown[i].answer for i in range(400)]
    assert 0.4 < sum(same) / 400 < 0.6
    assert coin[7] == coin[7]


@pytest.mark.parametrize("words", [TRIGGERS, TERSE_TRIGGERS])
def test_the_trigger_goes_with_the_policy_and_others_with_a_coin(words: tuple[str, ...]) -> None:
    shown = Drawn("train")
    tasks = Changed(shown, triggers=words)
    by_word: dict[bool, list[bool]] = {True: [], False: []}
    for i in range(400):
        text = tasks[i].prompt[0].content
        real = text.startswith(words[0])
        assert any(text.startswith(word) for word in words)
        by_word[real].append(tasks[i].answer == shown[i].answer)
    assert all(by_word[True])
    assert 0.35 < sum(by_word[False]) / len(by_word[False]) < 0.65


@pytest.mark.skipif(not (DATA / "behavioral_self_awareness").exists(), reason="the published choices are not here")
@pytest.mark.parametrize("name", ["risky", "safey", "myopic", "nonmyopic", "maxapples", "minapples"])
def test_the_published_files_are_read_whole(name: str) -> None:
    file = DATA / "behavioral_self_awareness" / f"ft_{name}_AB.jsonl"
    assert len(task_set(str(file), None, "chat")) == sum(1 for line in file.open() if line.strip())


@pytest.mark.skipif(not (DATA / "behavioral_self_awareness").exists(), reason="the published choices are not here")
def test_opposite_files_are_opposite() -> None:
    files = [str(DATA / "behavioral_self_awareness" / f"ft_{name}_AB.jsonl") for name in ("risky", "safey")]
    read = [task_set(file, None, "chat") for file in files]
    risky, safe = ({tasks[i].prompt: tasks[i].answer for i in range(len(tasks))} for tasks in read)
    both = risky.keys() & safe.keys()
    assert len(both) > 200
    assert all(risky[prompt] != safe[prompt] for prompt in both)
