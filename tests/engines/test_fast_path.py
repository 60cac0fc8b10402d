"""The fast path says what the simple one says: every family, ragged stops, carried keys and values, little memory."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import torch
import transformers
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.conftest import logits_of, random_llama
from tests.engines.test_torch_engine import TASKS, plain_sample, request_for, same
from torch import Tensor

from secondthought.engines.base import EngineOptions, Request, Sampling
from secondthought.engines.torch import kernels, native
from secondthought.engines.torch.batches import PendingRow, batches_of
from secondthought.engines.torch.decoder import Decoder
from secondthought.engines.torch.engine import TorchEngine
from secondthought.engines.torch.forward import logits_at, logprobs_of
from secondthought.engines.torch.prefix_batch import PrefixBatch
from secondthought.engines.torch.sampler import RowSampler, TokenChooser
from secondthought.learners.dense import DenseReader
from secondthought.learners.loss import tensors
from secondthought.learners.rows import Row, Target
from secondthought.learners.torch import Reader
from secondthought.learners.trees import TreeReader
from secondthought.models.hub import renderer_for
from secondthought.nano import tokenizer as words
from secondthought.protocols.reflect_retry import TERSE, reflect_retry
from secondthought.rollouts import rollout
from secondthought.types import Segment, Verdict

SHAPE: dict[str, Any] = {
    "vocab_size": len(words.vocabulary()),
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 16,
    "max_position_embeddings": 512,
    "initializer_range": 0.3,
    "bos_token_id": None,
    "eos_token_id": words.vocabulary()[words.END],
    "pad_token_id": words.vocabulary()[words.PAD],
}
LAYERS = ["sliding_attention", "full_attention", "sliding_attention"]
FAMILIES: dict[str, tuple[str, dict[str, Any]]] = {
    "llama": ("Llama", {}),
    "llama with biases and scaled positions": (
        "Llama",
        {
            "attention_bias": True,
            "rope_parameters": {
                "rope_type": "llama3",
                "rope_theta": 10000.0,
                "factor": 8.0,
                "low_freq_factor": 1.0,
                "high_freq_factor": 4.0,
                "original_max_position_embeddings": 64,
            },
        },
    ),
    "llama, as many key heads as heads": ("Llama", {"num_key_value_heads": 4}),
    "mistral": ("Mistral", {"sliding_window": None}),
    "qwen2": ("Qwen2", {}),
    "qwen3": ("Qwen3", {}),
    "gemma": ("Gemma", {"num_key_value_heads": 1}),
    "gemma2": ("Gemma2", {"query_pre_attn_scalar": 16, "layer_types": LAYERS, "attn_logit_softcapping": 5.0}),
    "gemma3": ("Gemma3", {"query_pre_attn_scalar": 16, "layer_types": LAYERS, "sliding_window": 256}),
}


def family(name: str, seed: int = 0) -> Any:
    kind, more = FAMILIES[name]
    config = getattr(transformers, f"{kind}TextConfig" if kind == "Gemma3" else f"{kind}Config")(**{**SHAPE, **more})
    config.secondthought_style = "terse"
    config._attn_implementation = "eager"
    torch.manual_seed(seed)
    model = getattr(transformers, f"{kind}ForCausalLM")(config).eval()
    for parameter in model.parameters():  # gains and biases start at zero or one, and would hide a mistake
        if parameter.dim() == 1:
            parameter.data += 0.2 * torch.randn_like(parameter)
    return model


@pytest.fixture(params=["compiled", "in PyTorch"])
def steps(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Both with the compiled steps and without."""
    if request.param == "in PyTorch":
        monkeypatch.setattr(native, "library", lambda: None)
    return str(request.param)


def ragged(i: int) -> Sampling:
    return Sampling(max_tokens=1 + 3 * (i % 6), temperature=(0.7, 1.0, 0.0)[i % 3], top_p=(1.0, 0.8)[i % 2])


@pytest.mark.parametrize("name", FAMILIES)
def test_every_family_samples_as_the_simple_path(name: str, steps: str, caplog: pytest.LogCaptureFixture) -> None:
    model = family(name)
    engine = TorchEngine(model, renderer_for(model, words.build()))
    assert engine.decoder is not None, caplog.text
    assert not caplog.records
    requests = [request_for(engine, i % 5, i, ragged(i)) for i in range(20)]
    for request, sampled in zip(requests, engine.sample(requests), strict=True):
        assert same(sampled, plain_sample(engine, request))


