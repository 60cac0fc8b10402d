"""How much does a model reflect unasked while it answers, what comes of it, and how long is what it writes?

The measure of R1-Zero (oat-zero; arXiv 2503.20783) on problems that can be graded: several responses to each, and of every one
whether it reflects (a keyword **and** the detector), what came of that (:mod:`secondthought.probes.superficial`), and its
length. Lengths are given by what was earned, because a mean over all moves when the mix moves: as a model learns to end its
answers, the long ones that never ended disappear.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar

from secondthought.engines.base import Engine
from secondthought.probes import detectors, superficial
from secondthought.probes.answer import PART
from secondthought.probes.base import arm_of, reported, units_of, with_verdicts
from secondthought.probes.on_tasks import OnTasks
from secondthought.protocols.answer import answer
from secondthought.rollouts import rollout
from secondthought.runs.progress import Progress
from secondthought.stats import mean
from secondthought.types import Arm, Effect, Episode, Estimate, Group, Report, Table, TaskSet, Verdict

OUTCOMES = ("right", "wrong", "no answer")
"""Of a response: graded as right; read and wrong; nothing that can be read."""


@dataclass(frozen=True)
class Unasked(OnTasks):
    """Measure ``samples`` responses to each of ``n`` problems of ``tasks`` (a SPEC, its test split unless it names another).

    tasks, grade     the problems; for your own, how answers are graded: exact, number, math, regex:PATTERN, module:function
    temperature      at which responses are sampled
    max_tokens       0: 64 for nano models, else 512
    detector         auto, rules, oat_zero, understand_r1_zero, markers, judge:MODEL or judge:URL#MODEL
    minimum          reflecting minus other responses that is worth speaking of (a fraction), fixed beforehand
    """

    name: ClassVar[str] = "unasked"
    nano_tokens: ClassVar[int] = 64
    n: int = 200
    samples: int = 8
    detector: str = "auto"
    minimum: float = 0.05

    def measure(self, model: Engine, progress: Progress) -> list[Group]:
        """A group of ``samples`` episodes for each problem. Raises UserError for a detector that does not exist."""
        tasks, problems, sampling, style = self.posed(model)
        nano, size, found = style == "terse", max(1, PART // self.samples), list[Group]()
        detector = detectors.detector_of(
            self.detector if self.detector != "auto" else "said_wait" if nano else "rules"
        )  # fmt: skip
        for begin in range(0, len(problems), size):
            part = problems[begin : begin + size]
            groups = rollout(partial(answer, grade=tasks.grade), part, self.samples, model, sampling, seed=self.seed)
            flags = iter(detector([e["attempt"].text for group in groups for e in group]))
            found += [tuple(looked_at(e, tasks, next(flags), nano=nano) for e in group) for group in groups]
            progress.step(len(found), len(problems), {})
        return found

    def report(self, groups: Sequence[Group]) -> Report:
        """On the same problem, are reflecting responses right more often than the others?"""
        return report(groups, self.minimum)


probe = Unasked


def looked_at(episode: Episode, tasks: TaskSet, flag: bool | None, *, nano: bool) -> Episode:
    """The episode with the findings ``rest`` (right in the end), ``keyword``, ``explicit`` and ``reflection``, as
    :mod:`secondthought.probes.superficial` reads them.
    """
    text, end = episode["attempt"].text, episode.verdicts["attempt"]
    keywords = ("wait",) if nano else superficial.KEYWORDS
    begins = superficial.first_sign(text, keywords, cues=not nano)
    keyword = any(word in text.lower() for word in keywords)
    shown = behaviour(episode, tasks, text[:begins]) if begins is not None else None
    findings = {
        "rest": Verdict(float(end.score == 1), end.answer), "keyword": Verdict(float(keyword)),
        "explicit": Verdict(math.nan if flag is None else float(flag)),
        "reflection": Verdict(float(keyword and flag is True), shown),
    }  # fmt: skip
    return with_verdicts(episode, "own", findings)


def behaviour(episode: Episode, tasks: TaskSet, before: str) -> str:
    """Which of the behaviours of :mod:`secondthought.probes.superficial` a response shows that reflects after ``before``."""
    end = episode.verdicts["attempt"]
    if end.answer is None:
        return "repeats"
    so_far: Any = getattr(tasks, "so_far", tasks.grade)
    first, right = so_far(episode.task, before), end.score == 1
    if first.answer is None:
        return "begins"
    if first.score == 1:
        return "confirms" if right else "breaks"
    return "fixes" if right else "stays wrong"


# --- numbers ---------------------------------------------------------------------------------------------------------


def outcome(episode: Episode) -> str:
    """Which of :data:`OUTCOMES` a response has."""
    verdict = episode.verdicts["attempt"]
    return "right" if verdict.score == 1 else "wrong" if verdict.answer is not None else "no answer"


def length(episode: Episode) -> int:
    """Tokens of the response."""
    return len(episode["attempt"].tokens)


def lengths(groups: Sequence[Group]) -> dict[str, Estimate]:
    """Mean tokens: of all, by outcome, of all that are not right, and by whether a response reflects."""
    kinds: dict[str, Callable[[Episode], bool]] = {
        "all": lambda e: True, **{name: partial(_has, name) for name in OUTCOMES},
        "not right": lambda e: outcome(e) != "right", "reflecting": superficial.reflects,
        "others": lambda e: not superficial.reflects(e),
    }  # fmt: skip
    found = {}
    for name, belongs in kinds.items():
        rows = [(float(length(e)), group[0].task.key) for group in groups for e in group if belongs(e)]
        found[f"length/{name}"] = mean([n for n, _ in rows], [key for _, key in rows], unit="tokens")
    return found


def _has(name: str, episode: Episode) -> bool:
    return outcome(episode) == name


def report(groups: Sequence[Group], minimum: float = 0.0) -> Report:
    """Rates, behaviours, lengths, and the difference within problem."""
    keys = units_of(groups)
    shares: dict[str, list[list[float]]] = {
        "right": [[float(outcome(e) == "right") for e in group] for group in groups],
        "answered": [[float(outcome(e) != "no answer") for e in group] for group in groups],
        "reflects": [[float(superficial.reflects(e)) for e in group] for group in groups],
    }
    labels = {
        "right": "the response is right", "answered": "an answer can be read", "reflects": "keyword and detector: it reflects",
    }  # fmt: skip
    arms = [arm_of(name, labels[name], [sum(one) / len(one) for one in rows], keys, query={}) for name, rows in shares.items()]
    best = [max(one) for one in shares["right"]]
    arms.insert(1, arm_of("any", "any of the responses is right (pass@k)", best, keys, query={}))
    for kind, name, label in ((True, "reflecting", "reflecting responses right"), (False, "other", "other responses right")):
        rows = [(superficial.score(e), g[0].task.key) for g in groups for e in g if superficial.reflects(e) is kind]
        values = mean([value for value, _ in rows], [key for _, key in rows])
        arms.append(Arm(name, label, values, query={}, control=not kind))
    gaps = superficial.gaps(groups)
    arms += [
        arm_of("gap", "reflecting minus others, same problem", gaps, keys, unit="difference", query={}),
        arm_of(
            "length", "tokens of a response", [_mean(map(length, group)) for group in groups], keys, unit="tokens", query={},
        ),
        arm_of(
            "wrong_length", "tokens of a response that is not right",
            [_mean(length(e) for e in group if outcome(e) != "right") for group in groups], keys, unit="tokens", query={},
        ),
    ]  # fmt: skip
    within = Effect("within_question", "reflecting minus others, same problem", mean(gaps, keys, unit="difference"))
    figures = superficial.numbers(groups) | lengths(groups)
    return reported(
        "unasked", "on the same problem, responses that reflect are right more often than those that do not", arms, keys,
        effects=[within], decides="within_question", minimum=minimum, figures=figures,
        tables=[superficial.behaviours_table({"all": figures}), lengths_table(figures)],
    )  # fmt: skip


def _mean(values: Iterable[int]) -> float:
    known = list(values)
    return sum(known) / len(known) if known else math.nan


def lengths_table(figures: dict[str, Estimate]) -> Table:
    """Tokens by what was earned."""
    names = [name for name in figures if name.startswith("length/")]
    row = tuple(f"{figures[name].value:.1f}" if figures[name].n else "-" for name in names)
    return Table("Mean tokens of a response", tuple(name.removeprefix("length/") for name in names), (row,))
