"""Tasks that are played turn by turn, and every protocol on them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from random import Random
from typing import Any

import pytest

from secondthought.credit.reflect_retry import reflection_and_retry, reflection_only
from secondthought.engines.base import Request
from secondthought.engines.scripted import Scripted
from secondthought.errors import UserError
from secondthought.learners.rows import compile_rows
from secondthought.probes.second_try import SecondTry
from secondthought.protocols import confident, critiqued, post_completion, review, self_correction
from secondthought.protocols.answer import answer
from secondthought.protocols.base import Draft
from secondthought.protocols.reflect_retry import CHAT, TERSE, reflect_retry
from secondthought.recipes.rrr import recipe
from secondthought.rollouts import rollout
from secondthought.runs.progress import Silence
from secondthought.stats import mean
from secondthought.tasks.frozen_lake import FrozenLake, Walk, path
from secondthought.training.attempts import Attempts
from secondthought.training.failures import FailedTasks
from secondthought.training.recorded import Recorded
from secondthought.types import Environment, Episode, Step, Task

LAKES = FrozenLake("test", "terse")
TASKS = [LAKES[i] for i in range(12)]


def ways(task: Task, avoided: bool) -> list[str]:
    lake: Any = task.answer
    holes = {tuple(hole) for hole in lake["holes"]} if avoided else set()
    return path(lake["size"], tuple(lake["start"]), tuple(lake["goal"]), holes)


def walker(request: Request) -> str:
    """Goes straight to the goal at first; in a retry around the holes; says something idle between."""
    if request.name not in ("attempt", "retry", "attempt_1", "attempt_2", "attempt_0"):
        return "avoid 1 1"
    done = sum(s.name == request.name for s in request.segments)
    planned = ways(request.task, request.name == "retry")
    return planned[done] if done < len(planned) else "wait"


def reflected(n: int = 3, script: Callable[[Request], str] = walker, tasks: list[Task] = TASKS) -> list[tuple[Episode, ...]]:
    return rollout(partial(reflect_retry, grade=LAKES.grade, prompts=TERSE), tasks, n, Scripted(script))


def test_a_lake_is_an_environment_whose_holes_are_hidden_and_end_the_walk() -> None:
    assert isinstance(LAKES, Environment)
    lake = Task.of("lake 1 1 goal 1 3", answer={"size": 4, "start": [1, 1], "goal": [1, 3], "holes": [[1, 2]]}, family="x")
    walk = LAKES.reset(lake)
    assert walk.step("up") == Step("at 1 1")
    assert walk.step("I would go right") == Step("hole 1 2", 0.0, True)
    assert walk.step("right") == Step("at 1 2", 0.0, True)
    around = [Walk(lake, "chat")]
    seen = [around[0].step(move) for move in ("down", "nowhere", "right", "right", "up")]
    assert [step.reward for step in seen] == [0, 0, 0, 0, 1]
    assert seen[1].observation == "That names no direction; you still stand in row 2, column 1."
    assert seen[-1] == Step("You reached the goal, row 1, column 3.", 1.0, True)
    assert LAKES.leak(lake, "down right right up") == "full"
    assert LAKES.leak(lake, "avoid 1 2") == "hint"
    assert LAKES.leak(lake, "avoid 2 2") == "none"
    assert "hole" not in FrozenLake("test", "chat")[0].prompt[0].content.replace("are holes", "")


def test_lakes_of_the_splits_share_none() -> None:
    seen = [{str(FrozenLake(split)[i].answer) for i in range(400)} for split in ("train", "dev", "test")]
    assert not seen[0] & seen[1]
    assert not seen[0] & seen[2]
    assert not seen[1] & seen[2]


def test_a_play_is_turns_of_one_name_with_what_was_observed_between_them() -> None:
    group = next(g for g in reflected() if len(g) == 3)
    episode = group[0]
    names = [s.name for s in episode.segments]
    ask = names.index("ask_reflection")
    assert set(names[1:ask]) == {"attempt", "attempt_observation"}
    assert names[1] == names[ask - 1] == "attempt"
    assert episode.segments[ask].text.startswith("hole ")
    assert episode.segments[ask].text.endswith("\n" + TERSE.reflection)
    assert episode.verdicts["attempt"].score == 0
    assert episode.verdicts["retry"].score == 1
    assert episode.verdicts["retry"].why.startswith("solved: reward 1 in ")
    assert len(episode.turns("retry")) == len(ways(episode.task, True))
    shown = [episode.verdict_at(i) for i in range(len(names))]
    assert [i for i, verdict in enumerate(shown) if verdict is not None] == [ask - 1, len(names) - 1]
    assert episode.outcome == "fixed"
    assert [s.author for s in episode.segments if "observation" in s.name] != ["policy"]


def test_plays_are_the_same_alone_and_together() -> None:
    def drunk(request: Request) -> str:
        return Random(request.seed).choice(["up", "down", "left", "right"])

    together = {group[0].task.key: group for group in reflected(script=drunk)}
    assert len({len(group[0].segments) for group in together.values()}) > 1
    for task in TASKS[:5]:
        assert reflected(script=drunk, tasks=[task])[0] == together[task.key]


def test_credit_pays_every_turn_of_what_it_names_and_no_observation() -> None:
    def half(request: Request) -> str:
        return walker(request) if request.path[-1:] != (1,) or request.name != "retry" else "up"

    group = next(g for g in reflected(2, half) if len(g) == 2 and g[1].verdicts["retry"].score == 0)
    only = compile_rows([group], [reflection_only(group)]).rows
    both = compile_rows([group], [reflection_and_retry(group)]).rows
    assert sum(len(row.targets) for row in only) == sum(len(e["reflection"].tokens) for e in group)
    paid = sum(len(s.tokens) for e in group for name in ("reflection", "retry") for s in e.turns(name))
    assert sum(len(row.targets) for row in both) == paid


@pytest.mark.parametrize(
    "protocol",
    [
        answer,
        partial(reflect_retry, prompts=CHAT),
        partial(self_correction.self_correction, request=self_correction.TERSE_REFINE),
        partial(critiqued.judged, request="right ?"),
        partial(post_completion.post_completion, read=post_completion.read_reward),
        partial(confident.confident, confidence=lambda text: 0.5, asked=confident.TERSE),
        lambda task, n, grade: reviewed(task, grade),
    ],
    ids=["answer", "reflect_retry", "self_correction", "judged", "post_completion", "confident", "review"],
)
def test_every_protocol_plays(protocol: Any) -> None:
    groups = rollout(partial(protocol, grade=LAKES.grade), TASKS, 2, Scripted(walker))
    ends = [next(iter(e.verdicts.values())) for g in groups for e in g]
    assert {v.score for v in ends} == {0.0, 1.0}
    assert all("reward" in v.why for v in ends)


async def reviewed(task: Task, grade: Any) -> tuple[Episode, ...]:
    return (await review.review(Draft(task), grade=grade, words=review.TERSE, rounds=2),)


def test_who_stops_when_losing_gains_nothing() -> None:
    """A policy that wins half of its games and walks in circles in the others: left out, its unfinished games would make it
    look perfect. They count, with what they have earned."""
    lakes = FrozenLake("test", "terse", turns=8)

    def circling(request: Request) -> str:
        moves = ways(request.task, True)
        done = sum(s.name == "attempt" for s in request.segments)
        wins = int(request.task.key, 16) % 2 == 0
        return moves[done] if wins and done < len(moves) else ("up", "down")[done % 2]

    tasks = [lakes[i] for i in range(40)]
    found = [g[0].verdicts["attempt"] for g in rollout(partial(answer, grade=lakes.grade), tasks, 1, Scripted(circling))]
    cut = [v for v in found if v.why.startswith("not over")]
    assert cut
    assert all(v.graded and v.score == 0 for v in cut)
    over = [v.score for v in found if not v.why.startswith("not over")]
    assert mean([v.score for v in found]).value < 0.75 < mean(over).value


def test_a_budget_ends_a_play_and_fresh_attempts_take_no_more_tokens_than_reflecting() -> None:
    probe = SecondTry(tasks=LAKES, n=60, max_tokens=10)
    groups = probe.measure(Scripted(lambda request: walker(request)[: request.sampling.max_tokens - 1]), Silence())
    tried = 0
    for group in groups:
        own, fresh = group[0], [e for e in group if e.arm == "resample"]
        if "retry" not in own.verdicts:
            continue
        spent = sum(len(s.tokens) for s in own.turns("reflection") + own.turns("retry"))
        used = sum(len(s.tokens) for e in fresh for s in e.turns("attempt"))
        assert 0 < used <= spent
        tried += 1
    assert tried > 10
    report = probe.report(groups)
    assert report.arm("retry_after_failure").estimate.value == 1.0


def test_a_recorded_play_is_replayed_turn_by_turn() -> None:
    groups = rollout(partial(answer, grade=LAKES.grade), TASKS, 1, Scripted(walker))
    failed = FailedTasks.of(LAKES, groups, 2)
    assert len(failed)
    assert failed.grade == LAKES.grade
    protocol = partial(reflect_retry, grade=failed.grade, prompts=TERSE, failed=failed)
    for group in rollout(protocol, [failed[i] for i in range(len(failed))], 2, Scripted(walker)):
        recorded = failed(group[0].task)
        assert group[0].segments[1 : len(recorded.segments)] == recorded.segments[1:]
        assert group[0].verdicts["attempt"] == recorded.verdicts["attempt"]


def test_second_turns_may_follow_recorded_plays_and_single_answers_are_refused() -> None:
    groups = rollout(partial(answer, grade=LAKES.grade), TASKS, 1, Scripted(walker))
    base = recipe("frozen_lake", model="nano/lake")
    changed = Attempts(share=0.5).use(
        replace(base, tasks=LAKES, group_size=2, stages=(), protocol=partial(self_correction.self_correction, grade=LAKES.grade,
                request=self_correction.TERSE)), groups,
    )  # fmt: skip
    assert changed.protocol is not None
    for task, (played,) in zip([changed.tasks[i] for i in range(len(TASKS))], groups, strict=True):
        own, shown = rollout(changed.protocol, [task], 2, Scripted(walker))[0]
        names = [s.name for s in shown.segments[1 : len(played.segments)]]
        assert names == [s.name.replace("attempt", "attempt_1") for s in played.segments[1:]]
        assert all(s.logprobs is None for s in shown.turns("attempt_1"))
        assert shown.verdicts["attempt_1"] == played.verdicts["attempt"]
        assert own.turns("attempt_1")[0].logprobs is not None
    with pytest.raises(UserError, match="played turn by turn"):
        Recorded(LAKES, [(TASKS[0], "one answer")])


def test_a_refused_turn_leaves_the_play_ungraded() -> None:
    from secondthought.engines.base import Sampled

    class Refusing(Scripted):
        def sample(self, requests: Any) -> list[Any]:
            found = super().sample(requests)
            return [
                Sampled((), (), "", "nothing", 0) if len(r.segments) > 1 else f for r, f in zip(requests, found, strict=True)
            ]

    groups = rollout(partial(answer, grade=LAKES.grade), TASKS[:3], 1, Refusing(walker))
    assert not any(g[0].verdicts["attempt"].graded for g in groups)


def test_every_play_is_closed_however_it_ends() -> None:
    opened: list[Held] = []

    class Held(Walk):
        closed = False

        def close(self) -> None:
            self.closed = True

    class Lakes(FrozenLake):
        def reset(self, task: Task) -> Held:
            opened.append(Held(task, "terse"))
            return opened[-1]

    lakes = Lakes("test", "terse", turns=2)
    rollout(partial(reflect_retry, grade=lakes.grade, prompts=TERSE), TASKS, 2, Scripted(walker))
    lakes.grade(TASKS[0], "up")

    def broken(request: Request) -> str:
        raise RuntimeError("the server is gone")

    with pytest.raises(RuntimeError, match="the server is gone"):
        rollout(partial(answer, grade=lakes.grade), TASKS, 2, Scripted(broken))
    assert len(opened) > 40
    assert all(walk.closed for walk in opened)


def test_training_on_an_environment_runs(tmp_path: Path) -> None:
    from secondthought.training.loop import train
    from secondthought.training.settings import override

    made = override(recipe("frozen_lake"), ["steps=1", "groups=2", "group_size=2", "eval_problems=4", "eval_every=1"])
    assert made.model == "nano/lake"
    train(made, tmp_path / "run", Silence())
