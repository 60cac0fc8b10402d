"""Steering changes what it says it changes, on every path, and leaves nothing behind."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import AutoConfig, AutoModelForCausalLM

from secondthought.engines.base import Access, EngineOptions, Request, Sampling, access_of
from secondthought.engines.disk_cache import DiskCache, digest_of
from secondthought.engines.factory import torch_engine
from secondthought.engines.torch.engine import TorchEngine
from secondthought.engines.torch.packed import Packed, side_by_side
from secondthought.engines.torch.steering import blocks_of, steered
from secondthought.engines.watched import Watched
from secondthought.errors import UserError
from secondthought.probes.steering import add, doses, project_out, set_to, sham_of
from secondthought.protocols.base import Draft
from secondthought.types import Task

CONTEXT = (5, 6, 7, 8, 9, 10)


@pytest.fixture(scope="module")
def engine() -> TorchEngine:
    return torch_engine("nano/countdown")


def request(engine: TorchEngine, text: str = "use 3 5 7 make 22", temperature: float = 0.0) -> Request:
    task = Task.of(text, answer=None, family="steering")
    segments = engine.renderer.render(task, Draft(task).segments)
    return Request("attempt", task, (), segments, 1, Sampling(temperature, max_tokens=12))


def vector(engine: TorchEngine, seed: int = 0) -> Any:
    return np.random.default_rng(seed).standard_normal(engine.model.config.hidden_size)


@pytest.mark.parametrize("layer", [0, 1, 3])
def test_what_is_read_is_what_was_changed(engine: TorchEngine, layer: int) -> None:
    v = vector(engine)
    ((before,),) = engine.hidden([CONTEXT], [layer])
    with engine.steer(layer, add(v, 2.0, begin=2, end=4)):
        ((after,),) = engine.hidden([CONTEXT], [layer + 1])
        (score,) = engine.score([CONTEXT], [(11,)])
    inside = np.zeros(len(CONTEXT), bool)
    inside[2:4] = True
    ((plain_next,),) = engine.hidden([CONTEXT], [layer + 1])
    assert np.allclose(after[:2], plain_next[:2], atol=1e-5)  # nothing looks ahead
    assert not np.allclose(after[2], plain_next[2], atol=1e-2)
    with engine.steer(layer, set_to(v, 3.0)):
        pass
    seen: list[Any] = []

    def look(stream: Any, positions: Any) -> Any:
        seen.append((stream[0].clone(), positions[0].tolist()))
        return stream

    with engine.steer(layer, add(v, 2.0, begin=2, end=4)), engine.steer(layer, look):
        engine.hidden([CONTEXT], [-1])
    ((stream, positions),) = seen
    assert positions == list(range(len(CONTEXT)))
    assert np.allclose(stream.numpy(), before + 2.0 * v * inside[:, None], atol=1e-4)
    assert score != engine.score([CONTEXT], [(11,)])[0]


def test_the_three_changes() -> None:
    stream, positions = torch.randn(2, 5, 4), torch.arange(5).expand(2, -1)
    v = np.array([3.0, 0.0, 4.0, 0.0])
    unit = torch.tensor(v / 5.0, dtype=torch.float32)
    assert torch.allclose(project_out(v)(stream, positions) @ unit, torch.zeros(2, 5), atol=1e-6)
    assert torch.allclose(set_to(v, 2.0, begin=3)(stream, positions)[:, 3:] @ unit, torch.full((2, 2), 2.0), atol=1e-6)
    assert torch.equal(set_to(v, 2.0, begin=3)(stream, positions)[:, :3], stream[:, :3])
    assert torch.allclose(add(v, -1.0)(stream, positions), stream - torch.tensor(v, dtype=torch.float32))
    shams = [sham_of(v, k) for k in range(3)]
    assert all(np.linalg.norm(one) == pytest.approx(5.0) for one in shams)
    assert not np.allclose(shams[0], shams[1])


def test_nothing_leaks_even_when_the_block_raises(engine: TorchEngine) -> None:
    asked, v = request(engine), vector(engine)
    (before,), (score,) = engine.sample([asked]), engine.score([CONTEXT], [(11, 12)])
    with pytest.raises(ZeroDivisionError), engine.steer(1, add(v, 50.0)):
        (inside,) = engine.sample([asked])
        assert inside.tokens != before.tokens
        raise ZeroDivisionError
    assert engine.sample([asked])[0] == before
    assert engine.score([CONTEXT], [(11, 12)])[0] == score
    assert not engine.model._forward_pre_hooks
    assert all(not block._forward_pre_hooks for block in blocks_of(engine.model))

    def broken(stream: Any, positions: Any) -> Any:
        raise RuntimeError("a change of one's own")

    with pytest.raises(RuntimeError, match="of one's own"), engine.steer(1, broken):
        engine.score([CONTEXT], [(11,)])
    assert engine.score([CONTEXT], [(11, 12)])[0] == score
    with pytest.raises(ValueError, match="keep the shape"), engine.steer(1, lambda stream, positions: stream[:, :1]):
        engine.score([CONTEXT], [(11,)])
    with pytest.raises(UserError, match="no layer 99"), engine.steer(99, add(v)):
        pass
    assert engine.sample([asked])[0] == before


def test_a_change_that_changes_nothing_agrees_with_the_fast_path(engine: TorchEngine) -> None:
    """Steered sampling goes through the model's own modules; with a sham of zero it must say the same."""
    asked = [request(engine, f"use 3 5 {k} make 22") for k in range(6, 12)]
    fast = [one.tokens for one in engine.sample(asked)]
    with engine.steer(2, add(vector(engine), 0.0)):
        assert [one.tokens for one in engine.sample(asked)] == fast
    plain = torch_engine("nano/countdown", EngineOptions(fast=False))
    v = vector(engine)
    with engine.steer(1, add(v, 1.0)), plain.steer(1, add(v, 1.0)):
        assert [one.tokens for one in engine.sample(asked)] == [one.tokens for one in plain.sample(asked)]


