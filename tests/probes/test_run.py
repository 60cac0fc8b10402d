"""Probes from the command line: resumable, with real models' shapes, and clear about what is wrong."""

from __future__ import annotations

import json
import re
import sqlite3
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.conftest import random_llama
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedTokenizerFast
from typer.testing import CliRunner

from secondthought.cli import app
from secondthought.engines.base import Sampling
from secondthought.engines.disk_cache import DiskCache, digest_of
from secondthought.engines.scripted import Scripted
from secondthought.engines.torch.engine import TorchEngine
from secondthought.errors import UserError
from secondthought.items.arithmetic import items
from secondthought.items.base import Item, write_items
from secondthought.nano import tokenizer as words
from secondthought.nano.pretrain import save_model
from secondthought.probes.base import Checkpoint
from secondthought.probes.checkpoints import checkpoints_of
from secondthought.probes.flawed_chain import FlawedChain
from secondthought.probes.flawed_chain_report import CELLS
from secondthought.probes.run import run_probe
from secondthought.protocols.base import Draft
from secondthought.rollouts import drive
from secondthought.runs.progress import Lines, Progress
from secondthought.types import Task

PROGRESS: Progress = Lines()
ENGLISH = Item("1", "What is 2 + 2?", "4", "2 + 2 is 4.", "2 + 2 is 5.", "5", "gsm8k")


def run(*arguments: object) -> Any:
    return CliRunner().invoke(app, [str(a) for a in arguments])


def family(place: Path, steps: tuple[int, ...] = (1, 2, 3)) -> Path:
    """Random checkpoints with what pre-training writes beside them."""
    for seed in (0, 1):
        for step in steps:
            folder = place / "matched" / "tiny" / f"seed_{seed}" / "checkpoints" / f"step_{step}"
            folder.mkdir(parents=True)
            save_model(random_llama(seed=10 * seed + step), words.build(), folder)
            facts = {
                "step": step,
                "tokens": 1000 * step,
                "recipe": {"size": "tiny", "seed": seed, "corpus": {"arm": "matched"}},
            }
            (folder / "pretraining.json").write_text(json.dumps(facts))
    return place


def measured(out: Path, place: Path, n: int = 12, max_tokens: int = 8) -> dict[str, Any]:
    probe = FlawedChain(tasks="arithmetic", n=n, temperature=1.0, max_tokens=max_tokens, waits=2, batch=6)
    return run_probe(probe, checkpoints_of([str(place)]), out, PROGRESS)


def test_a_killed_measurement_goes_on_where_it_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place = family(tmp_path / "models")
    sampled, calls = TorchEngine.as_completed, []

    def counts(self: TorchEngine, requests: Any) -> Any:
        calls.append(len(requests))
        return sampled(self, requests)

    monkeypatch.setattr(TorchEngine, "as_completed", counts)
    whole = measured(tmp_path / "whole", place)
    needed = len(calls)

    class Killed(BaseException):
        """As a kill -9 would, nothing gets to clean up."""

    calls.clear()

    def stops(self: TorchEngine, requests: Any) -> Any:
        calls.append(len(requests))
        if len(calls) == 12:
            raise Killed
        return sampled(self, requests)

    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr(TorchEngine, "as_completed", stops)
        measured(tmp_path / "killed", place)
    again = measured(tmp_path / "killed", place)
    assert {**again, "run": ""} == {**whole, "run": ""}
    assert len(calls) - 1 == needed  # but for the call that was killed, nothing was sampled twice
    assert len(again["models"]) == 6
    assert again["across"]["figures"]["arithmetic matched/accuracy/within_size"]["n"] == 6
    calls.clear()
    measured(tmp_path / "killed", place)
    assert calls == []


def test_a_folder_refuses_to_mix_measurements(tmp_path: Path) -> None:
    place = family(tmp_path / "models", steps=(1,))
    measured(tmp_path / "out", place, n=3, max_tokens=4)
    with pytest.raises(UserError, match="was started with max_tokens"):
        measured(tmp_path / "out", place, n=3, max_tokens=5)
    with pytest.raises(UserError, match="was started with items"):
        measured(tmp_path / "out", place, n=4, max_tokens=4)


