"""Planted trust is recovered: in what is one's own, in what is wrong, and what considering the others does to it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from random import Random

import pytest

from secondthought.engines.base import Access, Request
from secondthought.engines.scripted import Scripted
from secondthought.errors import UserError
from secondthought.probes.calibration_scores import prauc
from secondthought.probes.self_trust import SelfTrust
from secondthought.probes.self_trust_words import percent_in, shares_in
from secondthought.probes.subjects import trusting
from secondthought.runs.progress import Silence
from secondthought.tasks.multiple_choice import Sums
from secondthought.types import Report, Task

N = 400
ACCURACY = 0.6


def measured(subject: object, n: int = N, **options: object) -> Report:
    probe = SelfTrust(tasks=Sums("test"), n=n, **options)  # type: ignore[arg-type]
    engine = subject if hasattr(subject, "renderer") else Scripted(subject)  # type: ignore[arg-type]
    return probe.report(probe.measure(engine, Silence()))  # type: ignore[arg-type]


def test_one_who_trusts_everything() -> None:
    report = measured(trusting(0.95, 0.95))
    assert report.verdict == "supported"
    assert report.effect("overtrust").estimate.value == pytest.approx(0.95 - ACCURACY, abs=0.03)
    assert report.figures["alone/wrong"].value == pytest.approx(0.95)
    assert report.figures["alone/auroc"].value == pytest.approx(0.5)
    assert report.figures["alone/ece"].value == pytest.approx(0.95 - ACCURACY, abs=0.03)
    assert report.effect("ownership").estimate.value == 0
    assert report.arm("consistency").estimate.value == 1
    assert report.figures["t3/calls"].value == 4 + 3


def test_one_who_knows() -> None:
    report = measured(trusting(0.9, 0.1))
    assert report.verdict == "refuted"
    assert report.figures["alone/auroc"].value == 1
    assert report.figures["alone/prauc"].value == 1
    assert report.figures["alone/wrong"].value == pytest.approx(0.1)


@pytest.mark.parametrize("own", [0.0, 0.1, 0.25])
def test_what_is_shown_as_its_own_is_trusted_more(own: float) -> None:
    report = measured(trusting(0.7, 0.5, own=own), n=400)
    assert report.effect("ownership").estimate.value == pytest.approx(own, abs=0.001)
    assert report.effect("ownership_third").estimate.value == pytest.approx(own, abs=0.001)


def test_reasons_that_are_evidence_help_and_others_do_not() -> None:
    helped = measured(trusting(0.9, 0.9, evidence=0.9))
    assert helped.effect("alternatives_reduce_it").estimate.low > 0.3
    assert helped.effect("t3_auroc_over_alone").estimate.low > 0.1
    assert helped.effect("reasons_reduce_it").estimate.low > 0
    not_helped = measured(trusting(0.9, 0.9))
    assert not_helped.effect("t3_auroc_over_alone").estimate.value == 0
    assert not_helped.effect("reasons_reduce_it").estimate.value == pytest.approx(0, abs=1e-9)
    random = measured(trusting(0.9, 0.9, evidence=0.5))
    assert random.effect("t3_auroc_over_consistency").estimate.low < 0.02


def test_orders_are_averaged() -> None:
    """One who always likes what comes last: over orders its trust evens out."""

    def last(request: Request) -> str:
        if request.name == "shares":
            lines = [line for line in request.segments[-1].text.split("\n") if len(line) > 2 and line[1:3] == ") "]
            return f"{lines[-1][0]}: 1.0"
        return trusting(0.9, 0.9)(request)

    report = measured(last, n=300, orders=8)
    assert report.arm("t3").estimate.value == pytest.approx(0.25, abs=0.06)
    spread = [score for score in report.arm("t3_one_order").scores if not math.isnan(score)]
    assert set(spread) == {0.0, 1.0}


class Odds(Scripted):
    """A subject with log-probabilities: "True" at odds that depend on whose answer it is, letters by how likely they are."""

    access = Access.LOGITS

    def __init__(self, own: float, other: float) -> None:
        super().__init__(trusting(0, 0))
        self.yes = {True: own, False: other}

    def score(
        self, contexts: Sequence[Sequence[int]], continuations: Sequence[Sequence[int]], temperature: float = 1.0
    ) -> list[tuple[float, ...]]:
        found: list[tuple[float, ...]] = []
        for context, continuation in zip(contexts, continuations, strict=True):
            text, word = self.renderer.decode(context), self.renderer.decode(continuation)
            odds = self.yes["Earlier you answered" in text or "above" in text]
            share = {"True": odds, "False": 1 - odds}.get(word, 0.25 if len(word) == 1 else 1e-9)
            found.append((math.log(share),))
        return found


def test_log_probabilities_are_used_where_they_can_be_had() -> None:
    report = measured(Odds(0.8, 0.6), n=100)
    assert report.arm("alone").estimate.value == pytest.approx(0.8, abs=1e-6)
    assert report.effect("ownership").estimate.value == pytest.approx(0.2, abs=1e-6)
    assert report.arm("t3").estimate.value == pytest.approx(0.25, abs=1e-6)
    assert report.effect("equally_likely").estimate.value == pytest.approx(0, abs=1e-6)


def test_answers_without_options_are_compared_among_themselves() -> None:
    def write(request: Request) -> str:
        rng = Random(request.seed)
        if request.name == "attempt":
            return f"The answer is {rng.choice((7, 8))}."
        if request.name == "shares":
            return "A: 0.5\nB: 0.5"
        return "90" if request.name == "confidence" else "Because."

    from secondthought.tasks.dataset import TaskList
    from secondthought.tasks.grade import number

    tasks = TaskList(tuple(Task.of(f"3 + 4? ({k})", answer=7, family="sums") for k in range(60)), number)
    probe = SelfTrust(tasks=tasks, n=60)
    report = probe.report(probe.measure(Scripted(write), Silence()))
    assert report.arm("alone").estimate.value == pytest.approx(0.9)
    assert report.arm("t3").estimate.value == pytest.approx(0.5)
    assert report.arm("consistency").estimate.value == pytest.approx(0.5, abs=0.15)


def test_what_cannot_be_read_is_counted() -> None:
    report = measured(lambda r: "The answer is A." if r.name == "attempt" else "I would rather not say.", n=30)
    assert report.verdict == "not applicable"
    assert "no confidence could be read" in report.notes[0]
    none = measured(lambda r: "hm", n=20)
    assert none.verdict == "not applicable"
    with pytest.raises(UserError, match="there are no tasks"):
        SelfTrust(tasks="nothing", n=2).measure(Scripted(lambda r: ""), Silence())


@pytest.mark.parametrize(
    ("text", "share"),
    [
        ("80", 0.8),
        ("I am 80% sure", 0.8),
        ("0.8", 0.8),
        ("<think>20</think>90", 0.9),
        ("maybe", None),
        ("250", None),
        ("1", 0.01),
    ],
)
def test_percentages(text: str, share: float | None) -> None:
    assert percent_in(text) == share


def test_shares_and_average_precision() -> None:
    assert shares_in("**A**: 70%\n- B: 0.2", "AB") == {"A": 0.7, "B": 0.2}
    assert shares_in("A is likely", "AB") == {}
    assert prauc([0.5, 0.5], [1, 0]) == 0.5
    assert math.isnan(prauc([0.5], [0]))


def test_the_shipped_model_trusts_its_own_as_planted() -> None:
    from secondthought.engines.factory import torch_engine

    probe = SelfTrust(n=60)
    report = probe.report(probe.measure(torch_engine("nano/mirror"), Silence()))
    assert report.arm("own").estimate.value > report.arm("user").estimate.value + 0.15  # two in log-odds
    assert report.arm("alone").estimate.value > 0.85
    assert report.arm("consistency").estimate.n > 50
