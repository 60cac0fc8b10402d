"""What a probe is, and the few things that all reports are made of.

A probe measures a model and reports. ``measure`` writes groups of episodes; everything that the report needs rides on them: the
arm as a fact, findings as verdicts. ``report`` is a pure function of the groups, so that stored episodes can be scored again.
:func:`secondthought.probes.run.run_probe` owns everything else: the folder, the models, the cache, resuming, progress.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import ClassVar, Protocol, Self, TypeVar

from secondthought.engines.base import Access, Engine
from secondthought.runs.progress import Progress
from secondthought.stats import decide, difference, mean
from secondthought.types import Arm, Curve, Effect, Episode, Estimate, Group, Report, Table, Verdict


@dataclass(frozen=True)
class Checkpoint:
    """One model at one moment: a folder, or a hub name at a revision. ``tokens`` is what it has read (None: not known)."""

    place: str
    name: str
    revision: str | None = None
    series: str = ""
    size: str = ""
    run: str = ""
    tokens: float | None = None


@dataclass(frozen=True)
class Measured:
    """What a probe found of one checkpoint; ``parameters`` is 0 where they are not known.

    >>> from secondthought.types import Estimate
    >>> arm = arm_of("asked", "asked politely", [1.0, 0.0], ["a", "b"])
    >>> found = Measured(Checkpoint("nano/countdown", "nano/countdown"), 0, reported("greets", "it greets", [arm], ["a", "b"]))
    >>> found.report.arm("asked").estimate.value
    0.5
    """

    checkpoint: Checkpoint
    parameters: int
    report: Report


class Probe(Protocol):
    """A measurement. Write a frozen dataclass that inherits from this; its fields are its options (``--set NAME=VALUE``).

    >>> from secondthought.engines.scripted import Scripted
    >>> from secondthought.runs.progress import Silence
    >>> from secondthought.protocols.base import Draft
    >>> from secondthought.rollouts import drive
    >>> from secondthought.types import Task, Verdict
    >>> @dataclass(frozen=True)
    ... class Greets(Probe):
    ...     name: ClassVar[str] = "greets"
    ...     n: int = 3
    ...     def measure(self, model, progress):
    ...         async def greet(i):
    ...             draft = Draft(Task.of(f"Hello {i}", answer=None, family="greetings"), arm="asked")
    ...             return (draft.close(reply=Verdict(float("hello" in await draft.sample("reply")))),)
    ...         return drive([greet(i) for i in range(self.n)], model)
    ...     def report(self, groups):
    ...         arm = arm_of("asked", "asked politely", [g[0].verdicts["reply"].score for g in groups], units_of(groups))
    ...         return reported(self.name, "it greets back", [arm], units_of(groups))
    >>> probe = Greets()
    >>> probe.report(probe.measure(Scripted(lambda request: "hello you"), Silence())).arm("asked").estimate.value
    1.0
    """

    name: ClassVar[str]
    access: ClassVar[Access] = Access.SAMPLE
    asks: ClassVar[str] = ""  # the question that it answers; probes that have one are part of ``probe all``
    brief: ClassVar[Mapping[str, object]] = MappingProxyType({})  # its options there, where the defaults take too long
    bare_without_template: ClassVar[bool] = False  # whether models without a chat template are asked by bare text

    def prepare(self, progress: Progress) -> Self:
        """Load what the measurement needs (tasks, items), once for all models. Raises UserError for what is not there."""
        return self

    def measure(self, model: Engine, progress: Progress) -> Sequence[Group]:
        """The groups of this model: what is compared with each other stands in one group, each episode with its arm."""
        ...

    def report(self, groups: Sequence[Group]) -> Report:
        """What the groups show; nothing else may be looked at."""
        ...

    def across(self, found: Sequence[Measured]) -> Report | None:
        """What several models show together; None where there is nothing to add. Unless overridden, every arm over tokens
        read.
        """
        return along_tokens(self.name, found)

    def notes(self) -> tuple[str, ...]:
        """What a reader should know of the items, such as rows that were left out."""
        return ()


# --- what reports are made of ----------------------------------------------------------------------------------------


def units_of(groups: Sequence[Group]) -> tuple[str, ...]:
    """A name for each group: the key of its task.

    >>> from secondthought.types import Task
    >>> task = Task.of("2 + 2?", answer="4", family="sums")
    >>> units_of([(Episode(task, (0,), (), {}),)]) == (task.key,)
    True
    """
    return tuple(group[0].task.key for group in groups)


def in_arm(group: Group, arm: str) -> list[Episode]:
    """The episodes of one arm."""
    return [episode for episode in group if episode.arm == arm]


def arm_of(
    name: str, label: str, scores: Sequence[float], clusters: Sequence[str], *, unit: str = "fraction",
    query: Mapping[str, str] | None = None, control: bool = False,
) -> Arm:  # fmt: skip
    """An arm with its mean and its interval, clustered by ``clusters``; nan scores are left out.

    >>> arm_of("a", "all of it", [1.0, 0.0, 1.0, 1.0], ["q1", "q2", "q3", "q4"]).estimate.value
    0.75
    """
    return Arm(
        name, label, mean(scores, clusters, unit=unit), tuple(scores), {"arm": name} if query is None else query, control
    )


def effect_of(name: str, label: str, left: Arm, right: Arm, clusters: Sequence[str]) -> Effect:
    """The paired difference of two arms, over the units that both have.

    >>> own = arm_of("own", "own", [1.0, 1.0, 0.0], ["a", "b", "c"])
    >>> other = arm_of("other", "other", [0.0, 1.0, 0.0], ["a", "b", "c"])
    >>> round(effect_of("real", "own minus other", own, other, ["a", "b", "c"]).estimate.value, 2)
    0.33
    """
    return Effect(name, label, difference(left.scores, right.scores, clusters))


def reported(
    probe: str, claim: str, arms: Sequence[Arm], units: Sequence[str], *, effects: Sequence[Effect] = (), decides: str = "",
    null: float = 0.0, minimum: float = 0.0, clusters: Sequence[str] = (), figures: Mapping[str, Estimate] | None = None,
    tables: Sequence[Table] = (), curves: Sequence[Curve] = (), notes: Sequence[str] = (),
) -> Report:  # fmt: skip
    """A report whose verdict is what the effect called ``decides`` says (:func:`secondthought.stats.decide`).

    Without effects the claim is that the first arm is above ``null``.

    >>> arm = arm_of("asked", "asked politely", [1.0, 1.0], ["a", "b"])
    >>> reported("greets", "it greets back", [arm], ["a", "b"]).arm("asked").estimate.value
    1.0
    """
    named = {effect.name: effect.estimate for effect in effects}
    first = arms[0].estimate if arms else Estimate(math.nan, math.nan, math.nan, 0)
    effect = named.get(decides, first if not decides else Estimate(math.nan, math.nan, math.nan, 0))
    verdict, reasons = decide(effect, null=null, minimum=minimum)
    everything = {arm.name: arm.estimate for arm in arms} | named | dict(figures or {})
    return Report(
        probe, claim, verdict, reasons, tuple(arms), tuple(effects), decides, null, minimum, everything, tuple(tables),
        tuple(curves), tuple(units), tuple(clusters or units), tuple(notes),
    )  # fmt: skip


def changes(before: Report, after: Report) -> tuple[Effect, ...]:
    """For each arm what changed between two reports, paired by the units that both measured in it."""
    old = {arm.name: dict(zip(before.units, arm.scores, strict=True)) for arm in before.arms if arm.scores}
    found = []
    for arm in after.arms:
        rows = [
            (new, old[arm.name][unit], cluster)
            for unit, cluster, new in zip(after.units, after.clusters, arm.scores, strict=True)
            if unit in old.get(arm.name, {})
        ] if arm.scores else []  # fmt: skip
        if rows:
            new, earlier, clusters = zip(*rows, strict=True)
            found.append(Effect(arm.name, arm.label, difference(new, earlier, clusters, unit=arm.estimate.unit)))
    return tuple(found)


K = TypeVar("K")


def circle(items: Sequence[K], differs: Callable[[K, K], bool] = lambda one, other: True) -> dict[int, K]:
    """For each place in a (shuffled) sequence the next item that differs from its own, so that nobody gets their own."""
    found = {}
    for i, own in enumerate(items):
        others = (items[(i + k) % len(items)] for k in range(1, len(items)))
        donor = next((other for other in others if differs(own, other)), None)
        if donor is not None:
            found[i] = donor
    return found


def along_tokens(probe: str, found: Sequence[Measured]) -> Report | None:
    """Every arm over the tokens that the checkpoints have read, a picture for each training run."""
    known = [one for one in found if one.checkpoint.tokens]
    runs = dict.fromkeys(one.checkpoint.run or one.checkpoint.name for one in known)
    curves = []
    for run in runs:
        points = sorted((p for p in known if (p.checkpoint.run or p.checkpoint.name) == run), key=_tokens)
        if len(points) > 2:
            names = {arm.name: arm.label for p in points for arm in p.report.arms if arm.estimate.unit == "fraction"}
            series = {
                label: tuple((_tokens(p), p.report.figures[name]) for p in points if name in p.report.figures)
                for name, label in names.items()
            }
            curves.append(Curve(f"Along training: {run}", "tokens read", "%", series, log_x=True))
    if not curves:
        return None
    return Report(probe, "", "not applicable", ("a picture over checkpoints, not a claim",), curves=tuple(curves))


def _tokens(point: Measured) -> float:
    return point.checkpoint.tokens or 0.0


def with_verdicts(episode: Episode, arm: str, verdicts: Mapping[str, Verdict]) -> Episode:
    """The same episode in an arm, with further verdicts on it."""
    return replace(episode, arm=arm, verdicts={**episode.verdicts, **verdicts})
