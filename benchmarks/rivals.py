"""The same work as others do it: Hugging Face ``generate``, and padded rows through the whole model."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from transformers import StoppingCriteria

from secondthought.engines.base import Request
from secondthought.learners.rows import Row


class AtLength(StoppingCriteria):  # type: ignore[misc]
    """Ends each row after its own number of new tokens."""

    def __init__(self, prompt: int, limits: Sequence[int]) -> None:
        self.prompt = prompt
        self.limits = torch.tensor(limits)

    def __call__(self, input_ids: Tensor, scores: Any, **_: Any) -> Tensor:
        """Which rows are done."""
        return self.limits <= input_ids.shape[1] - self.prompt


def generate(
    model: Any, contexts: Sequence[Sequence[int]], limits: Sequence[int], *, logprobs: bool = True
) -> tuple[Tensor, Tensor]:
    """Tokens and, where wanted, their log-probabilities, ``(B, new)``; the contexts are of one length."""
    ids = torch.tensor([list(context) for context in contexts])
    out = model.generate(
        ids,
        attention_mask=torch.ones_like(ids),
        max_new_tokens=max(limits),
        do_sample=True,
        top_k=0,
        output_logits=logprobs,
        return_dict_in_generate=True,
        pad_token_id=0,
        stopping_criteria=[AtLength(ids.shape[1], limits)],
    )
    tokens = out.sequences[:, ids.shape[1] :]
    if not logprobs:
        return tokens, torch.empty(0)
    steps = zip(out.logits, tokens.unbind(1), strict=True)  # one at a time: together they would be gigabytes
    return tokens, torch.stack([logits.log_softmax(-1).gather(1, one[:, None])[:, 0] for logits, one in steps], dim=1)


def sample(model: Any, requests: Sequence[Request]) -> tuple[Tensor, Tensor]:
    """Our requests through ``generate``."""
    return generate(model, [r.tokens for r in requests], [r.sampling.max_tokens for r in requests])


def padded_loss(model: Any, prompts: list[list[int]], completions: list[list[int]], advantages: list[float]) -> Tensor:
    """The policy loss of padded rows, logits at completions only; every row holds its whole prompt."""
    longest, deepest = max(map(len, completions)), max(map(len, prompts))
    ids = torch.tensor(
        [[0] * (deepest - len(p)) + p + c + [0] * (longest - len(c)) for p, c in zip(prompts, completions, strict=True)]
    )
    mask = torch.tensor(
        [
            [0] * (deepest - len(p)) + [1] * (len(p) + len(c)) + [0] * (longest - len(c))
            for p, c in zip(prompts, completions, strict=True)
        ]
    )
    logits = model(input_ids=ids, attention_mask=mask, logits_to_keep=longest + 1).logits[:, :-1].float()
    logp = logits.log_softmax(-1).gather(2, ids[:, -longest:, None])[..., 0]
    weight = mask[:, -longest:] * torch.tensor(advantages)[:, None] / mask[:, -longest:].sum(1, keepdim=True)
    return -(torch.exp(logp - logp.detach()) * weight).sum() / len(prompts)


def padded_step(model: Any, rows: Sequence[Row]) -> None:
    """Forward and backward of tree rows taken apart: one padded row for each branch."""
    prompts, completions, advantages = [], [], []
    for row in rows:
        branches: dict[int, list[Any]] = {}
        for target in row.targets:
            branches.setdefault(target.segment, []).append(target)
        for targets in branches.values():
            prompts.append(list(row.tokens[: targets[0].at + 1]))
            completions.append([t.token for t in targets])
            advantages.append(targets[0].policy)
    padded_loss(model, prompts, completions, advantages).backward()  # type: ignore[no-untyped-call]


def three_calls(
    model: Any, prompts: list[list[int]], group: int, asked: tuple[list[int], list[int]], new: int
) -> tuple[list[list[int]], list[list[int]], list[list[int]], Tensor]:
    """Three ``generate`` calls; the contexts of the reflections, the reflections, the retries, and log-probabilities."""
    attempts, _ = generate(model, prompts, [new] * len(prompts), logprobs=False)
    contexts = [[*p, *a, *asked[0]] for p, a in zip(prompts, attempts.tolist(), strict=True) for _ in range(group)]
    reflections, logprobs = generate(model, contexts, [new] * len(contexts))
    longer = [[*c, *r, *asked[1]] for c, r in zip(contexts, reflections.tolist(), strict=True)]
    retries, _ = generate(model, longer, [new] * len(longer), logprobs=False)
    return contexts, reflections.tolist(), retries.tolist(), logprobs


def advantages_of(scores: Sequence[float], group: int) -> list[float]:
    """Rewards compared within their group."""
    rewards = torch.tensor(scores).view(-1, group)
    found: list[float] = ((rewards - rewards.mean(1, keepdim=True)) / (rewards.std(1, keepdim=True) + 1e-4)).flatten().tolist()
    return found
