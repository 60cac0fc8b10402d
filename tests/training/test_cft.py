"""Critique fine-tuning: what the critics say, what is imitated, and the arms as whole runs."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests import processes
from tests.calls import rows_of_calls

from secondthought.engines.scripted import Scripted
from secondthought.errors import UserError
from secondthought.items.load import tasks_of
from secondthought.recipes import load
from secondthought.recipes.cft import ARMS
from secondthought.runs.progress import Silence
from secondthought.runs.reading import read_groups, read_metrics
from secondthought.tasks.countdown import Countdown, problem
from secondthought.tasks.critic import critic_of, solution_of, verdict_in
from secondthought.tasks.dataset import from_rows
from secondthought.tasks.grade import grader
from secondthought.training import critiques
from secondthought.training.critiques import Critiques, changed, read_critiques, with_critique, write_critiques
from secondthought.training.loop import train
from secondthought.training.recipe import Recipe
from secondthought.training.settings import override, settable
from secondthought.types import Episode, Segment, Task, Verdict

SMALL = (
    "groups=4",
    "group_size=2",
    "eval_problems=8",
    "dev_problems=4",
    "checkpoint_every=5",
    "eval_every=50",
    "max_tokens=24",
)
COUNTDOWN = Countdown("train")
TERSE, CHAT = (problem((3, 5, 2), 17, style) for style in ("terse", "chat"))


def small(arm: str = "", *more: str) -> Recipe:
    recipe = load(f"cft:{arm}" if arm else "cft", model="nano/countdown")
    known = settable(recipe)
    changes = [f"{name}=2" for name in known if name.endswith("steps")]
    changes += [f"{name}=32" for name in known if name.endswith(".problems")]
    return override(recipe, [*SMALL, *changes, *more])


# --- critics ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "critique"),
    [
        ("3 * 5 = 15 , 15 + 2 = 17", "3 * 5 = 15 right , 15 + 2 = 17 right , right"),
        ("start with 3 * 5 , 3 * 5 = 16 , 16 + 2 = 18", "3 * 5 = 16 wrong , step 3 * 5 , wrong"),
        ("3 + 5 = 8 , 8 * 2 = 16", "3 + 5 = 8 right , 8 * 2 = 16 right , too low by 1 , wrong"),
        ("3 * 5 = 15 , 15 + 5 = 20", "3 * 5 = 15 right , 15 + 5 = 20 wrong , avoid 5 , wrong"),
        ("3 * 5 = 15", "3 * 5 = 15 right , use 2 , wrong"), ("no idea", "be careful , wrong"),
    ],
)  # fmt: skip
def test_the_critic_of_countdown(text: str, critique: str) -> None:
    said = critic_of(COUNTDOWN)(TERSE, text, False)
    assert said == critique
    assert verdict_in(said) is (COUNTDOWN.grade(TERSE, text).score == 1)


def test_every_critic_agrees_with_its_grader_and_names_answers_only_when_asked(tmp_path: Path) -> None:
    rows = [{"question": f"{i} + {i}?", "answer": str(2 * i)} for i in range(4)]
    own = from_rows(rows, "rows", grader("number"), "chat")
    for tasks, task, right, wrong in (
        (COUNTDOWN, TERSE, solution_of(COUNTDOWN)(TERSE), "3 + 5 = 8 , 8 + 2 = 10"),
        (COUNTDOWN, CHAT, solution_of(COUNTDOWN)(CHAT), "<answer> 3 + 5 + 2 </answer>"),
        (own, own[3], solution_of(own)(own[3]), "7"),
    ):
        assert tasks.grade(task, right).score == 1
        critic = critic_of(tasks)
        assert verdict_in(critic(task, right, False)) is True
        quiet, loud = (critic(task, wrong, show) for show in (False, True))
        assert verdict_in(quiet) is verdict_in(loud) is False
        spelled = {"countdown": "3 * 5 = 15"}.get(task.family, "6")
        assert spelled in loud
        assert spelled not in quiet


# --- what an arm makes of critiques ----------------------------------------------------------------------------------


def episodes(n: int = 40) -> list[Episode]:
    def one(i: int) -> Episode:
        task = Task.of(f"{i}?", answer=i, family="sums")
        right = i % 4 == 0
        said = (Segment("prompt", "task", "user", f"{i}?"), Segment("attempt", "policy", "assistant", str(i), (1,), (0.0,)))
        return Episode(task, (0,), said, {"attempt": Verdict(float(right))})

    return [one(i) for i in range(n)]


def test_kinds_of_critiques() -> None:
    found = episodes()
    said = [f"{i} is {'right' if i % 4 == 0 else 'wrong'}" for i in range(40)]
    assert changed(said, found, "exact", 0) == said
    assert changed(said, found, "verdict", 0) == ["right" if i % 4 == 0 else "wrong" for i in range(40)]
    shuffled = changed(said, found, "shuffled", 0)
    assert sorted(shuffled) == sorted(said)
    assert all(a != b for a, b in zip(said, shuffled, strict=True))
    rates = []
    for seed in range(50):
        noisy = changed(said, found, "noisy", seed)
        turned = [a for a, b in zip(said, noisy, strict=True) if a != b]
        assert all(verdict_in(a) is not verdict_in(b) for a, b in zip(said, noisy, strict=True) if a != b)
        rates.append(len(turned) / 40)
    assert sum(rates) / 50 == pytest.approx(0.2, abs=0.03)
    assert changed(["Conclusion: right [END]"], found[:1], "verdict", 0) == ["Conclusion: right"]


def test_every_arm_is_made() -> None:
    kinds = {arm: load(f"cft:{arm}", model="nano/countdown").stages[0].collect for arm in ARMS if arm not in ("rrr", "score")}
    assert all(isinstance(collect, Critiques) for collect in kinds.values())
    assert load("cft:rrr", model="nano/countdown").stages[0].name == "reward"
    assert [s.name for s in load("cft:then_score", model="nano/countdown").stages] == ["imitate", "stage_one", "stage_two"]


@pytest.mark.parametrize("arm", ["", "noisy", "verdict", "shuffled", "both", "then_rrr", "score"])
def test_arms_run(arm: str, tmp_path: Path) -> None:
    summary = train(small(arm), tmp_path / "run", Silence())
    probes = set(summary["probes"])
    assert probes == {"then_rrr": {"second_try"}, "rrr": {"second_try"}, "then_score": {"self_correction"}, "score": {"self_correction"}}.get(arm, {"answer", "critique"})  # fmt: skip
    if probes == {"answer", "critique"}:
        assert read_metrics(tmp_path / "run")[0]["loss/imitate"] > 0
        names = {
            s.name for g in read_groups(tmp_path / "run" / "episodes" / "step_000001.parquet") for e in g for s in e.segments
        }
        assert ("critique" in names) == (not arm.startswith("answers"))


def test_what_is_shown_and_learned(tmp_path: Path) -> None:
    def shown(arm: str, *more: str) -> list[Episode]:
        place = tmp_path / f"{arm}{len(more)}"
        train(small(arm, *more), place, Silence())
        return [e for i in (1, 2) for g in read_groups(place / "episodes" / f"step_00000{i}.parquet") for e in g]

    assert all(e.verdicts["attempt"].score == 1 for e in shown("answers_right"))
    assert all(e.verdicts["attempt"].score == 1 and e.segments[-1].name == "attempt" for e in shown("answers_gold"))
    assert all(e.segments[-1].name == "critique" for e in shown("no_replay"))
    ends = {e.segments[-1].name for e in shown("", "imitate.replay=1")}
    assert ends == {"critique", "attempt"}
    loud = [e["critique"].text for e in shown("with_answer") if "critique" in e and e.verdicts["attempt"].score == 0]
    assert loud
    assert all(", then " in text for text in loud)


def test_equal_tokens_to_learn_from(tmp_path: Path) -> None:
    for arm in ("", "answers"):
        train(small(arm, "loss_budget=60", "imitate.steps=50"), tmp_path / f"run{arm}", Silence())
        learned = [line["tokens/learned"] for line in read_metrics(tmp_path / f"run{arm}")]
        assert sum(learned) >= 60 > sum(learned[:-1])


def test_nothing_right_leaves_nothing_to_imitate(tiny_folder: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="none of the 64 answers is right"):
        train(replace(small("answers_right"), model=str(tiny_folder)), tmp_path / "run", Silence())


# --- files and language models as critics ----------------------------------------------------------------------------


def test_critiques_go_to_a_file_that_can_be_edited_and_come_back(tmp_path: Path) -> None:
    out = tmp_path / "critiques.jsonl"
    words = ["data", "build", "critiques:countdown", "--model", "nano/countdown", "--n", "6", "--out", str(out)]
    found = processes.run(words)
    assert found.returncode == 0, found.stderr
    rows = [json.loads(line) for line in out.read_text().splitlines()]
    assert len(rows) == 6
    assert all(row["verdict"] == row["right"] for row in rows)
    rows[0]["critique"] = "be careful , right"
    out.write_text("".join(json.dumps(row) + "\n" for row in rows))
    (first, *_) = read_critiques(out, COUNTDOWN)
    assert first[0]["critique"].text == "be careful , right"
    train(small("", f"imitate.file={out}"), tmp_path / "run", Silence())
    collected = read_groups(tmp_path / "run" / "episodes" / "collected_imitate.parquet")
    assert collected[0][0]["critique"].text == "be careful , right"
    again = tmp_path / "again.jsonl"
    assert write_critiques(again, collected) == 6


def test_tasks_that_know_more_than_their_question_come_back_whole(tmp_path: Path) -> None:
    """Questions of items are graded by their key, and calls by their tools."""
    items = tmp_path / "gsm8k.jsonl"
    rows = [{"question": f"{i} + {i}?", "answer": f"{i} + {i} = <<{i}+{i}={2 * i}>>{2 * i}\n#### {2 * i}"} for i in range(1, 9)]
    items.write_text("".join(json.dumps(row) + "\n" for row in rows))
    for spec in (f"gsm8k:{items}", str(rows_of_calls(tmp_path))):
        tasks = tasks_of(spec)
        task = tasks[0]
        said = Segment("attempt", "policy", "assistant", "The answer is 2.")
        episode = Episode(task, (0,), (Segment("prompt", "task", "user", "?"), said), {"attempt": tasks.grade(task, said.text)})
        write_critiques(tmp_path / "out.jsonl", [(with_critique(episode, "Conclusion: right"),)])
        ((back,),) = read_critiques(tmp_path / "out.jsonl", tasks)
        assert (back.task, back.verdicts) == (task, episode.verdicts)


def test_bad_files_and_commands_are_one_sentence(tmp_path: Path) -> None:
    path = tmp_path / "bad.jsonl"
    path.write_text('{"question": "q", "answer": "a"}\n')
    with pytest.raises(UserError, match="line 1: there is no column 'critique'"):
        read_critiques(path, COUNTDOWN)
    found = processes.run(["data", "build", "critiques", "--out", str(tmp_path / "x.jsonl")])
    assert found.returncode == 2
    assert "whose answers? add --model NAME" in found.stderr


def test_a_language_model_is_asked_once_for_each_answer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def critic(request: Any) -> str:
        asked.append(request.segments[0].text)
        return "Looks fine. Conclusion: right [END]"

    teacher = Scripted(critic)
    monkeypatch.setattr(teacher, "digest", "teacher", raising=False)
    monkeypatch.setattr(critiques, "engine_for", lambda name: teacher)
    found = [with_critique(e, "") for e in episodes(5)]
    for _ in range(2):
        said = critiques.criticised(found, COUNTDOWN, "http://x/v1#teacher", False, Silence(), cache=tmp_path / "cache.sqlite")
        assert said == ["Looks fine. Conclusion: right [END]"] * 5
    assert len(asked) == 5  # the second time it is all in the cache
    assert "A student's solution:\n0" in asked[0]


def test_options_by_name() -> None:
    recipe = small("", "imitate.critic=http://x/v1#m", "imitate.kind=noisy", "imitate.show=true")
    collect = recipe.stages[0].collect
    assert isinstance(collect, Critiques)
    assert (collect.critic, collect.kind, collect.show) == ("http://x/v1#m", "noisy", True)
