"""Two processes make the step that one makes, die together, and go on where they stopped."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from typer.testing import CliRunner

from secondthought.cli import app
from secondthought.distributed.local import ended
from secondthought.distributed.world import World, world_of_environment
from secondthought.errors import UserError
from secondthought.runs.reading import read_episodes, read_metrics

SETTINGS = (
    "steps=5", "groups=5", "group_size=4", "max_tokens=8", "eval_problems=4", "dev_problems=4", "eval_every=5", "checkpoint_every=2",
    "lr=0.001", "warmup=0",
)  # fmt: skip


RECIPE = """
from dataclasses import replace
from functools import partial

from secondthought.protocols.reflect_retry import TERSE, reflect_retry
from secondthought.recipes.rrr import recipe as rrr
from secondthought.types import Verdict


def lottery(task, text):
    return Verdict(float(sum(map(ord, text)) % 3 == 0))


def recipe(model):
    base = rrr("countdown", model)
    return replace(base, name="lottery", protocol=partial(reflect_retry, grade=lottery, prompts=TERSE))
"""


def recipe_at(place: Path) -> Path:
    """Random models never solve anything; here every third answer counts as right."""
    path = place / "lottery.py"
    if not path.exists():
        path.write_text(RECIPE)
    return path


def command(folder: Path, out: Path, processes: int, *more: str, settings: tuple[str, ...] = ()) -> list[str]:
    words = [sys.executable, "-m", "secondthought.cli"]
    words += ["launch", "--processes", str(processes)] if processes > 1 else []
    words += ["train", str(recipe_at(folder.parent)), "--model", str(folder), "--out", str(out), *more]
    return words + [word for setting in (*SETTINGS, *settings) for word in ("--set", setting)]


def run(*words: Any, **keywords: Any) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.run(command(*words, **keywords), capture_output=True, text=True, env=environment, timeout=240)


def weights(out: Path, step: int = 5) -> dict[str, torch.Tensor]:
    folder = out / "checkpoints" / f"step_{step}" / "model"
    path = folder / "model.safetensors"
    found: dict[str, torch.Tensor] = load_file(path if path.exists() else folder / "adapter_model.safetensors")
    return found


def close(left: dict[str, torch.Tensor], right: dict[str, torch.Tensor]) -> bool:
    assert left.keys() == right.keys()
    return all(torch.allclose(left[key], right[key], atol=2e-5, rtol=1e-4) for key in left)


@pytest.fixture(scope="module")
def alone(tiny_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("alone") / "run"
    done = run(tiny_folder, out, 1)
    assert done.returncode == 0, done.stderr
    return out


@pytest.fixture(scope="module")
def both(tiny_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("both") / "run"
    done = run(tiny_folder, out, 2)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("writing the report") == 1  # one of them writes it
    return out


def test_two_processes_are_one(alone: Path, both: Path) -> None:
    assert close(weights(alone), weights(both))  # parameters after five steps of AdamW at 1e-3: 2e-5
    for mine, theirs in zip(read_metrics(alone), read_metrics(both), strict=True):
        assert mine.keys() == theirs.keys()
        for key in (
            "reward/retry",
            "tokens/sampled",
            "groups/zero_signal",
            "learner/paid_tokens",
            "length/retry",
            "loss/policy",
        ):
            assert mine[key] == pytest.approx(theirs[key], abs=1e-4), key
        assert mine["learner/grad_norm"] == pytest.approx(theirs["learner/grad_norm"], rel=1e-3)


def test_their_episodes_are_all_there_in_order(alone: Path, both: Path) -> None:
    for step in (1, 2):
        name = f"episodes/step_{step:06d}.parquet"
        mine, theirs = read_episodes(alone / name), read_episodes(both / name)
        assert [e.task.key for e, _ in mine] == [e.task.key for e, _ in theirs]
        said = [[s.tokens for s in e.segments] for e, _ in mine], [[s.tokens for s in e.segments] for e, _ in theirs]
        assert step > 1 or said[0] == said[1]  # before the first update the weights are the same to the bit


def test_a_killed_process_ends_the_job_and_the_run_resumes_exactly(tiny_folder: Path, both: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    words = command(tiny_folder, out, 2)
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    job = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, env=environment)
    deadline = time.monotonic() + 120
    while not (out / "checkpoints" / "step_2" / "COMPLETE").exists():
        assert job.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.01)
    members = subprocess.run(["pgrep", "-P", str(job.pid)], capture_output=True, text=True, check=True).stdout.split()
    assert len(members) == 2
    began = time.monotonic()
    os.kill(int(members[1]), signal.SIGKILL)
    _, errors = job.communicate(timeout=60)
    assert time.monotonic() - began < 60
    assert job.returncode == 2
    assert "process 1 of 2 was killed (SIGKILL); continue with --resume" in errors
    torchrun = [
        sys.executable,
        "-m",
        "torch.distributed.run",
        "--standalone",
        "--nproc-per-node",
        "2",
        "-m",
        "secondthought.cli",
    ]
    words = [*torchrun, *command(tiny_folder, out, 1, "--resume")[3:]]  # started in the other way, for once
    done = subprocess.run(words, capture_output=True, text=True, env=environment, timeout=240)
    assert done.returncode == 0, done.stderr
    assert json.loads((out / "summary.json").read_text())["steps"] == 5
    mine, theirs = weights(out), weights(both)
    assert all(torch.equal(mine[key], theirs[key]) for key in theirs)
    assert [line["step"] for line in read_metrics(out)] == [1, 2, 3, 4, 5]


def test_a_mistake_is_shown_once_in_a_sentence(tmp_path: Path) -> None:
    done = run(tmp_path / "nothing", tmp_path / "run", 2)
    assert done.returncode == 2
    assert "secondthought: there is no model folder" in done.stderr
    assert done.stderr.count("there is no model folder") == 1  # the first process speaks, and the others are ended
    assert "Traceback" not in done.stderr
    wrong = subprocess.run([sys.executable, "-m", "secondthought.cli", "launch", "probe"], capture_output=True, text=True)
    assert (wrong.returncode, "launch runs train" in wrong.stderr) == (2, True)


def test_one_alone_is_a_world_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    world = world_of_environment()
    assert type(world) is World
    assert world.first
    assert world.share([1, 2, 3]) == world.gathered([1, 2, 3]) == [1, 2, 3]
    assert world.means([[1.0, float("nan"), 2.0]]) == [1.5]
    assert (ended(-9), ended(1)) == ("was killed (SIGKILL)", "ended with code 1")
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(UserError, match="the other processes cannot be reached"):
        world_of_environment()


def test_weights_split_between_two_processes_learn_the_same(tiny_folder: Path, alone: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    done = run(tiny_folder, out, 2, settings=("shard=true",))
    assert done.returncode == 0, done.stderr
    assert close(weights(out), weights(alone))
    for mine, theirs in zip(read_metrics(out), read_metrics(alone), strict=True):
        assert mine["learner/grad_norm"] == pytest.approx(theirs["learner/grad_norm"], rel=1e-3)
        assert mine["loss/kl"] == pytest.approx(theirs["loss/kl"], abs=1e-5)
        assert mine["sampler_gap/max"] < 1e-4
    again = tmp_path / "again"
    shutil.copytree(out, again)
    shutil.rmtree(again / "checkpoints" / "step_5")
    (again / "summary.json").unlink()
    (again / "reports" / "after_second_try.json").unlink()
    done = run(tiny_folder, again, 2, "--resume", settings=("shard=true",))
    assert done.returncode == 0, done.stderr
    assert all(torch.equal(weights(again)[key], tensor) for key, tensor in weights(out).items())  # from step 4, to the bit


def test_ray_may_be_named_without_an_address(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[object, ...]] = []
    monkeypatch.setattr("secondthought.distributed.ray.launch", lambda *words: asked.append(words[:3]))
    for words in (["--ray", "train"], ["--ray", "local", "train"]):
        assert CliRunner().invoke(app, ["launch", *words, "rrr_countdown", "--out", "x"]).exit_code == 0
    wanted = ["train", "rrr_countdown", "--out", "x"]
    assert asked == [(wanted, 2, "auto"), (wanted, 2, "local")]


LEAVING = """
import os
from secondthought.distributed import world

