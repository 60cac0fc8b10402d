"""The tables of SECToR and self-questioning: every claim that can be made is made, and nothing is trained twice."""

from __future__ import annotations

from pathlib import Path
from random import Random

import pytest

from secondthought.reproduce import arms
from secondthought.reproduce.sector import Answered, Labelled, Sector, error_ratio, growth, reached
from secondthought.reproduce.self_questioning import SelfQuestioning, near_duplicates
from secondthought.runs.progress import Silence
from secondthought.tasks.addition import Sum

FEW = "groups=4;dev_problems=8;eval_every=99;checkpoint_every=99;" + ";".join(
    f"digits_{d}.steps=1;digits_{d}.answers=60" for d in range(5, 11)
)


def test_sector(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = Sector(arms="sector,fast,chain,lax_100", problems=40, settings=FEW)
    found = asked.run("quick", tmp_path, Silence())
    measured = {claim.id: claim.measured for claim in found.claims}
    assert list(measured)[:5] == [
        "checks_extend_digits", "avalanche_without_checks", "label_error_held", "floor_is_verification",
        "systematic_worse_than_random",
    ]  # fmt: skip
    for name in ("checks_extend_digits", "avalanche_without_checks", "floor_is_verification"):
        assert measured[name] is not None, name
    assert measured["systematic_worse_than_random"] is None
    assert [len(run) for run in found.tables["rounds"]["sector"]] == [6]
    assert found.page is not None
    page = found.page.read_text()
    for words in ("E: vote, both orders (SECToR)", "A: answers at once", "(checker.png)", "Carries"):
        assert words in page
    for picture in ("label_error", "digits", "checker"):
        assert (tmp_path / f"{picture}.png").stat().st_size > 5000
    monkeypatch.setattr(arms, "train", lambda *_, **__: pytest.fail("trained twice"))
    assert asked.run("quick", tmp_path, Silence()).tables == found.tables


def test_growth_of_a_known_avalanche() -> None:
    rng = Random(0)
    rows = [
        Labelled(number, float(rng.random() < 0.02 * 2**number), f"{number} {i}")
        for number in range(1, 5) for i in range(2000)
    ]  # fmt: skip
    found = growth(rows)
    assert found.low < 2 < found.high
    level = growth(
        [Labelled(number, float(rng.random() < 0.05), f"{number} {i}") for number in range(1, 5) for i in range(2000)]
    )
    assert level.low < 1 < level.high
    tenth = error_ratio(
        [Labelled(1, float(i % 50 == 0), f"c{i}") for i in range(1000)],
        [Labelled(1, float(i % 5 == 0), f"u{i}") for i in range(1000)],
    )
    assert tenth.value == pytest.approx(0.1, abs=0.01)


def test_reach_is_the_mean_over_runs() -> None:
    rows = [Answered(1, 1.0, "a", "seed_0"), Answered(2, 0.0, "b", "seed_0"), Answered(1, 1.0, "a", "seed_1"), Answered(2, 1.0, "b", "seed_1")]  # fmt: skip
    assert reached(rows) == 1.5


def test_self_questioning(tmp_path: Path) -> None:
    few = "steps=2;groups=2;group_size=4;dev_problems=8;eval_every=99;checkpoint_every=99"
    asked = SelfQuestioning(arms="self_questioning,oracle,static", problems=60, settings=few)
    found = asked.run("quick", tmp_path, Silence())
    measured = {claim.id: claim.measured for claim in found.claims}
    assert list(measured)[:3] == ["solver_improves_without_labels", "close_to_oracle_labels", "static_proposer_worse"]
    assert measured["solver_improves_without_labels"] is not None
    assert measured["majority_fails_where_majority_is_wrong"] is not None
    assert measured["over_format_only"] is None
    parts = found.tables["posed"]["self_questioning"][0]
    assert all(0 <= part["valid"] <= 1 for part in parts)
    assert found.page is not None
    assert "questions by program" in found.page.read_text()


def test_near_duplicates() -> None:
    assert near_duplicates([Sum(12, 34), Sum(34, 12)]) == 0.5
    assert near_duplicates([Sum(12, 34), Sum(12, 35)]) == 0.5
    assert near_duplicates([Sum(12, 34), Sum(22, 35)]) == 0
