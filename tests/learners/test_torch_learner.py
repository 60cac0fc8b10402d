from __future__ import annotations

from functools import partial
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from tests.conftest import random_llama

from secondthought.credit.reflect_retry import anchored, reflection_only
from secondthought.engines.base import EngineOptions, Sampling
from secondthought.errors import UserError
from secondthought.learners import torch as learners
from secondthought.learners.dense import DenseReader
from secondthought.learners.loss import tensors
from secondthought.learners.optim import Optim
from secondthought.learners.rows import Rows, compile_rows
from secondthought.learners.torch import TorchLearner, rate
from secondthought.learners.trees import TreeReader
from secondthought.nano import tokenizer as words
from secondthought.nano.pretrain import save_model
from secondthought.protocols.reflect_retry import TERSE, reflect_retry
from secondthought.rollouts import rollout
from secondthought.tasks.countdown import Countdown
from secondthought.types import Task, Verdict

TASKS = Countdown("train")


def lottery(task: Task, text: str) -> Verdict:
    return Verdict(float(sum(map(ord, text)) % 3 == 0))


def batch(learner: TorchLearner, seed: int = 0, temperature: float = 1.0) -> Rows:
    protocol = partial(reflect_retry, grade=lottery, prompts=TERSE)
    sampling = Sampling(max_tokens=8, temperature=temperature)
    groups = rollout(protocol, [TASKS[i] for i in range(6)], 4, learner.publish(), sampling, seed=seed)
    return compile_rows(groups, [anchored(reflection_only, "retry")(g) for g in groups])


def test_the_sampler_and_the_trainer_agree_and_the_gap_is_logged(tiny_folder: Path) -> None:
    for temperature in (1.0, 0.7):
        learner = TorchLearner(str(tiny_folder), Optim(), steps=5, temperature=temperature)
        stats = learner.step(batch(learner, temperature=temperature))
        assert 0 <= stats["sampler_gap/mean"] <= stats["sampler_gap/max"] < 1e-4
        assert stats["learner/clipped"] == 0


def test_a_wrong_temperature_shows_as_a_gap(tiny_folder: Path) -> None:
    learner = TorchLearner(str(tiny_folder), Optim(), steps=5, temperature=1.0)
    assert learner.step(batch(learner, temperature=0.5))["sampler_gap/mean"] > 0.01


def test_paid_tokens_become_likelier_when_the_advantage_is_positive(tiny_folder: Path) -> None:
    learner = TorchLearner(str(tiny_folder), Optim(lr=1e-3, warmup=0, kl=0.0), steps=5)
    rows = batch(learner)
    part = tensors(rows.rows)
    paid = part.policy_N != 0
    with torch.no_grad():
        before = learner.logprobs(rows.rows, part)
    learner.step(rows)
    with torch.no_grad():
        after = learner.logprobs(rows.rows, part)
    assert float(((after - before) * part.policy_N)[paid].sum()) > 0


def test_the_anchor_is_zero_at_the_start_and_grows(tiny_folder: Path) -> None:
    learner = TorchLearner(str(tiny_folder), Optim(lr=3e-3, warmup=0, kl=1.0), steps=5)
    losses = [learner.step(batch(learner, seed))["loss/kl"] for seed in range(3)]
    assert abs(losses[0]) < 1e-8
    assert losses[2] > 1e-5


def test_several_updates_on_one_batch_meet_the_clip(tiny_folder: Path) -> None:
    learner = TorchLearner(str(tiny_folder), Optim(lr=0.02, warmup=0, updates=4, clip=0.05), steps=5)
    assert learner.step(batch(learner))["learner/clipped"] > 0


def test_an_empty_batch_counts_as_a_step_and_changes_nothing(tiny_folder: Path) -> None:
    learner = TorchLearner(str(tiny_folder), Optim(), steps=5)
    before = {k: v.clone() for k, v in learner.model.state_dict().items()}
    learner.step(Rows((), 3, 3))
    assert learner.step_count == 1
    assert all(torch.equal(v, before[k]) for k, v in learner.model.state_dict().items())


def stepped(folder: Path, optim: Optim, engine: EngineOptions | None = None) -> tuple[TorchLearner, dict[str, float]]:
    """A learner after one step on a batch that is always the same."""
    rows = batch(TorchLearner(str(folder), Optim(), steps=5))
    learner = TorchLearner(str(folder), optim, steps=5, engine=engine)
    return learner, learner.step(rows)


