"""The tables on a real model, made here with a random one: everything runs once, goes on, and is written down."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import pytest
from tests.calls import SMALL, rows_of_calls

from secondthought.errors import UserError
from secondthought.reproduce import arms
from secondthought.reproduce.rrr_real import RealReflectRetryReward, spent
from secondthought.runs.progress import Silence
from secondthought.runs.reading import read_metrics


def wanted(tmp_path: Path, model: Path) -> RealReflectRetryReward:
    problems = tmp_path / "problems.jsonl"
    problems.write_text("".join(json.dumps({"question": f"{i} + {i}?", "answer": f"{2 * i}"}) + "\n" for i in range(6)))
    return RealReflectRetryReward(
        tasks=str(rows_of_calls(tmp_path)), model=str(model), arms="rrr,start_only,answer", seeds=2, others=f"{problems}:all",
        text=str(problems), n=4, settings=";".join(one.replace("start.steps=24", "start.steps=2") for one in SMALL if "start" not in one),
    )  # fmt: skip


def test_every_table_is_made_and_nothing_twice(tmp_path: Path, chat_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked, out = wanted(tmp_path, chat_folder), tmp_path / "out"
    found = asked.run("full", out, Silence())
    assert [path.name for path in sorted(out.glob("*/seed_*"))] == ["seed_0", "seed_0", "seed_1", "seed_0"]
    assert found.page is not None
    page = found.page.read_text()
    for words in (
        "first attempts paid (plain GRPO)",
        "another problem's reflection",
        "trained/base",
        "perplexity",
        "temperature 0",
    ):
        assert words in page
    assert not re.search(r"\bnan\b", page)
    assert all(line.endswith("|") for line in page.splitlines() if line.startswith("|"))
    claims = {c.id: c for c in found.claims}
    for name in ("second", "first", "over_start_only", "over_answer"):
        assert claims[name].measured is not None  # of one seed where the other arm has one
    assert claims["over_no_start"].verdict == "not applicable"
    paid, base = spent(out / "answer" / "seed_0"), spent(out / "rrr" / "seed_0")
    last = read_metrics(out / "answer" / "seed_0")[-1]["tokens/sampled"]
    assert base <= paid < base + last  # as many sampled tokens, within a step
    assert "**After.** Attempt (unparsable" in (out / "reflections.md").read_text()
    monkeypatch.setattr(arms, "train", lambda *_, **__: pytest.fail("trained twice"))
    again = asked.run("full", out, Silence())
    assert again.tables == found.tables


def test_what_is_missing_is_said(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="write --set tasks=bfcl:FOLDER"):
        RealReflectRetryReward().run("full", tmp_path, Silence())
    with pytest.raises(UserError, match="there is no budget"):
        replace(RealReflectRetryReward(), tasks="bfcl:x").run("weekend", tmp_path, Silence())
