"""Does reflecting help, and is it the reflection that helps?

For each held-out problem: one attempt; where it fails, one reflection and one retry. Beside the model's own reflection the
same failed attempt is retried with

* ``donor``     the reflection the model wrote about another failure,
* ``generic``   a constant that fits any problem,
* ``empty``     nothing at all,
* ``resample``  no reflection: fresh attempts for as many sampled tokens as the own reflection and retry took (at temperature 1
                where everything else is greedy).

All arms stop at the first success and know from the grader that the first attempt failed; none knows more. ``second`` is
P(right at once) + P(wrong at once, right after one reflection) as in Reflect, Retry, Reward (arXiv 2505.24726).
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from random import Random
from typing import ClassVar

from secondthought.engines.base import Engine, Sampling
from secondthought.probes.base import arm_of, circle, effect_of, in_arm, reported, units_of, with_verdicts
from secondthought.probes.on_tasks import OnTasks
from secondthought.probes.resampling import fresh_attempts
from secondthought.protocols.base import Draft, gather, given
from secondthought.protocols.reflect_retry import Prompts, prompts_for, reflect_retry
from secondthought.rollouts import rollout
from secondthought.runs.progress import Progress
from secondthought.stats import mean
from secondthought.tasks.base import leak_of
from secondthought.types import Arm, Episode, Estimate, Group, Report, Segment, Table, Task, TaskSet, Verdict, seed_of

SWAPS = {"donor": "another problem's reflection", "generic": "a constant reflection", "empty": "an empty reflection"}
LEAKS = ("none", "hint", "first step", "full")


@dataclass(frozen=True)
class SecondTry(OnTasks):
    """Measure second tries on ``n`` problems of ``tasks`` (a SPEC, its test split unless it names another, or a task set).

    tasks, grade     the problems; for your own, how answers are graded: exact, number, math, regex:PATTERN, module:function
    n                how many problems
    temperature      0 is greedy
    max_tokens       for each turn; 0: 32 for nano models, else 512
    controls         whether to measure the other arms as well
    prompts          the wording; None: what suits the model
    minimum          own reflection minus fresh attempts that is worth speaking of (a fraction), fixed beforehand
    """

    name: ClassVar[str] = "second_try"
    asks: ClassVar[str] = "Does reflecting on a failure help more than trying again for the same tokens?"
    minimum: float = 0.02
    prompts: Prompts | None = field(default=None)

    def measure(self, model: Engine, progress: Progress) -> list[Group]:
        """A group for each problem: the arm ``own``, and, where its attempt failed, the controls."""
        tasks, problems, sampling, style = self.posed(model)
        setting = _Setting(tasks, self.prompts or prompts_for(style), sampling, self.seed)
        protocol = partial(reflect_retry, grade=setting.tasks.grade, prompts=setting.prompts)
        parts = 3 if self.controls else 1
        progress.step(0, parts, {})
        groups = rollout(protocol, problems, 1, model, setting.sampling, seed=self.seed)
        degree = leak_of(setting.tasks)
        owns = [_own(group[0], degree) for group in groups]
        found: dict[str, list[Episode]] = {own.task.key: [own] for own in owns}
        failures = [own for own in owns if "retry" in own.verdicts]
        progress.step(1, parts, {})
        if self.controls and failures:
            for done, episodes in enumerate(setting.controls(model, failures), 2):
                for episode in episodes:
                    found[episode.task.key].append(episode)
                progress.step(done, parts, {})
        return [tuple(found[own.task.key]) for own in owns]

    def report(self, groups: Sequence[Group]) -> Report:
        """On the same failures and for the same sampled tokens: does reflecting beat trying again?"""
        return report(groups, self.minimum)


probe = SecondTry


@dataclass(frozen=True)
class _Setting:
    """What stays fixed while one model is measured."""

    tasks: TaskSet
    prompts: Prompts
    sampling: Sampling
    seed: int

    def controls(self, model: Engine, failures: Sequence[Episode]) -> Iterator[list[Episode]]:
        """The other arms on the same failures: other reflections, then none."""
        given = donors(failures, self.seed)
        swaps = {
            arm: {f.task.key: intervention(arm, given.get(f.task.key), self.prompts) for f in failures} for arm in SWAPS
            if arm != "donor" or len(failures) > 1  # else there is no other reflection to borrow
        }  # fmt: skip
        seed = seed_of("swaps", self.seed)
        yield retries(model, failures, swaps, self.tasks, self.prompts, self.sampling, seed)
        fresh = replace(
            self.sampling, temperature=self.sampling.temperature or 1.0
        )  # greedy attempts would all be the failed one
        budget = {
            own.task.key: sum(len(s.tokens) for name in ("reflection", "retry") for s in own.turns(name)) for own in failures
        }
        problems = [own.task for own in failures]
        groups = fresh_attempts(model, problems, budget, self.tasks, fresh, seed_of("resample", self.seed))
        yield [episode for group in groups for episode in group]


def _own(episode: Episode, degree: Callable[[Task, str], str]) -> Episode:
    leak = degree(episode.task, episode["reflection"].text) if "reflection" in episode else None
    return with_verdicts(episode, "own", {} if leak is None else {"leak": Verdict(float(leak == "full"), leak)})


def retries(
    engine: Engine, failures: Sequence[Episode], reflections: Mapping[str, Mapping[str, Segment]], tasks: TaskSet,
    prompts: Prompts, sampling: Sampling, seed: int,
) -> list[Episode]:  # fmt: skip
    """Each failure retried once in every arm of ``reflections`` with what that arm gives for its task, token for token.

    The arms stand side by side, so that what they share is read once; equal reflections get equal retries (the same seeds).
    """

    async def retry(failed: Episode, arm: str) -> Episode:
        draft = Draft(failed.task, arm=arm)
        context = failed.segments[1 : place_of(failed, "ask_reflection") + 1]
        draft.replay(*context, reflections[arm][failed.task.key])
        draft.write("ask_retry", prompts.retry_of(failed.task))
        verdict = await draft.solve("retry", tasks.grade)
        return draft.close(attempt=failed.verdicts["attempt"], retry=verdict)

    async def script(task: Task, _: int) -> Group:
        return await gather(*(retry(by_key[task.key], arm) for arm in reflections))

    by_key = {failed.task.key: failed for failed in failures}
    groups = rollout(script, [f.task for f in failures], 1, engine, sampling, seed=seed)
    return [episode for group in groups for episode in group]


def place_of(episode: Episode, name: str) -> int:
    """Where the first segment of that name stands."""
    return next(i for i, segment in enumerate(episode.segments) if segment.name == name)


def donors(failures: Sequence[Episode], seed: int) -> dict[str, Segment]:
    """Each failure gets the reflection of the next one in a random circle, so nobody gets their own."""
    order = list(failures)
    Random(seed_of("donors", seed)).shuffle(order)
    return {order[i].task.key: donor["reflection"] for i, donor in circle(order).items()}


def intervention(arm: str, donor: Segment | None, prompts: Prompts) -> Segment:
    """The reflection that an arm puts in place of the model's own."""
    if arm == "donor":
        assert donor is not None
        return given(donor)
    return Segment("reflection", "intervention", "assistant", prompts.generic if arm == "generic" else "", stop="end")


