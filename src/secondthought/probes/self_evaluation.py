"""Does a model know behind the end of its answer whether it was right, and does anybody pay for that?

For each problem an answer and the evaluation behind its end token (post-completion learning, arXiv 2507.20252). How sure the
evaluation is, is the probability of the word that was said. Whoever generates stops at the end token: the same answers are
sampled once more without anything behind them and compared token by token.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import ClassVar

from secondthought.engines.base import Engine
from secondthought.probes import calibration_scores as fit
from secondthought.probes.answer import PART
from secondthought.probes.base import arm_of, circle, reported, units_of, with_verdicts
from secondthought.probes.on_tasks import OnTasks
from secondthought.protocols.answer import answer
from secondthought.protocols.post_completion import post_completion, read_reward
from secondthought.rollouts import rollout
from secondthought.runs.progress import Progress
from secondthought.stats import bootstrapped
from secondthought.types import Effect, Episode, Estimate, Group, Report, Verdict


@dataclass(frozen=True)
class SelfEvaluation(OnTasks):
    """Measure answers and evaluations of ``n`` problems of ``tasks`` (a SPEC, its test split unless it names another).

    tasks, grade     the problems; for your own, how answers are graded: exact, number, math, regex:PATTERN, module:function
    minimum          area under the curve above one half that is worth speaking of; fixed beforehand
    """

    name: ClassVar[str] = "self_evaluation"
    minimum: float = 0.05

    def measure(self, model: Engine, progress: Progress) -> list[Group]:
        """A group of one for each problem, with the finding ``same``: the answer without an evaluation is the same tokens."""
        tasks, problems, sampling, _ = self.posed(model)
        behind, plain = partial(post_completion, grade=tasks.grade, read=read_reward), partial(answer, grade=tasks.grade)
        found: list[Group] = []
        for begin in range(0, len(problems), PART):
            part = problems[begin : begin + PART]
            groups = rollout(behind, part, 1, model, sampling, seed=self.seed)
            others = rollout(plain, part, 1, model, sampling, seed=self.seed)
            found += [(compared(g[0], other[0]),) for g, other in zip(groups, others, strict=True)]
            progress.step(len(found), len(problems), {})
        return found

    def report(self, groups: Sequence[Group]) -> Report:
        """Do evaluations set right answers apart from wrong ones?"""
        return report(groups, self.minimum)


probe = SelfEvaluation


def compared(episode: Episode, other: Episode) -> Episode:
    """The episode with whether the other's answer has the same tokens."""
    same = episode["attempt"].tokens == other["attempt"].tokens
    return with_verdicts(episode, "", {"same": Verdict(float(same))})


def sureness(episode: Episode) -> float:
    """The probability that the evaluation says right; nan without one.

    The first token decides: what is said with probability p leaves 1 - p for the other word.
    """
    if "evaluation" not in episode or not episode.verdicts["evaluation"].graded:
        return math.nan
    logprobs = episode["evaluation"].logprobs
    p = math.exp(logprobs[0]) if logprobs else 1.0
    return p if episode.verdicts["evaluation"].score == 1 else 1 - p


def report(groups: Sequence[Group], minimum: float) -> Report:
    """What the evaluations of some answers show."""
    keys = units_of(groups)
    episodes = [group[0] for group in groups]
    truth = [e.verdicts["attempt"].score for e in episodes]
    said = [e.verdicts["evaluation"].score if "evaluation" in e.verdicts else math.nan for e in episodes]
    sure = [sureness(e) for e in episodes]
    shares = {
        "right": ("answers that are right", truth),
        "says_right": ("evaluations that say so", said),
        "agrees": ("evaluations that are true", _equal(said, truth)),
        "evaluated": ("answers with an evaluation", [float(not math.isnan(s)) for s in said]),
        "same": ("answers that are the same tokens without one", [e.verdicts["same"].score for e in episodes]),
    }
    controls = ("evaluated", "same")
    arms = [arm_of(name, label, scores, keys, query={}, control=name in controls) for name, (label, scores) in shares.items()]
    for name, segment, label in (
        ("tokens", "attempt", "tokens of an answer"), ("behind", "evaluation", "tokens behind the end (in training only)"),
    ):  # fmt: skip
        arms.append(arm_of(name, label, _lengths(episodes, segment), keys, unit="tokens", query={}))
    donors = circle(range(len(episodes)))
    another = [truth[donors[i]] if i in donors else math.nan for i in range(len(truth))]
    auroc = measure("auroc", sure, truth, keys)
    figures = {"auroc_of_another": measure("auroc", sure, another, keys), "brier": measure("brier", sure, truth, keys)}
    return reported(
        "self_evaluation", "its evaluations set right answers apart from wrong ones", arms, keys,
        effects=[Effect("auroc", "AUROC of evaluations", auroc)], decides="auroc", figures=figures, null=0.5, minimum=minimum,
    )  # fmt: skip


def measure(name: str, sure: Sequence[float], truth: Sequence[float], keys: Sequence[str]) -> Estimate:
    """One figure of calibration over the answers that have an evaluation and a grade."""
    rows = [(q, c, k) for q, c, k in zip(sure, truth, keys, strict=True) if not (math.isnan(q) or math.isnan(c))]
    if not rows:
        return Estimate(math.nan, math.nan, math.nan, 0, "ratio")
    return bootstrapped(
        lambda at: fit.MEASURES[name]([rows[i][0] for i in at], [rows[i][1] for i in at]), [k for *_, k in rows], unit="ratio"
    )


def _equal(one: Sequence[float], other: Sequence[float]) -> list[float]:
    return [math.nan if math.isnan(a) or math.isnan(b) else float(a == b) for a, b in zip(one, other, strict=True)]


def _lengths(episodes: Sequence[Episode], name: str) -> list[float]:
    return [float(len(e[name].tokens)) if name in e else math.nan for e in episodes]
