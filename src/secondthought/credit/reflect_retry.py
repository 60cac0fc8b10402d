"""Who is paid when a retry succeeds: the paper's answer, and the arms that the paper lacks.

Reflect, Retry, Reward (Bensal et al. 2025, arXiv 2505.24726):

    r_i = v(q, retry_i),    A_i = (r_i - mean(r)) / std(r),    paid to the tokens of reflection_i and to nothing else.

The baseline is over the G reflections of ONE failed attempt. They all answer the same text, so a difference in reward can only
come from what the reflection (and the luck of its retry) added; a baseline over other problems would pay for easy problems.
Where the first attempt passed there is no reflection, the group has one episode, and all credits give zero signal.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from random import Random

from secondthought.credit.base import C, normalised, scores, wrapped
from secondthought.types import Episode, Group, Signal, Signals, Task, Verdict, seed_of


def reflection_only(group: Group) -> list[Signals]:
    """Pay the reflection for the retry it made possible, never the retry itself (the paper)."""
    return [{"reflection": Signal(policy=a)} if a else {} for a in normalised(scores(group, "retry"))]


def retry_only(group: Group) -> list[Signals]:
    """Pay the retry for itself: the reflection stays as it is."""
    return [{"retry": Signal(policy=a)} if a else {} for a in normalised(scores(group, "retry"))]


def reflection_and_retry(group: Group) -> list[Signals]:
    """Pay both: what a framework does that knows one advantage per conversation."""
    return [
        {"reflection": Signal(policy=a), "retry": Signal(policy=a)} if a else {} for a in normalised(scores(group, "retry"))
    ]


def random_reward(group: Group) -> list[Signals]:
    """The negative control: as many winners as there were, drawn by lot. It must teach nothing."""
    rewards = scores(group, "retry")
    lot = Random(seed_of("random reward", group[0].task.key, *(t for e in group for t in e.segments[-1].tokens)))
    lot.shuffle(rewards)
    return [{"reflection": Signal(policy=a)} if a else {} for a in normalised(rewards)]


def unleaked(credit: C, leak: Callable[[Task, str], str]) -> C:
    """The same credit where a reflection that spells a full solution earns nothing, however well it is copied.

    Not in the paper. Without it a capable policy learns to solve the task in its reflection and to copy the result: it then
    pays for a good reflection and a lucky second attempt alike. ``leak`` grades what a reflection gives away
    (``TaskSet.leak``).
    """
    return wrapped(
        credit, lambda group: tuple(_forfeited(episode, leak) for episode in group), lambda _, signals: list(signals)
    )


def _forfeited(episode: Episode, leak: Callable[[Task, str], str]) -> Episode:
    if "retry" not in episode.verdicts or leak(episode.task, episode["reflection"].text) != "full":
        return episode
    return replace(episode, verdicts={**episode.verdicts, "retry": Verdict(0.0, None, "leaked: the reflection spells it")})


def anchored(credit: C, segment: str = "retry", weight: float = 1.0) -> C:
    """The same credit, with a pull of the unpaid ``segment`` towards the reference.

    Small models share all their weights between writing a reflection and obeying it, and forget the second while learning
    the first. The pull is only applied in groups that pay somebody, so groups without a signal stay without one.
    """

    def pull(group: Group, signals: Sequence[Signals]) -> list[Signals]:
        if not any(signals):
            return list(signals)
        return [
            {**one, segment: replace(one.get(segment, Signal()), kl=weight)} if segment in episode else one
            for one, episode in zip(signals, group, strict=True)
        ]

    return wrapped(credit, lambda group: group, pull)
