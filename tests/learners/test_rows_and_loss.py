"""From signals to gradients: who is trained, who is not, and by how much."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from itertools import product
from typing import Any, get_args

import pytest
import torch
from tests.conftest import logits_of, random_llama
from torch import Tensor

from secondthought.credit.answer import answer as pay_answer
from secondthought.credit.base import Credit, Step
from secondthought.credit.base import paid as paid_in
from secondthought.credit.reflect_retry import (
    anchored,
    random_reward,
    reflection_and_retry,
    reflection_only,
    retry_only,
    unleaked,
)
from secondthought.engines.base import Sampling
from secondthought.engines.torch.decoder import Decoder
from secondthought.engines.torch.engine import TorchEngine
from secondthought.engines.torch.forward import Head, logprobs_of
from secondthought.learners.dense import Dense, DenseReader, dense
from secondthought.learners.loss import loss_of, scale_of, tensors
from secondthought.learners.optim import Normalization
from secondthought.learners.rows import Row, Rows, compile_rows, pack
from secondthought.learners.trees import TreeReader
from secondthought.models.hub import renderer_for
from secondthought.nano import tokenizer as words
from secondthought.protocols.answer import answer
from secondthought.protocols.reflect_retry import TERSE, reflect_retry
from secondthought.rollouts import rollout
from secondthought.tasks.countdown import Countdown
from secondthought.types import Group, Segment, Signal, Signals, Task, Verdict

TASKS = Countdown("train")
CREDITS: dict[str, Credit] = {
    "reflection_only": reflection_only,
    "retry_only": retry_only,
    "reflection_and_retry": reflection_and_retry,
    "random_reward": random_reward,
    "anchored": anchored(reflection_only, "retry", 0.7),
    "answer": pay_answer,
}


def lottery(task: Task, text: str) -> Verdict:
    """Right now and then, so that groups have something to compare."""
    return Verdict(float(sum(map(ord, text)) % 3 == 0), text, "by lot")


@pytest.fixture(scope="module")
def engine() -> TorchEngine:
    model = random_llama(1)
    return TorchEngine(model, renderer_for(model, words.build()))


@pytest.fixture(scope="module")
def groups(engine: TorchEngine) -> list[Group]:
    protocol = partial(reflect_retry, grade=lottery, prompts=TERSE)
    return rollout(protocol, [TASKS[i] for i in range(6)], 5, engine, Sampling(max_tokens=7))


@pytest.fixture(scope="module")
def answers(engine: TorchEngine) -> list[Group]:
    return rollout(partial(answer, grade=lottery), [TASKS[i] for i in range(4)], 5, engine, Sampling(max_tokens=7))


class Plain:
    """Through full logits, the long way round."""

    def __init__(self, model: torch.nn.Module) -> None:
        self.model = model

    def collate(self, rows: Sequence[Row]) -> Dense:
        return dense(rows)

    def forward(self, collated: Dense) -> tuple[Tensor, Head]:
        ids, positions, mask = collated.ids_RT, collated.positions_RT, collated.mask_R1TT
        logits: Tensor = self.model(input_ids=ids, position_ids=positions, attention_mask=mask).logits
        return logits.flatten(0, 1)[collated.where_N], lambda logits_NV: logits_NV


def gradients(
    model: torch.nn.Module, rows: Rows, normalization: Normalization, budget: int = 10**6, reader: Any = None
) -> list[Tensor]:
    model.zero_grad()
    reader = reader or Plain(model)
    scale = scale_of(rows.rows, normalization, 8)
    for part in pack(rows, budget=budget):
        batch = tensors(part)
        logp = logprobs_of(logits_of(reader, part), batch.targets_N)
        reference = (logp - 0.3).detach()
        loss_of(batch, logp, logp.detach(), reference, scale, normalization=normalization, cap=10).loss.backward()  # type: ignore[no-untyped-call]
    return [p.grad.clone() for p in model.parameters() if p.grad is not None]


def close(left: Sequence[Tensor], right: Sequence[Tensor]) -> bool:
    return all(torch.allclose(a, b, atol=1e-5, rtol=1e-3) for a, b in zip(left, right, strict=True))


def paid(groups: Sequence[Group], credit: Credit) -> list[Sequence[Signals]]:
    return list(paid_in(credit, groups, Step(0, 1)))


def apart(groups: Sequence[Group], signals: Sequence[Sequence[Signals]]) -> Rows:
    """One row for each episode: what a padded trainer would feed."""
    pairs = [
        (episode, share)
        for group, shares in zip(groups, signals, strict=True)
        for episode, share in zip(group, shares, strict=True)
    ]
    return compile_rows([(episode,) for episode, _ in pairs], [[share] for _, share in pairs])


@pytest.mark.parametrize("normalization", get_args(Normalization))
def test_tree_rows_give_the_gradients_of_plain_rows(
    engine: TorchEngine, groups: list[Group], normalization: Normalization
) -> None:
    signals = paid(groups, CREDITS["anchored"])
    tree, plain = compile_rows(groups, signals), apart(groups, signals)
    assert sum(len(r.tokens) for r in tree.rows) < sum(len(r.tokens) for r in plain.rows)
    assert close(gradients(engine.model, tree, normalization), gradients(engine.model, plain, normalization))


@pytest.mark.parametrize("budget", [1, 200, 10**6])
@pytest.mark.parametrize("name", CREDITS)
def test_the_fast_forward_pass_gives_the_gradients_of_the_plain_one(
    engine: TorchEngine, groups: list[Group], answers: list[Group], name: str, budget: int
) -> None:
    result = answers if name == "answer" else groups
    rows = compile_rows(result, paid(result, CREDITS[name]))
    plain = gradients(engine.model, rows, "grpo")
    for reader in (DenseReader(engine.model), TreeReader(Decoder(engine.model))):
        assert close(gradients(engine.model, rows, "grpo", budget, reader), plain)


def test_micro_batches_add_up(engine: TorchEngine, groups: list[Group]) -> None:
    rows = compile_rows(groups, paid(groups, reflection_only))
    assert len(pack(rows, budget=1)) == len(rows) > 1
    assert close(gradients(engine.model, rows, "grpo"), gradients(engine.model, rows, "grpo", budget=1))


@pytest.mark.parametrize("name", CREDITS)
def test_the_gradient_is_exactly_zero_outside_trained_segments(
    engine: TorchEngine, groups: list[Group], answers: list[Group], name: str
) -> None:
    result = answers if name == "answer" else groups
    signals = paid(result, CREDITS[name])
    rows = apart(result, signals)
    episodes = [e for g, s in zip(result, signals, strict=True) for e, share in zip(g, s, strict=True) if share]
    shares = [share for s in signals for share in s if share]
    assert len(rows) == len(episodes) > 0
    for row, episode, share in zip(rows.rows, episodes, shares, strict=True):
        batch = tensors([row])
        collated = dense([row])
        logits = engine.model(
            input_ids=collated.ids_RT, position_ids=collated.positions_RT, attention_mask=collated.mask_R1TT
        ).logits
        logits.retain_grad()
        logp = logprobs_of(logits.flatten(0, 1)[collated.where_N], batch.targets_N)
        loss_of(batch, logp, logp.detach(), (logp - 0.3).detach(), scale_of([row], "grpo", 8)).loss.backward()  # type: ignore[no-untyped-call]
        touched = set(torch.nonzero(logits.grad[0].abs().sum(1))[:, 0].tolist())
        expected: set[int] = set()
        at = 0
        for segment in episode.segments:
            if segment.name in share:
                expected |= set(range(at - 1, at + len(segment.tokens) - 1))  # first token and stop token included
            at += len(segment.tokens)
        assert touched == expected


def test_unpaid_tails_are_never_fed(groups: list[Group]) -> None:
    rows = compile_rows(groups, paid(groups, reflection_only))
    live = [g for g in groups if any(reflection_only(g))]
    for row, group in zip(rows.rows, live, strict=True):
        shared = sum(len(s.tokens) for s in group[0].segments[:3])
        branches = sum(len(e["reflection"].tokens) for e in group)
        assert len(row.tokens) == shared + branches


def test_passing_attempts_and_silent_groups_change_nothing(engine: TorchEngine, groups: list[Group]) -> None:
    signals = paid(groups, reflection_only)
    live = [(g, s) for g, s in zip(groups, signals, strict=True) if any(s)]
    assert 0 < len(live) < len(groups)
    only_live = compile_rows([g for g, _ in live], [s for _, s in live])
    everything = compile_rows(groups, signals)
    assert everything.zero_signal == len(groups) - len(live)
    assert everything.rows == only_live.rows
    solved = (replace(groups[0][0], verdicts={"attempt": Verdict(1.0)}),)
    assert reflection_only(solved) == [{}]
    assert compile_rows([solved], [reflection_only(solved)]).rows == ()


def test_empty_segments_change_nothing(groups: list[Group]) -> None:
    silence = Segment("reflection", "policy", "assistant", "", (), (), 0, "length")
    group = next(g for g in groups if any(reflection_only(g)))
    hollow = tuple(replace(e, segments=tuple(silence if s.name == "reflection" else s for s in e.segments)) for e in group)
    assert compile_rows([hollow], [reflection_only(hollow)]).rows == ()
    assert reflection_only(hollow) == reflection_only(group)  # baselines see scores, not lengths


def test_the_baseline_is_over_one_failed_attempt(groups: list[Group]) -> None:
    for group in groups:
        advantages = [s["reflection"].policy for s in reflection_only(group) if s]
        if advantages:
            assert sum(a for a in advantages if isinstance(a, float)) == pytest.approx(0)


def test_ungraded_tellings_are_neither_paid_nor_part_of_the_baseline(groups: list[Group]) -> None:
    group = next(g for g in groups if any(reflection_only(g)))
    unknown = (replace(group[0], verdicts={"attempt": Verdict(0.0), "retry": Verdict(float("nan"))}), *group[1:])
    assert reflection_only(unknown)[0] == {}
    assert reflection_only(unknown)[1:] == reflection_only(group[1:])


def test_random_reward_keeps_the_number_of_winners_and_is_the_same_every_time(groups: list[Group]) -> None:
    for group in groups:
        drawn = random_reward(group)
        assert drawn == random_reward(group)
        right = [a for s in reflection_only(group) for a in [s.get("reflection", Signal()).policy]]
        assert sorted(s.get("reflection", Signal()).policy for s in drawn) == pytest.approx(sorted(right))


def test_a_leaked_solution_earns_nothing(groups: list[Group]) -> None:
    group = next(g for g in groups if any(reflection_only(g)))
    winner = max(group, key=lambda e: e.verdicts["retry"].score)
    spelled = {winner["reflection"].text: "full"}
    drawn = unleaked(reflection_only, lambda task, text: spelled.get(text, "none"))(group)
    at = group.index(winner)
    assert not drawn[at] or drawn[at]["reflection"].policy < 0  # type: ignore[operator]
    assert unleaked(reflection_only, lambda task, text: "first step")(group) == reflection_only(group)
    assert winner.verdicts["retry"].score == 1  # the record itself is left alone


def test_signals_for_nobody_and_for_given_text_are_refused(groups: list[Group]) -> None:
    group = next(g for g in groups if len(g) > 1)
    with pytest.raises(ValueError, match="none of that name"):
        compile_rows([group], [[{"sermon": Signal(policy=1.0)}] * len(group)])
    with pytest.raises(ValueError, match="nobody sampled"):
        compile_rows([group], [[{"ask_reflection": Signal(policy=1.0)}] * len(group)])
    with pytest.raises(ValueError, match="token advantages"):
        compile_rows([group], [[{"reflection": Signal(policy=(1.0,) * 99)}] * len(group)])


def test_token_advantages_reach_their_tokens(groups: list[Group]) -> None:
    group = next(g for g in groups if len(g) > 1)[:1]
    count = len(group[0]["reflection"].tokens)
    row = compile_rows([group], [[{"reflection": Signal(policy=tuple(float(i + 1) for i in range(count)))}]]).rows[0]
    assert [t.policy for t in row.targets] == [i + 1 for i in range(count)]
    assert [t.token for t in row.targets] == list(group[0]["reflection"].tokens)


class Bandit(torch.nn.Module):
    """Log-probs that depend on twelve numbers, in double precision, for finite differences."""

    def __init__(self, size: int) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.theta = torch.nn.Parameter(torch.randn(12, dtype=torch.float64))
        self.mix = torch.randn(size, 12, dtype=torch.float64) * 0.2

    def forward(self) -> Tensor:
        return -torch.nn.functional.softplus(self.mix @ self.theta)


def finite_differences(loss: Callable[[], Tensor], theta: Tensor, eps: float = 1e-6) -> Tensor:
    slopes = []
    for i in range(len(theta)):
        with torch.no_grad():
            theta[i] += eps
            up = loss()
            theta[i] -= 2 * eps
            down = loss()
            theta[i] += eps
        slopes.append((up - down) / (2 * eps))
    return torch.stack(slopes)


@pytest.mark.parametrize(("name", "normalization"), list(product(CREDITS, get_args(Normalization))))
def test_each_credit_and_loss_against_finite_differences(
    groups: list[Group], answers: list[Group], name: str, normalization: Normalization
) -> None:
    result = answers if name == "answer" else groups
    rows = compile_rows(result, paid(result, CREDITS[name]))
    batch = tensors(rows.rows)
    bandit = Bandit(len(batch.targets_N))
    with torch.no_grad():  # some ratios inside the clip, some outside
        old = bandit() + 0.3 * torch.randn(len(batch.targets_N), dtype=torch.float64)
        reference = bandit() + 0.2
    scale = scale_of(rows.rows, normalization, 8)

    def loss() -> Tensor:
        return loss_of(batch, bandit(), old, reference, scale, normalization=normalization, kl_scale=0.5).loss

    loss().backward()  # type: ignore[no-untyped-call]
    assert bandit.theta.grad is not None
    assert torch.allclose(bandit.theta.grad, finite_differences(loss, bandit.theta.data), atol=1e-7)


def test_a_one_token_bandit_gives_the_analytic_reinforce_gradient() -> None:
    """Two groups of different reward scale: normalisation within each group makes them count alike."""
    from secondthought.learners.tabular import TabularLearner
    from secondthought.types import Episode

    learner = TabularLearner("ab")
    signals: list[list[Signals]] = []
    result: list[Group] = []
    for prompt, rewards in ((1, (1.0, 0.0)), (2, (100.0, 0.0))):
        task = Task.of(f"{prompt}", answer=None, family="bandit")
        episodes = []
        for letter, reward in zip("ab", rewards, strict=True):
            spoken = Segment("attempt", "policy", "assistant", letter, (ord(letter),), (-1.0986,), 0, "length")
            segments = (Segment("prompt", "task", "user", "", (prompt,)), spoken)
            episodes.append(Episode(task, (), segments, {"attempt": Verdict(reward)}))
        result.append(tuple(episodes))
        signals.append(list(pay_answer(result[-1])))
    gradient = learner.gradient(compile_rows(result, signals))
    # A = +1 for a, -1 for b; p uniform over {a, b, end}; each of the 4 paid segments weighs 1/4.
    expected = [-0.5 / 2, 0.5 / 2, 0.0]
    for prompt in (1, 2):
        assert gradient[(prompt,)].tolist() == pytest.approx(expected, abs=1e-4)
