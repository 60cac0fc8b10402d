"""From groups and signals to rows a model can be trained on: shared prefixes once, unpaid tails never.

A row is a tree. The problem and the failed attempt stand once at its root, the G reflections hang below as branches, and a
token may look at its ancestors only. Positions count along the path, so every branch reads exactly as it was sampled. A
*target* is one trained token: where its prediction is made, what it is, and what the three streams give it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from secondthought.types import Group, Segment, Signal, Signals


@dataclass(frozen=True, slots=True)
class Target:
    """One trained token. ``at`` is the index in its row whose output predicts it; ``sampler`` its recorded log-prob (nats).

    ``segment`` numbers the paid segment in the row; ``share`` is 1 over the tokens of that segment.
    """

    at: int
    token: int
    sampler: float
    policy: float
    kl: float
    imitate: float
    segment: int
    share: float


@dataclass(frozen=True, slots=True)
class Row:
    """A tree of tokens. ``parents[i]`` is the index of the token before token i on its path (-1 at the root).

    >>> Row((5, 6, 7, 8), (-1, 0, 1, 1), ()).positions      # 7 and 8 are two branches after 6
    (0, 1, 2, 2)
    """

    tokens: tuple[int, ...]
    parents: tuple[int, ...]
    targets: tuple[Target, ...]

    @property
    def positions(self) -> tuple[int, ...]:
        """The position of each token along its path."""
        found: list[int] = []
        for parent in self.parents:
            found.append(found[parent] + 1 if parent >= 0 else 0)
        return tuple(found)


@dataclass(slots=True)
class _Node:
    """A segment in the tree, with its children; several episodes pass through it while they are the same and unpaid."""

    segment: Segment
    signal: Signal | None
    children: list[_Node] = field(default_factory=list)

    @property
    def trains(self) -> bool:
        return self.signal is not None or any(child.trains for child in self.children)


@dataclass(frozen=True, slots=True)
class Rows:
    """The rows of one batch, and how many groups had no signal."""

    rows: tuple[Row, ...]
    groups: int
    zero_signal: int

    def __len__(self) -> int:
        return len(self.rows)


def carries_signal(signal: Signal | None) -> bool:
    """Whether a signal is anything but zero."""
    if signal is None:
        return False
    policy = any(signal.policy) if isinstance(signal.policy, tuple) else signal.policy
    return bool(policy or signal.kl or signal.imitate)


def compile_rows(groups: Sequence[Group], signals: Sequence[Sequence[Signals]]) -> Rows:
    """One row for each group that has a signal; groups without one are counted, not fed.

    Raises ValueError where a signal names a segment that is not there, or pays tokens nobody sampled.
    """
    rows: list[Row] = []
    for group, paid in zip(groups, signals, strict=True):
        rows.extend(_row(root) for root in _trees(group, paid) if root.trains)
    zero_signal = sum(not any(carries_signal(s) for episode in paid for s in episode.values()) for paid in signals)
    return Rows(tuple(rows), len(groups), zero_signal)


def _trees(group: Group, signals: Sequence[Signals]) -> list[_Node]:
    roots: list[_Node] = []
    for episode, paid in zip(group, signals, strict=True):
        for name in paid:
            if name not in episode:
                raise ValueError(f"a signal pays segment {name!r}, and the episode has none of that name")
        level = roots
        for segment in episode.segments:
            signal = paid.get(segment.name)
            paid_signal = signal if carries_signal(signal) and segment.tokens else None
            if paid_signal is not None and paid_signal.policy and segment.logprobs is None:
                raise ValueError(f"a signal pays segment {segment.name!r}, which nobody sampled; use imitate for given text")
            node = next(
                (n for n in level if paid_signal is None and n.signal is None and n.segment.tokens == segment.tokens), None
            )
            if node is None:
                node = _Node(segment, paid_signal)
                level.append(node)
            level = node.children
    return roots


def _row(root: _Node) -> Row:
    tokens: list[int] = []
    parents: list[int] = []
    targets: list[Target] = []
    segments = 0
    stack: list[tuple[_Node, int]] = [(root, -1)]
    while stack:
        node, parent = stack.pop()
        if not node.trains:
            continue
        first = len(tokens)
        for i, token in enumerate(node.segment.tokens):
            tokens.append(token)
            parents.append(parent if i == 0 else first + i - 1)
        if node.signal is not None:
            targets.extend(_targets(node, first, parent, segments))
            segments += 1
        last = len(tokens) - 1 if node.segment.tokens else parent
        stack.extend((child, last) for child in reversed(node.children))
    return Row(tuple(tokens), tuple(parents), tuple(targets))


def _targets(node: _Node, first: int, parent: int, number: int) -> Iterator[Target]:
    """A signal is for a whole segment, its first token (predicted by its parent's last) and its stop token included."""
    segment, signal = node.segment, node.signal
    assert signal is not None
    count = len(segment.tokens)
    policy = signal.policy if isinstance(signal.policy, tuple) else (signal.policy,) * count
    if len(policy) != count:
        raise ValueError(f"segment {segment.name!r} has {count} tokens and {len(policy)} token advantages")
    sampler = segment.logprobs or (0.0,) * count
    for i, token in enumerate(segment.tokens):
        at = parent if i == 0 else first + i - 1
        if at >= 0:  # the very first token of a conversation has nothing to be predicted from
            yield Target(at, token, sampler[i], policy[i], signal.kl, signal.imitate, number, 1.0 / count)


def pack(rows: Rows, *, budget: int) -> list[tuple[Row, ...]]:
    """Micro-batches of rows of like length, each at most ``budget`` tokens once padded (one row may exceed it alone)."""
    batches: list[list[Row]] = []
    for row in sorted(rows.rows, key=lambda row: -len(row.tokens)):
        if not batches or len(batches[-1][0].tokens) * (len(batches[-1]) + 1) > budget:
            batches.append([])
        batches[-1].append(row)
    return [tuple(batch) for batch in batches]