def test_steered_sampling_is_what_steered_scoring_says(engine: TorchEngine) -> None:
    asked = request(engine, temperature=1.0)
    with engine.steer(1, add(vector(engine), 0.5, begin=3)):
        (one,) = engine.sample([asked])
        (scored,) = engine.score([asked.tokens], [one.tokens])
    assert one.logprobs == pytest.approx(scored, abs=1e-4)


def test_a_cache_and_a_watch_step_aside(engine: TorchEngine, tmp_path: Path) -> None:
    cached = DiskCache(engine, tmp_path / "cache.sqlite", digest_of(engine.model))
    watched = Watched(cached, lambda done, of, figures: None)
    asked = request(engine)
    (before,) = watched.sample([asked])
    with watched.steer(1, add(vector(engine), 50.0)):
        (inside,) = watched.sample([asked])
    assert inside.tokens != before.tokens
    assert watched.sample([asked])[0].tokens == before.tokens
    assert access_of(watched) == Access.INTERVENE
    assert watched.layers == engine.layers
    cached.close()


def test_doses_measure_the_vector_and_its_shams(engine: TorchEngine) -> None:
    found = doses(engine, 1, vector(engine), (0.5, 1.0), lambda arm, amount: engine.score([CONTEXT], [(11,)])[0][0], shams=2)
    assert set(found) == {(arm, amount) for arm in ("steered", "sham_1", "sham_2") for amount in (0.5, 1.0)}
    assert len(set(found.values())) == 6


