"""R1-Zero: be paid for the answer alone, and a little for its form; as GRPO and as Dr. GRPO.

    R_i = 1 for a right answer, ``form`` for a wrong one that can be read, 0 otherwise (and where it is cut off)

    GRPO       A_i = (R_i - mean R) / (std R + 1e-8)        the standard deviation over n - 1   (arXiv 2402.03300)
    Dr. GRPO   A_i = R_i - mean R                           (Liu et al. 2025, arXiv 2503.20783, section 3.2)

The other half of the difference is how the loss is averaged: over each response's own tokens (``optim.normalization=grpo``:
long wrong answers are punished less for each token) or over a constant length (``dr_grpo``). ``form`` = 0.1 is oat-zero's
reward on Countdown, 0 that of Dr. GRPO. oat-zero reads the last tag of the last line only; what counts as readable here is what
the tasks' grader reads.
"""

from __future__ import annotations

import math
from statistics import fmean, stdev

from secondthought.types import Episode, Group, Signal, Signals

FORM = 0.1


def reward(episode: Episode, form: float = FORM) -> float:
    """What one response earns; nan where it is not graded.

    >>> from secondthought.types import Task, Verdict
    >>> task = Task.of("2 + 2?", answer="4", family="sums")
    >>> graded = [Verdict(1.0, "4"), Verdict(0.0, "5"), Verdict(0.0, None)]
    >>> [reward(Episode(task, (0,), (), {"attempt": verdict})) for verdict in graded]
    [1.0, 0.1, 0.0]
    """
    verdict = episode.verdicts["attempt"]
    if math.isnan(verdict.score):
        return math.nan
    if "attempt" in episode and episode["attempt"].stop == "length":
        return 0.0
    return max(verdict.score, form if verdict.answer is not None else 0.0)


def grpo(group: Group, *, form: float = FORM, kl: float = 0.0) -> list[Signals]:
    """Pay each response by its distance from the group's mean in standard deviations; ``kl`` pulls all of them towards the
    reference, whatever they earned.
    """
    return _paid(group, form, kl, scaled=True)


def dr_grpo(group: Group, *, form: float = FORM, kl: float = 0.0) -> list[Signals]:
    """Pay each response by its distance from the group's mean."""
    return _paid(group, form, kl, scaled=False)


def _paid(group: Group, form: float, kl: float, *, scaled: bool) -> list[Signals]:
    rewards = [reward(episode, form) for episode in group]
    known = [r for r in rewards if not math.isnan(r)]
    differ = len(set(known)) > 1
    centre, divisor = (fmean(known), stdev(known) + 1e-8 if scaled else 1.0) if differ else (0.0, 1.0)
    advantages = [0.0 if math.isnan(r) or not differ else (r - centre) / divisor for r in rewards]
    return [{"attempt": Signal(policy=a, kl=kl)} if a or kl else {} for a in advantages]
