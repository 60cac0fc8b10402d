"""Can a model take a digit off a sum where it cannot add it at once, and do its answers to a + b and b + a agree?

What SECToR (arXiv 2309.08589) needs before it begins and what it is measured by: accuracy at once (*fast*) and of one
simplification (*slow*) by number of digits. Answers to both orders come from different prompts and must agree; how often they
do can be seen without knowing what is right, and says little where a model has the same false habit in both.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from secondthought.engines.base import Engine, Sampling
from secondthought.errors import UserError
from secondthought.probes.answer import PART
from secondthought.probes.base import arm_of, effect_of, reported, units_of
from secondthought.probes.on_tasks import OnTasks
from secondthought.protocols.base import Draft, Grade, gather
from secondthought.rollouts import drive
from secondthought.runs.progress import Progress
from secondthought.stats import bootstrapped, mean
from secondthought.tasks.addition import FAMILY, Kind, asked_again, sum_of
from secondthought.types import Curve, Episode, Estimate, Group, Report, Table, Task, TaskSet, Verdict

LABELS = {"fast": "at once", "swapped": "at once, b + a", "slow": "one simplification", "agreement": "both orders agree"}


@dataclass(frozen=True)
class Digits(OnTasks):
    """Ask for each of ``n`` sums three times: at once, at once with the numbers in the other order, and for one simplification.

    tasks            addition[:DIGITS][:SPLIT]
    temperature      0: the likeliest answer, as in the paper
    reached          accuracy at once up to which a number of digits counts as reached, if all shorter ones are too
    minimum          slow minus fast that is worth speaking of (a fraction), fixed beforehand
    """

    name: ClassVar[str] = "digits"
    nano_tokens: ClassVar[int] = 128
    tasks: str | TaskSet = "addition"
    n: int = 500
    temperature: float = 0.0
    reached: float = 0.95
    minimum: float = 0.05

    def measure(self, model: Engine, progress: Progress) -> list[Group]:
        """A group of three episodes for each sum. Raises UserError for tasks that are no sums."""
        tasks, problems, sampling, _ = self.posed(model)
        if problems and problems[0].family != FAMILY:
            raise UserError(f"probe digits asks for sums, not {problems[0].family}: use --tasks {FAMILY}")
        found: list[Group] = []
        for begin in range(0, len(problems), PART):
            scripts = (asked(task, grade=tasks.grade, sampling=sampling) for task in problems[begin : begin + PART])
            found += drive(scripts, model, sampling, seed=self.seed)
            progress.step(len(found), len(problems), {})
        return found

    def report(self, groups: Sequence[Group]) -> Report:
        """Accuracy at once, of simplifications, and agreement, each by number of digits; and the number of digits reached."""
        return report(groups, self.reached, self.minimum)


probe = Digits


async def asked(task: Task, *, grade: Grade, sampling: Sampling) -> Group:
    """The three answers to one sum."""
    whole = sum_of(task)
    ways: tuple[tuple[str, Kind], ...] = (("fast", "fast"), ("swapped", "fast"), ("slow", "slow"))

    async def one(number: int, arm: str, kind: Kind) -> Episode:
        given = whole.swapped if arm == "swapped" else whole
        question = asked_again(task, given, kind)
        draft = Draft(question, (number,), arm=arm)
        return draft.close(attempt=grade(question, await draft.sample("attempt", sampling=sampling)))

    return await gather(*(one(number, *way) for number, way in enumerate(ways)))


def report(groups: Sequence[Group], reached: float, minimum: float) -> Report:
    """What the answers to some sums show."""
    keys = units_of(groups)
    scores = {arm: [by_arm(group, arm).score for group in groups] for arm in ("fast", "swapped", "slow")}
    scores["agreement"] = [agreement(group) for group in groups]
    arms = [arm_of(name, LABELS[name], scores[name], keys, control=name == "agreement") for name in scores]
    lengths = [sum_of(group[0].task).digits for group in groups]
    found: dict[str, dict[int, Estimate]] = {
        name: {digits: _at(scores[name], keys, lengths, digits) for digits in sorted(set(lengths))} for name in scores
    }
    curve = Curve(
        "By number of digits", "digits", "%",
        {LABELS[name]: tuple((float(digits), one) for digits, one in line.items()) for name, line in found.items()},
    )  # fmt: skip
    table = Table(
        "By number of digits", ("digits", *(LABELS[name] for name in scores)),
        tuple((digits, *(found[name][digits] for name in scores)) for digits in sorted(set(lengths))),
    )  # fmt: skip
    figures = {
        "reach": bootstrapped(
            lambda at: reach([lengths[i] for i in at], [scores["fast"][i] for i in at], reached), keys, unit="digits"
        )
    }  # fmt: skip
    effect = effect_of("slow_over_fast", "one simplification minus at once", arms[2], arms[0], keys)
    return reported(
        "digits", "it can take a digit off where it cannot add at once", arms, keys, effects=[effect],
        decides="slow_over_fast", minimum=minimum, figures=figures, tables=[table], curves=[curve],
    )  # fmt: skip


def by_arm(group: Group, arm: str) -> Verdict:
    """The verdict in one arm."""
    return next(e.verdicts["attempt"] for e in group if e.arm == arm)


def agreement(group: Group) -> float:
    """Whether both orders got the same answer; answers that cannot be read agree with nothing."""
    one, other = (by_arm(group, arm) for arm in ("fast", "swapped"))
    if not (one.graded and other.graded):
        return math.nan
    return float(one.answer is not None and one.answer == other.answer)


def reach(lengths: Sequence[int], right: Sequence[float], least: float) -> float:
    """The largest number of digits up to which every number of digits is right so often; one less than the shortest if none is.

    >>> reach([1, 1, 2, 2, 3], [1.0, 1.0, 1.0, 1.0, 0.0], 0.95)
    2.0
    """
    by_length: dict[int, list[float]] = {}
    for length, score in zip(lengths, right, strict=True):
        by_length.setdefault(length, []).append(score)
    found = min(by_length, default=1) - 1
    for length in sorted(by_length):
        if sum(by_length[length]) / len(by_length[length]) < least:
            break
        found = length
    return float(found)


def _at(scores: Sequence[float], keys: Sequence[str], lengths: Sequence[int], digits: int) -> Estimate:
    places = [i for i, length in enumerate(lengths) if length == digits]
    return mean([scores[i] for i in places], [keys[i] for i in places])
