"""Self-correction is found where it was planted, and not where a second attempt is merely another one."""

from __future__ import annotations

from collections.abc import Callable
from random import Random

import pytest

from secondthought.engines.base import Request
from secondthought.engines.scripted import Scripted
from secondthought.probes.self_correction import SelfCorrection
from secondthought.runs.progress import Silence
from secondthought.types import Report, Task, Verdict

N = 2000


class Words:
    """Each task wants its own word."""

    def __len__(self) -> int:
        return N

    def __getitem__(self, index: int) -> Task:
        return Task.of(f"word {index}", answer=f"w{index}", family="words")

    def grade(self, task: Task, text: str) -> Verdict:
        return Verdict(float(text == task.answer), text, "")


def luck(request: Request, p: float) -> bool:
    return Random(request.seed).random() < p


def first(request: Request) -> str:
    return str(request.task.answer) if luck(request, 0.4) else "wrong"


def said_before(request: Request) -> str:
    return next(s.text for s in request.segments if s.name == "attempt_1")


def corrector(request: Request) -> str:
    """Mends half of its wrong first attempts, and leaves right ones as they are."""
    if request.name != "attempt_2":
        return first(request)
    before = said_before(request)
    return str(request.task.answer) if before == "wrong" and luck(request, 0.5) else before


def copier(request: Request) -> str:
    return said_before(request) if request.name == "attempt_2" else first(request)


def resampler(request: Request) -> str:
    """A second attempt is as good as the first, whatever that was."""
    return first(request)


def spoiler(request: Request) -> str:
    """Changes everything: what was right becomes wrong, a fifth of what was wrong becomes right."""
    if request.name != "attempt_2":
        return first(request)
    return str(request.task.answer) if said_before(request) == "wrong" and luck(request, 0.2) else "other"


def measured(write: Callable[[Request], str], **options: object) -> Report:
    probe = SelfCorrection(tasks=Words(), n=N, max_tokens=8, **options)  # type: ignore[arg-type]
    return probe.report(probe.measure(Scripted(write), Silence()))


def value(report: Report, name: str) -> float:
    return report.figures[name].value


@pytest.mark.parametrize(
    ("subject", "verdict", "gain", "i_to_c", "c_to_i", "changed"),
    [
        (corrector, "supported", 0.30, 0.30, 0.0, 0.30), (copier, "refuted", 0.0, 0.0, 0.0, 0.0),
        (resampler, "inconclusive", 0.0, 0.24, 0.24, 0.48), (spoiler, "refuted", -0.28, 0.12, 0.40, 1.0),
    ],
)  # fmt: skip
def test_planted_effects(
    subject: Callable[[Request], str], verdict: str, gain: float, i_to_c: float, c_to_i: float, changed: float
) -> None:
    report = measured(subject)
    assert report.verdict == verdict
    for name, truth in (
        ("attempt_1", 0.4), ("gain", gain), ("i_to_c", i_to_c), ("c_to_i", c_to_i), ("changed", changed),
        ("i_to_c_given", i_to_c / 0.6), ("c_to_i_given", c_to_i / 0.4),
    ):  # fmt: skip
        assert value(report, name) == pytest.approx(truth, abs=0.035), name
    # The identities hold exactly.
    assert value(report, "gain") == pytest.approx(value(report, "i_to_c") - value(report, "c_to_i"))
    assert value(report, "gain") == pytest.approx(value(report, "attempt_2") - value(report, "attempt_1"))
    assert sum(value(report, name) for name in ("i_to_c", "c_to_i", "c_to_c", "i_to_i")) == pytest.approx(1)


def test_fresh_attempts_with_an_oracle_are_the_honest_rival() -> None:
    report = measured(resampler)
    assert value(report, "either") == pytest.approx(0.64, abs=0.03)  # two tries at 0.4
    assert value(report, "either_minus_resampled") == pytest.approx(0, abs=0.05)
    assert value(report, "own_minus_resampled") < -0.15
    assert value(measured(corrector), "either_minus_resampled") > 0.02  # half of the failures mended, not four tenths


def test_what_the_fresh_attempts_may_sample_is_what_the_second_turn_took() -> None:
    probe = SelfCorrection(tasks=Words(), n=200, max_tokens=8)
    for own, *others in probe.measure(Scripted(resampler), Silence()):
        if own.verdicts["attempt_1"].score:
            assert not others
            continue
        spent, budget = [len(other["attempt"].tokens) for other in others], len(own["attempt_2"].tokens)
        assert sum(spent[:-1]) < budget  # a scripted model cannot be cut off, so the last may go beyond
        assert others[-1].verdicts["attempt"].score == 1 or sum(spent) >= budget


def test_feedback_comes_before_the_second_attempt_and_counts() -> None:
    probe = SelfCorrection(tasks=Words(), n=50, max_tokens=8, refine=True)
    groups = probe.measure(Scripted(lambda r: "hm" if r.name == "feedback" else resampler(r)), Silence())
    names = [segment.name for segment in groups[0][0].segments]
    assert names == ["prompt", "attempt_1", "ask_feedback", "feedback", "ask_correction", "attempt_2"]
    own, *others = next(group for group in groups if len(group) > 2)
    spent = [len(o["attempt"].tokens) for o in others]
    assert sum(spent[:-1]) < len(own["feedback"].tokens) + len(own["attempt_2"].tokens) <= 9


def test_edits_are_counted_in_tokens() -> None:
    (curve,) = measured(copier).curves
    ((points),) = curve.series.values()
    assert points[0][1].value == 1.0  # all of it unchanged
    (curve,) = measured(spoiler).curves
    ((points),) = curve.series.values()
    assert points[0][1].value == 0.0
    assert sum(estimate.value for _, estimate in points) == pytest.approx(1)
