"""A supervised start from good reflections: what is shown, what is imitated, and that a model learns it."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from tests.calls import RECIPE, SMALL, rows_of_calls

from secondthought.credit.imitation import imitation
from secondthought.engines.scripted import Scripted
from secondthought.errors import UserError
from secondthought.learners.rows import compile_rows
from secondthought.protocols.answer import answer
from secondthought.protocols.reflect_retry import CALLS, Prompts
from secondthought.protocols.tutored import tutored
from secondthought.recipes import load
from secondthought.rollouts import rollout
from secondthought.runs.progress import Silence
from secondthought.runs.reading import read_episodes, read_groups, read_metrics
from secondthought.tasks.dataset import TaskList
from secondthought.training.failures import FailedTasks
from secondthought.training.loop import train
from secondthought.training.settings import override
from secondthought.types import Task

PROMPTS = Prompts("What was wrong?", "Again: {question}")
TASKS = TaskList(tuple(Task.of(f"{i} + {i}?", answer=str(2 * i), family="sums") for i in range(1, 5)))


def failures() -> FailedTasks:
    """The model answers 4 to everything at first, then 6: it fails, and solves two of the four problems."""
    model = Scripted(lambda request: "4" if request.path == (0,) else "6")
    return FailedTasks.of(TASKS, rollout(partial(answer, grade=TASKS.grade), list(TASKS.tasks), 2, model), keep=1)


def shown(failed: FailedTasks) -> list[Any]:
    protocol = partial(tutored, grade=TASKS.grade, prompts=PROMPTS, tutor=lambda task, text: f"{text} is wrong.", failed=failed)
    return rollout(protocol, [failed[i] for i in range(len(failed))], 8, Scripted(lambda request: pytest.fail("sampled")))


def test_what_is_shown_is_the_failure_the_tutor_and_a_right_attempt_of_its_own() -> None:
    groups = shown(failures())
    by_prompt = {group[0].task.prompt[0].content: group for group in groups}
    assert all(len(group) == 1 for group in groups)
    (solved,) = by_prompt["3 + 3?"]
    assert [s.text for s in solved.segments[1:]] == ["4", "What was wrong?", "4 is wrong.", "Again: 3 + 3?", "6"]
    assert [solved[name].author for name in ("attempt", "reflection", "retry")] == ["policy", "intervention", "intervention"]
    assert (solved.verdicts["attempt"].score, solved.verdicts["retry"].score) == (0, 1)
    (unsolved,) = by_prompt["4 + 4?"]
    assert "retry" not in unsolved  # it never got it right, and no gold answer is shown
    assert unsolved.segments[-1].name == "reflection"


def test_only_what_is_named_is_imitated_token_by_token() -> None:
    group = next(group for group in shown(failures()) if "retry" in group[0])
    for names in (("reflection",), ("reflection", "retry")):
        rows = compile_rows([group], [imitation(group, segments=names)])
        assert rows.groups == 1
        targets = [t for row in rows.rows for t in row.targets if t.imitate]
        assert len(targets) == sum(len(group[0][name].tokens) for name in names)
        assert not any(t.policy for row in rows.rows for t in row.targets)


def test_an_exercise_teaches_the_retry_to_obey_and_nothing_else() -> None:
    failed = failures()
    protocol = partial(
        tutored, grade=TASKS.grade, prompts=PROMPTS, tutor=lambda task, text: "wrong", failed=failed,
        exercise=lambda task, text: ("Say 7.", "7") if task.answer == "6" else None,
    )  # fmt: skip
    groups = rollout(protocol, [failed[i] for i in range(len(failed))], 8, Scripted(lambda request: pytest.fail("sampled")))
    (taught,) = [group for group in groups if len(group) == 2]
    assert [s.name for s in taught[1].segments[1:]] == ["attempt", "ask_reflection", "hint", "ask_retry", "retry"]
    assert [s.text for s in taught[1].segments[3::2]] == ["Say 7.", "7"]
    assert taught[1].verdicts["retry"].score == 0  # to obey, not to be right
    assert set(imitation(taught, segments=("reflection", "retry"))[1]) == {"retry"}
    rows = compile_rows([taught], [imitation(taught, segments=("reflection", "retry"))])
    assert len(rows.rows) == 1  # both hang below the same failure


def test_a_tutor_with_nothing_to_say_teaches_nothing() -> None:
    failed = failures()
    protocol = partial(tutored, grade=TASKS.grade, prompts=PROMPTS, tutor=lambda task, text: "", failed=failed)
    ((episode,),) = rollout(protocol, [failed[0]], 8, Scripted(lambda request: "never"))
    assert imitation((episode,), segments=("reflection", "retry")) == [{}]


def test_the_recipe_runs_both_stages_and_learns_what_the_tutor_says(chat_folder: Path, tmp_path: Path) -> None:
    recipe = override(load(RECIPE, tasks=str(rows_of_calls(tmp_path)), model=str(chat_folder)), SMALL)
    train(recipe, tmp_path / "run", Silence())
    metrics = read_metrics(tmp_path / "run")
    losses = [line.get("loss/imitate", 0.0) for line in metrics]
    assert len(metrics) == 25
    assert losses[23] < 0.7 * losses[0]
    assert losses[24] == 0  # the stage of rewards imitates nothing
    (episode, _), *_ = read_episodes(tmp_path / "run" / "episodes" / "step_000001.parquet")
    assert episode["reflection"].text.startswith("My answer held no call")


@pytest.mark.parametrize("arm", ["", ":no_start", ":start_only", ":answer", ":retry_only", ":random_reward"])
def test_every_arm_is_made(arm: str, chat_folder: Path, tmp_path: Path) -> None:
    chosen = load(f"{RECIPE}{arm}", tasks=str(rows_of_calls(tmp_path)), model=str(chat_folder))
    assert [stage.name for stage in chosen.parts] == {"": ["start", "reward"], ":no_start": ["reward"], ":start_only": ["start"], ":answer": ["answers"]}.get(arm, ["start", "reward"])  # fmt: skip
    assert (chosen.collect is None) == (arm == ":answer")


def test_tasks_of_another_kind_and_problems_that_are_all_long_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="this recipe is about function calling"):
        load(RECIPE, tasks="countdown", model="nano/countdown")
    path = tmp_path / "rows.jsonl"
    lines = rows_of_calls(tmp_path).read_text().replace("add ", "add " + "very " * 400)
    path.write_text(lines)
    with pytest.raises(UserError, match="no train problem of at most 1500 characters"):
        load(RECIPE, tasks=str(path), model="nano/countdown")


def test_the_wording_for_calls_repeats_the_request() -> None:
    task = Task.of("Rain in Rome?", answer=None, family="calls")
    assert "here is the request again:\nRain in Rome?\n" in CALLS.retry_of(task)


def test_a_budget_of_tokens_counts_what_was_collected(chat_folder: Path, tmp_path: Path) -> None:
    small = [one for one in SMALL if not one.startswith("start.")]

    def run(name: str, *more: str) -> Path:
        recipe = load(f"{RECIPE}:no_start", tasks=str(rows_of_calls(tmp_path)), model=str(chat_folder))
        train(override(recipe, [*small, "reward.steps=3", *more]), tmp_path / name, Silence())
        return tmp_path / name

    whole = run("whole")
    spent = json.loads((whole / "episodes" / "collected.json").read_text())["sampled_tokens"]
    groups = read_groups(whole / "episodes" / "collected.parquet")
    assert spent == sum(len(e["attempt"].tokens) for group in groups for e in group) > 0
    assert len(read_metrics(whole)) == 3
    assert len(read_metrics(run("one_step", f"token_budget={spent + 1}"))) == 1


def test_a_stage_has_a_learning_rate_of_its_own(chat_folder: Path, tmp_path: Path) -> None:
    changes = [*SMALL, "start.steps=2", "reward.steps=2", "reward.lr_scale=0.25"]
    recipe = override(load(RECIPE, tasks=str(rows_of_calls(tmp_path)), model=str(chat_folder)), changes)
    train(recipe, tmp_path / "run", Silence())
    assert [line["learner/lr"] for line in read_metrics(tmp_path / "run")] == [0.01, 0.01, 0.0025, 0.0025]
    with pytest.raises(UserError, match="lr_scale must be at least 0"):
        override(recipe, ["reward.lr_scale=-1"])
