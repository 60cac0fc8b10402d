from __future__ import annotations

from dataclasses import replace
from functools import partial
from types import SimpleNamespace

import pytest
import torch
from tests.conftest import random_llama
from transformers import GPT2Config, GPT2LMHeadModel, Qwen2Config, Qwen2ForCausalLM

from secondthought.engines.base import EngineOptions, Request, Sampled, Sampling
from secondthought.engines.torch.engine import TorchEngine
from secondthought.engines.torch.forward import logits_at, longest_context
from secondthought.engines.torch.sampler import RowSampler, TokenChooser
from secondthought.errors import UserError
from secondthought.models.hub import renderer_for
from secondthought.nano import tokenizer as words
from secondthought.protocols.reflect_retry import TERSE, reflect_retry
from secondthought.rollouts import rollout
from secondthought.tasks.countdown import Countdown
from secondthought.types import Group, Segment

TASKS = Countdown("train")
SAMPLING = Sampling(max_tokens=12)
PROTOCOL = partial(reflect_retry, grade=TASKS.grade, prompts=TERSE)


def roll(engine: TorchEngine, indices: range | list[int], n: int = 4) -> list[Group]:
    return rollout(PROTOCOL, [TASKS[i] for i in indices], n, engine, SAMPLING, seed=5)


def context_of(group: Group, name: str) -> list[tuple[tuple[int, ...], Segment]]:
    """Each sampled segment of that name with everything before it."""
    found = []
    for episode in group:
        at = next(i for i, s in enumerate(episode.segments) if s.name == name)
        found.append((tuple(t for s in episode.segments[:at] for t in s.tokens), episode.segments[at]))
    return found


def plain_sample(engine: TorchEngine, request: Request) -> Sampled:
    """The simple path: the whole context is fed again for every token, one request at a time."""
    sampler = RowSampler(request, engine.renderer)
    chooser = TokenChooser([sampler], [()], 4, "cpu")
    with torch.no_grad():
        while sampler.stop is None:
            ids = torch.tensor([[*request.tokens, *sampler.tokens]])
            logits = engine.model(ids).logits[:, -1].float()
            token, logprob = chooser.choose(logits, len(sampler.tokens))
            sampler.take(int(token), float(logprob))
    return sampler.sampled(engine.version)


def request_for(engine: TorchEngine, index: int, seed: int, sampling: Sampling = SAMPLING) -> Request:
    task = TASKS[index]
    prompt = engine.renderer.render(task, [Segment("prompt", "task", "user", task.prompt[0].content)])
    return Request("attempt", task, (), prompt, seed, sampling)


def same(left: Sampled, right: Sampled) -> bool:
    return left.tokens == right.tokens and left.stop == right.stop and left.logprobs == pytest.approx(right.logprobs, abs=1e-4)


def test_the_batched_cached_path_equals_the_simple_one(tiny_engine: TorchEngine) -> None:
    ragged = [Sampling(max_tokens=1 + 3 * i, temperature=0.5 + 0.25 * i) for i in range(5)]
    requests = [request_for(tiny_engine, i % 7, 100 + i, ragged[i % 5]) for i in range(25)]
    for request, sampled in zip(requests, tiny_engine.sample(requests), strict=True):
        assert same(sampled, plain_sample(tiny_engine, request))


def test_a_batch_split_into_waves_says_the_same(tiny_engine: TorchEngine) -> None:
    requests = [request_for(tiny_engine, i, i) for i in range(12)]
    whole = tiny_engine.sample(requests)
    tiny_engine.kv_bytes = 30_000
    for a, b in zip(whole, tiny_engine.sample(requests), strict=True):
        assert same(a, b)


def test_episodes_alone_together_and_reversed(tiny_engine: TorchEngine) -> None:
    def tokens(groups: list[Group]) -> list[list[tuple[int, ...]]]:
        return [[s.tokens for e in group for s in e.segments] for group in groups]

    together = tokens(roll(tiny_engine, range(6)))
    assert tokens(roll(tiny_engine, [5, 4, 3, 2, 1, 0])) == together[::-1]
    assert tokens(roll(tiny_engine, [4])) == [together[4]]


