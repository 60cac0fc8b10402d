"""How often is the answer right at once? No reflection anywhere: what every other measurement has to be held against.

With several ``samples`` for each problem, also how often the commonest answer is right, and any of them (pass@k).
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import ClassVar

from secondthought.engines.base import Engine
from secondthought.probes.base import arm_of, reported, units_of
from secondthought.probes.on_tasks import OnTasks
from secondthought.protocols.answer import answer
from secondthought.rollouts import rollout
from secondthought.runs.progress import Progress
from secondthought.types import Episode, Group, Report, Table

PART = 128  # episodes at a time, so that progress can be seen


@dataclass(frozen=True)
class Answer(OnTasks):
    """Measure answers on ``n`` problems of ``tasks`` (a SPEC, its test split unless it names another, or a task set).

    tasks, grade     the problems; for your own, how answers are graded: exact, number, math, regex:PATTERN, module:function
    n                how many problems
    samples          answers to each problem
    temperature      0 is greedy
    max_tokens       0: 48 for nano models, else 512
    """

    name: ClassVar[str] = "answer"
    asks: ClassVar[str] = "How often is it right?"
    nano_tokens: ClassVar[int] = 48
    samples: int = 1

    def measure(self, model: Engine, progress: Progress) -> list[Group]:
        """A group of ``samples`` episodes for each problem."""
        tasks, problems, sampling, _ = self.posed(model)
        found: list[Group] = []
        size = max(1, PART // self.samples)
        for begin in range(0, len(problems), size):
            part = problems[begin : begin + size]
            found += rollout(partial(answer, grade=tasks.grade), part, self.samples, model, sampling, seed=self.seed)
            progress.step(len(found), len(problems), {})
        return found

    def report(self, groups: Sequence[Group]) -> Report:
        """Accuracy with its interval, and how wrong answers fail."""
        keys = units_of(groups)
        scores = [[s for e in group if not math.isnan(s := e.verdicts["attempt"].score)] for group in groups]
        arms = [arm_of("first", "right", [sum(one) / len(one) if one else math.nan for one in scores], keys, query={})]
        if any(len(group) > 1 for group in groups):
            best = [max(one, default=math.nan) for one in scores]
            arms.append(arm_of("any", "any of the samples right (pass@k)", best, keys, query={}))
            common = [_commonest(group) for group in groups]
            arms.append(arm_of("commonest", "the commonest answer right (self-consistency)", common, keys, query={}))
        everything = [e for group in groups for e in group]
        cut = [float(e["attempt"].stop == "length") for e in everything]
        arms.append(arm_of("cut", "cut off at the token limit", _by_group(cut, groups), keys, query={}, control=True))
        tables = [table for table in (_errors(groups),) if table.rows]
        return reported(self.name, "some answers are right", arms, keys, tables=tables, notes=missed(everything))


probe = Answer


def missed(episodes: Sequence[Episode]) -> tuple[str, ...]:
    """A hint where the wanted answer stands in many texts that were graded as wrong: the grader may read another form."""
    failed = [e for e in episodes if e.verdicts["attempt"].score == 0 and isinstance(e.task.answer, str | int | float)]
    inside = [
        e for e in failed if e["attempt"].stop != "length"
        and re.search(rf"(?<![\w.]){re.escape(str(e.task.answer))}(?![\w.]*\w)", e["attempt"].text)
    ]  # fmt: skip
    if len(inside) < max(3, len(failed) / 3):
        return ()
    return (
        f"in {len(inside)} of {len(failed)} answers graded as wrong the wanted answer stands in the text: "
        "is this the --grade you want? number reads the number that a text gives as its answer",
    )


def _by_group(values: Sequence[float], groups: Sequence[Group]) -> list[float]:
    found, at = [], 0
    for group in groups:
        part = values[at : at + len(group)]
        found.append(sum(part) / len(part))
        at += len(group)
    return found


def _commonest(group: Group) -> float:
    """The score of the answer that most samples give (arXiv 2203.11171); samples without one do not vote."""
    verdicts = [e.verdicts["attempt"] for e in group]
    votes = Counter(v.answer for v in verdicts if v.answer is not None)
    answer = votes.most_common(1)[0][0] if votes else None
    return next(v.score for v in verdicts if v.answer == answer)


def _errors(groups: Sequence[Group]) -> Table:
    found = [e.verdicts["attempt"] for group in groups for e in group]
    counts = Counter(v.why.partition(":")[0] for v in found if v.score != 1)
    rows = tuple((why, f"{100 * count / len(found):.1f}") for why, count in counts.most_common())
    return Table("How answers fail", ("class of error", "% of all"), rows)
