"""Models that make their own training data, on a real language model: three true steps with adapters."""

from __future__ import annotations

from pathlib import Path

from tests.real.steps import train

from secondthought.runs.reading import read_groups, read_metrics


def test_sector_asks_in_words_and_learns_from_its_labels(smollm2: Path, tmp_path: Path) -> None:
    steps = {f"digits_{digits}.steps": 0 for digits in range(6, 10)}
    few = {
        f"{name}.{what}": value
        for name in ("supervised", "digits_4", "digits_5")
        for what, value in (("steps", 1), ("answers", 40))
    }
    out = train("sector", smollm2, "addition:5", tmp_path / "run", **few, **steps)
    lines = read_metrics(out)
    assert len(lines) == 3
    assert lines[0]["loss/imitate"] > 0
    assert "collected/accepted" in lines[1]
    said = [e for group in read_groups(out / "episodes/collected_digits_4.parquet") for e in group]
    assert "digit" in said[0].task.prompt[-1].content
    shown = read_groups(out / "episodes/step_000001.parquet")
    assert all(group[0]["attempt"].author == "intervention" and group[0].verdicts["attempt"].score == 1 for group in shown)


def test_self_questioning_poses_and_answers(smollm2: Path, tmp_path: Path) -> None:
    out = train("self_questioning", smollm2, "addition:3", tmp_path / "run", steps=3, group_size=4)
    assert len(read_metrics(out)) == 3
    episodes = [e for step in (1, 2, 3) for g in read_groups(out / f"episodes/step_{step:06d}.parquet") for e in g]
    assert {e.arm for e in episodes} >= {"proposer"}
    assert any(e.verdicts["question"].score == 1 for e in episodes if e.arm == "proposer")


def test_serl_judges_its_own_answers(smollm2: Path, sums: Path, tmp_path: Path) -> None:
    out = train("serl", smollm2, sums, tmp_path / "run", steps=3, group_size=2, max_tokens=16)
    assert len(read_metrics(out)) == 3
    group = read_groups(out / "episodes/step_000001.parquet")[0]
    assert [e.arm for e in group].count("judge") == 4
    assert "boxed" in next(e for e in group if e.arm == "judge").task.prompt[-1].content


def test_post_completion_goes_on_behind_the_end(smollm2: Path, sums: Path, tmp_path: Path) -> None:
    more = {"start.steps": 2, "start.problems": 6, "reward.steps": 1, "max_tokens": 64}
    out = train("post_completion", smollm2, sums, tmp_path / "run", **more)
    lines = read_metrics(out)
    assert len(lines) == 3
    (shown,) = read_groups(out / "episodes/step_000001.parquet")[0]
    assert shown["evaluation"].text in ("acc: 0", "acc: 1")
    assert shown["attempt"].stop == "end"
