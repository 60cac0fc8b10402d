"""Supervised learning as a credit: the tokens of chosen segments are imitated, whoever wrote them.

    L = - mean over imitated tokens of log p(token | everything before it)

The ordinary maximum-likelihood start (behaviour cloning) of a policy that is rewarded afterwards.
"""

from __future__ import annotations

from secondthought.types import Group, Signal, Signals


def imitation(group: Group, *, segments: tuple[str, ...] = ("reflection",)) -> list[Signals]:
    """Imitate ``segments`` of every episode that has them.

    >>> from secondthought.types import Episode, Segment, Task
    >>> task = Task.of("2 + 2?", answer="4", family="sums")
    >>> given = Segment("reflection", "intervention", "assistant", "I forgot to carry.")
    >>> imitation((Episode(task, (), (given,), {}),))
    [{'reflection': Signal(policy=0.0, kl=0.0, imitate=1.0)}]
    """
    return [{name: Signal(imitate=1.0) for name in segments if name in episode} for episode in group]


def last_segment(group: Group) -> list[Signals]:
    """Imitate how each episode ends.

    >>> from secondthought.types import Episode, Segment, Task
    >>> said = (Segment("attempt", "intervention", "assistant", "5"), Segment("critique", "intervention", "assistant", "wrong"))
    >>> [list(signals) for signals in last_segment((Episode(Task.of("2 + 2?", answer="4", family="sums"), (), said, {}),))]
    [['critique']]
    """
    return [{episode.segments[-1].name: Signal(imitate=1.0)} for episode in group]
