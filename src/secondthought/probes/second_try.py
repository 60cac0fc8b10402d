"""Does reflecting help, and is it the reflection that helps?

For each held-out problem: one attempt; where it fails, one reflection and one retry. Beside the model's own reflection the
same failed attempt is retried with

* ``donor``     the reflection the model wrote about another failure,
* ``generic``   a constant that fits any problem,
* ``empty``     no words at all,
* ``resample``  no reflection: fresh attempts for as many sampled tokens as the own reflection and retry took.

All arms stop at the first success and know from the grader that the first attempt failed; none knows more. ``second`` is
P(right at once) + P(wrong at once, right after one reflection) as in Reflect, Retry, Reward (arXiv 2505.24726).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from random import Random

from secondthought.protocols.reflect_retry import Prompts, reflect_retry
from secondthought.rollout import rollout
from secondthought.scene import Draft, Engine, Sampling
from secondthought.stats import difference, mean
from secondthought.tasks.base import leak_of
from secondthought.types import Episode, Estimate, Group, Report, Segment, Task, TaskSet, Verdict, seed_of

SWAPS = ("donor", "generic", "empty")
LEAKS = ("none", "hint", "first step", "full")
GENERIC = {"terse": "think harder", "chat": "I made a mistake. I should be more careful and check each step."}


@dataclass(frozen=True)
class Case:
    """One problem: the episode with the model's own reflection, and what came of the other arms (None if not needed)."""

    task: Task
    own: Episode
    arms: dict[str, Episode]
    leak: str

    @property
    def failed(self) -> bool:
        """Whether the first attempt was wrong, so that there was something to reflect on."""
        return "retry" in self.own.verdicts

    def score(self, arm: str) -> float:
        """The score of the retry in an arm (``own``, ``resample`` or a swap); nan where the first attempt passed."""
        episode = self.own if arm == "own" else self.arms.get(arm)
        return episode.verdicts["retry"].score if episode is not None and self.failed else float("nan")


@dataclass(frozen=True)
class Setting:
    """What stays fixed in a measurement: the game, the words, the sampling, the seed."""

    tasks: TaskSet
    prompts: Prompts
    sampling: Sampling
    style: str
    seed: int = 0


def distinct(tasks: TaskSet, n: int) -> list[Task]:
    """The first ``n`` different tasks; fewer where the set has fewer."""
    found: dict[str, Task] = {}
    for index in range(min(len(tasks), 20 * n)):
        task = tasks[index]
        found.setdefault(task.key, task)
        if len(found) == n:
            break
    return list(found.values())


def measure(
    engine: Engine,
    problems: Sequence[Task],
    setting: Setting,
    *,
    controls: bool = True,
    tell: Callable[[int, int], None] = lambda done, arms: None,
) -> list[Case]:
    """A case for each problem; without ``controls`` only the own reflection is tried. ``tell(done, arms)`` reports progress."""
    protocol = partial(reflect_retry, grade=setting.tasks.grade, prompts=setting.prompts)
    groups = rollout(protocol, problems, 1, engine, setting.sampling, seed=setting.seed)
    owns = [group[0] for group in groups]
    tell(1, 2 + len(SWAPS))
    arms: dict[str, dict[str, Episode]] = {own.task.key: {} for own in owns}
    failures = [own for own in owns if "retry" in own.verdicts]
    if controls and failures:
        donors = _donors(failures, setting.seed)
        for number, name in enumerate(SWAPS):
            tell(1 + number, 2 + len(SWAPS))
            if name == "donor" and len(failures) == 1:
                continue  # nobody else failed, so there is no other reflection to borrow
            written = {own.task.key: _intervention(name, donors[own.task.key], setting.style) for own in failures}
            for episode in retries(engine, failures, written, setting, seed_of(name, setting.seed)):
                arms[episode.task.key][name] = episode
        tell(1 + len(SWAPS), 2 + len(SWAPS))
        for episode in resamples(engine, failures, setting):
            arms[episode.task.key]["resample"] = episode
    degree = leak_of(setting.tasks)
    return [
        Case(own.task, own, arms[own.task.key], degree(own.task, own["reflection"].text) if "reflection" in own else "none")
        for own in owns
    ]


def retries(
    engine: Engine, failures: Sequence[Episode], reflections: dict[str, Segment], setting: Setting, seed: int
) -> list[Episode]:
    """Each failure retried with the reflection given for its task, token for token."""

    async def script(task: Task, _: int) -> Group:
        failed, written = by_key[task.key], reflections[task.key]
        draft = Draft(task)
        draft.replay(*failed.segments[1 : _index(failed, "ask_reflection") + 1], written)
        draft.write("ask_retry", setting.prompts.retry)
        verdict = setting.tasks.grade(task, await draft.sample("retry"))
        return (draft.close(attempt=failed.verdicts["attempt"], retry=verdict),)

    by_key = {failed.task.key: failed for failed in failures}
    groups = rollout(script, [f.task for f in failures], 1, engine, setting.sampling, seed=seed)
    return [group[0] for group in groups]


def resamples(engine: Engine, failures: Sequence[Episode], setting: Setting) -> list[Episode]:
    """Fresh attempts at each failed problem, for the tokens that its own reflection and retry took."""

    async def script(task: Task, _: int) -> Group:
        left = budget[task.key]
        verdict, tries = Verdict(0.0, None, "no token left"), 0
        draft = Draft(task, (tries,))
        while left > 0:
            draft = Draft(task, (tries,))
            size = min(left, setting.sampling.max_tokens)
            text = await draft.sample("attempt", sampling=replace(setting.sampling, max_tokens=size))
            verdict = setting.tasks.grade(task, text)
            left, tries = left - len(draft.segments[-1].tokens), tries + 1
            if verdict.score == 1:
                break
        return (draft.close(retry=verdict),)

    budget = {own.task.key: len(own["reflection"].tokens) + len(own["retry"].tokens) for own in failures}
    groups = rollout(script, [f.task for f in failures], 1, engine, setting.sampling, seed=seed_of("resample", setting.seed))
    return [group[0] for group in groups]


