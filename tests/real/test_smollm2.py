"""What only a real language model shows: ``make test-real``."""

from __future__ import annotations

import json
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.real.steps import done
from tests.training.kills import content
from tests.training.test_runs import refused
from transformers import AutoModelForCausalLM, AutoTokenizer

from secondthought.engines.base import EngineOptions, Request, Sampling
from secondthought.engines.factory import torch_engine
from secondthought.engines.torch.engine import TorchEngine
from secondthought.types import Message, Segment, Task

SYSTEM = "<|im_start|>system\nYou are a helpful AI assistant named SmolLM, trained by Hugging Face<|im_end|>\n"
PROBLEMS = [
    ("Mia has 3 apples and buys 4 more. How many apples does she have?", "Mia has 3+4=<<3+4=7>>7 apples.\n#### 7"),
    ("A box holds 6 pens. How many pens do 5 boxes hold?", "The boxes hold 6*5=<<6*5=30>>30 pens.\n#### 30"),
    ("Tom reads 8 pages a day for 4 days, then 5 pages more. How many pages does he read?",
     "In 4 days he reads 8*4=<<8*4=32>>32 pages.\nTogether he reads 32+5=<<32+5=37>>37 pages.\n#### 37"),
    ("A shop sells 12 cakes and 9 pies. Each costs $2. How many dollars does it take in?",
     "It sells 12+9=<<12+9=21>>21 things.\nIt takes in 21*2=$<<21*2=42>>42.\n#### 42"),
]  # fmt: skip