# --- numbers ---------------------------------------------------------------------------------------------------------


def retry_score(group: Group, arm: str) -> float:
    """The score of the retry in an arm; nan where the first attempt passed, or the arm was not measured."""
    if "retry" not in group[0].verdicts:
        return math.nan
    here = in_arm(group, arm)
    if arm == "resample":
        return here[-1].verdicts["attempt"].score if here else math.nan
    return here[-1].verdicts["retry"].score if here else math.nan


def report(groups: Sequence[Group], minimum: float = 0.0) -> Report:
    """The figures of one model, 95 % intervals clustered by task. Fractions, but for lengths, which are in tokens."""
    keys, owns = units_of(groups), [group[0] for group in groups]
    failed = ["retry" in own.verdicts for own in owns]
    own = [retry_score(group, "own") for group in groups]
    resampled = [retry_score(group, "resample") for group in groups]
    leaks = [one.verdicts["leak"].answer if "leak" in one.verdicts else None for one in owns]
    first = arm_of("first", "first try", [one.verdicts["attempt"].score for one in owns], keys, query={"arm": "own"})
    second = [score if lost else once for score, lost, once in zip(own, failed, first.scores, strict=True)]
    honest = [math.nan if leak == "full" else score for score, leak in zip(second, leaks, strict=True)]
    mine = arm_of("retry_after_failure", "retry after failure, own reflection", own, keys, query={"arm": "own"})
    arms = [
        first,
        arm_of("second", "second try (right at once, or after one reflection)", second, keys, query={"arm": "own"}),
        arm_of("second_without_leaks", "without reflections that spell a solution", honest, keys, query={}, control=True),
    ]
    others: dict[str, Arm] = {}
    if any(len(group) > 1 for group in groups) or not any(failed):
        instead = [score if lost else once for score, lost, once in zip(resampled, failed, first.scores, strict=True)]
        others["resample"] = _control(
            "resample_after_failure", "fresh attempts instead, same sampled tokens", resampled, keys, "resample"
        )
        for arm, label in SWAPS.items():
            others[arm] = _control(arm, label, [retry_score(group, arm) for group in groups], keys, arm)
        arms.append(
            _control("resampled", "right at once, or after fresh attempts for the same tokens", instead, keys, "resample")
        )
    arms += [mine, *others.values()]
    spelled = [float(leak == "full") if lost else math.nan for leak, lost in zip(leaks, failed, strict=True)]
    arms.append(arm_of("leak_rate", "reflections that spell a solution", spelled, keys, query={"arm": "own"}))
    sizes = [float(len(one["reflection"].tokens)) if lost else math.nan for one, lost in zip(owns, failed, strict=True)]
    arms.append(arm_of("reflection_tokens", "length of a reflection, tokens", sizes, keys, unit="tokens", query={"arm": "own"}))
    effects = [
        effect_of(f"own_minus_{arm}", f"own reflection minus {other.label}", mine, other, keys) for arm, other in others.items()
    ]
    by_leak = _by_leak(own, leaks, failed, keys)
    return reported(
        "second_try", "one reflection and retry solves more failures than fresh attempts with equally many sampled tokens",
        arms, keys, effects=effects, decides="own_minus_resample", minimum=minimum, figures=by_leak,
        tables=[table for table in (_leak_table(by_leak), *_error_tables(owns)) if table.rows],
    )  # fmt: skip