def test_the_command_leaves_a_report_and_pictures(tmp_path: Path) -> None:
    place, out = family(tmp_path / "models"), tmp_path / "out"
    result = run("probe", "flawed_chain", "--model", place, "--tasks", "arithmetic", "--n", 8, "--out", out, "--max-tokens", 8)
    assert result.exit_code == 0, result.output
    assert "Against training compute" in result.stdout
    page = (out / "report.html").read_text()
    assert "Along pre-training" in page
    assert not re.search(r'(?:src|href)="https?:', page)  # nothing is fetched
    for name in (
        "arms.png",
        "across_along_pre_training_arithmetic_matched_tiny.png",
        "model_1_what_a_chain_and_a_trigger_do_arithmetic.png",
    ):
        assert (out / name).stat().st_size > 5000
    assert len(list((out / "episodes").glob("*.parquet"))) == 6
    report = json.loads((out / "summary.json").read_text())["models"][0]["report"]
    cells = {"solve", "flawed/none", "flawed/wait", "flawed/mistake", "flawed/filler", "clean/none", "clean/wait", "other/wait"}
    assert cells <= {arm["name"] for arm in report["arms"]}
    assert "arithmetic/flawed/wait/explicit_rate" in report["figures"]


# --- cache ----------------------------------------------------------------------------------------------------------


async def ask_once(task: Task) -> str:
    return await Draft(task).sample("rest")


def test_nothing_is_sampled_twice_and_everything_counts(tmp_path: Path) -> None:
    engine = Scripted(lambda request: f"{request.task.prompt[0].content} {request.sampling.temperature} é")
    tasks = [Task.of(f"q{i}", answer=None, family="t") for i in range(3)]

    def ask(digest: str, sampling: Sampling, seed: int, path: str = "cache.sqlite") -> tuple[list[Any], int]:
        cache = DiskCache(engine, tmp_path / path, digest)
        before = sum(engine.calls)
        answers = drive([ask_once(task) for task in tasks], cache, sampling, seed=seed)
        cache.close()
        return answers, sum(engine.calls) - before

    first = ask("a", Sampling(), 0)
    assert first[1] == 3
    assert ask("a", Sampling(), 0) == (first[0], 0)
    assert ask("b", Sampling(), 0)[1] == 3  # another model
    assert ask("a", Sampling(temperature=0.5), 0)[1] == 3  # other settings
    assert ask("a", Sampling(), 1)[1] == 3  # another seed
    (tmp_path / "broken.sqlite").write_text("this is no database, and long enough to be sure of it" * 20)
    with pytest.raises(UserError, match="is not a result cache"):
        ask("a", Sampling(), 0, "broken.sqlite")
    with sqlite3.connect(tmp_path / "cache.sqlite") as database:
        assert database.execute("SELECT count(*) FROM answer").fetchone() == (12,)


def test_a_digest_knows_its_weights() -> None:
    left, right = random_llama(0), random_llama(0)
    assert digest_of(left) == digest_of(right)
    with torch.no_grad():
        next(right.parameters())[0, 0] += 1e-3
    assert digest_of(left) != digest_of(right)
    assert digest_of(left) != digest_of(left.to(torch.bfloat16))


# --- models of other people ------------------------------------------------------------------------------------------


