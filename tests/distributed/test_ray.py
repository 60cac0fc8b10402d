"""On a local Ray cluster: actors that die or freeze in mid-round, a learner's process that dies, and nothing lost."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest
from tests.distributed.test_local import close, recipe_at, weights

from secondthought import recipes
from secondthought.engines.base import Engine, EngineOptions, Sampling
from secondthought.engines.factory import replica_for, torch_engine
from secondthought.engines.ray_actors import RayActors
from secondthought.errors import UserError
from secondthought.models.weights import plain_weights
from secondthought.protocols.reflect_retry import TERSE, reflect_retry
from secondthought.rollouts import rollout
from secondthought.runs.progress import Silence
from secondthought.runs.reading import read_episodes, read_metrics
from secondthought.tasks.countdown import Countdown
from secondthought.training.loop import train
from secondthought.training.settings import override
from secondthought.types import Group

ray = pytest.importorskip("ray", reason="Ray is not installed: pip install 'secondthought[ray]'")
TASKS = Countdown("train")
PROTOCOL = partial(reflect_retry, grade=TASKS.grade, prompts=TERSE)
SETTINGS = (
    "steps=9", "groups=5", "group_size=4", "max_tokens=8", "eval_problems=4", "dev_problems=4", "eval_every=100",
    "checkpoint_every=3", "lr=0.001", "warmup=0",
)  # fmt: skip


@pytest.fixture(scope="module", autouse=True)
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """One of this machine; its four processors are four in name only."""
    os.environ["RAY_TRAIN_V2_ENABLED"] = "1"
    ray.init(num_cpus=4, include_dashboard=False, log_to_driver=False, logging_level="ERROR")
    yield
    ray.shutdown()


def result(engine: Engine) -> list[Group]:
    return rollout(PROTOCOL, [TASKS[i] for i in range(12)], 4, engine, Sampling(max_tokens=12), seed=5)


def same(left: list[Group], right: list[Group]) -> bool:
    """The same words by the same seeds; nothing lost, nothing twice."""
    return [[[s.tokens for s in e.segments] for e in g] for g in left] == [
        [[s.tokens for s in e.segments] for e in g] for g in right
    ]


def processes(name: str) -> list[int]:
    found = subprocess.run(["pgrep", "-f", name], capture_output=True, text=True, check=False).stdout.split()
    return [int(pid) for pid in found]


def test_actors_say_what_one_process_says_also_if_one_dies_or_freezes(
    tiny_folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    ours = torch_engine(str(tiny_folder))
    actors = RayActors(str(tiny_folder), EngineOptions(timeout=8.0), ours.renderer, 2, replica_for)
    try:
        expected = result(ours)
        assert same(result(actors), expected)
        other = torch_engine(str(tiny_folder))
        for parameter in other.model.parameters():
            parameter.data.mul_(1.2)
        expected = result(other)
        actors.publish(plain_weights(other.model), other.model.config, 3)
        for signum, said in ((signal.SIGKILL, "died"), (signal.SIGSTOP, "gave no answer in 8 s")):
            pid = ray.get(actors.actors[1].pid.remote())
            threading.Timer(0.02, os.kill, (pid, signum)).start()
            groups = result(actors)
            while said not in caplog.text:  # it was hit between two rounds
                groups = result(actors)
            assert same(groups, expected)  # with the weights of version 3, which the new actor was given
            assert {s.version for e in groups[0] for s in e.segments if s.logprobs is not None} == {3}
            assert f"rollout actor 1 {said}: starting another" in caplog.text
    finally:
        actors.close()


def test_a_cluster_without_room_is_named(tiny_folder: Path) -> None:
    with pytest.raises(UserError, match=r"no room for 99 actors of 1 CPU beside what runs there: lower engine\.at=ray:99"):
        RayActors(str(tiny_folder), EngineOptions(timeout=2.0), torch_engine(str(tiny_folder)).renderer, 99, replica_for)


def when(true: Callable[[], bool], then: Callable[[], object]) -> threading.Thread:
    """Do something as soon as something is true."""

    def watch() -> None:
        for _ in range(4000):
            if true():
                then()
                return
            time.sleep(0.05)

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    return thread


def test_a_crew_outlives_a_lost_actor_and_a_lost_learner(
    tiny_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Two learners with a rollout actor each make the steps that one process makes, whatever is killed on the way."""
    from secondthought.cli.base import run
    from secondthought.distributed.ray import launch

    monkeypatch.chdir(tmp_path)
    path, out = recipe_at(tiny_folder.parent), tmp_path / "ray"
    words = ["train", str(path), "--model", str(tiny_folder), "--out", str(out), "--set", "engine.at=ray:1"]
    steps = out / "metrics.jsonl"
    killed: list[int] = []

    def kill(name: str) -> None:
        killed.extend(processes(name)[-1:])
        os.kill(killed[-1], signal.SIGKILL)

    when(lambda: steps.exists() and steps.stat().st_size > 0, lambda: kill("ray::RolloutActor"))
    when(lambda: (out / "checkpoints" / "step_3" / "COMPLETE").exists(), lambda: kill("ray::RayTrainWorker"))
    launch([*words, *(word for setting in SETTINGS for word in ("--set", setting))], 2, "local", run)
    assert len(killed) == 2
    assert "a process of the training was lost (1 of 4): going on from the last checkpoint" in caplog.text

    train(override(recipes.load(str(path), model=str(tiny_folder)), SETTINGS), tmp_path / "one", Silence())
    assert close(weights(tmp_path / "one", 9), weights(out, 9))
    lines = [(line["step"], line["tokens/sampled"], line["groups/count"]) for line in read_metrics(out)]
    assert lines == [(line["step"], line["tokens/sampled"], line["groups/count"]) for line in read_metrics(tmp_path / "one")]
    for step in range(1, 10):
        ray_told, one_told = (
            [e for e, _ in read_episodes(p / "episodes" / f"step_{step:06d}.parquet")] for p in (out, tmp_path / "one")
        )
        assert [(e.task.key, e.path) for e in ray_told] == [(e.task.key, e.path) for e in one_told]


def test_what_a_command_refuses_is_said_without_trying_again(
    tiny_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from secondthought.cli.base import run
    from secondthought.distributed.ray import launch

    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match="there is no model folder"):
        launch(["train", "rrr_countdown", "--model", "./nowhere", "--out", str(tmp_path / "x")], 1, "local", run)
    with pytest.raises(UserError, match="has 4 CPUs for 5 processes"):
        launch(["train", "rrr_countdown"], 5, "local", run)
