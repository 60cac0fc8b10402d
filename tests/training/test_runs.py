"""Whole runs by the command, as processes: summaries, reports, resumes, crashes, bad input."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import torch
from safetensors.torch import load_file, save_file
from tests import processes
from tests.training.kills import exact

SMALL = {
    "steps": 4, "groups": 4, "group_size": 3, "max_tokens": 10, "eval_problems": 24, "dev_problems": 6,
    "eval_every": 2, "checkpoint_every": 2, "lr": 1e-3,
}  # fmt: skip
ESTIMATES = ("first", "second", "retry_after_failure", "resample_after_failure", "donor", "generic", "empty", "leak_rate")


def command(*words: object) -> list[str]:
    return [sys.executable, "-m", "secondthought.cli", *map(str, words)]


def settings(**changes: object) -> list[str]:
    return [word for k, v in {**SMALL, **changes}.items() for word in ("--set", f"{k}={v}")]


def call(*words: object, **options: Any) -> subprocess.CompletedProcess[str]:
    return processes.run([str(word) for word in words], **options)


def refused(*words: object, **options: Any) -> str:
    """The one sentence with which a command refuses."""
    found = call(*words, **options)
    assert found.returncode == 2, found.stderr
    lines = found.stderr.strip().splitlines()
    assert len(lines) == 1, found.stderr
    assert lines[0].startswith("secondthought: ")
    assert "Traceback" not in found.stderr + found.stdout
    return lines[0]


def train(folder: Path, out: Path, *more: object, **changes: object) -> subprocess.CompletedProcess[str]:
    return call("train", "rrr_countdown", "--model", folder, "--out", out, *settings(**changes), *more)


def arms(summary: dict[str, Any], side: str = "after") -> dict[str, Any]:
    """The estimates of the second try on one side of a training, or of the first model that was probed."""
    report = summary["probes"]["second_try"][side] if "probes" in summary else summary["models"][0]["report"]
    return {arm["name"]: arm["estimate"] for arm in report["arms"]}


def state(out: Path, step: int = 4) -> dict[str, str]:
    """Everything that must be equal bit for bit: weights, optimiser, episodes."""
    files = [out / "checkpoints" / f"step_{step}" / name for name in ("model/model.safetensors", "trainer/state.pt")]
    files += sorted((out / "episodes").glob("*.parquet"))
    found: dict[str, str] = {}
    for file in files:
        if file.suffix == ".pt":
            content = json.dumps(exact(torch.load(file, weights_only=True))).encode()
        elif file.suffix == ".parquet":
            content = json.dumps([{k: v for k, v in r.items() if k != "run"} for r in pq.read_table(file).to_pylist()]).encode()
        else:
            content = file.read_bytes()
        found[str(file.relative_to(out))] = hashlib.sha256(content).hexdigest()
    return found


@pytest.fixture(scope="module")
def whole(tiny_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An uninterrupted run of four steps."""
    out = tmp_path_factory.mktemp("runs") / "whole"
    found = train(tiny_folder, out)
    assert found.returncode == 0, found.stderr
    return out