def real_sized(folder: Path, kind: str, vocabulary: int) -> Path:
    """A random model of a published shape, made small, with a byte-level tokenizer of the published size."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokens = [*alphabet, *(f"Ġfiller{i}" for i in range(vocabulary - len(alphabet) - 1)), "<|endoftext|>"]
    tokenizer = Tokenizer(models.BPE(vocab={t: i for i, t in enumerate(tokens)}, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="<|endoftext|>").save_pretrained(folder)
    torch.manual_seed(0)
    config = AutoConfig.for_model(
        kind, vocab_size=vocabulary, hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, max_position_embeddings=4096, bos_token_id=None, eos_token_id=vocabulary - 1, pad_token_id=None,
    )  # fmt: skip
    AutoModelForCausalLM.from_config(config).save_pretrained(folder)
    return folder


@pytest.mark.parametrize(("kind", "vocabulary"), [("qwen3", 151_936), ("olmo2", 100_352)])
def test_a_real_model_is_one_flag_away(tmp_path: Path, kind: str, vocabulary: int) -> None:
    folder, out = real_sized(tmp_path / kind, kind, vocabulary), tmp_path / "out"
    other = Item("2", "What is 3 + 3?", "6", "3 + 3 is 6.", "3 + 3 is 7.", "7", "gsm8k")
    riddle = Item("3", "Is it (A) or (B)?", "(A)", "It is the first.", "It is the second.", "(B)", "bbh")
    write_items(tmp_path / "items.jsonl", [ENGLISH, other, riddle])
    for profile in ("clean", "paper"):
        here = out / profile
        result = run("probe", "flawed_chain", "--model", folder, "--tasks", tmp_path / "items.jsonl", "--out", here,
                     "--set", f"profile={profile}", "--max-tokens", 6, "--set", "strict=true")  # fmt: skip
        assert result.exit_code == 0, (result.output, result.exception)
        found = json.loads((here / "summary.json").read_text())["models"][0]
        assert found["frame"] == "raw"
        assert {name.partition("/")[0] for name in found["report"]["figures"] if name.endswith("flips")} == {
            "gsm8k",
            "bbh",
            "all",
        }
        assert found["report"]["figures"]["all/flawed/wait/accuracy"]["n"] == 3


def test_checkpoints_are_found_by_folder_glob_and_revision(tmp_path: Path) -> None:
    place = family(tmp_path / "models", steps=(1, 2))
    whole = checkpoints_of([str(place)])
    assert [c.tokens for c in whole if "seed_0" in c.name] == [1000, 2000]
    assert {c.run for c in whole} == {"matched tiny seed 0", "matched tiny seed 1"}
    assert len(checkpoints_of([f"{place}/matched/tiny/seed_1/checkpoints/step_*"])) == 2
    hub = checkpoints_of(["allenai/OLMo-2-1124-7B@stage1-step1000-tokens5B,stage1-step2000-tokens1.5T"])
    assert [(c.place, c.tokens) for c in hub] == [("allenai/OLMo-2-1124-7B", 5e9), ("allenai/OLMo-2-1124-7B", 1.5e12)]
    assert {c.run for c in hub} == {"allenai/OLMo-2-1124-7B"}  # so that they are compared with each other
    assert checkpoints_of(["nano/countdown"])[0].name == "nano/countdown"
    assert checkpoints_of(["org/model"]) == [Checkpoint("org/model", "org/model", run="org/model")]


def plain_models(place: Path, names: tuple[str, ...]) -> Path:
    """Random models with nothing beside them."""
    for number, name in enumerate(names):
        (place / name).mkdir(parents=True)
        save_model(random_llama(seed=number), words.build(), place / name)
    return place


def test_models_of_one_name_are_not_taken_for_each_other(tmp_path: Path) -> None:
    plain_models(tmp_path, ("a/step_1", "b/step_1"))
    found = checkpoints_of([str(tmp_path / "a" / "step_1"), str(tmp_path / "b" / "step_1")])
    assert len({c.name for c in found}) == 2
    out, probe = tmp_path / "out", FlawedChain(tasks="arithmetic", n=4, temperature=1.0, max_tokens=6)

    def reports() -> int:
        return len([p for p in (out / "reports").iterdir() if not p.name.endswith(".facts.json")])

    summary = run_probe(probe, found, out, PROGRESS)
    assert reports() == len(list((out / "episodes").iterdir())) == 2
    assert [p["checkpoint"]["place"] for p in summary["models"]] == [c.place for c in found]
    # One name, and another model than before: measured anew.
    again = [replace(checkpoint, name="step_1") for checkpoint in found]
    for one in again:
        run_probe(probe, [one], out, PROGRESS)
    assert reports() == 4
    save_model(random_llama(seed=7), words.build(), tmp_path / "a" / "step_1")
    run_probe(probe, again[:1], out, PROGRESS)
    assert reports() == 5


def test_folders_without_facts_are_one_run_in_the_order_of_their_numbers(tmp_path: Path) -> None:
    place = plain_models(tmp_path / "run", ("step_10", "step_9", "step_100"))
    found = checkpoints_of([str(place)])
    assert [c.name for c in found] == ["step_9", "step_10", "step_100"]
    assert {c.run for c in found} == {str(place)}
    assert {c.run for c in checkpoints_of([f"{place}/step_*"])} == {str(place)}


@pytest.mark.parametrize(
    "facts", ["{}", "no json", '{"recipe": 3, "tokens": 5}', '{"recipe": {"size": "1m"}, "tokens": "many"}']
)
def test_a_broken_account_of_pretraining_is_named(tmp_path: Path, facts: str) -> None:
    place = plain_models(tmp_path / "run", ("step_1",))
    (place / "step_1" / "pretraining.json").write_text(facts)
    with pytest.raises(UserError, match=r"pretraining\.json is not what pre-training writes"):
        checkpoints_of([str(place)])


def test_a_judge_may_be_the_detector_of_a_probe(tmp_path: Path, tiny_folder: Path) -> None:
    words = [
        "--tasks",
        "arithmetic",
        "--n",
        3,
        "--max-tokens",
        4,
        "--model",
        tiny_folder,
        "--set",
        f"detector=judge:{tiny_folder}",
    ]
    for kind in ("flawed_chain", "superficial"):
        more = ["--set", "samples=2", "--set", "temperatures=1"] if kind == "superficial" else []
        result = run("probe", kind, *words, *more, "--out", tmp_path / kind)
        assert result.exit_code == 0, (result.output, result.exception)
    wrong = run("probe", "flawed_chain", *words[:-1], "detector=judge:./nowhere", "--out", tmp_path / "out")
    assert "no model folder ./nowhere" in str(wrong.exception)


# --- bad input -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"--tasks": "poems"}, "there are no items 'poems'"), ({"--set": "profile=loud"}, "--set profile=loud: choose clean, paper"),
        ({"--frame": "oil"}, "--frame 'oil' does not exist"), ({"--set": "detector=llm"}, "there is no detector 'llm'"),
        ({"--model": "./nowhere"}, "no model in ./nowhere|no model folder"), ({"--dtype": "int4"}, "--dtype 'int4' does not exist"),
        ({"--set": "wait=3"}, "has no 'wait' to set; the nearest is waits"), ({"--grade": "exact"}, "takes no --grade"),
        ({"--tasks": "tool_world"}, "have no chains of thought"),
    ],
)  # fmt: skip
def test_choices_that_do_not_exist(tmp_path: Path, tiny_folder: Path, changes: dict[str, str], words: str) -> None:
    options = {"--model": str(tiny_folder), "--tasks": "arithmetic", "--out": str(tmp_path / "out"), "--n": "2", **changes}
    result = run("probe", "flawed_chain", *(part for pair in options.items() for part in pair))
    assert isinstance(result.exception, UserError)
    with pytest.raises(UserError, match=words):
        raise result.exception


def test_a_model_that_cannot_write_the_words_is_named(tmp_path: Path) -> None:
    folder = tmp_path / "model"
    save_model(random_llama(), words.build(), folder)
    write_items(tmp_path / "items.jsonl", [Item("1", "2 + 2 =", "4", "四", "五", "5", "gsm8k")])
    result = run("probe", "flawed_chain", "--model", folder, "--tasks", tmp_path / "items.jsonl", "--out", tmp_path / "out")
    assert "cannot write item 1" in str(result.exception)


def test_a_model_without_a_template_has_no_chat(tmp_path: Path) -> None:
    folder = real_sized(tmp_path / "model", "qwen3", 2000)
    write_items(tmp_path / "items.jsonl", [ENGLISH])
    arguments = ["--model", folder, "--tasks", tmp_path / "items.jsonl", "--out", tmp_path / "out", "--max-tokens", 4]
    result = run("probe", "flawed_chain", *arguments, "--frame", "chat")
    assert "has no chat template; use --frame raw" in str(result.exception)


def test_left_out_rows_are_in_the_report(tmp_path: Path, tiny_folder: Path) -> None:
    path = tmp_path / "items.jsonl"
    write_items(path, [*items(3).found, items(1).found[0]])
    out = tmp_path / "out"
    words = ["probe", "flawed_chain", "--model", tiny_folder, "--tasks", path, "--out", out, "--max-tokens", 4]
    assert "duplicated id" in str(run(*words, "--set", "strict=true").exception)
    result = run(*words)
    assert "left out: 1 x duplicated id" in result.stdout
    assert "duplicated id" in (out / "report.html").read_text()


def test_superficial_from_the_command_line(tmp_path: Path, tiny_folder: Path) -> None:
    out = tmp_path / "out"
    words = ["probe", "superficial", "--model", tiny_folder, "--tasks", "arithmetic", "--n", 4, "--set", "samples=3"]
    result = run(*words, "--set", "temperatures=0.5,1", "--max-tokens", 8, "--out", out)
    assert result.exit_code == 0, (result.output, result.exception)
    report = json.loads((out / "summary.json").read_text())["models"][0]["report"]
    assert {"0.5", "1"} <= {arm["name"] for arm in report["arms"]}
    assert (out / "what_it_does.png").stat().st_size > 5000
    assert "What reflection does" in (out / "report.html").read_text()
    for bad, why in (("hot", "is a float"), ("nan", "at least 0"), ("-1", "at least 0"), ("inf", "at least 0")):
        wrong = run(*words, "--set", f"temperatures={bad}", "--out", tmp_path / "x")
        assert why in str(wrong.exception)


def test_any_number_of_models_any_probe(tmp_path: Path, tiny_folder: Path) -> None:
    place = plain_models(tmp_path / "models", ("a", "b"))
    for kind in ("second_try", "answer"):
        out = tmp_path / kind
        result = run(
            "probe",
            kind,
            "--model",
            place,
            "--model",
            tiny_folder,
            "--tasks",
            "countdown",
            "--n",
            4,
            "--out",
            out,
            "--max-tokens",
            6,
        )
        assert result.exit_code == 0, (result.output, result.exception)
        assert len(json.loads((out / "summary.json").read_text())["models"]) == 3


def test_access_that_is_not_offered_is_named(tmp_path: Path, tiny_folder: Path) -> None:
    (tmp_path / "deep.py").write_text(
        "from dataclasses import dataclass\nfrom typing import ClassVar\nfrom secondthought import Access, Probe, reported\n\n"
        "@dataclass(frozen=True)\nclass Deep(Probe):\n    name: ClassVar[str] = 'deep'\n    access: ClassVar[Access] = Access.TRAIN\n"
        "    def measure(self, model, progress):\n        return []\n    def report(self, groups):\n        return reported('deep', '', [], [])\n"
        "probe = Deep\n"
    )
    result = run("probe", tmp_path / "deep.py", "--model", tiny_folder, "--out", tmp_path / "out")
    assert "needs training the model (access level TRAIN)" in str(result.exception)


def test_every_cell_has_a_label() -> None:
    from secondthought.probes import scaling
    from secondthought.probes.flawed_chain_report import LABELS

    assert {cell.name for cell in CELLS} == set(LABELS)
    assert set(scaling.MEASURES) == set(scaling.NAMES)
