"""Planted blind spots are recovered, and rounds of review do what their rates say."""

from __future__ import annotations

from collections.abc import Callable
from random import Random

import pytest

from secondthought.engines.base import Request
from secondthought.engines.scripted import Scripted
from secondthought.errors import UserError
from secondthought.items.base import Item
from secondthought.items.load import items_of
from secondthought.items.scli import KINDS, answer_in
from secondthought.probes.blind_spot import BlindSpot
from secondthought.probes.blind_spot_report import spot
from secondthought.runs.progress import Silence
from secondthought.types import Report

N = 1500
ITEMS = items_of("scli", n=N)
KNOWN: dict[str, Item] = {item.question: item for item in ITEMS.found}
Subject = Callable[[Request], str]


def corrector(external: float, blind: float, wait: float = 0.0, filler: float = 0.0, fresh: float | None = None) -> Subject:
    """Puts a user's error right with probability ``external``; its own with ``1 - blind`` of that, or with ``wait`` (``filler``)
    behind the trigger.
    """
    by_question = {item.question: item for item in ITEMS.found}

    def write(request: Request) -> str:
        text, rng = request.task.prompt[0].content, Random(request.seed)
        question = text[: text.index("?") + 1]
        item, names = by_question[question], [segment.name for segment in request.segments]
        trigger = request.segments[-1].text.strip() if names[-1] == "trigger" else ""
        if "go_on" in names:
            chance = external if fresh is None else fresh
        elif names[-1] in ("chain", "trigger"):
            own = {"Wait": wait, "Now": filler}.get(trigger, external * (1 - blind))
            chance = own if item.flawed in request.segments[1].text else 1.0
        else:
            chance = external if item.flawed in text else 1.0
        return f"The answer is {item.gold}." if rng.random() < chance else f"The answer is {item.wrong}."

    return write


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
    assert same.effect("wait_helps").estimate.low < 0 < same.effect("trigger").estimate.low


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


def test_engines_that_cannot_be_given_words_measure_the_rest() -> None:
    engine = Scripted(corrector(0.8, 0.0))
    engine.continues = False  # type: ignore[attr-defined]
    probe = BlindSpot(tasks=ITEMS, rounds=1)
    report = probe.report(probe.measure(engine, Silence()))
    assert report.verdict == "not applicable"
    assert "cannot be given words of its own" in report.notes[0]
    assert report.arm("external").estimate.value == pytest.approx(0.8, abs=0.04)
    assert report.arm("round_1").estimate.n == N


def reviewer(first: float, eir: float, ecr: float) -> Subject:
    """Right at first with ``first``; a round turns right to wrong with ``eir`` and wrong to right with ``ecr``."""

    def write(request: Request) -> str:
        rng, item = Random(request.seed), by_text(request)
        attempts = [s for s in request.segments if s.name.startswith("attempt")]
        if request.name.startswith("review"):
            return "I have looked."
        if not attempts:
            right = rng.random() < first
        else:
            right = rng.random() >= eir if answer_in(attempts[-1].text) == item.gold else rng.random() < ecr
        return f"The answer is {item.gold if right else item.wrong}."

    return write


def by_text(request: Request) -> Item:
    text = request.task.prompt[0].content
    return KNOWN[text[: text.index("?") + 1]]


def test_rounds_of_review_follow_their_rates() -> None:
    report = measured(reviewer(0.8, 0.2, 0.3), rounds=2)
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
    gains = measured(reviewer(0.4, 0.05, 0.5), rounds=1)
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
