"""``--tasks verifiers:TASKSET`` against verifiers itself (``make test-extras``)."""

from __future__ import annotations

import json
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("verifiers.v1", reason="verifiers is not installed: make test-extras")

import verifiers.v1 as vf

from secondthought.credit.reflect_retry import reflection_only
from secondthought.engines.base import Request
from secondthought.engines.scripted import Scripted
from secondthought.errors import UserError
from secondthought.items.load import tasks_of
from secondthought.protocols.answer import answer
from secondthought.protocols.reflect_retry import CHAT, reflect_retry
from secondthought.rollouts import rollout
from secondthought.runs.traces import verifiers_trace
from secondthought.types import Environment, Verdict

HERE = Path(__file__).parent


@pytest.fixture(autouse=True)
def here(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(HERE)


def test_a_taskset_is_tasks_with_its_own_rewards() -> None:
    tasks = tasks_of("verifiers:sums_taskset?largest=9:all")
    assert isinstance(tasks, Environment)
    assert len(tasks) == 100
    assert [m.role for m in tasks[0].prompt] == ["system", "user"]
    known: Any = tasks[17].answer
    right = str(known["answer"])
    assert tasks.grade(tasks[17], right).score == 1.0
    assert tasks.grade(tasks[17], "0").score == 0.5  # wrong and short
    assert tasks.grade(tasks[17], "no idea").score == 0.0
    parts = [tasks_of(f"verifiers:sums_taskset:{split}") for split in ("train", "dev", "test")]
    keys = [{part[i].key for i in range(len(part))} for part in parts]
    assert sum(map(len, keys)) == 100 == len(set.union(*keys))
    leak = tasks.leak  # type: ignore[attr-defined]
    assert leak(tasks[17], f"it is {right}") == "full"
    assert leak(tasks[17], "careful") == "none"


def test_reflections_are_paid_by_its_rewards() -> None:
    tasks = tasks_of("verifiers:sums_taskset:test")

    def say(request: Request) -> str:
        known: Any = request.task.answer
        if request.name == "attempt":
            return "no idea"
        return "Add them." if request.name == "reflection" else known["answer"] if request.path[-1] else "also none"

    for group in rollout(
        partial(reflect_retry, grade=tasks.grade, prompts=CHAT), [tasks[i] for i in range(5)], 2, Scripted(say)
    ):
        assert [e.verdicts["retry"].score for e in group] == [0.0, 1.0]
        paid = [signals["reflection"].policy for signals in reflection_only(group)]
        assert isinstance(paid[0], float)
        assert isinstance(paid[1], float)
        assert paid[0] < 0 < paid[1]


def test_a_public_environment_of_many_turns_is_played(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """TextArena's Hangman as verifiers ships it; only its list of words is ours, because NLTK's must be downloaded."""
    pytest.importorskip("textarena")
    words = tmp_path / "corpora" / "words"
    words.mkdir(parents=True)
    known = ["apple", "stone", "river", "cloud"]
    for name in ("en", "en-basic", "README"):
        (words / name).write_text("\n".join(known) + "\n")
    import nltk

    monkeypatch.setattr(nltk, "download", lambda *a, **k: True)
    monkeypatch.setattr(nltk.data, "path", [str(tmp_path)])
    tasks = tasks_of("verifiers:textarena?game=Hangman-v0&limit=8&turns=12:all")

    def say(request: Request) -> str:
        turn = sum(s.name == request.name for s in request.segments)
        if request.name == "reflection":
            return "Guess whole words."
        return f"[{'zqxjkvwybf'[turn]}]" if request.name == "attempt" else f"[{known[turn % 4]}]"

    groups = rollout(partial(reflect_retry, grade=tasks.grade, prompts=CHAT), [tasks[i] for i in range(4)], 2, Scripted(say))
    episode = groups[0][0]
    assert "Hangman" in episode.segments[0].text
    assert episode.verdicts["attempt"].score == 0
    assert episode.verdicts["attempt"].why.startswith("over: reward 0 in 6 turns")
    assert all(e.verdicts["retry"].score == 1 for g in groups for e in g)
    assert any("not the target word" in s.text for s in episode.segments if s.name == "retry_observation")
    assert groups == rollout(
        partial(reflect_retry, grade=tasks.grade, prompts=CHAT), [tasks[i] for i in range(4)], 2, Scripted(say)
    )


def test_a_play_that_is_cut_off_is_scored_by_the_environment() -> None:
    tasks = tasks_of("verifiers:sums_taskset?turns=1:test")
    (group,) = rollout(partial(answer, grade=tasks.grade), [tasks[0]], 1, Scripted(lambda request: "none at all"))
    assert group[0].verdicts["attempt"].why == "over: reward 0 in 1 turns"


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ("verifiers:", "which taskset"),
        ("verifiers:nowhere_to_be_found", "verifiers:nowhere_to_be_found cannot be loaded: "),
        ("verifiers:sums_taskset?colour=red", "cannot be loaded"),
        ("verifiers:sums_taskset?limit=none", "limit must be a whole number"),
        ("verifiers:boxed_taskset", "needs a container"),
    ],
)
def test_what_cannot_be_played_is_said_in_one_sentence(spec: str, said: str) -> None:
    with pytest.raises(UserError, match=said) as caught:
        tasks_of(f"{spec}:all" if spec != "verifiers:" else spec)
    assert "\n" not in str(caught.value)


def test_an_error_of_its_own_stops_the_run() -> None:
    tasks = tasks_of("verifiers:sums_taskset:all")
    with pytest.raises(UserError, match=r"verifiers:sums_taskset failed: .*boom was said"):
        tasks.grade(tasks[0], "boom")


def test_exported_traces_are_traces_of_verifiers(tmp_path: Path) -> None:
    """What prime-rl reads: per-token advantages that spread over a branch as its own do."""
    tasks = tasks_of("verifiers:sums_taskset:test")
    (group,) = rollout(
        partial(reflect_retry, grade=tasks.grade, prompts=CHAT), [tasks[0]], 2,
        Scripted(lambda r: "none" if r.name == "attempt" else str(r.path)),
    )  # fmt: skip
    marked = tuple(replace(e, verdicts={**e.verdicts, "retry": Verdict(float(i))}) for i, e in enumerate(group))
    for episode, signals in zip(marked, reflection_only(marked), strict=True):
        line = json.dumps(verifiers_trace((episode, signals, 1, "train", 0), "me/model"))
        trace = vf.WireTrace.model_validate_json(line)
        (branch,) = trace.branches
        assert branch.token_ids == [token for segment in episode.segments for token in segment.tokens]
        assert trace.reward == episode.verdicts["retry"].score
        paid = branch.advantages
        assert paid is not None
        assert sum(one != 0 for one in paid) == len(episode["reflection"].tokens)
        assert len(branch.logprobs) == len(branch.token_ids)


def test_a_reward_of_verifiers_grades_rows_of_ones_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "my_rewards.py").write_text(
        "async def right(task, trace):\n    return float(trace.last_reply == str(task.answer))\n\n"
        "def short(trace):\n    return float(len(trace.last_reply) < 4)\n"
    )
    monkeypatch.chdir(tmp_path)
    (tmp_path / "rows.jsonl").write_text('{"prompt": "2 + 2?", "answer": 4}\n')
    tasks = tasks_of("rows.jsonl:all", grade="verifiers:my_rewards:right")
    assert [tasks.grade(tasks[0], text).score for text in ("4", "5")] == [1.0, 0.0]
    assert tasks_of("rows.jsonl:all", grade="verifiers:my_rewards:short").grade(tasks[0], "no idea").score == 0.0