def test_the_generic_path_learns_the_same(tiny_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fast, stats = stepped(tiny_folder, Optim(lr=1e-3, warmup=0))
    assert isinstance(fast.reader, TreeReader)
    off, others = stepped(tiny_folder, Optim(lr=1e-3, warmup=0), EngineOptions(fast=False))
    monkeypatch.setattr(learners, "FUSED", 1)
    large, again = stepped(tiny_folder, Optim(lr=1e-3, warmup=0))
    for learner, found in ((off, others), (large, again)):
        assert isinstance(learner.reader, DenseReader)
        assert found["learner/grad_norm"] == pytest.approx(stats["learner/grad_norm"], rel=1e-3)
        assert found["loss/policy"] == pytest.approx(stats["loss/policy"], abs=1e-5)


def test_autocast_is_close_and_its_gap_is_logged(tiny_folder: Path) -> None:
    _, exact = stepped(tiny_folder, Optim())
    _, rough = stepped(tiny_folder, Optim(autocast="bfloat16"))
    assert rough["learner/grad_norm"] == pytest.approx(exact["learner/grad_norm"], rel=0.2)
    assert exact["sampler_gap/max"] < 1e-4 < rough["sampler_gap/max"] < 0.5


def test_schedules() -> None:
    for name, middle, last in (("constant", 1.0, 1.0), ("linear", 0.5, 0.0), ("cosine", 0.5, 0.0)):
        optim = Optim(lr=1.0, warmup=10, schedule=name)  # type: ignore[arg-type]
        assert rate(optim, 0, 110) == 0.1
        assert rate(optim, 60, 110) == pytest.approx(middle)
        assert rate(optim, 110, 110) == pytest.approx(last)


def test_a_checkpoint_of_another_model_is_refused(tiny_folder: Path, tmp_path: Path) -> None:
    save_model(random_llama(width=64), words.build(), tmp_path / "wide")
    (tmp_path / "saved").mkdir()
    TorchLearner(str(tmp_path / "wide"), Optim(), steps=5).save(tmp_path / "saved")
    with pytest.raises(UserError, match="of another model"):
        TorchLearner(str(tiny_folder), Optim(), steps=5).restore(tmp_path / "saved")


def test_a_gradient_that_is_not_finite_stops_before_the_update(tiny_folder: Path, tmp_path: Path) -> None:
    learner = TorchLearner(str(tiny_folder), Optim(lr=1e-3, warmup=0), steps=5)
    rows, before = batch(learner), [p.detach().clone() for p in learner.trained]
    learner.trained[1].register_hook(lambda grad: grad * float("nan"))
    with pytest.raises(UserError, match="step 1: the gradient is not finite"):
        learner.step(rows)
    assert all(torch.equal(a, b) for a, b in zip(before, learner.trained, strict=True))
    assert learner.step_count == 0


def test_weights_that_are_not_finite_are_not_saved(tiny_folder: Path, tmp_path: Path) -> None:
    learner = TorchLearner(str(tiny_folder), Optim(), steps=5)
    with torch.no_grad():
        learner.trained[0].view(-1)[0] = float("nan")
    with pytest.raises(UserError, match="it is not saved"):
        learner.save(tmp_path)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("damage", ["state", "weights", "tensor"])
def test_a_damaged_checkpoint_changes_nothing(tiny_folder: Path, tmp_path: Path, damage: str) -> None:
    learner = TorchLearner(str(tiny_folder), Optim(), steps=5)
    learner.save(tmp_path)
    weights, state = tmp_path / "model" / "model.safetensors", tmp_path / "trainer" / "state.pt"
    if damage == "tensor":
        tensors_of = load_file(weights)
        tensors_of[max(tensors_of)] = torch.full_like(tensors_of[max(tensors_of)], float("inf"))
        save_file(tensors_of, weights, metadata={"format": "pt"})
    else:
        file = state if damage == "state" else weights
        file.write_bytes(file.read_bytes()[:1000])
    fresh = TorchLearner(str(tiny_folder), Optim(), steps=5)
    before = [p.detach().clone() for p in fresh.trained]
    with pytest.raises(UserError, match=r"damaged|cannot be read"):
        fresh.restore(tmp_path)
    assert all(torch.equal(a, b) for a, b in zip(before, fresh.trained, strict=True))