def test_carried_keys_and_values_change_nothing_and_save_work(tiny_engine: TorchEngine) -> None:
    carried = roll(tiny_engine, range(4))
    fresh = TorchEngine(tiny_engine.model, tiny_engine.renderer, EngineOptions(kept_mb=0))
    again = roll(fresh, range(4))
    assert [[e["retry"].tokens for e in g] for g in again] == [[e["retry"].tokens for e in g] for g in carried]
    assert tiny_engine.fed_tokens < fresh.fed_tokens


def test_sampled_logprobs_equal_teacher_forced_ones(tiny_engine: TorchEngine) -> None:
    for group in roll(tiny_engine, range(3)):
        for name in ("attempt", "reflection", "retry"):
            contexts, segments = zip(*context_of(group, name), strict=True)
            scores = tiny_engine.score(contexts, [s.tokens for s in segments])
            for segment, score in zip(segments, scores, strict=True):
                assert segment.logprobs == pytest.approx(score, abs=1e-4)


def test_words_behind_one_context_are_scored_in_one_pass(tiny_engine: TorchEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    context, other = (5, 6, 7), (5, 6, 8)
    apart = [tiny_engine.score([c], [w])[0] for c, w in ((context, (10,)), (context, (11,)), (other, (10,)))]
    passes: list[int] = []
    forward = tiny_engine.model.forward

    def counted(*given: object, **named: object) -> object:
        passes.append(1)
        return forward(*given, **named)

    monkeypatch.setattr(tiny_engine.model, "forward", counted)
    together = tiny_engine.score([context, context, other], [(10,), (11,), (10,)])
    assert [one[0] for one in together] == pytest.approx([one[0] for one in apart], abs=1e-6)
    assert len(passes) == 2


def test_hidden_states_are_those_that_the_scores_come_from(tiny_engine: TorchEngine) -> None:
    contexts, continuations = [(5, 6, 7), (8, 9)], [(10,), (11,)]
    scores = tiny_engine.score(contexts, continuations)
    for context, (token,), (score,), (last, first) in zip(
        contexts, continuations, scores, tiny_engine.hidden(contexts, [-1, 0]), strict=True
    ):
        assert last.shape == first.shape == (len(context), tiny_engine.model.config.hidden_size)
        logits = tiny_engine.model.lm_head(torch.from_numpy(last)[-1])
        assert torch.log_softmax(logits, -1)[token].item() == pytest.approx(score, abs=1e-5)
        embedded = tiny_engine.model.get_input_embeddings()(torch.tensor(context))
        assert torch.allclose(torch.from_numpy(first), embedded)


def test_greedy_equals_generate(tiny_engine: TorchEngine) -> None:
    requests = [request_for(tiny_engine, i, i, Sampling(temperature=0, max_tokens=10)) for i in range(4)]
    for request, sampled in zip(requests, tiny_engine.sample(requests), strict=True):
        ids = torch.tensor([request.tokens])
        output = tiny_engine.model.generate(ids, max_new_tokens=10, do_sample=False)[0, ids.shape[1] :]
        assert sampled.tokens == tuple(output.tolist())


def test_samples_follow_the_distribution(tiny_engine: TorchEngine) -> None:
    one = Sampling(max_tokens=1, temperature=1.3)
    requests = [request_for(tiny_engine, 0, seed, one) for seed in range(4000)]
    first = [sampled.tokens[0] for sampled in tiny_engine.sample(requests)]
    with torch.no_grad():
        logits = tiny_engine.model(torch.tensor([requests[0].tokens])).logits[0, -1]
    probs = torch.softmax(logits / 1.3, 0)
    counts = torch.bincount(torch.tensor(first), minlength=len(probs)) / 4000
    assert float((counts - probs).abs().max()) < 4 * float((probs * (1 - probs) / 4000).sqrt().max())


def test_top_p_keeps_the_nucleus_only(tiny_engine: TorchEngine) -> None:
    nucleus = Sampling(max_tokens=1, top_p=0.3)
    requests = [request_for(tiny_engine, 0, seed, nucleus) for seed in range(300)]
    with torch.no_grad():
        probs = torch.softmax(tiny_engine.model(torch.tensor([requests[0].tokens])).logits[0, -1], 0)
    ordered, order = probs.sort(descending=True)
    allowed = set(order[ordered.cumsum(0) - ordered < 0.3].tolist())
    drawn = {sampled.tokens[0] for sampled in tiny_engine.sample(requests)}
    assert drawn <= allowed
    assert len(drawn) > 1


def test_stops(tiny_engine: TorchEngine) -> None:
    end = words.vocabulary()[words.END]
    found = tiny_engine.sample([request_for(tiny_engine, i, i, Sampling(max_tokens=40)) for i in range(60)])
    assert {s.stop for s in found} >= {"end"}
    for sampled in found:
        assert (sampled.tokens[-1] == end) == (sampled.stop == "end")
        assert end not in sampled.tokens[:-1]
        assert "<end>" not in sampled.text
    text = next(s.text for s in found if len(s.text.split()) > 4)
    word = text.split()[2]
    request = request_for(tiny_engine, [s.text for s in found].index(text), [s.text for s in found].index(text))
    stopped = tiny_engine.sample([replace(request, sampling=Sampling(max_tokens=40, stop=(word,)))])[0]
    assert stopped.stop == "string"
    assert word not in stopped.text
    assert text.startswith(stopped.text.strip())


def test_versions_are_stamped(tiny_engine: TorchEngine) -> None:
    tiny_engine.version = 17
    assert roll(tiny_engine, [0])[0][0]["attempt"].version == 17


def test_no_requests_no_answers(tiny_engine: TorchEngine) -> None:
    assert tiny_engine.sample([]) == []


@pytest.mark.parametrize("family", ["gpt2", "qwen2"])
def test_other_architectures(family: str) -> None:
    torch.manual_seed(0)
    size = len(words.vocabulary())
    if family == "gpt2":
        model = GPT2LMHeadModel(
            GPT2Config(vocab_size=size, n_embd=32, n_layer=2, n_head=4, n_positions=128, initializer_range=0.3)
        )
    else:
        model = Qwen2ForCausalLM(
            Qwen2Config(vocab_size=size, hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=4,
                        num_key_value_heads=2, initializer_range=0.3)
        )  # fmt: skip
    engine = TorchEngine(model.eval(), renderer_for(model, words.build()))
    requests = [request_for(engine, i, i) for i in range(6)]
    for request, sampled in zip(requests, engine.sample(requests), strict=True):
        assert same(sampled, plain_sample(engine, request))


def test_a_conversation_that_is_too_long_is_refused_in_one_sentence(tiny_engine: TorchEngine) -> None:
    tiny_engine.longest = 20
    with pytest.raises(UserError, match="longer than the 20 this model reads"):
        tiny_engine.sample([request_for(tiny_engine, 0, 0, Sampling(max_tokens=30))])


@pytest.mark.parametrize(
    ("config", "longest"),
    [
        ({"max_position_embeddings": 512}, 512),
        ({"max_position_embeddings": 512, "sliding_window": 64, "layer_types": ["full_attention", "sliding_attention"]}, 512),
        ({"max_position_embeddings": 512, "sliding_window": 64, "layer_types": ["full_attention"]}, 512),
        ({"max_position_embeddings": 512, "sliding_window": 64, "use_sliding_window": False}, 512),
        ({"max_position_embeddings": 512, "sliding_window": 64}, 512),
    ],
)
def test_how_long_a_conversation_may_be(config: dict[str, object], longest: int) -> None:
    assert longest_context(SimpleNamespace(**config)) == longest


def test_layers_that_are_no_attention_are_refused() -> None:
    with pytest.raises(UserError, match="linear_attention layers are not supported"):
        longest_context(SimpleNamespace(layer_types=["full_attention", "linear_attention"]))


def test_a_tree_row_reads_each_branch_as_if_it_stood_alone() -> None:
    model = random_llama(3)
    trunk, left, right = [7, 8, 9], [10, 11], [12, 13, 14]
    ids = torch.tensor([trunk + left + right])
    positions = torch.tensor([[0, 1, 2, 3, 4, 3, 4, 5]])
    mask = torch.ones(8, 8, dtype=torch.bool).tril()
    mask[5:, 3:5] = False
    tree = logits_at(model, ids, positions, mask[None, None], torch.tensor([4, 7]))
    alone = [model(torch.tensor([trunk + branch])).logits[0, -1] for branch in (left, right)]
    assert torch.allclose(tree, torch.stack(alone), atol=1e-4)
