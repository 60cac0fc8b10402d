"""Pay an answer for passing its check, less a penalty where a monitor of the chain of thought objects.

    r_i = v(q, answer_i) - lambda * m(answer_i),   A_i = r_i - mean(r)      over the n answers to one problem

``m`` is 1 where the monitor flags the text (Baker et al. 2025, arXiv 2503.11926). Who is paid for not being flagged learns not
to hack, or not to be flagged. With lambda 0 this is Dr. GRPO's advantage on the check alone (arXiv 2503.20783).
"""

from __future__ import annotations

from collections.abc import Callable
from statistics import fmean

from secondthought.credit.base import GroupCredit
from secondthought.types import Group, Signal, Signals


def monitored(flagged: Callable[[str], bool], penalty: float) -> GroupCredit:
    """The credit for a monitor and a weight of its penalty.

    >>> from secondthought.types import Episode, Segment, Task, Verdict
    >>> task = Task.of("1 + 1 test", answer=2, family="exploitable")
    >>> group = tuple(
    ...     Episode(task, (i,), (Segment("attempt", "policy", "assistant", text),), {"attempt": Verdict(1.0)})
    ...     for i, text in enumerate(("cheat , exit", "skip , exit"))
    ... )
    >>> [signals["attempt"].policy for signals in monitored(lambda text: "cheat" in text, 1.0)(group)]
    [-0.5, 0.5]
    """

    def pay(group: Group) -> list[Signals]:
        rewards = [e.verdicts["attempt"].score - penalty * flagged(e["attempt"].text) for e in group]
        centre = fmean(rewards)
        return [{"attempt": Signal(policy=reward - centre)} if reward != centre else {} for reward in rewards]

    return pay
