"""Truncated and penalised sampling: as transformers does it, and as the loss reads it; sliding windows; what is measured at load."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from functools import partial

import pytest
import torch
import transformers
from torch import Tensor
from transformers import GenerationConfig

from secondthought.credit.answer import answer as pay
from secondthought.engines.base import EngineOptions, Request, Sampling
from secondthought.engines.decoding import Decoding
from secondthought.engines.torch import tuning
from secondthought.engines.torch.engine import TorchEngine
from secondthought.engines.torch.forward import logprobs_of, longest_context, window_of
from secondthought.engines.torch.shaping import penalised, truncated
from secondthought.errors import UserError
from secondthought.learners.optim import Optim
from secondthought.learners.rows import compile_rows
from secondthought.learners.torch import TorchLearner
from secondthought.nano import tokenizer as words
from secondthought.protocols.answer import answer
from secondthought.rollouts import rollout
from secondthought.tasks.countdown import Countdown
from secondthought.types import Segment

TASKS = Countdown("train")


def request_of(engine: TorchEngine, seed: int, sampling: Sampling) -> Request:
    task = TASKS[0]
    prompt = engine.renderer.render(task, [Segment("prompt", "task", "user", task.prompt[0].content)])
    return Request("attempt", task, (), prompt, seed, sampling)


@pytest.mark.parametrize(
    ("top_p", "top_k", "min_p"), [(0.7, 0, 0.0), (1.0, 5, 0.0), (1.0, 0, 0.2), (0.8, 12, 0.05), (0.01, 0, 0)]
)
def test_what_can_be_drawn_is_what_transformers_draws_from(top_p: float, top_k: int, min_p: float) -> None:
    from transformers.generation import logits_process as theirs

    torch.manual_seed(0)
    logits = 3 * torch.randn(40, 60)
    expected = logits.clone()
    ids = torch.zeros(40, 1, dtype=torch.long)
    for wanted, made in (
        (top_k > 0, lambda: theirs.TopKLogitsWarper(top_k)),
        (top_p < 1, lambda: theirs.TopPLogitsWarper(top_p)),
        (min_p > 0, lambda: theirs.MinPLogitsWarper(min_p)),
    ):
        if wanted:
            expected = made()(ids, expected)  # type: ignore[no-untyped-call]
    assert torch.equal(truncated(logits, top_p=top_p, top_k=top_k, min_p=min_p), expected)


def test_the_penalty_is_that_of_transformers() -> None:
    from transformers.generation.logits_process import RepetitionPenaltyLogitsProcessor

    logits, ids = torch.randn(3, 20), torch.tensor([[1, 4, 4], [0, 2, 19], [7, 7, 7]])
    seen = torch.zeros(3, 20, dtype=torch.bool).scatter_(1, ids, True)
    assert torch.allclose(penalised(logits, seen, 1.3), RepetitionPenaltyLogitsProcessor(1.3)(ids, logits.clone()))


def test_drawn_tokens_follow_the_truncated_distribution_and_record_its_odds(tiny_engine: TorchEngine) -> None:
    asked = Sampling(temperature=0.8, max_tokens=1, top_k=6, top_p=0.9)
    requests = [request_of(tiny_engine, seed, asked) for seed in range(4000)]
    with torch.no_grad():
        logits = tiny_engine.model(torch.tensor([requests[0].tokens])).logits[:, -1].float() / 0.8
    odds = truncated(logits, top_k=6, top_p=0.9).log_softmax(1)[0]
    drawn = tiny_engine.sample(requests)
    counts = Counter(sampled.tokens[0] for sampled in drawn)
    for token, count in counts.items():
        p = float(odds[token].exp())
        assert abs(count / 4000 - p) < 4 * (p * (1 - p) / 4000) ** 0.5 + 1e-9
    assert all(abs(sampled.logprobs[0] - float(odds[sampled.tokens[0]])) < 1e-4 for sampled in drawn)


def test_greedy_text_with_a_penalty_is_that_of_generate(tiny_engine: TorchEngine) -> None:
    asked = Sampling(temperature=0.0, max_tokens=12, repetition_penalty=1.4)
    request = request_of(tiny_engine, 0, asked)
    (ours,) = tiny_engine.sample([request])
    config = GenerationConfig(
        max_new_tokens=12, do_sample=False, repetition_penalty=1.4, eos_token_id=list(tiny_engine.renderer.ends), pad_token_id=0
    )
    theirs = tiny_engine.model.generate(torch.tensor([request.tokens]), generation_config=config)[0, len(request.tokens) :]
    assert list(ours.tokens) == theirs.tolist()


def test_rows_with_different_settings_do_not_touch_each_other(tiny_engine: TorchEngine) -> None:
    settings = [Sampling(max_tokens=9), Sampling(0.0, max_tokens=9), Sampling(max_tokens=9, top_k=3), Sampling(0.7, 0.5, 9)]
    settings += [Sampling(max_tokens=5, repetition_penalty=1.5), Sampling(0.0, max_tokens=9, top_k=2, min_p=0.3)]
    requests = [request_of(tiny_engine, i, one) for i, one in enumerate(settings)]
    together = tiny_engine.sample(requests)
    for request, one in zip(requests, together, strict=True):
        (alone,) = tiny_engine.sample([request])
        assert alone.tokens == one.tokens
        assert torch.allclose(torch.tensor(alone.logprobs), torch.tensor(one.logprobs), atol=1e-4)


@pytest.mark.parametrize("shape", [{"top_p": 0.8}, {"top_k": 5}, {"repetition_penalty": 1.3}, {"min_p": 0.1, "top_k": 9}])
def test_the_loss_reads_the_distribution_that_was_drawn_from(shape: dict[str, float]) -> None:
    options = EngineOptions(**shape)  # type: ignore[arg-type]
    learner = TorchLearner("nano/countdown", Optim(kl=0.0, warmup=0, lr=1e-3), steps=2, temperature=0.9, engine=options)
    protocol = partial(answer, grade=TASKS.grade)
    groups = rollout(protocol, [TASKS[i] for i in range(12)], 8, learner.publish(), Sampling(0.9, max_tokens=24), seed=3)
    stats = learner.step(compile_rows(groups, [pay(group) for group in groups]))
    assert stats["learner/paid_tokens"] > 100
    assert stats["sampler_gap/max"] < 1e-3


def test_the_gradient_of_a_truncated_odds_is_right() -> None:
    logits = torch.randn(3, 7, dtype=torch.double, requires_grad=True)
    targets, seen = torch.tensor([0, 3, 6]), torch.tensor([[1, 2], [3, 3], [0, 5]])
    shape = Sampling(temperature=0.7, top_k=4, repetition_penalty=1.2)

    def odds(logits: Tensor) -> Tensor:
        return logprobs_of(logits, targets, shape, seen)

    assert torch.autograd.gradcheck(odds, (logits,))
    assert bool((odds(logits) <= 0).all())  # the target can be drawn even where it is not among the likeliest


def test_sampling_of_the_model() -> None:
    qwen = GenerationConfig(do_sample=True, temperature=0.7, top_p=0.8, top_k=20, repetition_penalty=1.1)
    chosen = Decoding.chosen(EngineOptions(sampling="model"), qwen)
    assert chosen == Decoding(0.7, 0.8, 20, 0.0, 1.1)
    assert chosen.of(Sampling(max_tokens=9, stop=("x",))) == Sampling(0.7, 0.8, 9, ("x",), 20, 0.0, 1.1)
    assert Decoding.chosen(EngineOptions(sampling="model"), GenerationConfig()).temperature == 0.0
    with pytest.raises(UserError, match="no generation_config"):
        Decoding.chosen(EngineOptions(sampling="model"), None)
    for wrong in ({"top_p": 0.0}, {"top_k": -1}, {"min_p": 1.0}, {"repetition_penalty": 0.0}):
        with pytest.raises(UserError, match=next(iter(wrong))):
            Decoding(**wrong)


# --- sliding windows -------------------------------------------------------------------------------------------------


def sliding(kind: str) -> TorchEngine:
    torch.manual_seed(1)
    shape = {
        "vocab_size": len(words.vocabulary()), "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 3,
        "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 8, "max_position_embeddings": 256, "sliding_window": 5,
    }  # fmt: skip
    layers = ["sliding_attention", "full_attention", "sliding_attention"]
    more = {"layer_types": layers} if kind == "Gemma3" else {}
    config = getattr(transformers, "Gemma3TextConfig" if kind == "Gemma3" else f"{kind}Config")(**shape, **more)
    model = getattr(transformers, f"{kind}ForCausalLM")(config).eval()
    from secondthought.models.hub import renderer_for

    return TorchEngine(model, renderer_for(model, words.build()))


@pytest.mark.parametrize("kind", ["Gemma3", "Mistral"])
def test_a_sliding_window_is_no_limit_of_the_context(kind: str) -> None:
    engine = sliding(kind)
    config = engine.model.config
    assert (longest_context(config), window_of(config)) == (256, 5)
    request = request_of(engine, 0, Sampling(temperature=0.0, max_tokens=20))
    assert len(request.tokens) > 5
    (ours,) = engine.sample([request])
    ids = list(request.tokens)
    with torch.no_grad():
        for token in ours.tokens:  # the model's own forward pass, which makes its own masks
            logits = engine.model(torch.tensor([ids])).logits[0, -1]
            assert float(logits[token]) > float(logits.max()) - 1e-3
            ids.append(token)
        (scored,) = engine.score([request.tokens], [ours.tokens])
    assert torch.allclose(torch.tensor(scored), torch.tensor(ours.logprobs), atol=1e-3)


def test_a_short_text_takes_the_fast_path_all_the_same() -> None:
    engine = sliding("Gemma3")
    assert engine.decoder is not None
    short = replace(request_of(engine, 0, Sampling(max_tokens=3)), segments=(Segment("prompt", "task", "user", "", (1, 2, 3)),))
    fast = engine.sample([short])
    engine.window = 0
    slow = engine.sample([short])
    assert fast[0].tokens == slow[0].tokens
    assert torch.allclose(torch.tensor(fast[0].logprobs), torch.tensor(slow[0].logprobs), atol=1e-4)


# --- what is measured at load ----------------------------------------------------------------------------------------


def test_precision_and_threads_are_decided_by_what_is_measured(
    tiny_engine: TorchEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = tiny_engine.model.config
    speeds = {torch.float32: 1.0, torch.bfloat16: 2.0}
    monkeypatch.setattr(tuning, "product_of", lambda config, dtype: dtype)
    monkeypatch.setattr(tuning, "per_second", lambda dtype: speeds[dtype])
    assert tuning.tuned(EngineOptions(), config, saved_in="bfloat16", device="cpu").precision == "bfloat16"
    assert tuning.tuned(EngineOptions(), config, saved_in="float32", device="cpu").precision == "model"
    speeds[torch.bfloat16] = 1.05
    assert tuning.tuned(EngineOptions(), config, saved_in="bfloat16", device="cpu").precision == "model"
    given = EngineOptions(precision="bfloat16", threads=torch.get_num_threads())
    assert tuning.tuned(given, config, saved_in="float32", device="cpu") == given

    before = torch.get_num_threads()
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr(tuning, "parameters", lambda config: 10**9)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 2)
    now = [2]
    monkeypatch.setattr(torch, "set_num_threads", lambda n: now.__setitem__(0, n))
    monkeypatch.setattr(tuning, "per_second", lambda dtype: 1.0 / now[0])  # somebody else runs here: one thread is faster
    assert tuning.tuned(EngineOptions(), config, saved_in="float32", device="cpu").threads == 1
    monkeypatch.setattr(tuning, "per_second", lambda dtype: float(now[0]))
    now[0] = 2
    assert tuning.tuned(EngineOptions(), config, saved_in="float32", device="cpu").threads == 2
    monkeypatch.undo()
    assert torch.get_num_threads() == before
