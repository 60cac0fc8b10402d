"""Does a model know whether its own answer is right, when it is asked for a critique of it?

For each held-out problem an answer and the model's critique of it, whose verdict is held against the grader's. The controls:
what one gets who always says the commoner verdict, and the verdict on another problem's answer (which sees no more than how
often this model is right).

``auroc`` is the area under the curve of a verdict that is right or wrong and nothing between, which is the mean of the rates at
which right answers are called right and wrong ones wrong, where there is a verdict. For the arm ``verdict`` none counts as a
wrong one.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from random import Random
from typing import ClassVar

from secondthought.engines.base import Engine
from secondthought.probes.base import arm_of, circle, effect_of, reported, units_of, with_verdicts
from secondthought.probes.on_tasks import OnTasks
from secondthought.protocols.critiqued import judged, request_for
from secondthought.rollouts import rollout
from secondthought.runs.progress import Progress
from secondthought.stats import mean
from secondthought.tasks.critic import verdict_in
from secondthought.types import Episode, Estimate, Group, Report, Verdict, seed_of

PART = 128  # problems at a time, so that progress can be seen


@dataclass(frozen=True)
class CritiqueProbe(OnTasks):
    """Measure verdicts on ``n`` problems of ``tasks`` (a SPEC, its test split unless it names another, or a task set).

    tasks, grade     the problems; for your own, how answers are graded: exact, number, math, regex:PATTERN, module:function
    n                how many problems
    temperature      0 is greedy
    max_tokens       for each turn; 0: 64 for nano models, else 512
    minimum          verdicts that are right, less those of the commoner verdict, worth speaking of; fixed beforehand
    """

    name: ClassVar[str] = "critique"
    nano_tokens: ClassVar[int] = 64
    minimum: float = 0.02

    def measure(self, model: Engine, progress: Progress) -> list[Group]:
        """A group of one for each problem, with the finding ``judged`` (1: the verdict is right)."""
        tasks, problems, sampling, style = self.posed(model)
        protocol = partial(judged, grade=tasks.grade, request=request_for(style))
        found: list[Group] = []
        for begin in range(0, len(problems), PART):
            groups = rollout(protocol, problems[begin : begin + PART], 1, model, sampling, seed=self.seed)
            found += [(with_finding(group[0]),) for group in groups]
            progress.step(len(found), len(problems), {})
        return found

    def report(self, groups: Sequence[Group]) -> Report:
        """Are more verdicts right than those of one who always says the commoner one?"""
        return report(groups, self.minimum)


probe = CritiqueProbe


def with_finding(episode: Episode) -> Episode:
    """The same episode with the finding ``judged``; without a critique there is none."""
    if "critique" not in episode:
        return with_verdicts(episode, "own", {})
    said = verdict_in(episode["critique"].text)
    right = episode.verdicts["attempt"].score == 1
    answer = None if said is None else "right" if said else "wrong"
    return with_verdicts(
        episode, "own", {"judged": Verdict(float(said is right), answer, "no verdict" if said is None else "")}
    )


def report(groups: Sequence[Group], minimum: float = 0.0) -> Report:
    """The figures of one model, 95 % intervals clustered by problem."""
    keys, owns = units_of(groups), [group[0] for group in groups]
    right = [own.verdicts["attempt"].score for own in owns]
    judged_right = [own.verdicts["judged"].score if "judged" in own.verdicts else math.nan for own in owns]
    known = [r for r in right if not math.isnan(r)]
    commoner = float(2 * sum(known) >= len(known))
    prior = [math.nan if math.isnan(r) else float(r == commoner) for r in right]
    others = borrowed(owns, right)
    hit = arm_of("verdict", "the verdict on its own answer is right", judged_right, keys, query={})
    base = arm_of("commoner", "always the commoner verdict", prior, keys, query={}, control=True)
    other = arm_of("borrowed", "the verdict on another problem's answer", others, keys, query={}, control=True)
    arms = [hit, base, other, arm_of("first", "the answer is right", right, keys, query={})]
    called = [own.verdicts["judged"].answer if "judged" in own.verdicts else None for own in owns]
    stated = [math.nan if c is None else j for c, j in zip(called, judged_right, strict=True)]
    arms.append(arm_of("called_right", "answers that it calls right", [float(c == "right") for c in called], keys, query={}))
    return reported(
        "critique", "the model's verdict on its own answers is right more often than the commoner verdict", arms, keys,
        effects=[
            effect_of("over_commoner", "verdict minus the commoner verdict", hit, base, keys),
            effect_of("over_borrowed", "verdict minus that on another answer", hit, other, keys),
        ],
        decides="over_commoner", minimum=minimum, figures={"auroc": auroc(stated, right, keys)},
    )  # fmt: skip


def borrowed(owns: Sequence[Episode], right: Sequence[float]) -> list[float]:
    """Whether the verdict on another problem's answer, dealt in a random circle, fits this answer."""
    order = list(range(len(owns)))
    Random(seed_of("borrowed verdicts")).shuffle(order)
    found = [math.nan] * len(owns)
    for place, other in circle(order).items():
        own = order[place]
        if "judged" in owns[other].verdicts and not math.isnan(right[own]):
            said = owns[other].verdicts["judged"].answer
            found[own] = float(said == ("right" if right[own] else "wrong"))
    return found


def auroc(judged_right: Sequence[float], right: Sequence[float], keys: Sequence[str]) -> Estimate:
    """The mean of both rates of right verdicts, with an interval from theirs (independent halves); nan without verdicts."""
    halves = [
        mean([j if r == want else math.nan for j, r in zip(judged_right, right, strict=True)], keys) for want in (1.0, 0.0)
    ]
    value = sum(half.value for half in halves) / 2
    spread = math.sqrt(sum(((half.high - half.low) / 2) ** 2 for half in halves)) / 2
    return Estimate(value, value - spread, value + spread, sum(half.n for half in halves), "r")