def transplant(
    writers: Mapping[str, Engine], failures: Sequence[Episode], setting: Setting
) -> dict[str, dict[str, list[float]]]:
    """Retry scores on the same failures, reflections by each engine times retries by each engine.

    ``result[reflector][retrier]`` lists scores in the order of ``failures``. If the gain sits in the text of the reflection,
    it shows in the column of the untrained retrier.
    """

    async def reflect(task: Task, _: int) -> Group:
        failed = by_key[task.key]
        draft = Draft(task)
        draft.replay(*failed.segments[1 : _index(failed, "ask_reflection") + 1])
        await draft.sample("reflection")
        return (draft.close(),)

    by_key = {failed.task.key: failed for failed in failures}
    tasks = [failed.task for failed in failures]
    found: dict[str, dict[str, list[float]]] = {}
    for reflector, engine in writers.items():
        told = rollout(reflect, tasks, 1, engine, setting.sampling, seed=seed_of("transplant", setting.seed))
        written = {group[0].task.key: given(group[0]["reflection"]) for group in told}
        found[reflector] = {
            retrier: [
                e.verdicts["retry"].score
                for e in retries(other, failures, written, setting, seed_of("transplant", reflector, setting.seed))
            ]
            for retrier, other in writers.items()
        }
    return found


def given(segment: Segment) -> Segment:
    """The same tokens as an intervention: what the experimenter put in, not what the policy said."""
    return replace(segment, author="intervention", logprobs=None, version=None)


def _index(episode: Episode, name: str) -> int:
    return next(i for i, segment in enumerate(episode.segments) if segment.name == name)


def _donors(failures: Sequence[Episode], seed: int) -> dict[str, Segment]:
    """Each failure gets the reflection of the next one in a random circle, so nobody gets their own."""
    circle = list(failures)
    Random(seed_of("donors", seed)).shuffle(circle)
    return {own.task.key: circle[(i + 1) % len(circle)]["reflection"] for i, own in enumerate(circle)}


def _intervention(arm: str, donor: Segment, style: str) -> Segment:
    if arm == "donor":
        return given(donor)
    text = GENERIC[style] if arm == "generic" else ""
    return Segment("reflection", "intervention", "assistant", text, stop="end")


# --- numbers ---------------------------------------------------------------------------------------------------------


def summary(cases: Sequence[Case]) -> dict[str, Estimate]:
    """The figures of one model, 95 % intervals clustered by task. Fractions, but for lengths, which are in tokens."""
    keys = [case.task.key for case in cases]
    first = [case.own.verdicts["attempt"].score for case in cases]
    second = [case.own.verdicts["retry"].score if case.failed else 1.0 for case in cases]
    honest = [s if case.leak != "full" else float("nan") for s, case in zip(second, cases, strict=True)]
    failed = [case for case in cases if case.failed]
    failed_keys = [case.task.key for case in failed]
    numbers = {
        "first": mean(first, keys),
        "second": mean(second, keys),
        "second_without_leaks": mean(honest, keys),
        "retry_after_failure": mean([case.score("own") for case in failed], failed_keys),
    }
    if any(case.arms for case in cases):
        numbers["resample_after_failure"] = mean([case.score("resample") for case in failed], failed_keys)
        for arm in SWAPS:
            numbers[arm] = mean([case.score(arm) for case in failed], failed_keys)
        for arm in ("resample", *SWAPS):
            pair = [case.score("own") for case in failed], [case.score(arm) for case in failed]
            numbers[f"own_minus_{arm}"] = difference(*pair, failed_keys)
    numbers["leak_rate"] = mean([float(case.leak == "full") for case in failed], failed_keys)
    for degree in LEAKS:
        numbers[f"leak/{degree}"] = mean([float(case.leak == degree) for case in failed], failed_keys)
        numbers[f"retry_given/{degree}"] = mean([c.score("own") for c in failed if c.leak == degree])
    lengths = [float(len(case.own["reflection"].tokens)) for case in failed]
    numbers["reflection_tokens"] = mean(lengths, failed_keys, unit="tokens")
    return numbers


def report(cases: Sequence[Case]) -> Report:
    """The question that decides: on the same failures and for the same sampled tokens, does reflecting beat trying again?"""
    failed = [case for case in cases if case.failed]
    keys = [case.task.key for case in failed]
    scores = {arm: [case.score(arm) for case in failed] for arm in ("own", "resample", *SWAPS)}
    return Report(
        probe="second_try",
        claim="one reflection and retry solves more failures than fresh attempts with the same number of sampled tokens",
        arms={arm: mean(values, keys) for arm, values in scores.items()},
        effect=difference(scores["own"], scores["resample"], keys),
        episodes=tuple(episode for case in failed for episode in (case.own, *case.arms.values())),
    )


def errors(cases: Sequence[Case], verdict: str = "attempt") -> dict[str, float]:
    """How the answers of one verdict fail: the share of each error class (the word before the colon) among all answers."""
    found = [case.own.verdicts[verdict] for case in cases if verdict in case.own.verdicts]
    counts = Counter(v.why.partition(":")[0] for v in found if v.score != 1)
    return {why: count / len(found) for why, count in counts.most_common()} if found else {}