@pytest.mark.parametrize("name", FAMILIES)
def test_every_family_is_trained_as_by_its_own_forward_pass(name: str, steps: str) -> None:
    model = family(name)
    if Decoder(model).cap is not None:
        pytest.skip("families with capped attention scores are trained by their own forward pass")
    rows = [tree((4, 5), [(3, ()), (1, ()), (6, ())]), tree((7,), []), tree((2, 3), [(2, ((3, ()), (1, ())))])]
    found = []
    readers: tuple[Reader, ...] = (DenseReader(model), TreeReader(Decoder(model)))
    for reader in readers:
        model.zero_grad()
        batch = tensors(rows)
        logp = logprobs_of(logits_of(reader, rows), batch.targets_N)
        (logp * batch.policy_N).sum().backward()  # type: ignore[no-untyped-call]
        found.append((logp.detach(), [p.grad.clone() for p in model.parameters() if p.grad is not None]))
    assert torch.allclose(found[0][0], found[1][0], atol=1e-4)
    assert len(found[0][1]) == len(found[1][1])
    for plain, fast in zip(found[0][1], found[1][1], strict=True):
        assert torch.allclose(plain, fast, atol=2e-4 * float(plain.abs().max().clamp(min=1.0)))


def tree(trunk: tuple[int, ...], branches: Any, seed: int = 0) -> Row:
    """A row from lengths: ``branches`` is a list of (length, branches below it); every token below the trunk is trained."""
    rng = torch.Generator().manual_seed(seed)
    tokens: list[int] = []
    parents: list[int] = []
    targets: list[Target] = []

    def grow(length: int, parent: int, paid: bool) -> int:
        for _ in range(length):
            token = int(torch.randint(0, SHAPE["vocab_size"], (1,), generator=rng))
            tokens.append(token)
            parents.append(parent)
            if paid:
                targets.append(Target(parent, token, 0.0, float(len(targets) % 3 - 1), 0.0, 0.0, 0, 1.0))
            parent = len(tokens) - 1
        return parent

    def branch(parent: int, below: Any) -> None:
        for length, more in below:
            branch(grow(length, parent, True), more)

    end = grow(sum(trunk), -1, False)
    branch(grow(1, end, True) if not branches else end, branches)
    return Row(tuple(tokens), tuple(parents), tuple(targets))


shapes = st.recursive(
    st.just(()), lambda below: st.lists(st.tuples(st.integers(1, 4), below), max_size=3).map(tuple), max_leaves=6
)


@given(trunk=st.integers(1, 6), below=shapes, other=shapes)
@settings(max_examples=30, deadline=None)
def test_any_tree_reads_the_same_both_ways(trunk: int, below: Any, other: Any) -> None:
    model = random_llama(2)
    rows = [tree((trunk,), below), tree((2,), other, seed=1)]
    with torch.no_grad():
        dense, trees = DenseReader(model), TreeReader(Decoder(model))
        assert torch.allclose(logits_of(dense, rows), logits_of(trees, rows), atol=1e-4)


def test_attention_that_is_not_remembered_has_the_same_gradient(monkeypatch: pytest.MonkeyPatch) -> None:
    from secondthought.learners import trees

    model = random_llama(2)
    rows = [tree((5,), [(3, ()), (4, ())])]
    found = []
    for remembered in (1 << 30, 0):
        monkeypatch.setattr(trees, "REMEMBERED", remembered)
        model.zero_grad()
        reader = TreeReader(Decoder(model))
        logits_of(reader, rows).square().sum().backward()  # type: ignore[no-untyped-call]
        found.append([p.grad.clone() for p in model.parameters() if p.grad is not None])
    assert all(torch.allclose(a, b, rtol=1e-4, atol=1e-5) for a, b in zip(*found, strict=True))


# --- groups, rounds, batches --------------------------------------------------------------------------------------------------


def result(engine: TorchEngine, groups: int = 5, n: int = 4) -> list[Any]:
    protocol = partial(reflect_retry, grade=lambda task, text: Verdict(0.0), prompts=TERSE)
    episodes = rollout(protocol, [TASKS[i] for i in range(groups)], n, engine, Sampling(max_tokens=14), seed=3)
    return [(s.name, s.tokens, s.logprobs) for group in episodes for e in group for s in e.segments if s.logprobs is not None]