def test_a_run_leaves_what_it_promises(whole: Path) -> None:
    summary = json.loads((whole / "summary.json").read_text())
    for side in ("before", "after"):
        found = arms(summary, side)
        for name in ESTIMATES:
            assert found[name].keys() >= {"value", "low", "high", "n"}
        assert 0 <= found["first"]["value"] <= found["second"]["value"] <= 1
        assert found["first"]["n"] == 24
    moved = {arm["name"]: arm["estimate"] for arm in summary["comparisons"]["transplant"]["arms"]}
    assert moved["trained/base"]["n"] > 0
    resolved = json.loads((whole / "resolved.json").read_text())
    assert resolved["recipe"]["optim"]["lr"] == 1e-3
    assert resolved["recipe"]["protocol"]["call"] == "reflect_retry"
    metrics = [json.loads(line) for line in (whole / "metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in metrics] == [1, 2, 3, 4]
    assert "sampler_gap/max" in metrics[0] or metrics[0]["groups/zero_signal"] == 4
    checkpoint = whole / "checkpoints" / "step_4"
    assert {p.name for p in checkpoint.iterdir()} == {"model", "trainer", "state.json", "COMPLETE"}
    page = (whole / "report.html").read_text()
    assert "http://" not in page.replace("http://www.w3.org", "").replace("http://purl.org", "").replace(
        "http://creativecommons.org", ""
    )
    assert "src=" not in page


def test_the_checkpoint_loads_with_standard_tools(whole: Path) -> None:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    folder = whole / "checkpoints" / "step_4" / "model"
    assert AutoModelForCausalLM.from_pretrained(folder).config.model_type == "llama"
    assert AutoTokenizer.from_pretrained(folder).chat_template


def killed(folder: Path, out: Path, when: str) -> None:
    """Start the run and kill it (SIGKILL) as soon as ``when`` appears in its folder."""
    words = command("train", "rrr_countdown", "--model", folder, "--out", out, *settings())
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    with (out.parent / "log").open("w") as log:
        process = subprocess.Popen(words, stdout=log, stderr=log, env=environment, start_new_session=True)
        deadline = time.monotonic() + 120
        while not list(out.glob(when)):
            assert process.poll() is None, (out.parent / "log").read_text()
            assert time.monotonic() < deadline
            time.sleep(0.002)
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


@pytest.mark.parametrize("when", ["checkpoints/step_2/COMPLETE", "checkpoints/.step_2.tmp/model", "checkpoints/.step_4.tmp"])
def test_kill_and_resume_is_bit_for_bit_the_same(tiny_folder: Path, whole: Path, tmp_path: Path, when: str) -> None:
    out = tmp_path / "killed"
    killed(tiny_folder, out, when)
    assert not (out / "summary.json").exists()
    found = train(tiny_folder, out, "--resume")
    assert found.returncode == 0, found.stderr
    assert state(out) == state(whole)
    before, after = (json.loads((run / "summary.json").read_text()) for run in (whole, out))
    assert {k: before[k] for k in ("probes", "comparisons")} == {k: after[k] for k in ("probes", "comparisons")}
    quick = [[{k: v for k, v in json.loads(x).items() if not k.startswith("speed/") and "seconds" not in k}
              for x in (run / "metrics.jsonl").read_text().splitlines()] for run in (whole, out)]  # fmt: skip
    assert quick[0] == quick[1]


def test_ctrl_c_stops_cleanly_and_can_be_resumed(tiny_folder: Path, whole: Path, tmp_path: Path) -> None:
    out = tmp_path / "stopped"
    words = command("train", "rrr_countdown", "--model", tiny_folder, "--out", out, *settings())
    process = subprocess.Popen(
        words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"}
    )
    deadline = time.monotonic() + 120
    while not (out / "metrics.jsonl").exists() or not (out / "metrics.jsonl").read_text():
        assert time.monotonic() < deadline
        time.sleep(0.002)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=120)
    assert process.returncode == 130
    assert "--resume" in errors
    assert "Traceback" not in errors
    assert train(tiny_folder, out, "--resume").returncode == 0
    assert state(out) == state(whole)


def test_another_seed_is_another_run_and_the_same_seed_the_same(tiny_folder: Path, whole: Path, tmp_path: Path) -> None:
    assert train(tiny_folder, tmp_path / "same").returncode == 0
    assert state(tmp_path / "same") == state(whole)
    assert train(tiny_folder, tmp_path / "other", "--seed", 1).returncode == 0
    assert state(tmp_path / "other") != state(whole)


def test_offline_failures_are_replayed_token_for_token(tiny_folder: Path, tmp_path: Path) -> None:
    from secondthought.runs.reading import read_episodes, read_groups

    out = tmp_path / "offline"
    assert train(tiny_folder, out, steps=2, **{"collect.problems": 12, "collect.samples": 3}).returncode == 0
    collected = read_groups(out / "episodes" / "collected.parquet")
    assert [len(group) for group in collected] == [3] * 12
    recorded = {e["attempt"].tokens for group in collected for e in group if e.verdicts["attempt"].score == 0}
    made = [e for file in (out / "episodes").glob("step_*.parquet") for e, _ in read_episodes(file)]
    assert {e["attempt"].tokens for e in made} <= recorded
    assert all(e["attempt"].version == 0 for e in made)


def test_function_calling_rows_are_trained_on(tiny_folder: Path, tmp_path: Path) -> None:
    tool = {"name": "add", "description": "Add", "parameters": {"a": {"type": "int"}}}
    rows = [{"query": f"add {i}", "tools": [tool], "answers": [{"name": "add", "arguments": {"a": i}}]} for i in range(90)]
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    words = ["--model", tiny_folder, "--tasks", tmp_path / "rows.jsonl", "--out", tmp_path / "out"]
    found = call("train", "rrr_function_calling", *words, *settings(steps=1, eval_problems=6))
    assert found.returncode == 0, found.stderr
    report = json.loads((tmp_path / "out" / "summary.json").read_text())["probes"]["second_try"]["before"]
    errors = {table["title"]: table["rows"] for table in report["tables"]}
    assert errors["How first tries fail"] == [["unparsable", "100.0"]]
    page = (tmp_path / "out" / "report.html").read_text()
    assert "unparsable" in page


@pytest.mark.parametrize("recipe", ["rrr:answer", "rrr:retry_only", "rrr_countdown:reflection_and_retry", "rrr:random_reward"])
def test_every_arm_runs(tiny_folder: Path, tmp_path: Path, recipe: str) -> None:
    found = call("train", recipe, "--model", tiny_folder, "--out", tmp_path / "run", *settings(steps=2, token_budget=10_000))
    assert found.returncode == 0, found.stderr


def test_arms_are_compared_at_equal_tokens(tiny_folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "arms"
    changes = {k: v for k, v in SMALL.items() if k != "steps"} | {"token_budget": 1500}
    words = ["--out", out, "--set", f"model={tiny_folder}", "--set", "seeds=1", "--set", "arms=rrr,answer"]
    words += ["--set", "settings=" + ";".join(f"{k}={v}" for k, v in changes.items())]
    found = call("reproduce", "arms", *words, "--json")
    assert found.returncode == 0, found.stderr
    printed = json.loads(found.stdout)
    assert [claim["id"] for claim in printed["claims"]] == [
        "gain",
        "over_answer",
        "over_retry_only",
        "over_reflection_and_retry",
        "over_random_reward",
    ]
    assert printed["claims"][1]["measured"]["n"] == 24
    assert printed["claims"][2] | {"measured": None, "verdict": "not applicable"} == printed["claims"][2]
    summary = json.loads((out / "summary.json").read_text())
    for arm in ("rrr", "answer"):
        assert 1500 <= summary["arms"][arm]["sampled_tokens"][0] < 3000
        assert sum(b["first"]["n"] for b in summary["by_base_rate"][arm]) == 24
    assert (out / "arms.png").stat().st_size > 5000
    assert (out / "regimes.png").stat().st_size > 5000


def test_measurements(tiny_folder: Path, tmp_path: Path) -> None:
    words = ["--model", tiny_folder, "--tasks", "countdown:test", "--n", 12, "--max-tokens", 10]
    assert call("probe", "second_try", *words, "--out", tmp_path / "a").returncode == 0
    summary = json.loads((tmp_path / "a" / "summary.json").read_text())
    assert arms(summary)["first"]["n"] == 12
    assert (tmp_path / "a" / "report.html").exists()
    assert call("probe", "answer", *words, "--temperature", 0, "--out", tmp_path / "b").returncode == 0
    assert call("probe", "answer", *words, "--temperature", 0, "--out", tmp_path / "b").returncode == 0  # nothing is left to do
    assert "was started with" in refused("probe", "answer", *words, "--temperature", 1, "--out", tmp_path / "b")
    assert "there is no probe" in refused("probe", "prayer", *words, "--out", tmp_path / "c")


def test_your_own_task_from_outside_the_package(tiny_folder: Path, tmp_path: Path) -> None:
    (tmp_path / "mine.jsonl").write_text(
        "".join(json.dumps({"prompt": f"use {i} make", "answer": str(i)}) + "\n" for i in range(80))
    )
    (tmp_path / "marks.py").write_text("def lenient(answer, text):\n    return len(text) % 2\n")
    words = ["--model", tiny_folder, "--tasks", "mine.jsonl", "--grade", "marks:lenient"]
    trained = call("train", "rrr", *words, "--out", "runs/mine", *settings(steps=2), cwd=tmp_path)
    assert trained.returncode == 0, trained.stderr
    summary = json.loads((tmp_path / "runs" / "mine" / "summary.json").read_text())
    assert 0.2 < arms(summary, "before")["first"]["value"] < 0.8
    measured = call("probe", "second_try", *words, "--n", 10, "--out", "runs/eval", cwd=tmp_path)
    assert measured.returncode == 0, measured.stderr


def test_what_nobody_can_grade_is_kept_counted_and_never_zero(tiny_folder: Path, tmp_path: Path) -> None:
    (tmp_path / "mine.jsonl").write_text(
        "".join(json.dumps({"prompt": f"use {i} make", "answer": str(i)}) + "\n" for i in range(80))
    )
    judge = "from secondthought.types import UNGRADED, Verdict\n"
    judge += "def judge(answer, text):\n    return UNGRADED if len(text) % 3 == 0 else Verdict(float(len(text) % 3 == 1))\n"
    (tmp_path / "marks.py").write_text(judge)
    words = ["--model", tiny_folder, "--tasks", "mine.jsonl", "--grade", "marks:judge", "--out", "run", *settings(steps=2)]
    found = call("train", "rrr", *words, cwd=tmp_path)
    assert found.returncode == 0, found.stderr
    report = json.loads((tmp_path / "run" / "reports" / "before_second_try.json").read_text())
    scores = next(arm["scores"] for arm in report["arms"] if arm["name"] == "first")
    assert None in scores
    summary = json.loads((tmp_path / "run" / "summary.json").read_text())
    graded = [score for score in scores if score is not None]
    assert arms(summary, "before")["first"]["n"] == len(graded)
    assert arms(summary, "before")["first"]["value"] == pytest.approx(sum(graded) / len(graded))


def test_an_ordinary_model_without_a_template_gets_the_plain_dialect_and_a_note(tiny_folder: Path, tmp_path: Path) -> None:
    bare = tmp_path / "bare"
    shutil.copytree(tiny_folder, bare)
    (bare / "chat_template.jinja").unlink()
    config = json.loads((bare / "config.json").read_text())
    del config["secondthought_style"]
    (bare / "config.json").write_text(json.dumps(config))
    found = train(bare, tmp_path / "run", steps=1, eval_problems=4, dev_problems=2)
    assert found.returncode == 0, found.stderr
    assert "no chat template" in found.stdout
    prompt = pq.read_table(tmp_path / "run" / "episodes" / "before_second_try.parquet").to_pylist()[0]["text"]
    assert prompt.startswith("Using the numbers [")  # and the published game, in words


def test_bad_input_is_one_sentence(tiny_folder: Path, whole: Path, tmp_path: Path) -> None:
    out = ["--out", tmp_path / "run"]
    assert "the nearest is rrr_countdown" in refused("train", "rrr_cuntdown", *out)
    assert "the nearest is group_size" in refused(
        "train", "rrr_countdown", "--model", tiny_folder, "--set", "group_sise=3", *out
    )
    assert "steps is a int, such as" in refused("train", "rrr_countdown", "--model", tiny_folder, "--set", "steps=many", *out)
    assert "at least 1" in refused("train", "rrr_countdown", "--model", tiny_folder, "--set", "steps=0", *out)
    assert "choose grpo, dr_grpo, token" in refused(
        "train", "rrr_countdown", "--model", tiny_folder, "--set", "normalization=gspo", *out
    )
    assert "write name=value" in refused("train", "rrr_countdown", "--model", tiny_folder, "--set", "steps", *out)
    assert "no model folder" in refused("train", "rrr_countdown", "--model", "./nowhere", *out)
    assert "no config.json" in refused("train", "rrr_countdown", "--model", tmp_path, *out)
    assert "no shipped model" in refused("train", "rrr_countdown", "--model", "nano/opera", *out)
    assert "takes no --tasks" in refused("train", "rrr_countdown", "--model", tiny_folder, "--tasks", "x.jsonl", *out)
    assert "there is no file" in refused("train", "rrr", "--model", tiny_folder, "--tasks", "absent.jsonl", *out)
    assert "is not a run" in refused("report", tmp_path)
    assert "there is no size" in refused("pretrain", "--size", "70b", *out)
    assert "No such option" in refused("train", "rrr_countdown", "--modle", "x")
    assert not (tmp_path / "run").exists()
    assert "already holds a run" in refused("train", "rrr_countdown", "--model", tiny_folder, "--out", whole, *settings())
    assert "started with" in refused(
        "train", "rrr_countdown", "--model", tiny_folder, "--out", whole, "--resume", *settings(groups=5)
    )


def test_an_unwritable_folder_and_a_full_disk(tiny_folder: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    assert "cannot write to" in refused("train", "rrr_countdown", "--model", tiny_folder, "--out", tmp_path / "file" / "run")
    script = (
        "import sys, errno, pyarrow.parquet as pq\n"
        "def full(*a, **k): raise OSError(errno.ENOSPC, 'No space left on device', 'x.parquet')\n"
        "pq.write_table = full\n"
        "from secondthought.cli import main\n"
        "main()\n"
    )
    words = ["train", "rrr_countdown", "--model", str(tiny_folder), "--out", str(tmp_path / "full"), *settings()]
    found = subprocess.run([sys.executable, "-c", script, *words], capture_output=True, text=True, timeout=120, check=False)
    assert found.returncode == 2
    assert found.stderr.strip().splitlines()[-1].startswith("secondthought: the disk is full")
    assert train(tiny_folder, tmp_path / "full", "--resume").returncode == 0


def test_a_checkpoint_of_another_model(tiny_folder: Path, whole: Path, tmp_path: Path) -> None:
    from tests.conftest import random_llama

    from secondthought.nano import tokenizer as words
    from secondthought.nano.pretrain import save_model

    out = tmp_path / "run"
    shutil.copytree(whole, out)
    save_model(random_llama(width=64), words.build(), tmp_path / "wide")
    shutil.copytree(tmp_path / "wide", out / "checkpoints" / "step_4" / "model", dirs_exist_ok=True)
    (out / "summary.json").unlink()
    found = refused("train", "rrr_countdown", "--model", tiny_folder, "--out", out, "--resume", *settings())
    assert "of another model" in found


def test_a_resume_notices_other_rows_and_other_weights(tiny_folder: Path, tmp_path: Path) -> None:
    model, rows, out = tmp_path / "model", tmp_path / "rows.jsonl", tmp_path / "run"
    shutil.copytree(tiny_folder, model)
    lines = [json.dumps({"nums": [i, i + 3, 5], "target": 2 * i + 8}) for i in range(1, 60)]
    rows.write_text("\n".join(lines))
    words = ["train", "rrr", "--model", model, "--tasks", rows, "--out", out, *settings()]
    assert call(*words).returncode == 0
    (out / "summary.json").unlink()
    rows.write_text("\n".join(lines[:-1]))
    assert "was started with" in refused(*words, "--resume")
    rows.write_text("\n".join(lines))
    weights = load_file(model / "model.safetensors")
    save_file({name: tensor + 1e-3 for name, tensor in weights.items()}, model / "model.safetensors", metadata={"format": "pt"})
    assert "other weights" in refused(*words, "--resume")


def test_a_resume_says_that_it_has_other_threads(tiny_folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    assert train(tiny_folder, out, "--set", "engine.threads=1").returncode == 0
    (out / "summary.json").unlink()
    again = train(tiny_folder, out, "--resume", "--set", "engine.threads=2")
    assert again.returncode == 0, again.stderr
    assert "begun with 1 threads, going on with 2" in again.stdout + again.stderr
    (out / "summary.json").unlink()
    same = train(tiny_folder, out, "--resume")
    assert "begun with" not in same.stdout + same.stderr
