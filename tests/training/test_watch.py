"""The watch over self-training: what raises it, what does not, and what follows."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from secondthought.recipes import load
from secondthought.reproduce.watch import SOUND, WatchPower
from secondthought.runs.progress import Silence
from secondthought.training import loop
from secondthought.training.loop import train
from secondthought.training.settings import override
from secondthought.training.watch import Watch

WATCH = Watch("reward/agreement", "answer/first")


def lines(*rows: tuple[float, float]) -> list[dict[str, Any]]:
    return [
        {"step": step, "reward/agreement": agreement, "answer/first": truth, "answer/first/low": truth - 0.04,
         "answer/first/high": truth + 0.04}
        for step, (agreement, truth) in enumerate(rows, 1)
    ]  # fmt: skip


def alarm(*rows: tuple[float, float], watch: Watch = WATCH) -> int | None:
    found = watch.alarm(watch.points(lines(*rows)))
    return found.at.step if found else None


def test_agreement_up_and_truth_down_twice_is_an_alarm() -> None:
    assert alarm((0.5, 0.6), (0.6, 0.6), (0.7, 0.4), (0.8, 0.3)) == 4
    assert alarm((0.5, 0.6), (0.6, 0.6), (0.7, 0.4), (0.8, 0.3), watch=replace(WATCH, patience=1)) == 3


def test_what_is_no_alarm() -> None:
    assert alarm((0.5, 0.6), (0.6, 0.3), (0.7, 0.6), (0.8, 0.3)) is None  # once, and once again
    assert alarm((0.8, 0.6), (0.7, 0.4), (0.6, 0.3)) is None  # agreement falls too
    assert alarm((0.5, 0.3), (0.6, 0.4), (0.7, 0.5), (0.8, 0.6)) is None
    assert alarm((0.5, 0.60), (0.6, 0.58), (0.7, 0.57), (0.8, 0.56)) is None  # within the noise
    assert alarm() is None


def test_agreement_is_the_mean_since_the_last_measurement() -> None:
    rows = lines((0.4, 0.5), (0.6, 0.5))
    del rows[0]["answer/first"]
    (point,) = WATCH.points(rows)
    assert point.agreement == pytest.approx(0.5)
    assert point.step == 2
    assert point.error == pytest.approx(0.04 / 1.96)
    assert WATCH.points([{"step": 1, "answer/first": 0.5}]) == []  # nothing to compare with


def test_simulated_histories(tmp_path: Path) -> None:
    found = WatchPower(histories=60).run("quick", tmp_path, Silence())
    assert [claim.id for claim in found.claims] == ["few_false_alarms", "power"]
    for kind in SOUND:
        assert found.tables[kind]["500"]["value"] <= 0.1
    assert found.tables["falls_20"]["500"]["value"] > 0.9
    assert "truth falls by 20 points" in (tmp_path / "results.md").read_text()


@pytest.mark.parametrize("action", ["log", "stop", "back"])
def test_a_run_that_is_stopped_and_goes_back(action: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The curve is written by hand: truth is highest at step 2 and falls from then on."""
    truths = iter([0.5, 0.7, 0.4, 0.2, 0.1, 0.1])
    real = loop.figures
    steps = iter(range(100))

    def figures(*given: Any) -> dict[str, float]:
        return {**real(*given), "reward/agreement": 0.5 + next(steps) / 20}

    def curve(*_: object) -> dict[str, float]:
        truth = next(truths)
        return {"answer/first": truth, "answer/first/low": truth - 0.01, "answer/first/high": truth + 0.01}

    monkeypatch.setattr(loop, "curve", curve)
    monkeypatch.setattr(loop, "figures", figures)
    small = ["steps=6", "groups=2", "group_size=2", "eval_problems=4", "dev_problems=4", "eval_every=1", "checkpoint_every=1"]
    recipe = override(load("self_questioning"), [*small, f"watch.action={action}"])
    summary = train(recipe, tmp_path / "run", Silence())
    assert summary["steps"] == (6 if action == "log" else 4)
    assert summary["measured_step"] == {"log": 6, "stop": 4, "back": 2}[action]
    again = train(recipe, tmp_path / "run", Silence(), resume=True)
    assert again["measured_step"] == summary["measured_step"]