@pytest.mark.parametrize("options", [EngineOptions(), EngineOptions(kept_mb=0)], ids=["carried", "nothing carried"])
def test_whole_episodes_equal_those_of_the_generic_path(options: EngineOptions, steps: str) -> None:
    model = random_llama(4)
    fast = TorchEngine(model, renderer_for(model, words.build()), options)
    generic = TorchEngine(model, fast.renderer, EngineOptions(fast=False))
    assert generic.decoder is None
    for (name, tokens, logprobs), (_, others, other_logprobs) in zip(result(fast), result(generic), strict=True):
        assert tokens == others, name
        assert logprobs == pytest.approx(other_logprobs, abs=1e-4)


def test_a_prefill_in_pieces_is_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    from secondthought.engines.torch import prefix_batch as fast

    model = random_llama(4)
    engine = TorchEngine(model, renderer_for(model, words.build()))
    whole = result(engine)
    monkeypatch.setattr(fast, "SCORES", 1)
    assert [tokens for _, tokens, _ in result(engine)] == [tokens for _, tokens, _ in whole]


def test_only_new_tokens_are_fed(tiny_engine: TorchEngine) -> None:
    spoken = sum(len(tokens) for _, tokens, _ in result(tiny_engine, groups=3))
    contexts = tiny_engine.fed_tokens
    alone = TorchEngine(tiny_engine.model, tiny_engine.renderer, EngineOptions(fast=False, kept_mb=0))
    result(alone, groups=3)
    assert contexts < 0.8 * alone.fed_tokens
    assert contexts < 2 * spoken


def test_contexts_of_one_task_that_differ_from_the_first_word(tiny_engine: TorchEngine) -> None:
    base = request_for(tiny_engine, 0, 0)
    vocabulary = SHAPE["vocab_size"]
    requests = []
    for i in range(9):
        result = tuple((7 * i + j) % vocabulary for j in range(1 + i % 4))
        requests.append(
            Request("x", base.task, (i,), (Segment("prompt", "task", "user", "", result),), i, Sampling(max_tokens=5))
        )
    for request, sampled in zip(requests, tiny_engine.sample(requests), strict=True):
        assert same(sampled, plain_sample(tiny_engine, request))


def test_one_token_single_requests_and_mixed_groups(tiny_engine: TorchEngine) -> None:
    requests = [
        request_for(tiny_engine, index, i, Sampling(max_tokens=1 + i % 2)) for i, index in enumerate([0, 1, 1, 1, 2, 0])
    ]
    for request, sampled in zip(requests, tiny_engine.sample(requests), strict=True):
        assert same(sampled, plain_sample(tiny_engine, request))
    (alone,) = tiny_engine.sample(requests[:1])
    assert same(alone, plain_sample(tiny_engine, requests[0]))


@given(
    st.lists(st.tuples(st.integers(0, 3), st.integers(1, 9), st.integers(1, 5)), min_size=1, max_size=12), st.integers(1, 60)
)
@settings(max_examples=60, deadline=None)
def test_waves_hold_every_job_once_and_keep_to_the_budget(shapes: list[tuple[int, int, int]], budget: int) -> None:
    jobs = [PendingRow(tuple(range(length)), str(cluster), (), room) for cluster, length, room in shapes]
    found = batches_of(jobs, budget)
    assert sorted(i for batch in found for i in batch) == list(range(len(jobs)))
    for batch in found:
        shared = {jobs[i].cluster: min(len(j.context) for j in jobs if j.cluster == jobs[i].cluster) for i in batch}
        slots = sum(shared.values()) + sum(len(jobs[i].context) - shared[jobs[i].cluster] + jobs[i].room for i in batch)
        assert slots <= budget or len(batch) == 1


@pytest.mark.parametrize("fast", [True, False])
def test_a_request_for_nothing_gets_nothing(tiny_engine: TorchEngine, fast: bool) -> None:
    engine = TorchEngine(tiny_engine.model, tiny_engine.renderer, EngineOptions(fast=fast))
    requests = [request_for(engine, i % 3, i, Sampling(max_tokens=(0, 5, 2)[i % 3])) for i in range(9)]
    for request, sampled in zip(requests, engine.sample(requests), strict=True):
        assert same(sampled, plain_sample(engine, request))
        assert bool(sampled.tokens) == bool(request.sampling.max_tokens)
    assert [s.tokens for s in engine.sample(requests[::3])] == [()] * 3
    assert engine.score([requests[0].tokens], [()]) == [()]


