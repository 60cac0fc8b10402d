"""Flawed chains given to several models on several sets of items: measured once, and written down."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from secondthought.errors import UserError
from secondthought.probes.flawed_chain import FlawedChain
from secondthought.reproduce.flawed_chains import FlawedChains
from secondthought.runs.progress import Silence


def test_every_model_set_and_profile_is_measured_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = FlawedChains(models="nano/countdown", tasks="countdown;arithmetic", n=4)
    found = asked.run("quick", tmp_path, Silence())
    assert {(one["tasks"], one["profile"], one["items"]) for one in found.tables["measured"]} == {
        (tasks, profile, 4) for tasks in ("countdown", "arithmetic") for profile in ("clean", "paper")
    }
    assert len(found.claims) == 4 * 4
    assert found.page is not None
    page = found.page.read_text()
    assert page.count("| flawed chain, “Wait,” |") == 4
    assert page.count("| “Wait,” against a filler as long |") == 4
    (tmp_path / "episodes.md").read_text().index("flawed chain, filler as long: `")
    monkeypatch.setattr(FlawedChain, "measure", lambda *_: pytest.fail("measured twice"))
    assert asked.run("quick", tmp_path, Silence()).tables == found.tables


@pytest.mark.parametrize("missing", [{"models": ""}, {"tasks": ""}])
def test_what_is_missing_is_said(tmp_path: Path, missing: dict[str, Any]) -> None:
    with pytest.raises(UserError, match="which models, and which items"):
        replace(FlawedChains(models="m", tasks="countdown"), **missing).run("quick", tmp_path, Silence())
