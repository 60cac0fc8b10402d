"""The work that every contender does: random Llamas, prompts of random words, and how many tokens are written."""

from __future__ import annotations

import random
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from transformers import AutoConfig, AutoModelForCausalLM

from secondthought.engines.base import Request, Sampling
from secondthought.learners.rows import Row, Target
from secondthought.models.chat import TemplateRenderer
from secondthought.nano import tokenizer as words
from secondthought.protocols.reflect_retry import Prompts
from secondthought.types import Message, Segment, Task, Verdict

VOCABULARY = 512
PROMPT = NEW = 64
GROUP = 8
SHORTEST = 16  # ragged: lengths are uniform from here to NEW


@dataclass(frozen=True)
class Size:
    """A shape of the Llama family, or of Qwen2's; ``inner`` and ``key_heads`` are Llama 1's where they are 0."""

    name: str
    width: int
    layers: int
    heads: int
    key_heads: int = 0
    inner: int = 0
    vocabulary: int = VOCABULARY
    family: str = "llama"


SIZES = {s.name: s for s in (Size("1.5M", 128, 6, 4), Size("7M", 256, 8, 8), Size("30M", 512, 10, 8))}
REAL = {
    s.name: s
    for s in (
        Size("SmolLM2-135M", 576, 30, 9, 3, 1536, 49_152),
        Size("Qwen2.5-0.5B", 896, 24, 14, 2, 4864, 151_936, "qwen2"),
    )
}
"""The shapes of models that people use, from their configurations."""


def model(size: Size, seed: int = 0, dtype: torch.dtype = torch.float32) -> Any:
    """A random model of this size."""
    torch.manual_seed(seed)
    config = AutoConfig.for_model(
        size.family,
        vocab_size=size.vocabulary,
        hidden_size=size.width,
        intermediate_size=size.inner or int(3.5 * size.width),
        num_hidden_layers=size.layers,
        num_attention_heads=size.heads,
        num_key_value_heads=size.key_heads or size.heads,
        max_position_embeddings=4096,
        tie_word_embeddings=True,
        bos_token_id=None,
        eos_token_id=None,
        pad_token_id=0,
    )
    return AutoModelForCausalLM.from_config(config, dtype=dtype).eval()


def saved(size: Size, folder: Path, dtype: torch.dtype = torch.float32) -> Path:
    """The same model as a folder, with a tokenizer that nothing here depends on."""
    model(size, dtype=dtype).save_pretrained(folder)
    words.build().save_pretrained(folder)
    return folder


def parameters(module: Any) -> int:
    """How many numbers a model has, tied ones once."""
    return sum(p.numel() for p in module.parameters())


# Text is token ids written out, so that every contender works on exactly the same tokens. Nothing ends a turn.
IDS = TemplateRenderer(
    apply=lambda messages, tools, generate: messages[-1].content,
    encode=lambda text: [int(word) for word in text.split()],
    decode=lambda tokens: " ".join(map(str, tokens)),
    ends={},
)


def text(seed: int, length: int) -> str:
    """So many random token ids, as text."""
    rng = random.Random(seed)
    return " ".join(str(rng.randrange(1, VOCABULARY)) for _ in range(length))


def problem(number: int, length: int = PROMPT) -> Task:
    """A task whose prompt has ``length`` tokens."""
    return Task(f"problem-{number}", (Message("user", text(number, length)),), "", "benchmark")


def lengths(count: int, seed: int = 0) -> list[int]:
    """How many tokens each of some sequences gets; the longest always gets NEW."""
    rng = random.Random(seed)
    found = [rng.randint(SHORTEST, NEW) for _ in range(count)]
    found[0] = NEW
    return found


def requests(count: int, prompt: int = PROMPT) -> list[Request]:
    """Requests in groups that share a prompt, with ragged stops."""
    found = []
    for i, limit in enumerate(lengths(count)):
        task = problem(i // GROUP, prompt)
        asked = Segment("prompt", "task", "user", task.prompt[0].content, tuple(IDS.encode(task.prompt[0].content)))
        found.append(Request("attempt", task, (i % GROUP,), (asked,), i, Sampling(max_tokens=limit)))
    return found


def rows(groups: int, prompt: int = PROMPT) -> list[Row]:
    """Tree rows: a prompt and GROUP ragged completions below it, each with an advantage."""
    rng = random.Random(1)
    found = []
    for group in range(groups):
        tokens = IDS.encode(text(group, prompt))
        parents = list(range(-1, prompt - 1))
        targets = []
        for branch, length in enumerate(lengths(GROUP, seed=group)):
            at, advantage = prompt - 1, rng.gauss(0, 1)
            for _ in range(length):
                token = rng.randrange(1, VOCABULARY)
                targets.append(Target(at, token, 0.0, advantage, 0.0, 0.0, branch, 1 / length))
                tokens.append(token)
                parents.append(at)
                at = len(tokens) - 1
        found.append(Row(tuple(tokens), tuple(parents), tuple(targets)))
    return found


def coin(task: Task, text: str) -> Verdict:
    """Right or wrong by lot."""
    return Verdict(float(sum(map(ord, text)) % 2), text)


PROBLEMS = 8
ASKED = Prompts(reflection=text(-1, 8), retry=text(-2, 4))
"""A whole step: so many problems, and what is asked between the turns."""