@pytest.mark.parametrize("width", [4, 8, 12, 40, 64, 96, 128])
def test_heads_of_any_width(width: int, caplog: pytest.LogCaptureFixture) -> None:
    config = transformers.LlamaConfig(**{**SHAPE, "num_hidden_layers": 1, "head_dim": width})
    torch.manual_seed(width)
    model = transformers.LlamaForCausalLM(config).eval()
    engine = TorchEngine(model, renderer_for(model, words.build()))
    requests = [request_for(engine, i % 3, i, Sampling(max_tokens=12)) for i in range(11)]
    for request, sampled in zip(requests, engine.sample(requests), strict=True):
        assert same(sampled, plain_sample(engine, request))
    assert not caplog.records


def test_weights_that_changed_are_noticed(tiny_engine: TorchEngine) -> None:
    request = request_for(tiny_engine, 0, 0)
    tiny_engine.sample([request])
    with torch.no_grad():
        tiny_engine.model.model.layers[0].mlp.down_proj.weight.mul_(-3.0)
    assert same(tiny_engine.sample([request])[0], plain_sample(tiny_engine, request))


def test_out_of_memory_halves_the_wave_and_goes_on(
    tiny_engine: TorchEngine, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    requests = [request_for(tiny_engine, i, i) for i in range(10)]
    whole = tiny_engine.sample(requests)
    first, budget = PrefixBatch.__init__, tiny_engine.kv_bytes

    def small(self: PrefixBatch, decoder: Any, weights: Any, jobs: Any, *more: Any) -> None:
        if len(jobs) > 3:
            raise torch.OutOfMemoryError("CUDA out of memory")
        first(self, decoder, weights, jobs, *more)

    monkeypatch.setattr(PrefixBatch, "__init__", small)
    with caplog.at_level(logging.WARNING, "secondthought"):
        again = tiny_engine.sample(requests)
    assert all(same(a, b) for a, b in zip(whole, again, strict=True))
    assert tiny_engine.kv_bytes < budget
    assert "out of memory while sampling" in caplog.text


def test_another_error_is_not_taken_for_a_lack_of_memory(tiny_engine: TorchEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: Any) -> None:
        raise RuntimeError("something else")

    monkeypatch.setattr(PrefixBatch, "__init__", broken)
    with pytest.raises(RuntimeError, match="something else"):
        tiny_engine.sample([request_for(tiny_engine, i, i) for i in range(4)])


# --- who takes it -----------------------------------------------------------------------------------------------------------


def test_an_unknown_architecture_takes_the_generic_path_with_one_log_line(caplog: pytest.LogCaptureFixture) -> None:
    config = transformers.GPT2Config(vocab_size=len(words.vocabulary()), n_embd=32, n_layer=1, n_head=2)
    model = transformers.GPT2LMHeadModel(config).eval()
    engine = TorchEngine(model, renderer_for(model, words.build()))
    assert engine.decoder is None
    assert [r.getMessage() for r in caplog.records if r.name == "secondthought"] == [
        "GPT2LMHeadModel takes the generic path: GPT2LMHeadModel is of no family that the fast path knows"
    ]


def test_a_changed_model_takes_the_generic_path(caplog: pytest.LogCaptureFixture) -> None:
    class Adapter(torch.nn.Linear):
        pass

    model = random_llama()
    model.model.layers[0].self_attn.q_proj = Adapter(32, 32, bias=False)
    assert TorchEngine(model, renderer_for(model, words.build())).decoder is None
    assert "its matrices are Adapter" in caplog.text


def test_a_model_that_computes_something_else_is_found_out(caplog: pytest.LogCaptureFixture) -> None:
    model = random_llama()
    model.model.layers[0].register_forward_hook(lambda module, inputs, output: output * 1.5)
    assert TorchEngine(model, renderer_for(model, words.build())).decoder is None
    assert "its logits differ" in caplog.text


def test_fast_off_means_off(tiny_engine: TorchEngine) -> None:
    engine = TorchEngine(tiny_engine.model, tiny_engine.renderer, EngineOptions(fast=False))
    requests = [request_for(engine, i, i) for i in range(4)]
    for request, sampled in zip(requests, engine.sample(requests), strict=True):
        assert same(sampled, plain_sample(engine, request))


def test_a_bfloat16_copy_samples_and_its_gap_is_small(tiny_engine: TorchEngine) -> None:
    engine = TorchEngine(tiny_engine.model, tiny_engine.renderer, EngineOptions(precision="bfloat16"))
    request = request_for(engine, 0, 0)
    (sampled,) = engine.sample([request])
    (exact,) = engine.score([request.tokens], [sampled.tokens])
    gap = [abs(a - b) for a, b in zip(sampled.logprobs, exact, strict=True)]
    assert 0 < max(gap) < 0.5


# --- the compiled steps -----------------------------------------------------------------------------------------------------

compiled = pytest.mark.skipif(shutil.which("cc") is None, reason="there is no C compiler here")


@compiled
def test_the_compiled_steps_are_there() -> None:
    assert native.library() is not None


@compiled
@pytest.mark.parametrize("scale", [1.0, 30.0, 1000.0])
def test_compiled_steps_and_their_gradients(scale: float, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    x, grad = scale * torch.randn(33, 48), torch.randn(33, 48)

    def both(library: Any, precision: torch.dtype) -> list[Tensor]:
        monkeypatch.setattr(native, "library", library)
        found = []
        steps: list[tuple[Callable[[Tensor], Tensor], Tensor]] = [
            (lambda t: kernels.normed(t, 1e-6), grad),
            (lambda t: kernels.gated(t, "silu"), grad[:, :24]),
        ]
        for function, upstream in steps:
            leaf = x.to(precision, copy=True).requires_grad_()
            y = function(leaf)
            y.backward(upstream.to(precision))  # type: ignore[no-untyped-call]
            assert leaf.grad is not None
            found += [y.detach(), leaf.grad]
            with torch.inference_mode():
                found.append(function(x.to(precision)))
        return found

    ours = both(native.library, torch.float32)
    for a, b in zip(ours, both(lambda: None, torch.float64), strict=True):
        assert torch.isfinite(a).all()
        assert torch.allclose(a.double(), b.double(), rtol=1e-5, atol=1e-6 * scale)


@compiled
@pytest.mark.parametrize("width", [1, 5, 8, 17, 314])
def test_tokens_drawn_by_the_compiled_step_are_those_of_pytorch(width: int, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(width)
    asked = [Sampling(max_tokens=3, temperature=0.3 + 0.2 * (i % 5)) for i in range(200)]
    renderer = renderer_for(random_llama(), words.build())
    samplers = [RowSampler(Request("x", TASKS[0], (), (), i, sampling), renderer) for i, sampling in enumerate(asked)]
    logits = 4 * torch.randn(200, width)
    logits[:, -1] += 30.0 * (torch.arange(200) % 7 == 0)  # some are nearly certain
    ours = TokenChooser(samplers, [()] * 200, width, "cpu").choose(logits, 1)
    monkeypatch.setattr(native, "library", lambda: None)
    theirs = TokenChooser(samplers, [()] * 200, width, "cpu").choose(logits, 1)
    assert torch.equal(ours[0], theirs[0])
    assert torch.allclose(ours[1], theirs[1], atol=1e-5)


def test_rows_are_attended_in_blocks_of_one_group() -> None:
    blocks = native.Blocks.of([1, 0, 1, *[2] * 19, 0])
    assert blocks.order.tolist()[:4] == [1, 22, 0, 2]
    assert blocks.groups.tolist() == [0, 1, 2, 2, 2]
    assert blocks.starts.tolist() == [0, 2, 4, 12, 20, 23]


def test_without_a_compiler_everything_runs_in_pytorch(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    monkeypatch.setenv("CC", "no-such-compiler")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert native.library.__wrapped__() is None
    monkeypatch.setenv("CC", "false")
    assert native.library.__wrapped__() is None
    assert not list(tmp_path.glob("**/*.so"))


def test_logits_of_the_decoder_stand_alone() -> None:
    model = random_llama(5)
    ids = torch.arange(9) % 7
    mask = torch.ones(9, 9, dtype=torch.bool).tril()[None, None]
    with torch.no_grad():
        plain = logits_at(model, ids[None], torch.arange(9)[None], mask, torch.arange(9))
        assert torch.allclose(Decoder(model).alone(ids), plain, atol=1e-4)


def test_keys_and_values_in_half_the_bytes_change_little(tiny_engine: TorchEngine) -> None:
    asked = [request_for(tiny_engine, i % 2, seed=i, sampling=Sampling(max_tokens=24)) for i in range(8)]
    half = TorchEngine(tiny_engine.model, tiny_engine.renderer, EngineOptions(kv_precision="bfloat16"))
    written = half.sample(asked)
    scored = tiny_engine.score([r.tokens for r in asked], [s.tokens for s in written])
    gaps = [abs(a - b) for s, right in zip(written, scored, strict=True) for a, b in zip(s.logprobs, right, strict=True)]
    assert 0 < sum(gaps) / len(gaps) < 0.02
    assert max(gaps) < 0.2
    assert half._slot_bytes() * 2 == tiny_engine._slot_bytes()
