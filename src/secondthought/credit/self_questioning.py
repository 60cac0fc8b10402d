"""Who is paid when a model questions itself (Chen et al. 2025, arXiv 2508.03682; code: lili-chen/self-questioning-lm).

With n answers to a question, m of which are the commonest one:

    solver      R_j = 1 if answer j is the commonest, else 0             z-scored over the answers to one question
    proposer    R_i = 1 if low < m < n, else 0                           z-scored over the questions of one topic

``low`` is 1 in the authors' code: a question counts if neither all answers agree nor none do. Sources on the paper disagree
(some give 0 < m < n, which differs at m = 1 alone). The proposer is updated every ``every``-th step (5), the solver in each.
Proposals that pose no question are left out, as are the answers they never got.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Sequence
from functools import partial
from typing import Literal

from secondthought.credit.base import BatchCredit, Step, normalised
from secondthought.types import Episode, Group, Signal, Signals

Solver = Literal["agreement", "truth", "form"]


def proposer_reward(common: int, answers: int, low: int = 1) -> float:
    """1 for a question that is neither unanimous nor hopeless.

    >>> [proposer_reward(m, 4) for m in range(5)], proposer_reward(1, 4, low=0)
    ([0.0, 0.0, 1.0, 1.0, 0.0], 1.0)
    """
    return float(low < common < answers)


def self_questioning(*, every: int = 5, low: int = 1, solver: Solver = "agreement", kl: float = 0.0) -> BatchCredit:
    """The credit. ``every`` = 0 never updates the proposer. ``solver`` names what the solver is paid for: agreement; the hidden
    truth (a bound); or any answer that can be read (the control). ``kl`` pulls what is paid towards the reference.
    """
    return BatchCredit(partial(_paid, every=every, low=low, solver=solver, kl=kl))


def _paid(groups: Sequence[Group], step: Step, *, every: int, low: int, solver: Solver, kl: float) -> list[list[Signals]]:
    proposing = every > 0 and step.number % every == 0
    return [_of_group(group, proposing, low, solver, kl) for group in groups]


def _of_group(group: Group, proposing: bool, low: int, solver: Solver, kl: float) -> list[Signals]:
    signals: list[Signals] = [{} for _ in group]
    by_question: dict[int, list[int]] = defaultdict(list)
    for place, episode in enumerate(group):
        if "answer" in episode.verdicts:
            by_question[episode.path[0]].append(place)
    for places in by_question.values():
        for place, advantage in zip(places, normalised([earned(group[p], solver) for p in places]), strict=True):
            signals[place] = _signal("answer", advantage, kl)
    if proposing:
        rewards = {p: r for p, r in rewards_of(group, low).items() if group[p]["question"].logprobs is not None}
        for place, advantage in zip(rewards, normalised(list(rewards.values())), strict=True):
            signals[place] = _signal("question", advantage, kl)
    return signals


def rewards_of(group: Group, low: int = 1) -> dict[int, float]:
    """What each question that could be asked earns its proposer, by its place in the group."""
    answers = Counter(e.path[0] for e in group if "answer" in e.verdicts)
    return {
        place: proposer_reward(round(e.verdicts["common"].score * answers[e.path[0]]), answers[e.path[0]], low)
        for place, e in enumerate(group) if "common" in e.verdicts
    }  # fmt: skip


def earned(episode: Episode, solver: Solver) -> float:
    """What an answer earns."""
    if solver == "form":
        return float(episode.verdicts["answer"].answer is not None)
    score = episode.verdicts["answer" if solver == "truth" else "agreement"].score
    return 0.0 if math.isnan(score) else score


def _signal(name: str, advantage: float, kl: float) -> Signals:
    return {name: Signal(policy=advantage, kl=kl)} if advantage or kl else {}


def chance_of_pay(p: float, answers: int, low: int = 1) -> float:
    """How likely a question pays its proposer if each answer is right with probability ``p`` and wrong ones all differ.

    >>> [round(chance_of_pay(p, 4), 3) for p in (0.1, 0.3, 0.5, 0.7, 0.9)]
    [0.052, 0.34, 0.625, 0.676, 0.34]
    """
    return sum(
        math.comb(answers, right) * p**right * (1 - p) ** (answers - right)
        * proposer_reward(max(right, 1) if right < answers else answers, answers, low)
        for right in range(answers + 1)
    )  # fmt: skip
