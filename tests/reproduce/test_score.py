"""The tables of self-correction: every arm once, the two mechanisms drawn, nothing trained twice."""

from __future__ import annotations

from pathlib import Path

import pytest

from secondthought.reproduce import arms
from secondthought.reproduce.cft import CritiqueFineTuning
from secondthought.reproduce.score import Score
from secondthought.runs.progress import Silence

FEW = "groups=4;group_size=2;dev_problems=8;eval_every=1;checkpoint_every=1"


def test_score_quick(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    steps = "stage_one.steps=2;stage_two.steps=2;pairs_1.steps=2;pairs_1.problems=40"
    asked = Score(arms="score,base,pair_sft_plus,pair_sft,multi_turn", problems=40, settings=f"{FEW};{steps}")
    found = asked.run("quick", tmp_path, Silence())
    ids = [claim.id for claim in found.claims]
    assert ids[:2] == ["offline_edits_vanish", "offline_shift"]
    measured = {claim.id: claim.measured for claim in found.claims}
    for name in ("offline_edits_vanish", "offline_shift", "plain_rl_collapses", "score_corrects", "score_over_multi_turn"):
        assert measured[name] is not None, name
    assert measured["stage_one_matters"] is None
    assert found.page is not None
    page = found.page.read_text()
    for words in ("Pair-SFT, D+", "base model", "fresh attempts, same tokens (oracle)", "(shift.png)"):
        assert words in page
    tables = found.tables["arms"]
    assert tables["base"]["sampled_tokens"] == [0]
    assert tables["base"]["gain"]["n"] == 40
    for one in tables.values():  # the identity, to rounding
        assert one["gain"]["value"] == pytest.approx(one["i_to_c"]["value"] - one["c_to_i"]["value"])
    points = found.tables["shift"]["pair_sft"][0]
    assert [point["step"] for point in points] == [0, 1, 2]
    assert points[0] == found.tables["shift"]["score"][0][0]  # the same base model on the same problems
    for picture in ("arms", "edits", "changes", "shift"):
        assert (tmp_path / f"{picture}.png").stat().st_size > 5000
    monkeypatch.setattr(arms, "train", lambda *_, **__: pytest.fail("trained twice"))
    assert asked.run("quick", tmp_path, Silence()).tables == found.tables


def test_cft_quick(tmp_path: Path) -> None:
    few = "groups=4;dev_problems=8;eval_every=50;imitate.problems=40"
    asked = CritiqueFineTuning(arms="cft,answers_right,shuffled,rrr,then_rrr", problems=30, tokens=300, settings=f"{few};reward.steps=1;group_size=2")  # fmt: skip
    found = asked.run("quick", tmp_path, Silence())
    measured = {claim.id: claim.measured for claim in found.claims}
    assert next(iter(measured)) == "critique_beats_answers"
    for name in ("critique_beats_answers", "critique_helps", "shuffled_does_nothing", "verdicts_are_learned", "start_for_rrr"):
        assert measured[name] is not None, name
    assert measured["noise_20"] is None
    for one in found.tables["arms"].values():
        assert 300 <= one["learned_tokens"][0] < 600
    assert found.page is not None
    assert "critiques, then Reflect, Retry, Reward" in found.page.read_text()
    assert (tmp_path / "arms.png").stat().st_size > 5000
