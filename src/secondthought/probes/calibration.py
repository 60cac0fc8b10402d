"""Is a model as often right as it says? Four ways of asking, against knowing no more than how often it is right.

Each problem is answered several times, and each answer gets four confidences:

* ``verbal``              the one that the model states when it is asked (RLCR's tags; nano says a number of tenths)
* ``p_true``              "True" against "False" when it is asked whether its answer is right (arXiv 2207.05221)
* ``answer_probability``  how likely its answer was to it: the geometric mean over the tokens of its turn
* ``agreement``           the share of the other answers to the problem that are the same

A confidence is worth something if its Brier score is below that of a constant, the rate at which this model is right
(``skill``): a constant is perfectly calibrated and says nothing. Beside it stand the calibration error over equal bins and
over bins of equal numbers, the parts of the Brier score, and how well it sets right answers apart from wrong ones (AUROC).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import ClassVar, cast

from secondthought.engines.base import Access, Engine, LogitsEngine
from secondthought.probes import calibration_scores as fit
from secondthought.probes.base import arm_of, effect_of, reported, units_of, with_verdicts
from secondthought.probes.on_tasks import OnTasks
from secondthought.protocols.confident import asked_for, confident
from secondthought.rollouts import rollout
from secondthought.runs.progress import Progress
from secondthought.stats import average, bootstrapped, mean
from secondthought.tasks.base import answers_of
from secondthought.tasks.confidence import in_tags, in_tenths
from secondthought.types import Arm, Curve, Effect, Episode, Estimate, Group, Report, Segment, Table, Verdict

KINDS = {
    "verbal": "stated confidence", "p_true": "P(True)", "answer_probability": "probability of the answer",
    "agreement": "agreement of the samples",
}  # fmt: skip
PART = 128  # answers at a time, so that progress can be seen
METRICS = ("confidence", "ece", "mass_ece", "brier", "auroc", "reliability", "resolution")
ASK_TRUE = "Is the answer above right? Reply with one word: True or False."


@dataclass(frozen=True)
class Calibration(OnTasks):
    """Measure confidence on ``n`` problems of ``tasks`` (a SPEC, its test split unless it names another, or a task set).

    tasks, grade     the problems; for your own, how answers are graded: exact, number, math, regex:PATTERN, module:function
    n                how many problems
    samples          answers to each problem; agreement and voting need several
    temperature      0 is greedy (then all samples are the same)
    max_tokens       for each turn; 0: 32 for nano models, else 512
    minimum          how far below a constant's Brier score is worth speaking of, fixed beforehand
    """

    name: ClassVar[str] = "calibration"
    asks: ClassVar[str] = "Is it as often right as it says?"
    n: int = 200
    samples: int = 4
    minimum: float = 0.01

    def measure(self, model: Engine, progress: Progress) -> list[Group]:
        """A group of ``samples`` for each problem; every episode carries its confidences as findings."""
        tasks, problems, sampling, style = self.posed(model)
        read = in_tenths if style == "terse" else in_tags
        protocol = partial(confident, grade=tasks.grade, confidence=read, asked=asked_for(style))
        same, size = answers_of(tasks), max(1, PART // self.samples)
        found: list[Group] = []
        for begin in range(0, len(problems), size):
            groups = rollout(protocol, problems[begin : begin + size], self.samples, model, sampling, seed=self.seed)
            truths = p_true(model, [e for group in groups for e in group]) if self.controls else []
            for group in groups:
                here, truths = truths[: len(group)], truths[len(group) :]
                answers = [same(e.task, e["attempt"].text) for e in group]
                found.append(tuple(with_confidences(e, i, answers, here) for i, e in enumerate(group)))
            progress.step(len(found), len(problems), {})
        return found

    def report(self, groups: Sequence[Group]) -> Report:
        """Does the stated confidence say more than how often the model is right?"""
        return report(groups, self.minimum)


probe = Calibration


def p_true(model: Engine, episodes: Sequence[Episode]) -> list[float]:
    """The probability of "True" against "False" behind each answer; nan from engines that give no log-probabilities."""
    if getattr(model, "access", Access.SAMPLE) < Access.LOGITS:
        return [math.nan] * len(episodes)
    engine, renderer = cast(LogitsEngine, model), model.renderer
    terse = renderer.style == "terse"
    words = [tuple(renderer.encode(word)) for word in (("right", "wrong") if terse else ("True", "False"))]
    asked = "right ? wrong ?" if terse else ASK_TRUE
    contexts, continuations = list[tuple[int, ...]](), list[tuple[int, ...]]()
    for episode in episodes:
        segments = [*until(episode, "attempt"), Segment("ask_true", "task", "user", asked)]
        context = tuple(token for segment in renderer.render(episode.task, segments) for token in segment.tokens)
        contexts += [context, context]
        continuations += words
    scored = [math.fsum(logprobs) for logprobs in engine.score(contexts, continuations)]
    pairs = zip(scored[::2], scored[1::2], strict=True)
    return [1 / (1 + math.exp(min(700.0, no - yes))) for yes, no in pairs]


def until(episode: Episode, name: str) -> list[Segment]:
    """The segments up to the one of that name."""
    names = [segment.name for segment in episode.segments]
    return list(episode.segments[: names.index(name) + 1])


def with_confidences(episode: Episode, place: int, answers: Sequence[str], truths: Sequence[float]) -> Episode:
    """The same episode with a finding for each kind of confidence."""
    verbal = episode.verdicts.get("confidence")
    logprobs = episode["attempt"].logprobs
    others = [*answers[:place], *answers[place + 1 :]]
    found = {
        "verbal": verbal.score if verbal is not None else math.nan, "p_true": truths[place] if truths else math.nan,
        "answer_probability": math.exp(math.fsum(logprobs) / len(logprobs)) if logprobs else math.nan,
        "agreement": sum(a == answers[place] for a in others) / len(others) if others else math.nan,
    }  # fmt: skip
    return with_verdicts(episode, "own", {kind: Verdict(value) for kind, value in found.items()})


# --- numbers ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Column:
    """One kind of confidence on every answer that has one: confidences, outcomes, and the problems that they belong to."""

    q: list[float]
    c: list[float]
    keys: list[str]

    @classmethod
    def of(cls, groups: Sequence[Group], kind: str) -> Column:
        """Answers without such a confidence, and ungraded ones, are left out."""
        rows = [
            (q, c, group[0].task.key) for group in groups for e in group
            if not math.isnan(q := e.verdicts[kind].score) and not math.isnan(c := e.verdicts["attempt"].score)
        ]  # fmt: skip
        return cls([q for q, _, _ in rows], [c for _, c, _ in rows], [key for _, _, key in rows])

    def figure(self, name: str) -> Estimate:
        """A metric with its interval, by bootstrap over problems."""

        def value(places: Sequence[int]) -> float:
            return fit.MEASURES[name]([self.q[i] for i in places], [self.c[i] for i in places])

        return bootstrapped(value, self.keys, unit="fraction" if name == "confidence" else "ratio")


def report(groups: Sequence[Group], minimum: float = 0.0) -> Report:
    """The figures of one model, 95 % intervals over problems."""
    keys = units_of(groups)
    right = [[e.verdicts["attempt"].score for e in group] for group in groups]
    accuracy = arm_of("accuracy", "the answer is right", [average(one) for one in right], keys, query={})
    base = accuracy.estimate.value
    arms, effects, figures, rows = [accuracy], list[Effect](), dict[str, Estimate](), list[tuple[str | Estimate, ...]]()
    diagrams: dict[str, tuple[tuple[float, Estimate], ...]] = {}
    constant = arm_of(
        "constant", "Brier score of a constant: how often it is right",
        [average([(base - c) ** 2 for c in one]) for one in right], keys, unit="ratio", query={}, control=True,
    )  # fmt: skip
    arms.append(constant)
    for kind, label in KINDS.items():
        column = Column.of(groups, kind)
        if not column.q:
            continue
        brier = arm_of(kind, f"Brier score, {label}", brier_of(groups, kind), keys, unit="ratio", query={})
        arms.append(brier)
        effects.append(effect_of(f"{kind}_skill", f"a constant's Brier score minus that of the {label}", constant, brier, keys))
        figures |= {f"{kind}/{name}": column.figure(name) for name in METRICS}
        stated = [float(not math.isnan(e.verdicts[kind].score)) for group in groups for e in group]
        figures[f"{kind}/stated"] = mean(stated, [group[0].task.key for group in groups for _ in group])
        rows.append((label, figures[f"{kind}/stated"], *(figures[f"{kind}/{name}"] for name in METRICS)))
        bins = fit.reliability(column.q, column.c)
        hits = {q: [1.0] * round(c * n) + [0.0] * (n - round(c * n)) for q, c, n in bins.values()}
        diagrams[label] = tuple((100 * q, mean(some)) for q, some in hits.items())
    arms += votes(groups, keys)
    voted = {arm.name: arm for arm in arms}
    if "weighted" in voted:
        effects.append(
            effect_of("vote_gain", "confidence-weighted minus plain vote", voted["weighted"], voted["majority"], keys)
        )
    names = ("confidence", "stated", "mean", "ECE", "ECE, equal mass", "Brier", "AUROC", "reliability", "resolution")
    return reported(
        "calibration", "the stated confidence says more than how often the model is right", arms, keys, effects=effects,
        decides="verbal_skill", minimum=minimum, figures=figures,
        tables=[Table("How well each confidence fits", names, tuple(rows))],
        curves=[Curve("Reliability", "confidence, %", "right, %", diagrams, "points")],
    )  # fmt: skip


def brier_of(groups: Sequence[Group], kind: str) -> list[float]:
    """The mean of ``(q - c)^2`` for each problem."""
    return [average([(e.verdicts[kind].score - e.verdicts["attempt"].score) ** 2 for e in group]) for group in groups]


def votes(groups: Sequence[Group], keys: Sequence[str]) -> list[Arm]:
    """The commonest answer of several samples, and the one with the highest sum of stated confidences."""
    if not any(len(group) > 1 for group in groups):
        return []
    found: dict[str, list[float]] = {"majority": [], "weighted": []}
    for group in groups:
        answers = [e.verdicts["attempt"].answer or "" for e in group]
        score = {answer: e.verdicts["attempt"].score for answer, e in zip(answers, group, strict=True)}
        stated = [0.0 if math.isnan(q := e.verdicts["verbal"].score) else q for e in group]
        for name, weights in (("majority", [1.0] * len(group)), ("weighted", stated)):
            chosen_answer = fit.weighted_vote(answers, weights)
            found[name].append(score[chosen_answer] if chosen_answer is not None else math.nan)
    return [
        arm_of("majority", "the commonest answer is right", found["majority"], keys, query={}, control=True),
        arm_of("weighted", "the answer with the most stated confidence is right", found["weighted"], keys, query={}),
    ]
