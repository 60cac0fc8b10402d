"""The authors' metrics of RLCR from their result files, to rounding; files of one's own, and broken ones."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tests.published import published

from secondthought.errors import UserError
from secondthought.reproduce.rlcr import Rlcr
from secondthought.runs.progress import Silence


def test_every_published_metric_is_ours(tmp_path: Path) -> None:
    found = Rlcr(data=published("rlcr")).run("quick", tmp_path, Silence())
    assert len(found.claims) == 2 * 5 * 5
    assert {claim.verdict for claim in found.claims} == {"supported"}
    assert found.tables["math-500"]["RLCR"].keys() == {"accuracy", "brier", "ece", "auroc", "confidence"}


def write(place: Path, text: str) -> Path:
    (place / "mine.csv").write_text(text)
    return place


def test_files_of_ones_own(tmp_path: Path) -> None:
    data = write(tmp_path, "id,method,correct,confidence,format_ok\n1,A,1,0.9,1\n2,A,0,0.9,1\n1,B,1,1.0,1\n2,B,1,1.0,1\n")
    found = Rlcr(data=data).run("quick", tmp_path, Silence())
    assert found.claims == ()
    tables = found.tables["mine"]
    assert tables["A"] == pytest.approx({"accuracy": 0.5, "brier": 0.41, "ece": 0.4, "auroc": 0.5, "confidence": 0.9})
    assert tables["B"] == {"accuracy": 1.0, "brier": 0.0, "ece": 0.0, "auroc": 0.5, "confidence": 1.0}
    (tmp_path / "mine.metrics.json").write_text(json.dumps({"A": {"ece": 0.5}, "C": {"ece": 0.1}}))
    wrong, missing = Rlcr(data=data).run("quick", tmp_path, Silence()).claims
    assert (wrong.verdict, missing.verdict) == ("refuted", "not applicable")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("id,method,correct\n1,A,1\n", "there is no column 'confidence'"),
        ("method,correct,confidence\nA,1,\n", r"line 2: confidence is ''; a number from 0 to 1 is wanted"),
        ("method,correct,confidence\nA,1,1.5\n", "line 2: confidence is '1.5'"), ("method,correct,confidence\nA,yes,0.5\n", "line 2: correct is 'yes'"),
    ],
)  # fmt: skip
def test_broken_files_are_named(tmp_path: Path, text: str, words: str) -> None:
    with pytest.raises(UserError, match=words):
        Rlcr(data=write(tmp_path, text)).run("quick", tmp_path, Silence())


def test_what_is_missing_is_said(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"there is no NAME\.csv"):
        Rlcr(data=tmp_path / "nowhere").run("quick", tmp_path, Silence())
    with pytest.raises(UserError, match="there is no budget 'huge'"):
        Rlcr().run("huge", tmp_path, Silence())


def test_arms_are_trained_measured_and_compared(tmp_path: Path) -> None:
    small = "groups=4;group_size=4;dev_problems=4;eval_every=99;start.steps=3;start.problems=48;reward.steps=2;settle.steps=1"
    reproduction = Rlcr(arms="rlcr,rlvr,shuffled", problems=24, settings=small)
    found = reproduction.run("quick", tmp_path, Silence())
    by_id = {claim.id: claim for claim in found.claims}
    assert {"calibrated_by_stratum", "rlvr_overconfident", "accuracy_kept", "shuffled_control"} <= by_id.keys()
    assert by_id["log_score_cheats"].verdict == "not applicable"  # not trained here
    assert by_id["calibrated_by_stratum"].measured is not None
    assert found.tables["lots"]["rlcr"]["strata"].keys() == {"1", "2", "5", "10"}
    assert {"verbal", "answer_probability", "scaled", "head"} <= found.tables["lots"]["rlvr"].keys()
    assert found.page is not None
    assert "a head on hidden states" in found.page.read_text()
    again = reproduction.run("quick", tmp_path, Silence())
    assert again.tables == found.tables  # nothing is sampled twice
