"""Low-rank adapters: what learns, what is saved, what the reference is, and that all paths agree."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from tests.conftest import random_llama
from tests.learners.test_torch_learner import batch

from secondthought.engines.base import EngineOptions, Sampling
from secondthought.engines.factory import torch_engine
from secondthought.errors import UserError
from secondthought.learners.dense import DenseReader
from secondthought.learners.optim import Optim
from secondthought.learners.torch import TorchLearner
from secondthought.learners.trees import TreeReader
from secondthought.models.hub import load
from secondthought.models.names import style_of
from secondthought.nano import tokenizer as words
from secondthought.nano.pretrain import save_model

LORA = Optim(lr=3e-2, warmup=0, lora=4)


def learner_of(folder: Path, optim: Optim = LORA, engine: EngineOptions | None = None) -> TorchLearner:
    return TorchLearner(str(folder), optim, steps=9, engine=engine)


def test_frozen_matrices_are_fused_once_and_by_the_trainer_alone(tiny_folder: Path) -> None:
    learner = TorchLearner(str(tiny_folder), Optim(lora=4), steps=4)
    assert isinstance(learner.reader, TreeReader)
    assert learner.engine.decoder is not None
    learner.step(batch(learner))
    first = dict(learner.reader.decoder._frozen)
    learner.step(batch(learner))
    assert len(first) == 4 * len(learner.reader.decoder.layers)
    assert all(learner.reader.decoder._frozen[key] is one for key, one in first.items())
    assert not learner.engine.decoder._frozen  # the sampler's copy has the adapters added in


def test_only_the_adapters_learn_and_the_reference_is_the_model_without_them(tiny_folder: Path) -> None:
    learner = learner_of(tiny_folder)
    assert isinstance(learner.reader, TreeReader)  # the fast path reads adapters
    frozen = {n: p.clone() for n, p in learner.model.named_parameters() if not p.requires_grad}
    share = sum(p.numel() for p in learner.trained) / sum(p.numel() for p in learner.model.parameters())
    assert 0 < share < 0.5
    first, second = (learner.step(batch(learner, seed)) for seed in range(2))
    assert first["learner/grad_norm"] > 0
    assert abs(first["loss/kl"]) < 1e-8  # B is zero at first: the model is its own reference
    assert second["loss/kl"] > 1e-6
    assert learner.reference is None  # no copy was made
    assert all(torch.equal(p, frozen[n]) for n, p in learner.model.named_parameters() if n in frozen)


def test_sampler_and_trainer_agree_after_an_update_on_both_paths(tiny_folder: Path) -> None:
    rows = batch(learner_of(tiny_folder))
    norms = []
    for engine in (EngineOptions(), EngineOptions(fast=False)):
        learner = learner_of(tiny_folder, engine=engine)
        assert isinstance(learner.reader, TreeReader if engine.fast else DenseReader)
        norms.append(learner.step(rows)["learner/grad_norm"])
        assert learner.step(batch(learner, 5))["sampler_gap/max"] < 1e-4
    assert norms[0] == pytest.approx(norms[1], rel=1e-3)


def test_what_is_saved_is_loaded_by_everything(tiny_folder: Path, tmp_path: Path) -> None:
    from transformers import AutoModelForCausalLM

    learner = learner_of(tiny_folder)
    learner.step(batch(learner))
    learner.save(tmp_path / "step")
    place = tmp_path / "step" / "model"
    assert (place / "adapter_model.safetensors").stat().st_size < 200_000
    ids = torch.arange(12)[None]
    with torch.no_grad():
        ours = learner.model(ids).logits
        merged = load(str(place))[0](ids).logits
        theirs = AutoModelForCausalLM.from_pretrained(place)(ids).logits  # peft through the library
    torch.testing.assert_close(merged, ours, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(theirs, ours, atol=1e-4, rtol=1e-4)
    assert style_of(str(place)) == "terse"
    assert torch_engine(str(place)).decoder is not None


def test_a_resumed_run_goes_on_exactly(tiny_folder: Path, tmp_path: Path) -> None:
    whole = learner_of(tiny_folder)
    for seed in range(3):
        whole.step(batch(whole, seed))
        if seed == 0:
            whole.save(tmp_path / "step")
    again = learner_of(tiny_folder)
    again.restore(tmp_path / "step")
    for seed in (1, 2):
        again.step(batch(again, seed))
    assert all(torch.equal(a, b) for a, b in zip(whole.trained, again.trained, strict=True))


def test_what_does_not_fit_is_named(tiny_folder: Path, tmp_path: Path) -> None:
    learner = learner_of(tiny_folder)
    learner.step(batch(learner))
    learner.save(tmp_path / "step")
    with pytest.raises(UserError, match="of another model or rank"):
        learner_of(tiny_folder, Optim(lora=2)).restore(tmp_path / "step")
    other = tmp_path / "other"
    save_model(random_llama(1, width=48), words.build(), other)
    with pytest.raises(UserError, match="of another model or rank"):
        learner_of(other).restore(tmp_path / "step")
    with pytest.raises(UserError, match="of another model"):
        learner_of(other, Optim()).restore(_full(tiny_folder, tmp_path))
    with pytest.raises(UserError, match="holds no adapters"):
        learner.restore(_full(tiny_folder, tmp_path))
    with pytest.raises(UserError, match="set lora too"):
        learner_of(tiny_folder, Optim(weights="bfloat16"))


def _full(folder: Path, place: Path) -> Path:
    if not (place / "full").exists():
        TorchLearner(str(folder), Optim(), steps=1).save(place / "full")
    return place / "full"


def test_a_frozen_model_in_bfloat16_learns_through_float32_adapters(tiny_folder: Path) -> None:
    learner = learner_of(tiny_folder, Optim(lr=1e-2, warmup=0, lora=4, weights="bfloat16"))
    assert {p.dtype for p in learner.trained} == {torch.float32}
    assert learner.model.dtype == torch.bfloat16
    stats = learner.step(batch(learner))
    assert stats["learner/grad_norm"] > 0
    assert stats["sampler_gap/max"] < 0.3


@pytest.mark.parametrize("fast", [True, False])
@pytest.mark.parametrize("lora", [0, 4])
def test_computing_layers_again_changes_nothing_but_memory(tiny_folder: Path, fast: bool, lora: int) -> None:
    rows = batch(learner_of(tiny_folder))
    found = []
    for recompute in (False, True):
        optim = Optim(lr=1e-3, warmup=0, lora=lora, recompute=recompute)
        learner = learner_of(tiny_folder, optim, EngineOptions(fast=fast))
        ran: list[int] = []
        layer = learner.model.model.layers[0].mlp.act_fn
        hook = layer.register_forward_hook(lambda *_, ran=ran: ran.append(1))
        found.append((learner.step(rows)["learner/grad_norm"], len(ran)))
        hook.remove()
        assert not learner.model.training
    assert found[0][0] == pytest.approx(found[1][0], rel=1e-4)
    if not fast:
        assert found[1][1] > found[0][1]  # layers did run again


def test_log_probabilities_in_chunks_are_the_same_with_their_gradient(tiny_folder: Path) -> None:
    from secondthought.engines.torch.forward import logprobs_in_chunks
    from secondthought.learners.loss import tensors

    learner = learner_of(tiny_folder, Optim())
    rows = batch(learner).rows
    targets_N = tensors(rows).targets_N
    vocabulary = learner.model.config.vocab_size
    for reader in (learner.reader, DenseReader(learner.model)):
        found = []
        for most in (1 << 30, 5 * 4 * vocabulary):
            learner.model.zero_grad()
            hidden_NM, head = reader.forward(reader.collate(rows))
            logp_N = logprobs_in_chunks(hidden_NM, head, targets_N, vocabulary, Sampling(0.7), most)
            logp_N.sum().backward()  # type: ignore[no-untyped-call]
            found.append((logp_N.detach(), [p.grad.clone() for p in learner.trained if p.grad is not None]))
        torch.testing.assert_close(found[0][0], found[1][0])
        for a, b in zip(found[0][1], found[1][1], strict=True):
            torch.testing.assert_close(a, b, rtol=1e-3, atol=1e-4)


def test_a_vocabulary_of_150_000_fits_in_little_memory() -> None:
    from secondthought.engines.torch.forward import logprobs_in_chunks

    words_, tokens = 150_000, 1_200
    head = torch.randn(words_, 16, requires_grad=True)
    made: list[int] = []

    def logits(hidden: torch.Tensor) -> torch.Tensor:
        made.append(len(hidden))
        return hidden @ head.t()

    hidden = torch.randn(tokens, 16, requires_grad=True)
    logprobs_in_chunks(hidden, logits, torch.arange(tokens), words_, most=128 << 20).sum().backward()  # type: ignore[no-untyped-call]
    assert max(made) * words_ * 4 <= 128 << 20
    assert sum(made) == 2 * tokens  # once, and once again for the gradient


def test_merging_gives_one_folder_that_is_the_same_model(
    tiny_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from typer.testing import CliRunner

    from secondthought.cli import app

    learner = learner_of(tiny_folder)
    learner.step(batch(learner))
    learner.save(tmp_path / "step_1")
    pushed: list[tuple[str, str, str]] = []
    monkeypatch.setattr("huggingface_hub.HfApi.create_repo", lambda _, name, **k: f"https://hub/{name}")
    monkeypatch.setattr(
        "huggingface_hub.HfApi.upload_folder",
        lambda _, repo_id, repo_type, folder_path, **k: pushed.append((repo_id, repo_type, str(folder_path))),
    )
    words_ = ["merge", str(tmp_path / "step_1"), "--out", str(tmp_path / "whole"), "--push", "me/mine"]
    done = CliRunner().invoke(app, words_)
    assert done.exit_code == 0, done.output
    assert pushed == [("me/mine", "model", str(tmp_path / "whole"))]
    assert "https://hub/me/mine" in done.output
    assert not (tmp_path / "whole" / "adapter_config.json").exists()
    ids = torch.arange(12)[None]
    with torch.no_grad():
        torch.testing.assert_close(
            load(str(tmp_path / "whole"))[0](ids).logits, learner.model(ids).logits, atol=1e-4, rtol=1e-4
        )
    again = CliRunner().invoke(app, words_)
    assert "exists already" in str(again.exception)


def test_a_hub_that_refuses_is_told_of_in_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from secondthought.models.sharing import push

    def refuse(*_: object, **__: object) -> None:
        raise OSError("401 Client Error: Unauthorized\nmore")

    monkeypatch.setattr("huggingface_hub.HfApi.create_repo", refuse)
    with pytest.raises(UserError, match=r"is written, but the hub refuses me/mine: 401 Client Error: Unauthorized; hf auth"):
        push(tmp_path / "out", "me/mine")