@pytest.mark.parametrize(("kind", "names"), [
    ("gpt2", {"n_layer": 3, "n_embd": 16, "n_head": 2}),
    ("gpt_neox", {"num_hidden_layers": 3, "hidden_size": 16, "num_attention_heads": 2, "intermediate_size": 32}),
    ("opt", {"num_hidden_layers": 3, "hidden_size": 16, "num_attention_heads": 2, "ffn_dim": 32, "word_embed_proj_dim": 16}),
    ("qwen2", {"num_hidden_layers": 3, "hidden_size": 16, "num_attention_heads": 2, "num_key_value_heads": 1, "intermediate_size": 32}),
    ("gemma3_text", {"num_hidden_layers": 3, "hidden_size": 16, "num_attention_heads": 2, "num_key_value_heads": 1, "head_dim": 8,
                     "intermediate_size": 32, "sliding_window": 4}),
])  # fmt: skip
def test_any_usual_family_can_be_steered(kind: str, names: dict[str, int]) -> None:
    config = AutoConfig.for_model(kind, vocab_size=40, max_position_embeddings=32, **names)
    model = AutoModelForCausalLM.from_config(config).eval()
    ids, v = torch.arange(6)[None], np.random.default_rng(0).standard_normal(16)  # a constant would be normed away
    with torch.no_grad():
        plain = model(ids, output_hidden_states=True)
        with steered(model, 1, add(v, 3.0, begin=2)):
            changed = model(ids, output_hidden_states=True)
        again = model(ids)
    assert torch.allclose(plain.hidden_states[2][:, :2], changed.hidden_states[2][:, :2], atol=1e-5)
    assert not torch.allclose(plain.logits[:, 2:], changed.logits[:, 2:], atol=1e-3)
    assert torch.equal(plain.logits, again.logits)


# --- scoring side by side --------------------------------------------------------------------------------------------


def test_packed_continuations_score_as_they_do_alone(engine: TorchEngine) -> None:
    rng = np.random.default_rng(0)
    contexts = [tuple(rng.integers(5, 90, size).tolist()) for size in (4, 9, 4)]
    pairs = [(context, tuple(rng.integers(5, 90, k).tolist())) for context in contexts for k in (1, 3, 2, 1)]
    together = engine.score([c for c, _ in pairs], [w for _, w in pairs], 0.7)
    apart = [engine.score([c], [w], 0.7)[0] for c, w in pairs]
    for one, other in zip(together, apart, strict=True):
        assert one == pytest.approx(other, abs=1e-5)
    (logits,) = (engine.model(torch.tensor([[*contexts[0], *pairs[1][1]]])).logits[0],)
    plain = (logits / 0.7).log_softmax(-1)[3:6].gather(1, torch.tensor(pairs[1][1])[:, None])[:, 0]
    assert together[1] == pytest.approx(plain.tolist(), abs=1e-4)


def test_nobody_sees_the_continuation_beside() -> None:
    packed = Packed.of([1, 2], [[3, 4, 5], [6, 7]])
    assert packed.ids_1T.tolist() == [[1, 2, 3, 4, 6]]
    assert packed.positions_1T.tolist() == [[0, 1, 2, 3, 2]]
    assert packed.mask_11TT[0, 0, 4].tolist() == [True, True, False, False, True]
    assert packed.where_N.tolist() == [1, 2, 3, 1, 4]
    parts = list(side_by_side([[1], [1], [2]], [[3], [4], [5]], 100))
    assert [(list(c), [list(w) for w in words]) for c, words in parts] == [([1], [[3], [4]]), ([2], [[5]])]
    assert len(list(side_by_side([[1]] * 3, [[2] * 40] * 3, 60))) == 3  # no more than the model reads


def test_entropies_are_those_of_the_distribution(engine: TorchEngine) -> None:
    (found,) = engine.predicted([CONTEXT], [(11, 12, 13)], 0.8)
    logits = engine.model(torch.tensor([[*CONTEXT, 11, 12, 13]])).logits[0, len(CONTEXT) - 1 : -1] / 0.8
    p = logits.softmax(-1)
    assert found.entropies == pytest.approx((-(p * p.log()).sum(-1)).tolist(), abs=1e-4)
    assert found.logprobs == pytest.approx(engine.score([CONTEXT], [(11, 12, 13)], 0.8)[0], abs=1e-5)
