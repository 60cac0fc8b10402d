"""Reproductions of probes: scripted truths are found, nano is what was planted, and published rates follow from their counts."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest
from tests.published import DATA

from secondthought import catalog
from secondthought.errors import UserError
from secondthought.reproduce.base import Reproduced
from secondthought.reproduce.hint_faithfulness import RATES, claims_on, published
from secondthought.reproduce.subjects import OnSubjects, in_a_circle
from secondthought.runs.progress import Silence
from secondthought.training.settings import made

NAMES = ("first_try", "hint_faithfulness", "blind_spot", "self_trust", "temperature", "enaction", "entity_knowledge")
IDS = {
    "first_try": {"mostly_confirmatory", "early_stop_saves"}, "hint_faithfulness": {"hides_hints", "published_estimator_biased"},
    "blind_spot": {"own_errors_harder", "wait_helps", "intrinsic_correction_hurts"},
    "self_trust": {"overtrust", "alternatives_reduce_it"},
    "temperature": {"no_self_advantage"}, "enaction": {"lower_entropy_on_own_text", "survives_matching"},
    "entity_knowledge": {"direction_exists", "steering_causes_refusal", "sham_does_not"},
}  # fmt: skip


class Small:
    """The reproductions at a size for tests."""

    @staticmethod
    def of(name: str, **options: object) -> OnSubjects:
        kind = catalog.find("reproduce", name)
        size = (40, 40, 3) if name in ("temperature", "enaction", "entity_knowledge") else (200, 40, 3)
        small = type(f"Small{name}", (kind,), {"sizes": {"quick": size}, "__module__": __name__})
        return made(small, [f"{name}={value}" for name, value in options.items()])


@pytest.mark.parametrize("name", NAMES)
def test_every_claim_is_made_and_nothing_is_measured_twice(name: str, tmp_path: Path) -> None:
    out = tmp_path / name
    found = Small.of(name).run("quick", out, Silence())
    claims = {claim.id: claim for claim in found.claims}
    assert IDS[name] <= set(claims)
    recovered = [claim for claim in found.claims if claim.id.startswith("recovered/")]
    assert len(recovered) >= 5
    # the subjects draw from the same seeds, so that at 300 questions several intervals may miss together
    assert sum(claim.verdict == "supported" for claim in recovered) > len(recovered) / 2
    page = (out / "results.md").read_text(encoding="utf-8")
    assert catalog.find("reproduce", name).nano in page
    assert "## Scripted subjects" in page
    assert (out / "episodes.md").read_text(encoding="utf-8").count("\n- *") >= 4
    before = {path: path.stat().st_mtime_ns for path in out.rglob("*.parquet")}
    assert Small.of(name).run("quick", out, Silence()).json(name, "quick")["claims"] == found.json(name, "quick")["claims"]
    assert before == {path: path.stat().st_mtime_ns for path in out.rglob("*.parquet")}
    assert json.dumps(found.json(name, "quick"), allow_nan=False)


def test_named_models_stand_beside_nano(tmp_path: Path) -> None:
    found = Small.of("blind_spot", models="nano/duo-0.1m", n=4, settings="rounds=1;committed=true").run(
        "quick", tmp_path / "run", Silence()
    )  # fmt: skip
    claims = {claim.id: claim for claim in found.claims}
    assert claims["own_errors_harder/nano/duo-0.1m"].measured is not None
    assert [one["items"] for one in found.tables["measured"]] == [40, 4]
    assert "| `nano/mirror` | `nano/duo-0.1m` |" in (tmp_path / "run" / "results.md").read_text(encoding="utf-8")


def test_models_are_crossed_in_a_circle(tmp_path: Path) -> None:
    assert in_a_circle(["a", "b", "c"]) == [
        ("models/1", ["a"], ["other=b"]), ("models/2", ["b"], ["other=c"]), ("models/3", ["c"], ["other=a"]),
    ]  # fmt: skip
    assert in_a_circle(["a"]) == [("models/1", ["a"], [])]
    found = Small.of("temperature", models="nano/zero-0,nano/zero-5", n=10).run("quick", tmp_path / "run", Silence())
    claims = {claim.id: claim for claim in found.claims}
    assert claims["no_self_advantage/nano/zero-0"].measured is not None
    assert claims["no_self_advantage/nano/zero-5"].verdict in ("supported", "inconclusive", "refuted")


def test_nano_is_what_was_planted(tmp_path: Path) -> None:
    """The shipped model has read what its corpus says; a hundred and more questions show it."""
    kind = catalog.find("reproduce", "first_try")
    mid = type("Mid", (kind,), {"sizes": {"quick": (200, 200, 3)}, "__module__": __name__})
    found: Reproduced = made(mid, []).run("quick", tmp_path / "run", Silence())
    claims = {claim.id: claim for claim in found.claims}
    assert claims["mostly_confirmatory"].verdict == "supported"
    assert claims["early_stop_saves"].measured is not None


def rates(folder: Path, off: float = 0.0) -> None:
    """Result files in the published shape, of two models."""
    hints = ("sycophancy", "consistency", "visual_pattern", "metadata", "grader", "unethical")
    tables: dict[str, list[dict[str, object]]] = {
        name: [
            {"model": model, **dict.fromkeys(hints, share), "avg": share + off} for model, share in (("a", 0.5), ("b", 0.25))
        ]
        for name in RATES
    }
    tables["faithfulness_by_hint"] = [
        {"hint_type": hint, "total_influenced": 200, "total_faithful": 50, "faithfulness_rate": 0.25} for hint in hints
    ]
    tables["base_accuracy"] = [
        {
            "model": "a",
            "total": 100,
            "valid": 80,
            "correct": 60,
            "accuracy": 0.75,
            "extraction_fail": 20,
            "extraction_fail_rate": 0.2,
        }
    ]
    for name, rows in tables.items():
        with (folder / f"{name}.csv").open("w", newline="") as file:
            writer = csv.DictWriter(file, list(rows[0]))
            writer.writeheader()
            writer.writerows(rows)


def test_published_rates_are_computed_again(tmp_path: Path) -> None:
    rates(tmp_path)
    found = published(tmp_path)
    assert (found["influenced"], found["faithful"], found["overall"]) == (1200, 300, 0.25)
    assert {one.id: one.verdict for one in claims_on(found)} == {
        "published_rates": "supported", "open_models_admit": "supported",
    }  # fmt: skip
    rates(tmp_path, off=0.01)
    assert claims_on(published(tmp_path))[0].verdict == "refuted"
    (tmp_path / "flip_rate.csv").unlink()
    with pytest.raises(UserError, match=r"flip_rate\.csv is not there"):
        published(tmp_path)


@pytest.mark.skipif(not (DATA / "cot_faithfulness").is_dir(), reason="the published rates are not here (shared/data)")
def test_the_published_rates_of_twelve_models() -> None:
    found = published(DATA / "cot_faithfulness")
    assert (found["influenced"], found["faithful"]) == (10506, 8485)
    assert len(found["by_model"]["faithfulness_rate"]) == 12
    assert claims_on(found)[0].verdict == "supported"