def _control(name: str, label: str, scores: Sequence[float], keys: Sequence[str], arm: str) -> Arm:
    return arm_of(name, label, scores, keys, query={"arm": arm}, control=True)


def _by_leak(
    own: Sequence[float], leaks: Sequence[str | None], failed: Sequence[bool], keys: Sequence[str]
) -> dict[str, Estimate]:
    """How often a reflection gives away so much, and how its retries went."""
    found = {}
    kept = [(score, leak, key) for score, leak, lost, key in zip(own, leaks, failed, keys, strict=True) if lost]
    for degree in LEAKS:
        found[f"leak/{degree}"] = mean([float(leak == degree) for _, leak, _ in kept], [key for _, _, key in kept])
        found[f"retry_given/{degree}"] = mean([score for score, leak, _ in kept if leak == degree])
    return found


def _leak_table(found: dict[str, Estimate]) -> Table:
    rows = tuple((degree, found[f"leak/{degree}"], found[f"retry_given/{degree}"]) for degree in LEAKS)
    return Table("What reflections give away", ("degree", "share of reflections", "retry right"), rows)


def _error_tables(owns: Sequence[Episode]) -> list[Table]:
    """How first tries and retries fail: the share of each class of error (the word before the colon) among all of them."""
    tables = []
    for verdict, title in (("attempt", "How first tries fail"), ("retry", "How retries fail")):
        found = [own.verdicts[verdict] for own in owns if verdict in own.verdicts]
        counts = Counter(v.why.partition(":")[0] for v in found if v.score != 1)
        rows = tuple((why, f"{100 * count / len(found):.1f}") for why, count in counts.most_common())
        tables.append(Table(title, ("class of error", "% of all"), rows))
    return tables