@pytest.fixture(scope="session")
def problems(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Word problems with worked solutions, in GSM8K's format."""
    path = tmp_path_factory.mktemp("data") / "problems.jsonl"
    path.write_text("".join(json.dumps({"question": q, "answer": a}) + "\n" for q, a in PROBLEMS))
    return path


def asked(engine: Any, question: str, sampling: Sampling, *, raw: bool = False) -> Request:
    task = Task.of(question, answer=None, family="questions")
    prompt = engine.renderer.render(task, [Segment("prompt", "task", "user", question)])
    return Request("attempt", task, (), prompt, 1, sampling)


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_the_fast_path_gives_the_models_own_logits(smollm2: Path, precision: str) -> None:
    """Along sampled text of several prompts of different length, sampled together."""
    engine = torch_engine(str(smollm2), EngineOptions(precision=precision, kv_mb=1024))  # type: ignore[arg-type]
    assert engine.decoder is not None
    questions = ["Hello!", *(q for q, _ in PROBLEMS), "Write one sentence about the sea."]
    requests = [asked(engine, q, Sampling(temperature=0.8, max_tokens=24)) for q in questions]
    sampled = engine.sample(requests)
    plain = AutoModelForCausalLM.from_pretrained(smollm2, dtype=getattr(torch, precision)).eval()
    gaps = []
    for request, one in zip(requests, sampled, strict=True):
        ids = torch.tensor([[*request.tokens, *one.tokens]])
        with torch.no_grad():
            logits = plain(ids).logits[0, len(request.tokens) - 1 : -1].float()
        theirs = (logits / 0.8).log_softmax(1).gather(1, torch.tensor(one.tokens)[:, None])[:, 0]
        gaps += (theirs - torch.tensor(one.logprobs)).abs().tolist()
    # bfloat16 has 8 bits: the model's own path rounds after each of its operations, ours after fewer.
    assert max(gaps) < (2e-3 if precision == "float32" else 1.0)
    assert sum(gaps) / len(gaps) < (2e-4 if precision == "float32" else 0.08)


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_greedy_answers_are_those_of_generate(smollm2: Path, precision: str) -> None:
    engine = torch_engine(str(smollm2), EngineOptions(precision=precision))  # type: ignore[arg-type]
    questions = ["What is the capital of France?", "What is 3 + 4?"]
    requests = [asked(engine, q, Sampling(temperature=0.0, max_tokens=24)) for q in questions]
    paris, seven = engine.sample(requests)
    assert paris.text.startswith("The capital of France is Paris")
    assert precision == "bfloat16" or "3 + 4 = 7" in seven.text  # rounding to 8 bits is enough for another first word
    if precision == "float32":
        model, tokenizer = (
            AutoModelForCausalLM.from_pretrained(smollm2, dtype=torch.float32),
            AutoTokenizer.from_pretrained(smollm2),
        )
        for request, one in zip(requests, (paris, seven), strict=True):
            ids = torch.tensor([request.tokens])
            theirs = model.generate(ids, max_new_tokens=24, do_sample=False, eos_token_id=tokenizer.eos_token_id)
            assert theirs[0, ids.shape[1] :].tolist() == list(one.tokens)


def test_the_frames_are_right_token_by_token(smollm2: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(smollm2)
    engine = torch_engine(str(smollm2))
    task = Task.of("2 + 2?", answer="4", family="sums")
    first = engine.renderer.render(task, [Segment("prompt", "task", "user", "2 + 2?")])
    expected = f"{SYSTEM}<|im_start|>user\n2 + 2?<|im_end|>\n<|im_start|>assistant\n"
    assert list(first[0].tokens) == tokenizer(expected, add_special_tokens=False)["input_ids"]
    end = tokenizer.convert_tokens_to_ids("<|im_end|>")
    said = Segment("attempt", "policy", "assistant", "5", (*tokenizer("5")["input_ids"], end), (0.0, 0.0), 0, "end")
    (*_, again) = engine.renderer.render(task, [*first, said, Segment("ask", "task", "user", "Sure?")])
    assert tokenizer.decode(list(again.tokens)) == "\n<|im_start|>user\nSure?<|im_end|>\n<|im_start|>assistant\n"
    assert next(iter(engine.renderer.ends)) == end

    from secondthought.models.hub import load, renderer_for

    bare = renderer_for(*load(str(smollm2)), raw=True)
    assert bare.decode(bare.render(task, [Segment("prompt", "task", "user", "2 + 2?")])[0].tokens) == "2 + 2?"
    named = bare.apply((Message("user", "2 + 2?"),), (), True)
    assert named == "2 + 2?"


def test_a_gguf_file_is_a_model_like_any_other(gguf: Path, smollm2: Path, problems: Path, tmp_path: Path) -> None:
    done("merge", "--model", gguf, "--out", tmp_path / "model")
    ours, theirs = (AutoModelForCausalLM.from_pretrained(place) for place in (tmp_path / "model", smollm2))
    assert ours.dtype == torch.bfloat16
    assert all(torch.equal(a, b) for a, b in zip(ours.parameters(), theirs.parameters(), strict=True))
    words = ["probe", "answer", "--model", gguf, "--tasks", f"gsm8k:{problems}:all", "--temperature", 0, "--max-tokens", 24]
    said = done(*words, "--out", tmp_path / "probe")
    assert "SmolLM2-135M-Instruct" in said
    assert "sampling in" in said
    (tmp_path / "no.gguf").write_bytes(b"not a model")
    assert "is no GGUF file" in refused("probe", "answer", "--model", tmp_path / "no.gguf", "--out", tmp_path / "x")
    assert "there is no file" in refused("merge", "--model", tmp_path / "none.gguf", "--out", tmp_path / "x")


def test_three_steps_with_adapters_a_resume_to_the_bit_and_a_merge(
    smollm2: Path, problems: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    settings = (
        "lora=4 steps=3 groups=2 group_size=3 max_tokens=12 eval_problems=2 dev_problems=1 eval_every=9 checkpoint_every=1"
    )
    given: list[Any] = [word for setting in [*settings.split(), "checkpoints_kept=9"] for word in ("--set", setting)]
    # At twelve tokens nothing is ever right: a lottery takes the place of the grader.
    (tmp_path / "lottery.py").write_text("def grade(answer, text):\n    return sum(map(ord, text)) % 3 == 0\n")
    words = [
        "train",
        "rrr",
        "--model",
        smollm2,
        "--tasks",
        f"{problems}:all",
        "--grade",
        "lottery:grade",
        "--top-k",
        40,
        *given,
    ]
    done(*words, "--out", tmp_path / "whole")
    lines = [json.loads(line) for line in (tmp_path / "whole" / "metrics.jsonl").read_text().splitlines()]
    assert sum(line.get("learner/paid_tokens", 0) for line in lines) > 0
    assert max(line.get("sampler_gap/mean", 0) for line in lines) < 0.2  # bfloat16 beside float32, both truncated

    again = tmp_path / "again"
    shutil.copytree(tmp_path / "whole", again)
    for step in (2, 3):
        shutil.rmtree(again / "checkpoints" / f"step_{step}")
    for file in [again / "summary.json", *(again / "reports").glob("after_*"), again / "reports" / "transplant.json"]:
        file.unlink(missing_ok=True)
    done("train", "rrr", "--resume", "--out", again)

    def made(out: Path) -> dict[str, str]:
        return {
            name: digest for name, digest in content(out).items() if name.startswith(("episodes/step", "checkpoints/step_3"))
        }

    assert len(made(again)) >= 5  # three steps of episodes, adapters, optimiser
    assert made(again) == made(tmp_path / "whole")

    card = (again / "checkpoints" / "step_3" / "model" / "README.md").read_text()
    assert "Rank 4" in card
    assert "after 3 steps" in card
    merged = done("merge", again, "--out", tmp_path / "float32", "--dtype", "float32")
    assert "of the adapted weights changed" in merged
    assert float(merged.partition("rounding lost ")[2].split()[0]) < 1
    model = AutoModelForCausalLM.from_pretrained(tmp_path / "float32")
    base = AutoModelForCausalLM.from_pretrained(smollm2, dtype=torch.float32)
    assert not torch.equal(model.model.layers[0].self_attn.q_proj.weight, base.model.layers[0].self_attn.q_proj.weight)


def test_flawed_chains_are_accepted_restated_or_changed(smollm2: Path, problems: Path, tmp_path: Path) -> None:
    words = ["probe", "flawed_chain", "--model", smollm2, "--tasks", f"gsm8k:{problems}", "--n", 6, "--max-tokens", 48]
    done(*words, "--set", "request=true", "--out", tmp_path / "probe")
    (model,) = json.loads((tmp_path / "probe" / "summary.json").read_text())["models"]
    figures = model["report"]["figures"]
    outcomes = [
        figures[f"gsm8k/flawed/none/outcome/{name}"]["value"]
        for name in ("accepted", "restated", "to_right", "to_wrong", "none")
    ]
    assert sum(outcomes) == pytest.approx(1.0)

    from secondthought.runs.reading import read_groups

    (file,) = (tmp_path / "probe" / "episodes").glob("*.parquet")
    for episode in (e for group in read_groups(file) for e in group):
        assert "<<" not in "".join(s.text for s in episode.segments if s.name == "chain")
        assert [s.name for s in episode.segments][-2:] == ["request", "final"]
        if episode.arm.startswith("flawed"):
            assert not episode["chain"].text.startswith(" ")  # the template has begun the turn


@pytest.fixture(scope="module")
def served(smollm2: Path) -> Iterator[str]:
    from secondthought.engines.remote.server import serve

    # What it says is compared with words: in bfloat16, which is chosen where it is faster, the greedy answer is another one.
    engine: TorchEngine = torch_engine(str(smollm2), EngineOptions(precision="float32"))
    server = serve(engine, "smollm2", port=0)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}/v1"
    server.shutdown()


def test_what_is_served_answers_openais_client(served: str) -> None:
    openai = pytest.importorskip("openai")
    client = openai.OpenAI(base_url=served, api_key="none")
    question: Any = [{"role": "user", "content": [{"type": "text", "text": "What is the capital of France?"}]}]
    chat = client.chat.completions.create(model="smollm2", messages=question, temperature=0, max_completion_tokens=16)
    assert "Paris" in chat.choices[0].message.content
    assert chat.choices[0].finish_reason in ("stop", "length")
    assert chat.usage.completion_tokens <= 16
    pieces = client.chat.completions.create(model="smollm2", messages=question, temperature=0, max_tokens=16, stream=True)
    assert "".join(piece.choices[0].delta.content or "" for piece in pieces) == chat.choices[0].message.content
    plain = client.completions.create(
        model="smollm2", prompt="The capital of France is", temperature=0, max_tokens=4, logprobs=0
    )
    assert "Paris" in plain.choices[0].text
    assert all(x <= 0 for x in plain.choices[0].logprobs.token_logprobs)
    shaped = {"top_k": 1}
    one = client.completions.create(model="smollm2", prompt="The capital of", max_tokens=4, seed=5, extra_body=shaped)
    two = client.completions.create(model="smollm2", prompt="The capital of", max_tokens=4, temperature=0)
    assert one.choices[0].text == two.choices[0].text
    assert [model.id for model in client.models.list()] == ["smollm2"]
    with pytest.raises(openai.BadRequestError, match="image_url"):
        client.chat.completions.create(
            model="smollm2", messages=[{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "x"}}]}]
        )
