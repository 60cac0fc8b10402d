"""The compiled steps and the products give what plain PyTorch gives, in both precisions, at sizes that are no whole vectors too."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from unittest.mock import patch

import pytest
import torch
from torch import Tensor, nn

from secondthought.engines.base import Request, Sampling
from secondthought.engines.torch import kernels, native, products
from secondthought.engines.torch.products import Adapted, added, packed, product
from secondthought.engines.torch.sampler import RowSampler, TokenChooser
from secondthought.models.chat import TemplateRenderer
from secondthought.types import Segment, Task

HALF = torch.bfloat16
needs_compiler = pytest.mark.skipif(native.library() is None, reason="no C compiler here")
needs_onednn = pytest.mark.skipif(not products.available(), reason="PyTorch has no oneDNN here")


@contextmanager
def plain() -> Iterator[None]:
    """Without the compiled steps."""
    with patch.object(native, "library", lambda: None):
        yield


# --- drawing ----------------------------------------------------------------------------------------------------------

RENDERER = TemplateRenderer(apply=lambda *_: "", encode=lambda _: [], decode=lambda _: "", ends={})
WAYS: dict[str, list[Sampling]] = {
    "plain": [Sampling()],
    "temperatures": [Sampling(0.3), Sampling(1.0), Sampling(2.5)],
    "greedy among others": [Sampling(0.0), Sampling(0.7), Sampling(1.0, top_p=0.5)],
    "greedy": [Sampling(0.0)],
    "top-p": [Sampling(top_p=p) for p in (1e-6, 0.3, 0.9, 0.999)],
    "top-k": [Sampling(top_k=k) for k in (1, 2, 17, 10_000)],
    "min-p": [Sampling(min_p=m) for m in (0.01, 0.5, 1.0)],
    "all at once": [Sampling(0.7, top_p=0.9, top_k=20, min_p=0.02, repetition_penalty=1.3), Sampling(1.5, top_k=3, top_p=0.8)],
    "penalty": [Sampling(repetition_penalty=1.2), Sampling(0.0, repetition_penalty=2.0)],
}


def drawn(logits_BV: Tensor, ways: list[Sampling], steps: int) -> tuple[Tensor, Tensor]:
    """Some tokens of every row, one after another, always from the same logits."""
    task, rows = Task.of("a", answer="b", family="own"), len(logits_BV)
    prompt = Segment("prompt", "task", "user", "", (1, 2, 3))
    samplers = [RowSampler(Request("attempt", task, (i,), (prompt,), i, ways[i % len(ways)]), RENDERER) for i in range(rows)]
    chooser = TokenChooser(samplers, [(1, 2, 3)] * rows, logits_BV.shape[1], "cpu")
    found = [chooser.choose(logits_BV, at) for at in range(steps)]
    return torch.stack([tokens for tokens, _ in found]), torch.stack([logprobs for _, logprobs in found])


@needs_compiler
@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("name", WAYS)
def test_one_pass_draws_what_the_plain_way_draws(name: str, ties: bool) -> None:
    torch.manual_seed(0)
    logits_BV = 3 * torch.randn(48, 1003)
    if ties:
        logits_BV = logits_BV.mul(2).round() / 2
    tokens, logprobs = drawn(logits_BV, WAYS[name], 20)
    with plain():
        same_tokens, same_logprobs = drawn(logits_BV, WAYS[name], 20)
    assert torch.equal(tokens, same_tokens)
    assert torch.allclose(logprobs, same_logprobs, atol=2e-5)


@needs_compiler
def test_what_is_cut_off_is_never_drawn() -> None:
    torch.manual_seed(0)
    logits_BV = torch.randn(1, 500).expand(64, -1).contiguous()
    tokens, _ = drawn(logits_BV, [Sampling(top_k=4)], 50)
    assert set(tokens.flatten().tolist()) == set(logits_BV[0].topk(4).indices.tolist())


# --- products ---------------------------------------------------------------------------------------------------------


@needs_onednn
@pytest.mark.parametrize("dtype", [torch.float32, HALF])
@pytest.mark.parametrize("rows", [1, 7, 130])
def test_packed_products_are_the_same(dtype: torch.dtype, rows: int) -> None:
    torch.manual_seed(0)
    x, w, bias, other = torch.randn(rows, 96), torch.randn(70, 96), torch.randn(70), torch.randn(rows, 70)
    x, w, bias, other = (one.to(dtype) for one in (x, w, bias, other))
    near = 1e-4 if dtype == torch.float32 else 0.2
    with torch.inference_mode():
        assert torch.allclose(product(x, packed(w), bias), nn.functional.linear(x, w, bias), rtol=near / 10, atol=near)
        assert torch.allclose(
            added(other, x, packed(w), bias), other + nn.functional.linear(x, w, bias), rtol=near / 10, atol=near
        )


@needs_onednn
def test_products_have_the_right_gradients() -> None:
    torch.manual_seed(0)
    x, w, bias = (torch.randn(*shape, requires_grad=True) for shape in ((9, 40), (24, 40), (24,)))
    other = torch.randn(9, 24, requires_grad=True)
    grad = torch.randn(9, 24)
    ours = torch.autograd.grad(added(other, x, w, bias), (x, w, bias, other), grad)
    theirs = torch.autograd.grad(other + nn.functional.linear(x, w, bias), (x, w, bias, other), grad)
    for found, right in zip(ours, theirs, strict=True):
        assert torch.allclose(found, right, atol=1e-5)


def test_adapters_beside_a_matrix_are_the_sum_and_leave_it_alone() -> None:
    torch.manual_seed(0)
    x, w = torch.randn(5, 12), torch.randn(8, 12)
    down, up = torch.randn(3, 12, requires_grad=True), torch.randn(8, 3, requires_grad=True)
    found, right = product(x, Adapted(w, down, up)), x @ (w + up @ down).T
    assert torch.allclose(found, right, atol=1e-5)
    ours = torch.autograd.grad(found.square().sum(), (down, up))
    for one, other in zip(ours, torch.autograd.grad(right.square().sum(), (down, up)), strict=True):
        assert torch.allclose(one, other, rtol=1e-4, atol=1e-3)


# --- steps of a layer -------------------------------------------------------------------------------------------------


@needs_compiler
@pytest.mark.parametrize("width", [64, 96])
def test_norms_and_gates_in_bfloat16(width: int) -> None:
    torch.manual_seed(0)
    x = torch.randn(11, width).to(HALF)
    with torch.inference_mode():
        ours = kernels.normed(x, 1e-5), kernels.gated(x, "silu")
        with plain():
            right = kernels.normed(x, 1e-5), kernels.gated(x, "silu")
    for one, other in zip(ours, right, strict=True):
        assert one.dtype == HALF
        assert torch.allclose(one.float(), other.float(), rtol=2e-2, atol=1e-2)


@needs_compiler
@pytest.mark.parametrize("dtype", [torch.float32, HALF])
@pytest.mark.parametrize(("shared", "own"), [(5, 3), (16, 16), (37, 21)])
def test_a_softmax_over_trunk_and_branch(dtype: torch.dtype, shared: int, own: int) -> None:
    torch.manual_seed(0)
    R, K, G, E, D = 2, 2, 3, 2, 8
    shapes = [(R, K, G, E, own, D), (R, K, G, own, D), (R, K, G, own, D), (R, K, shared, D), (R, K, shared, D)]
    q, k, v, kt, vt = inputs = [torch.randn(*shape).to(dtype).requires_grad_() for shape in shapes]
    bias = torch.zeros(R, 1, 1, 1, own, shared + own).masked_fill_(
        torch.rand(R, 1, 1, 1, own, shared + own) < 0.2, kernels.NEVER
    )
    grad = torch.randn(*shapes[0]).to(dtype)
    for remember in (True, False):
        ours = kernels.tree_attention(q, k, v, kt, vt, bias, remember)
        ours_back = torch.autograd.grad(ours, inputs, grad)
        with plain():
            right = kernels.tree_attention(q, k, v, kt, vt, bias, remember)
            right_back = torch.autograd.grad(right, inputs, grad)
        near = 1e-5 if dtype == torch.float32 else 0.1
        for one, other in zip((ours, *ours_back), (right, *right_back), strict=True):
            assert one.dtype == dtype
            assert torch.allclose(one.float(), other.float(), rtol=near, atol=near)


@needs_compiler
@pytest.mark.parametrize("dtype", [torch.float32, HALF])
@pytest.mark.parametrize("temperature", [1.0, 0.7])
def test_log_probabilities_without_a_copy_of_the_logits(dtype: torch.dtype, temperature: float) -> None:
    torch.manual_seed(0)
    logits = (4 * torch.randn(6, 512)).to(dtype).requires_grad_()
    tokens, grad = torch.randint(512, (6,)), torch.randn(6)
    ours = kernels.logprobs(logits, tokens, temperature)
    (back,) = torch.autograd.grad(ours, logits, grad)
    right = (logits.float() / temperature).log_softmax(1).gather(1, tokens[:, None])[:, 0]
    (right_back,) = torch.autograd.grad(right, logits, grad)
    assert torch.allclose(ours, right, atol=1e-5)
    assert back.dtype == dtype
    assert torch.allclose(back.float(), right_back.float(), atol=1e-6 if dtype == torch.float32 else 1e-2)
