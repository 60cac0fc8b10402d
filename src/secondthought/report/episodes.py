"""What episodes look like to a reader: which past they share, what was paid, and how strongly a token is to be shaded."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import takewhile
from typing import Any

from secondthought.report.tokens import TokenTexts
from secondthought.runs.reading import Paid
from secondthought.types import Episode, Group, Segment, Signal


def shared_past(conversations: Sequence[Sequence[Segment]], paid: set[str]) -> list[Segment]:
    """The past that all conversations have in common, up to the first segment that somebody is paid for."""
    columns = zip(*conversations, strict=False)
    return [column[0] for column in takewhile(lambda c: len(set(c)) == 1 and c[0].name not in paid, columns)]


def advantage(signals: Mapping[str, Signal]) -> float:
    """The advantage of an episode: that of its first paid segment, the strongest token's where tokens differ."""
    found = [s.policy if not isinstance(s.policy, tuple) else max(s.policy, key=abs) for s in signals.values() if s.policy]
    return found[0] if found else 0.0


def shares(segment: Segment, signal: Signal) -> tuple[float, ...]:
    """The advantage of each token of a segment."""
    return signal.policy if isinstance(signal.policy, tuple) else (float(signal.policy),) * len(segment.tokens)


def strength(share: float) -> float:
    """How full the shade of a token is, from 0 to 1.

    >>> strength(0.0), round(strength(1.0), 2), strength(-9.0)
    (0.0, 0.39, 0.75)
    """
    return min(abs(share) / 2.5, 1.0) * 0.6 + 0.15 if share else 0.0


def tokens_of(segment: Segment, signal: Signal, token_texts: TokenTexts) -> list[dict[str, Any]] | None:
    """Each token of a segment: its ``text``, its ``share`` of the advantage, the ``strength`` of its shade, its
    ``logprob``. None where nobody knows how they are spelled.
    """
    pieces = token_texts.pieces(segment.tokens)
    if pieces is None:
        return None
    logprobs = segment.logprobs or (None,) * len(segment.tokens)
    return [
        {"text": text, "share": share, "strength": strength(share), "logprob": logprob}
        for text, share, logprob in zip(pieces, shares(segment, signal), logprobs, strict=True)
    ]


def groups_of(rows: Sequence[Paid]) -> list[list[Paid]]:
    """Episodes that stand in one file, by their group: the task that they share."""
    found: dict[str, list[Paid]] = {}
    for episode, signals in rows:
        found.setdefault(episode.task.key, []).append((episode, signals))
    return list(found.values())


def changed(before: Sequence[Group], after: Sequence[Group]) -> list[tuple[Episode, Episode]]:
    """The first episode of the same problem before and after, those whose final score changed: got right first, then spoilt."""
    old = {group[0].task.key: group[0] for group in before}
    pairs = [(old[group[0].task.key], group[0]) for group in after if group[0].task.key in old]

    def gain(pair: tuple[Episode, Episode]) -> float:
        first, last = (episode.final for episode in pair)
        return last.score - first.score if first is not None and last is not None else 0.0

    return [pair for pair in pairs if gain(pair) > 0] + [pair for pair in pairs if gain(pair) < 0]
