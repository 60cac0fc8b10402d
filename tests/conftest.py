"""Small things that many tests need: tiny random models, tiny tasks."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from secondthought.engines.torch.engine import TorchEngine
from secondthought.learners.rows import Row
from secondthought.learners.torch import Reader
from secondthought.models.hub import renderer_for
from secondthought.nano import tokenizer as words
from secondthought.nano.pretrain import save_model

torch.set_num_threads(1)


def random_llama(seed: int = 0, width: int = 32) -> LlamaForCausalLM:
    """A random model of the nano family, small enough to be free."""
    torch.manual_seed(seed)
    config = LlamaConfig(
        vocab_size=len(words.vocabulary()),
        hidden_size=width,
        intermediate_size=2 * width,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=2048,
        tie_word_embeddings=True,
        initializer_range=0.3,
        bos_token_id=None,
        eos_token_id=words.vocabulary()[words.END],
        pad_token_id=words.vocabulary()[words.PAD],
    )
    config.secondthought_style = "terse"
    return LlamaForCausalLM(config).eval()


def logits_of(reader: Reader, rows: Sequence[Row]) -> torch.Tensor:
    """All logits ``(N, V)`` of some rows."""
    hidden_NM, head = reader.forward(reader.collate(rows))
    return head(hidden_NM)


@pytest.fixture(scope="session")
def tiny_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A saved random model in Hugging Face layout."""
    folder = tmp_path_factory.mktemp("models") / "tiny"
    save_model(random_llama(), words.build(), folder)
    return folder


@pytest.fixture
def tiny_engine() -> TorchEngine:
    """An engine with a random model."""
    model = random_llama()
    return TorchEngine(model, renderer_for(model, words.build()))


@pytest.fixture
def chat_folder(tmp_path: Path) -> Path:
    """A random chat model."""
    from tests.models.test_chat import CHATML, tokenizer
    from transformers import Qwen2Config, Qwen2ForCausalLM

    words = tokenizer(CHATML, "<|im_end|>")
    torch.manual_seed(0)
    config = Qwen2Config(
        vocab_size=len(words), hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, max_position_embeddings=2048, eos_token_id=words.eos_token_id,
    )  # fmt: skip
    Qwen2ForCausalLM(config).save_pretrained(tmp_path / "model")
    words.save_pretrained(tmp_path / "model")
    return tmp_path / "model"
