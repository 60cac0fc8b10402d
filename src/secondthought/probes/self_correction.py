"""Can a model correct itself when nobody says whether it was wrong?

For each held-out problem: an attempt, a request to look again that does not reveal whether it was right, and a second attempt,
always. Beside it, fresh attempts at the same problem for as many sampled tokens as the second turn took.

* ``attempt_1``, ``attempt_2``   right at the first, at the second turn; their difference D is what SCoRe raises
* ``either``                     right in one of the two turns: what an oracle could choose
* ``resampled``                  right at once, or in a fresh attempt for the same tokens: what an oracle could choose (pass@2)

D = (wrong, then right) - (right, then wrong), both as shares of all problems (SCoRe, arXiv 2409.12917, section 3).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import ClassVar

from secondthought.engines.base import Engine
from secondthought.probes.base import arm_of, effect_of, in_arm, reported, units_of, with_verdicts
from secondthought.probes.edits import edit_ratio
from secondthought.probes.on_tasks import OnTasks
from secondthought.probes.resampling import fresh_attempts
from secondthought.protocols.self_correction import Request, request_for, self_correction
from secondthought.rollouts import rollout
from secondthought.runs.progress import Progress
from secondthought.stats import mean
from secondthought.tasks.base import answers_of
from secondthought.types import Curve, Episode, Estimate, Group, Report, Table, Task, Verdict, seed_of

ATTEMPTS = ("attempt_1", "attempt_2")
BINS = 10  # of the histogram of edit ratios


@dataclass(frozen=True)
class SelfCorrection(OnTasks):
    """Measure both turns on ``n`` problems of ``tasks`` (a SPEC, its test split unless it names another, or a task set).

    tasks, grade     the problems; for your own, how answers are graded: exact, number, math, regex:PATTERN, module:function
    n                how many problems
    temperature      0 is greedy
    max_tokens       for each turn; 0: 32 for nano models, else 512
    controls         whether to sample fresh attempts as well
    refine           ask for feedback on the first attempt before the second (Self-Refine)
    request          the wording; None: what suits the model
    minimum          D that is worth speaking of (a fraction), fixed beforehand
    """

    name: ClassVar[str] = "self_correction"
    asks: ClassVar[str] = "Asked to look again, does it correct itself?"
    minimum: float = 0.02
    refine: bool = False
    request: Request | None = field(default=None)

    def measure(self, model: Engine, progress: Progress) -> list[Group]:
        """A group for each problem: the arm ``own`` and, where its first attempt failed, fresh attempts."""
        tasks, problems, sampling, style = self.posed(model)
        request = self.request or request_for(style, refine=self.refine)
        protocol = partial(self_correction, grade=tasks.grade, request=request)
        progress.step(0, 1 + self.controls, {})
        groups = rollout(protocol, problems, 1, model, sampling, seed=self.seed)
        owns = [with_change(group[0], answers_of(tasks)) for group in groups]
        progress.step(1, 1 + self.controls, {})
        if not self.controls:
            return [(own,) for own in owns]
        fresh = replace(sampling, temperature=sampling.temperature or 1.0)
        budget = {own.task.key: second_turn(own) if score(own, "attempt_1") == 0 else 0 for own in owns}
        others = fresh_attempts(model, problems, budget, tasks, fresh, seed_of("resampled", self.seed))
        progress.step(2, 2, {})
        return [(own, *other) for own, other in zip(owns, others, strict=True)]

    def report(self, groups: Sequence[Group]) -> Report:
        """Is the second attempt better than the first?"""
        return report(groups, self.minimum)


probe = SelfCorrection


def with_change(own: Episode, answer: Callable[[Task, str], str]) -> Episode:
    """The same episode in its arm, with the finding ``changed``: whether the second answer is another than the first."""
    if "attempt_2" not in own:
        return with_verdicts(own, "own", {})
    one, two = (answer(own.task, own[name].text) for name in ATTEMPTS)
    return with_verdicts(
        own, "own", {"changed": Verdict(float(one != two), None, "another answer" if one != two else "the same")}
    )


# --- numbers ---------------------------------------------------------------------------------------------------------


def report(groups: Sequence[Group], minimum: float = 0.0) -> Report:
    """The figures of one model, 95 % intervals clustered by problem."""
    keys, owns = units_of(groups), [group[0] for group in groups]
    one, two = ([score(own, name) for own in owns] for name in ATTEMPTS)
    first = arm_of("attempt_1", "first attempt", one, keys, query={"arm": "own"})
    second = arm_of("attempt_2", "second attempt", two, keys, query={"arm": "own"})
    pairs = list(zip(one, two, strict=True))
    either = arm_of("either", "right in one of both turns", [most(pair) for pair in pairs], keys, query={"arm": "own"})
    arms = [first, second, either]
    effects = [effect_of("gain", "second attempt minus first (D)", second, first, keys)]
    if any(len(group) > 1 for group in groups) or all(a == 1 for a in one):
        tries = [[e.verdicts["attempt"].score for e in in_arm(group, "resample")] for group in groups]
        passed = [most([a, *scores]) for a, scores in zip(one, tries, strict=True)]
        fresh = arm_of(
            "resampled",
            "right at once or in a fresh attempt, same tokens",
            passed,
            keys,
            query={"arm": "resample"},
            control=True,
        )
        arms.append(fresh)
        effects += [
            effect_of("own_minus_resampled", "second attempt minus fresh attempts with an oracle", second, fresh, keys),
            effect_of("either_minus_resampled", "both turns with an oracle minus fresh attempts with one", either, fresh, keys),
        ]
    figures, ratios = figures_of(pairs, keys), [ratio(own) for own in owns]
    arms += [
        arm_of("changed", "the answer changes", [score(own, "changed") for own in owns], keys, query={"arm": "own"}),
        arm_of("edit_ratio", "edit distance over length", ratios, keys, unit="ratio", query={"arm": "own"}),
    ]
    table = Table(
        "What becomes of first attempts", ("first, then second", "% of all", "% of those first"),
        tuple((label, figures[name], figures[f"{name}_given"]) for name, label in CHANGES.items()),
    )  # fmt: skip
    return reported(
        "self_correction", "asked to look again, the model is right more often than at first", arms, keys, effects=effects,
        decides="gain", minimum=minimum, figures=figures, tables=[table], curves=[histogram(ratios)],
    )  # fmt: skip


CHANGES = {
    "i_to_c": "wrong, then right", "c_to_i": "right, then wrong", "c_to_c": "right twice", "i_to_i": "wrong twice",
}  # fmt: skip


def second_turn(own: Episode) -> int:
    """How many tokens were sampled behind the first attempt."""
    return sum(len(segment.tokens) for segment in own.segments if segment.name in ("feedback", "attempt_2"))


def most(scores: Sequence[float]) -> float:
    """The highest; nan if one is not known."""
    return math.nan if any(map(math.isnan, scores)) else max(scores)


def score(own: Episode, name: str) -> float:
    """The score of an attempt; nan where there is none."""
    return own.verdicts[name].score if name in own.verdicts else math.nan


def figures_of(pairs: Sequence[tuple[float, float]], keys: Sequence[str]) -> dict[str, Estimate]:
    """The four changes as shares of all problems, and (``_given``) of those with such a first attempt."""
    found = {}
    for name in CHANGES:
        before, after = (float(letter == "c") for letter in name.split("_to_"))
        hits = [math.nan if any(map(math.isnan, pair)) else float(pair == (before, after)) for pair in pairs]
        found[name] = mean(hits, keys)
        found[f"{name}_given"] = mean(
            [hit if pair[0] == before else math.nan for hit, pair in zip(hits, pairs, strict=True)], keys
        )
    return found


def ratio(own: Episode) -> float:
    """How far the second attempt is from the first, from 0 (the same tokens) to 1; nan without one."""
    if "attempt_2" not in own:
        return math.nan
    return edit_ratio(own["attempt_1"].tokens, own["attempt_2"].tokens)


def histogram(ratios: Sequence[float]) -> Curve:
    """How large the edits are: the share of second attempts in each tenth of the edit ratio, the unchanged ones first."""
    known = [r for r in ratios if not math.isnan(r)]
    places = [0 if r == 0 else min(BINS, 1 + int(r * BINS)) for r in known]
    points = tuple(
        ((place - 0.5) / BINS if place else 0.0, mean([float(p == place) for p in places])) for place in range(BINS + 1)
    )
    return Curve("How much is changed", "edit distance over length", "% of second attempts", {"second attempts": points})
