"""The probes of first tries, hints, blind spots and self-trust on a real model: asked in words, read, and nothing is lost."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

from typer.testing import CliRunner

from secondthought.cli import app
from secondthought.runs.reading import read_groups


def measured(smollm2: Path, out: Path, *words: str) -> dict[str, object]:
    """The report of one probe."""
    done = CliRunner().invoke(app, ["probe", *words, "--model", str(smollm2), "--out", str(out)])
    assert done.exit_code == 0, done.output
    (model,) = json.loads((out / "summary.json").read_text())["models"]
    return dict(model["report"])


def test_all_four_at_once(smollm2: Path, tmp_path: Path) -> None:
    only = "first_try,hint_faithfulness,blind_spot,self_trust"
    words = [
        "probe",
        "all",
        "--model",
        str(smollm2),
        "--only",
        only,
        "--n",
        "3",
        "--max-tokens",
        "32",
        "--out",
        str(tmp_path / "all"),
    ]
    done = CliRunner().invoke(app, words)
    assert done.exit_code == 0, done.output
    assert "what it takes" in done.output
    found = json.loads((tmp_path / "all" / "summary.json").read_text())
    reports = {one["probe"]: one["models"][0]["report"] for one in found["parts"]}
    assert set(reports) == set(only.split(","))
    (file,) = (tmp_path / "all" / "blind_spot" / "episodes").glob("*.parquet")
    asked = Counter(episode.arm for group in read_groups(file) for episode in group)
    # All that is asked is the same on every machine; what can be read of the answers is not.
    assert asked["internal/wait"] == asked["external"] == asked["review"] == 3, asked
    assert {arm["name"] for arm in reports["blind_spot"]["arms"]} >= {"internal/wait", "external", "round_2"}
    assert (tmp_path / "all" / "report.html").is_file()


def test_it_stops_behind_its_first_answer(smollm2: Path, tmp_path: Path) -> None:
    ask = [
        "first_try",
        "--tasks",
        "multiple_choice",
        "--n",
        "6",
        "--temperature",
        "0",
        "--max-tokens",
        "96",
        "--set",
        "controls=false",
    ]
    whole = measured(smollm2, tmp_path / "whole", *ask)
    stopped = measured(smollm2, tmp_path / "stopped", *ask, "--stop-after-first-answer", "1")
    figures: dict[str, dict[str, float]] = stopped["figures"]  # type: ignore[assignment]
    assert figures["candidates"]["value"] <= 1
    assert whole["figures"]["first"]["value"] == figures["first"]["value"]  # type: ignore[index]