world.world_of_environment().total([1.0])
import torch.distributed.nn.functional, torch.optim  # as a learner does, once the group is there
world._part()
threads = [open(f"/proc/self/task/{one}/comm").read().strip() for one in os.listdir("/proc/self/task")]
print(sum("gloo" in name for name in threads))
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="threads are counted in /proc")
def test_no_thread_of_the_group_outlives_it() -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = str(free.getsockname()[1])
    common = {**os.environ, "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "OMP_NUM_THREADS": "1"}
    members = [
        subprocess.Popen([sys.executable, "-c", LEAVING], env={**common, "RANK": rank}, stdout=subprocess.PIPE, text=True)
        for rank in ("0", "1")
    ]
    assert [member.communicate(timeout=120)[0].strip() for member in members] == ["0", "0"]


MEMBER = """
import atexit, sys
from secondthought.distributed.world import member

class Torn:
    def __del__(self):
        print("taken apart")

held = Torn()
atexit.register(print, "exit handlers ran")

def work():
    print("worked")
    {end}

member(work)
"""


@pytest.mark.parametrize(
    ("end", "code", "says"),
    [("pass", 0, ""), ("sys.exit(2)", 2, ""), ("sys.exit('no')", 1, "no"), ("raise KeyError('lost')", 1, "KeyError: 'lost'")],
)
def test_a_member_ends_without_being_taken_apart(end: str, code: int, says: str) -> None:
    done = subprocess.run([sys.executable, "-c", MEMBER.format(end=end)], capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stdout) == (code, "worked\nexit handlers ran\n")
    assert says in done.stderr
