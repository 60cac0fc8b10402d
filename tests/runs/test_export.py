"""Episodes in other tools' formats, read back by those tools."""

from __future__ import annotations

import json
import shutil
import sys
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from secondthought.cli import app
from secondthought.credit.reflect_retry import reflection_only
from secondthought.engines.base import Request
from secondthought.engines.scripted import Scripted
from secondthought.errors import UserError
from secondthought.protocols.reflect_retry import CHAT, reflect_retry
from secondthought.rollouts import rollout
from secondthought.runs.export import FORMATS, episodes_of, export, messages
from secondthought.runs.journal import Journal
from secondthought.types import Message, Task, Verdict

NASTY = "<script>alert(1)</script> \u202e \x00 é\n| end"


def grade(task: Task, text: str) -> Verdict:
    return Verdict(float("right" in text), text[:20], "right" if "right" in text else "wrong answer")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of two steps: three tasks, of which one is solved at once; of four reflections the even ones help."""

    def speak(request: Request) -> str:
        if request.name == "attempt":
            return "right" if "easy" in request.task.prompt[-1].content else NASTY
        return f"thought {request.path[0]}" if request.name == "reflection" else ("right" if request.path[0] % 2 == 0 else "no")

    folder = tmp_path_factory.mktemp("runs") / "mine"
    journal = Journal(folder, {"recipe": {"name": "rrr", "model": "scripted"}, "versions": {}, "seed": 0})
    turns = (Message("system", "Be brief."), Message("user", "hard"))
    tasks = [
        Task.of("easy one", answer="right", family="t"), Task.of("hard one", answer="right", family="t"),
        Task.of(turns, answer="right", family="t", tools=[{"name": "add", "parameters": {}}]),
    ]  # fmt: skip
    protocol = partial(reflect_retry, grade=grade, prompts=CHAT)
    for step in (1, 2):
        groups = rollout(protocol, tasks, 4, Scripted(speak), seed=step)
        journal.write(step, groups, [reflection_only(group) for group in groups], {"loss": 1.0})
    journal.episodes("after", 2, "after", rollout(protocol, tasks, 1, Scripted(speak)))
    (folder / "episodes" / ".step_000003.parquet.tmp").write_bytes(b"PAR1 and then the machine went off")
    return folder


def test_a_damaged_file_is_named_and_not_left_out(run: Path, tmp_path: Path) -> None:
    again = shutil.copytree(run, tmp_path / "again")
    (again / "episodes" / "step_000003.parquet").write_bytes(b"PAR1 and then the disk went off")
    with pytest.raises(UserError, match=r"step_000003\.parquet cannot be read"):
        list(episodes_of(again))


def test_every_episode_is_there_and_a_half_written_file_is_not(run: Path) -> None:
    found = list(episodes_of(run))
    assert len(found) == 2 * 9 + 3
    assert [split for *_, split, _ in found].count("after") == 3
    assert sorted({episode.outcome for episode, *_ in found}) == ["fixed", "right", "stayed wrong"]


def test_jsonl(run: Path, tmp_path: Path) -> None:
    path = export(run, "jsonl", tmp_path / "out.jsonl", split="train")
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    assert len(rows) == 18
    fixed = next(row for row in rows if row["outcome"] == "fixed" and row["tools"])
    assert [turn["role"] for turn in fixed["messages"]] == [
        "system",
        "user",
        "assistant",
        "user",
        "assistant",
        "user",
        "assistant",
    ]
    assert fixed["messages"][2]["content"] == NASTY
    assert fixed["scores"] == {"attempt": 0, "retry": 1}
    assert fixed["advantages"] == {"reflection": 1.0}
    assert json.loads(fixed["tools"])[0]["name"] == "add"


def test_datasets(run: Path, tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    found = datasets.load_from_disk(str(export(run, "hf-dataset", tmp_path / "data")))
    assert len(found) == 21
    assert found[1]["messages"][1]["content"] == NASTY
    assert set(found["split"]) == {"train", "after"}


def test_each_message_has_what_it_was_paid(run: Path, tmp_path: Path) -> None:
    path = export(run, "jsonl", tmp_path / "out.jsonl", split="train")
    for row in map(json.loads, path.read_text().splitlines()):
        assert len(row["message_advantages"]) == len(row["messages"])
        paid = row["advantages"].get("reflection")
        for turn, advantage in zip(row["messages"], row["message_advantages"], strict=True):
            assert (advantage is None) == (turn["role"] != "assistant")
            if advantage:
                assert turn["content"].startswith("thought")
                assert advantage == paid


def test_a_data_set_for_the_hub_is_read_by_datasets_and_has_its_card(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    datasets = pytest.importorskip("datasets")
    pushed: list[Any] = []
    monkeypatch.setattr("huggingface_hub.HfApi.create_repo", lambda _, name, **k: f"https://hub/datasets/{name}")
    monkeypatch.setattr("huggingface_hub.HfApi.upload_folder", lambda _, **k: pushed.append((k["repo_type"], k["folder_path"])))
    words = ["export", str(run), "--to", "hub", "--out", str(tmp_path / "hub"), "--push", "me/episodes"]
    done = CliRunner().invoke(app, words)
    assert done.exit_code == 0, done.output
    assert "https://hub/datasets/me/episodes" in done.output
    assert pushed == [("dataset", tmp_path / "hub")]
    card = (tmp_path / "hub" / "README.md").read_text()
    assert card.startswith("---\n")
    assert "# me/episodes" in card
    assert "21 conversations" in card
    monkeypatch.setenv("HF_DATASETS_CACHE", str(tmp_path / "cache"))
    found = datasets.load_dataset(str(tmp_path / "hub"), cache_dir=str(tmp_path / "cache"))["train"]
    assert len(found) == 21
    assert found[1]["messages"][1]["content"] == NASTY
    assert json.loads(found[0]["scores"]).keys() == {"attempt"}
    refused = CliRunner().invoke(app, ["export", str(run), "--to", "jsonl", "--push", "me/episodes"])
    assert "--push goes with --to hub" in str(refused.exception)


def test_traces_for_prime_rl_pay_the_tokens_of_the_reflection_alone(run: Path, tmp_path: Path) -> None:
    path = export(run, "verifiers", tmp_path / "traces.jsonl", split="train")
    traces = [json.loads(line) for line in path.read_text().splitlines()]
    assert len(traces) == 18
    for trace, (episode, signals, *_) in zip(traces, episodes_of(run, "train"), strict=True):
        assert [node["parent"] for node in trace["nodes"]] == [None, *range(len(trace["nodes"]) - 1)]
        ids = [token for node in trace["nodes"] for token in node["token_ids"]]
        assert ids == [token for segment in episode.segments for token in segment.tokens]
        for node, segment in zip(trace["nodes"], episode.segments, strict=True):
            assert node["sampled"] == (segment.logprobs is not None)
            if node["sampled"]:
                assert len(node["advantages"]) == len(node["logprobs"]) == sum(node["mask"])
                wanted = signals[segment.name].policy if segment.name in signals else 0.0
                assert set(node["advantages"]) == {wanted}


def test_groups_for_art_train_what_is_paid_alone(run: Path, tmp_path: Path) -> None:
    path = export(run, "art", tmp_path / "groups.jsonl", split="train")
    groups = [json.loads(line)["trajectories"] for line in path.read_text().splitlines()]
    assert [len(group) for group in groups] == [1, 4, 4, 1, 4, 4]
    for trajectory in (one for group in groups if len(group) > 1 for one in group):
        choices = [said for said in trajectory["messages_and_choices"] if "finish_reason" in said]
        assert [choice["message"]["content"][:7] for choice in choices] == ["thought"]
        assert all(token["token"].startswith("token_id:") for token in choices[0]["logprobs"]["content"])
    assert {one["reward"] for one in groups[1]} == {0.0, 1.0}


def test_trl(run: Path, tmp_path: Path) -> None:
    folder = export(run, "trl", tmp_path / "trl", split="train")
    pairs = [json.loads(line) for line in (folder / "preferences.jsonl").read_text().splitlines()]
    single = [json.loads(line) for line in (folder / "completions.jsonl").read_text().splitlines()]
    assert len(pairs) == 2 * 2 * (2 * 2)  # two steps, two failures, two that helped against two that did not
    assert len(single) == 2 * 2 * 2
    assert {pair["chosen"][0]["content"] for pair in pairs} == {"thought 0", "thought 2"}
    assert {pair["rejected"][0]["content"] for pair in pairs} == {"thought 1", "thought 3"}
    assert pairs[0]["prompt"][-1] == {"role": "user", "content": CHAT.reflection}
    assert all(pair["chosen"][0]["role"] == "assistant" for pair in pairs)


def test_inspect(run: Path, tmp_path: Path) -> None:
    inspect: Any = pytest.importorskip("inspect_ai.log")
    log = inspect.read_eval_log(str(export(run, "inspect", tmp_path / "run.eval")))
    assert (log.status, log.eval.model, len(log.samples)) == ("success", "scripted", 21)
    fixed = next(sample for sample in log.samples if sample.metadata["outcome"] == "fixed")
    assert fixed.scores["retry"].value == 1
    assert fixed.scores["attempt"].explanation == "wrong answer"
    assert fixed.messages[-1].text == "right"


def test_a_prefill_and_what_follows_are_one_turn() -> None:
    from secondthought.protocols.base import Draft
    from secondthought.rollouts import drive

    async def script() -> Any:
        draft = Draft(Task.of("2 + 2?", answer="4", family="t"))
        draft.write("thought", "It is 5. Wait, ", role="assistant", author="intervention")
        await draft.sample("rest")
        return draft.close()

    (episode,) = drive([script()], Scripted(lambda request: "4"))
    assert messages(episode) == [{"role": "user", "content": "2 + 2?"}, {"role": "assistant", "content": "It is 5. Wait, 4"}]
    assert episode.outcome == "ungraded"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--to", "pdf"], "there is no format 'pdf'; choose jsonl, hf-dataset, trl, inspect"),
        (["--to", "jsonl", "--split", "dinner"], "has no episodes of the split 'dinner'"),
        (["--to", "jsonl", "--out", "."], "exists already"),
    ],
)
def test_bad_wishes(run: Path, words: list[str], message: str) -> None:
    result = CliRunner().invoke(app, ["export", str(run), *words])
    assert isinstance(result.exception, UserError)
    assert message in str(result.exception)


def test_no_run_and_no_package(run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UserError, match="is not a run"):
        export(tmp_path, "jsonl", None)
    for name, package in (("inspect", "inspect_ai"), ("hf-dataset", "datasets")):
        monkeypatch.setitem(sys.modules, package, None)
        with pytest.raises(UserError, match="needs the package"):
            export(run, name, tmp_path / name)
        assert not (tmp_path / name).exists()
    assert set(FORMATS) == {"art", "hf-dataset", "hub", "inspect", "jsonl", "trl", "verifiers"}
