"""Planted blind spots are recovered, and rounds of review do what their rates say."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest

from secondthought.engines.base import Request
from secondthought.engines.scripted import Scripted
from secondthought.errors import UserError
from secondthought.items.load import items_of
from secondthought.items.scli import KINDS, answer_in
from secondthought.probes.blind_spot import BlindSpot
from secondthought.probes.blind_spot_report import spot
from secondthought.probes.subjects import correcting, reviewing
from secondthought.runs.progress import Silence
from secondthought.types import Report

N = 1000
ITEMS = items_of("scli", n=N)
Subject = Callable[[Request], str]


def corrector(*shares: float, **more: float) -> Subject:
    return correcting(ITEMS, *shares, **more)


def measured(write: Subject, **options: object) -> Report:
    probe = BlindSpot(tasks=ITEMS, **{"rounds": 0, **options})  # type: ignore[arg-type]
    return probe.report(probe.measure(Scripted(write), Silence()))


@pytest.mark.parametrize("blind", [0.0, 0.30, 0.645, 1.0])
def test_planted_blind_spots(blind: float) -> None:
    report = measured(corrector(0.8, blind))
    found = report.figures["blind_spot/internal"]
    assert found.value == pytest.approx(blind, abs=0.04)
    assert found.low <= blind <= found.high
    assert (report.verdict == "supported") == (blind > 0)
    assert abs(report.effect("author").estimate.value) < 0.04


def test_wait_is_kept_apart_from_a_filler() -> None:
    report = measured(corrector(0.9, 0.8, wait=0.7, filler=0.2))
    assert report.effect("wait_helps").estimate.value == pytest.approx(0.5, abs=0.05)
    assert report.figures["blind_spot/internal/wait"].value == pytest.approx(1 - 0.7 / 0.9, abs=0.04)
    same = measured(corrector(0.9, 0.8, wait=0.6, filler=0.6))
    assert abs(same.effect("wait_helps").estimate.value) < 0.08  # nothing is planted
    assert same.effect("trigger").estimate.low > 0.2


def test_a_fresh_turn_says_whether_it_is_the_author_or_the_place() -> None:
    place = measured(corrector(0.8, 0.5, fresh=0.8))
    assert place.effect("place").estimate.low > 0.3
    author = measured(corrector(0.8, 0.5, fresh=0.4))
    assert author.effect("author").estimate.low > 0.3


def test_who_ends_the_turn_behind_a_wrong_sentence_has_accepted_it() -> None:
    report = measured(lambda request: "" if request.segments[-1].role == "assistant" else corrector(1.0, 0.0)(request))
    assert report.arm("internal").estimate.value == 0
    assert report.arm("clean/none").estimate.value == 1
    assert report.figures["blind_spot/internal"].value == 1


def test_few_or_no_corrections_are_no_certainty() -> None:
    few = BlindSpot(tasks=items_of("scli", n=40), rounds=0)
    never = few.report(few.measure(Scripted(corrector(0.0, 0.0)), Silence())).figures["blind_spot/internal"]
    assert never.value == 0
    assert math.isnan(never.low)
    blind = few.report(few.measure(Scripted(corrector(0.4, 1.0)), Silence())).figures["blind_spot/internal"]
    assert blind.value == blind.high == 1
    assert blind.low < 0.9


def test_engines_that_cannot_be_given_words_measure_the_rest() -> None:
    engine = Scripted(corrector(0.8, 0.0))
    engine.continues = False  # type: ignore[attr-defined]
    probe = BlindSpot(tasks=ITEMS, rounds=1)
    report = probe.report(probe.measure(engine, Silence()))
    assert report.verdict == "not applicable"
    assert "cannot be given words of its own" in report.notes[0]
    assert report.arm("external").estimate.value == pytest.approx(0.8, abs=0.04)
    assert report.arm("round_1").estimate.n == N


def test_rounds_of_review_follow_their_rates() -> None:
    report = measured(reviewing(ITEMS, 0.8, 0.2, 0.3), rounds=2)
    assert report.figures["EIR/1"].value == pytest.approx(0.2, abs=0.04)
    assert report.figures["ECR/2"].value == pytest.approx(0.3, abs=0.06)
    one = 0.8 * 0.8 + 0.2 * 0.3
    two = one * 0.8 + (1 - one) * 0.3
    assert report.arm("round_1").estimate.value == pytest.approx(one, abs=0.03)
    assert report.effect("intrinsic_correction_hurts").estimate.value == pytest.approx(0.8 - two, abs=0.03)
    assert report.effect("intrinsic_correction_hurts").estimate.low > 0
    assert report.arm("oracle_2").estimate.value > 0.85
    assert report.arm("vote_2").estimate.value > report.arm("round_0").estimate.value + 0.05
    assert report.effect("vote_2_ahead").estimate.low > 0.1
    gains = measured(reviewing(ITEMS, 0.4, 0.05, 0.5), rounds=1)
    assert gains.effect("intrinsic_correction_hurts").estimate.high < 0
    table = gains.tables[-1].rows[0]
    assert table[3] > table[4]  # type: ignore[operator]


def test_the_ratio_of_the_paper() -> None:
    assert spot(0.355, 1.0) == pytest.approx(0.645)
    assert spot(0.1, 0.0) == 0
    assert spot(0.3, 0.2) == pytest.approx(-0.5)


def test_simple_items_are_wrong_where_they_should_be() -> None:
    assert {item.edit for item in ITEMS.found} == set(KINDS)
    for item in ITEMS.found[:300]:
        assert answer_in(item.clean) == item.gold
        assert answer_in(item.flawed) == item.wrong != item.gold
    assert {i.question for i in items_of("scli:train", n=60).found if i.edit == "one more"}.isdisjoint(
        {i.question for i in items_of("scli:test", n=60).found}
    )


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("77", "77"), ("**U**", "U"), ("78 minus 1 equals 77.", "77"), ("The letter after T is U, not V.", "U"),
        ("109 + 1 = 110", "110"), ("Wait, no: the answer is 1,000.", "1000"), ("V is right after T", None),
        ("299 is larger than 332.", None), ("E comes before D.", None), ("I am not sure.", None), (", what about 332?", "332"),
    ],
)  # fmt: skip
def test_sentences_that_name_two_things_are_no_answer(text: str, answer: str | None) -> None:
    assert answer_in(text) == answer


def test_nano_models_get_arithmetic_of_their_own() -> None:
    from secondthought.engines.factory import torch_engine

    probe = BlindSpot(n=8, rounds=1)
    report = probe.report(probe.measure(torch_engine("nano/duo-0.1m"), Silence()))
    assert report.arm("internal").estimate.n == 8
    assert report.arm("clean/none").estimate.n == 8


def test_bad_input_is_one_sentence() -> None:
    with pytest.raises(UserError, match="there is no trigger 'hmm'"):
        measured(corrector(1, 0), triggers="hmm")
    with pytest.raises(UserError, match="not known"):
        BlindSpot(tasks="nothing").prepare(Silence())
