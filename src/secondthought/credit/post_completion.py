"""Who is paid when a model evaluates its answers where nobody reads: Post-Completion Learning (Fei et al., arXiv 2507.20252).

    answer        R = 1 for a right answer, else 0                            z-scored over the answers to one problem
    evaluation    R = w (2 a - 1),  a = 1 - |predicted - true|, 0 where nothing is predicted
                                                                              z-scored over the evaluations of the batch

Each segment gets its own reward ("white-box": the rule that pays the answer is known, and the evaluation is paid for predicting
it). ``w`` is one over twice the share of answers of the batch that are as right or wrong as this one, so that the same word for
all of them earns nothing: a model that is mostly wrong otherwise learns to say so, and still does when it is mostly right.
Without ``balanced`` the evaluation is paid a, z-scored over those of one problem.

The paper's formulas are not public; with ``summed`` (after its description) both segments get the sum, half of the
evaluation's: an answer can then be paid for being predictably wrong. ``shuffled`` holds evaluations against other problems'
answers (the placebo), ``form`` pays any that can be read, and ``evaluation`` = 0 does not pay them.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial
from random import Random

from secondthought.credit.base import BatchCredit, Step, normalised, scores
from secondthought.types import Group, Signal, Signals, seed_of

HALF = 0.5
LEAST = 0.05  # a rarer kind of answer counts as if it were so frequent


def agreement(predicted: float, true: float) -> float:
    """What an evaluation earns.

    >>> agreement(1.0, 1.0), agreement(1.0, 0.0), agreement(math.nan, 1.0)
    (1.0, 0.0, 0.0)
    """
    return 0.0 if math.isnan(predicted) or math.isnan(true) else 1 - abs(predicted - true)


def post_completion(
    *, evaluation: float = 1.0, balanced: bool = True, summed: bool = False, shuffled: bool = False, form: bool = False
) -> BatchCredit:
    """The credit; ``evaluation`` weighs what is paid behind the end."""
    return BatchCredit(partial(_paid, evaluation=evaluation, balanced=balanced, summed=summed, shuffled=shuffled, form=form))


def _paid(
    groups: Sequence[Group], step: Step, *, evaluation: float, balanced: bool, summed: bool, shuffled: bool, form: bool
) -> list[list[Signals]]:
    truths = [scores(group, "attempt") for group in groups]
    held = _dealt(truths, step) if shuffled else truths
    behind = in_balance(groups, held) if balanced and not (summed or form) else None
    return [
        _of_group(group, truth, against, evaluation, summed, form, behind[i] if behind else None)
        for i, (group, truth, against) in enumerate(zip(groups, truths, held, strict=True))
    ]


def in_balance(groups: Sequence[Group], truths: Sequence[Sequence[float]]) -> list[list[float]]:
    """The advantages of all evaluations of a batch, right and wrong answers counting the same in total; 0 without one."""
    rows = [
        (i, j, said, true) for i, (group, truth) in enumerate(zip(groups, truths, strict=True))
        for j, (said, true) in enumerate(zip(scores(group, "evaluation"), truth, strict=True))
        if "evaluation" in group[j] and not math.isnan(true)
    ]  # fmt: skip
    share = sum(true for *_, true in rows) / len(rows) if rows else 0.5
    weight = {1.0: 0.5 / max(share, LEAST), 0.0: 0.5 / max(1 - share, LEAST)}
    rewards = [weight.get(true, 1.0) * (2 * agreement(said, true) - 1) for *_, said, true in rows]
    found = [[0.0] * len(group) for group in groups]
    for (i, j, *_), advantage in zip(rows, normalised(rewards), strict=True):
        found[i][j] = advantage
    return found


def _dealt(truths: Sequence[Sequence[float]], step: Step) -> list[list[float]]:
    """The same outcomes, dealt at random over all problems."""
    every = [truth for group in truths for truth in group]
    Random(seed_of("shuffled evaluations", step.number)).shuffle(every)
    dealt = iter(every)
    return [[next(dealt) for _ in group] for group in truths]


def _of_group(
    group: Group, truth: Sequence[float], against: Sequence[float], weight: float, summed: bool, form: bool,
    balanced: Sequence[float] | None,
) -> list[Signals]:  # fmt: skip
    said = scores(group, "evaluation")
    own = [float(not math.isnan(p)) if form else agreement(p, t) for p, t in zip(said, against, strict=True)]
    answers = [t + HALF * r for t, r in zip(truth, own, strict=True)] if summed else list(truth)
    behind = balanced if balanced is not None else normalised(answers if summed else own)
    return [
        _signals("attempt", a) | (_signals("evaluation", weight * b) if "evaluation" in episode else {})
        for episode, a, b in zip(group, normalised(answers), behind, strict=True)
    ]


def _signals(name: str, advantage: float) -> dict[str, Signal]:
    return {name: Signal(policy=advantage)} if advantage else {}
