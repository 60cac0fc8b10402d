"""Who is paid when a model judges its own answers in pairs: SERL (Ou et al. 2025, arXiv 2511.07922; code: AlwaysOu/SERL).

With N responses and K judgements of each pair, M = N - 1, |n| the words of response n:

    actor   R_A(n) = 1 / (M K) sum over judgements that n won against l of  1[0.8 < |n| / |l| < 1.2] |l| / |n|
    judge   R_J    = sign(R_A(winner) - R_A(loser));  -1 where neither was chosen

R_A is Copeland's count of wins with the length of responses controlled; R_J pays a judgement for agreeing with the ranking that
all of them make. Advantages are (R - mean) / (std + 1e-4), for the actor over the responses to one problem, for the judge over
the judgements of one pair in both orders. The loss of the actor is weighted by alpha = min(share, 1/2) of training, that of the
judge by 1 - alpha (``schedule`` ramp, as in the code), or both by 1 (const, as in the paper).

Nothing here looks at the truth, but for ``oracle``: the winner is then the response of higher hidden quality (a bound). With
``placebo`` every problem gets the judgements of another one: the same agreement, about nothing.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from functools import partial
from statistics import fmean, pstdev
from typing import Literal, NamedTuple

from secondthought.credit.base import BatchCredit, Step
from secondthought.types import Episode, Group, Signal, Signals

Schedule = Literal["ramp", "const"]
EPSILON = 1e-4
WINDOW = (0.8, 1.2)


class Judgement(NamedTuple):
    """One judgement of a pair; ``winner`` is None where neither was chosen."""

    pair: tuple[int, int]
    winner: int | None

    @property
    def loser(self) -> int:
        """The one that was not chosen."""
        return self.pair[0] if self.winner == self.pair[1] else self.pair[1]


def actor_rewards(lengths: Sequence[int], judgements: Sequence[Judgement], *, controlled: bool = True) -> list[float]:
    """R_A of every response; ``controlled``: with the control of lengths.

    >>> said = [(0, 1, 0), (0, 1, 0), (0, 2, 0), (0, 2, 2), (1, 2, 1), (1, 2, None)]
    >>> actor_rewards([10, 10, 10], [Judgement((i, j), w) for i, j, w in said])
    [0.75, 0.25, 0.25]
    """
    per_pair = len(judgements) / max(1, math.comb(len(lengths), 2))
    rewards = [0.0] * len(lengths)
    for one in judgements:
        if one.winner is not None:
            rewards[one.winner] += worth(lengths[one.winner], lengths[one.loser]) if controlled else 1.0
    return [reward / ((len(lengths) - 1) * per_pair) for reward in rewards]


def worth(winner: int, loser: int) -> float:
    """What a win counts by the words of both: nothing outside of the window, more than 1 for the shorter one inside.

    >>> worth(10, 10), worth(10, 20), worth(9, 10) > 1
    (1.0, 0.0, True)
    """
    low, high = WINDOW
    return loser / winner if low * loser < winner < high * loser else 0.0


def judge_rewards(rewards: Sequence[float], judgements: Sequence[Judgement]) -> list[float]:
    """R_J of every judgement."""
    return [-1.0 if one.winner is None else float(_sign(rewards[one.winner] - rewards[one.loser])) for one in judgements]


def serl(
    *, schedule: Schedule = "ramp", actor: float = 1.0, judge: float = 1.0, controlled: bool = True, oracle: bool = False,
    placebo: bool = False,
) -> BatchCredit:  # fmt: skip
    """The credit; ``actor`` and ``judge`` are further weights of the two losses (0: not trained)."""
    return BatchCredit(
        partial(_paid, schedule=schedule, actor=actor, judge=judge, controlled=controlled, oracle=oracle, placebo=placebo)
    )


def _paid(
    groups: Sequence[Group], step: Step, *, schedule: Schedule, actor: float, judge: float, controlled: bool, oracle: bool,
    placebo: bool,
) -> list[list[Signals]]:  # fmt: skip
    alpha = min(step.share, 0.5)
    weights = (actor * alpha, judge * (1 - alpha)) if schedule == "ramp" else (actor, judge)
    read = [judgements_of(group, oracle=oracle) for group in groups]
    if placebo:
        read = [{place: read[(i + 1) % len(read)].get(place, one) for place, one in own.items()} for i, own in enumerate(read)]
    return [_of_group(group, found, weights, controlled) for group, found in zip(groups, read, strict=True)]


def judgements_of(group: Group, *, oracle: bool = False) -> dict[tuple[int, ...], Judgement]:
    """The judgements of a group by the path of their episodes."""
    quality = {e.path[0]: e.verdicts["quality"].score for e in group if "quality" in e.verdicts}
    found = {}
    for e in group:
        if "judgement" in e.verdicts:
            i, j, _ = e.path
            answer = e.verdicts["judgement"].answer
            winner = int(answer) if answer is not None else None
            if oracle:
                winner = None if quality[i] == quality[j] else i if quality[i] > quality[j] else j
            found[e.path] = Judgement((i, j), winner)
    return found


def _of_group(
    group: Group, read: Mapping[tuple[int, ...], Judgement], weights: tuple[float, float], controlled: bool
) -> list[Signals]:
    actors = [place for place, e in enumerate(group) if "quality" in e.verdicts]
    judges = [place for place, e in enumerate(group) if e.path in read]
    lengths = [words(group[place]) for place in actors]
    said = [read[group[place].path] for place in judges]
    rewards = actor_rewards(lengths, said, controlled=controlled)
    signals: list[Signals] = [{} for _ in group]
    for place, advantage in zip(actors, standardised(rewards), strict=True):
        signals[place] = _signal("response", weights[0] * advantage)
    by_pair: dict[tuple[int, int], list[tuple[int, float]]] = defaultdict(list)
    for place, one, reward in zip(judges, said, judge_rewards(rewards, said), strict=True):
        by_pair[one.pair].append((place, reward))
    for pairs in by_pair.values():
        for (place, _), advantage in zip(pairs, standardised([reward for _, reward in pairs]), strict=True):
            signals[place] = _signal("judgement", weights[1] * advantage)
    return signals


def words(episode: Episode) -> int:
    """How long a response is, in words."""
    return max(1, len((episode.verdicts["quality"].answer or "").split()))


def standardised(rewards: Sequence[float]) -> list[float]:
    """``(R - mean) / (std + 1e-4)``.

    >>> standardised([1.0, 1.0]), [round(a, 3) for a in standardised([1.0, 0.0])]
    ([0.0, 0.0], [1.0, -1.0])
    """
    centre, spread = fmean(rewards), pstdev(rewards)
    return [(reward - centre) / (spread + EPSILON) if spread else 0.0 for reward in rewards]


def _sign(value: float) -> int:
    return (value > 0) - (value < 0)


def _signal(name: str, advantage: float) -> Signals:
    return {name: Signal(policy=advantage)} if advantage else {}
