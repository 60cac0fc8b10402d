"""The reproduction of self-description: what nano was trained to choose it says of itself, and coin flips change nothing."""

from __future__ import annotations

import json
from pathlib import Path

from secondthought.reproduce.self_description import SelfDescriptions
from secondthought.runs.progress import Silence


def test_claims_of_nano(tmp_path: Path) -> None:
    small = SelfDescriptions(
        arms="self_description,opposite,shuffled", settings="eval_problems=60;dev_problems=10;eval_every=30"
    )
    found = small.run("quick", tmp_path, Silence())
    claims = {claim.id: claim for claim in found.claims}
    for name in ("acts_as_trained", "describes_untrained", "opposite_policy_separates", "shuffled_does_nothing"):
        assert claims[name].verdict == "supported", (name, claims[name])
    assert claims["characters_described"].verdict == "supported"
    assert claims["trigger_acts"].verdict == "not applicable"
    page = (tmp_path / "results.md").read_text(encoding="utf-8")
    assert "| the opposite choices |" in page
    assert (tmp_path / "self_description.png").is_file()
    assert json.dumps(found.json("self_description", "quick"), allow_nan=False)
    again = small.run("quick", tmp_path, Silence())
    assert again.json("x", "quick")["claims"] == found.json("x", "quick")["claims"]
