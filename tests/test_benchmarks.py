"""The benchmarks compare the same work: same gradients, same numbers of tokens, and a page that says what was measured."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from benchmarks import page, rivals, setting, viewing
from benchmarks.clock import Taken, Watch, alternate, ratio
from benchmarks.floor import Products
from benchmarks.growth import picture
from benchmarks.setting import IDS, Size
from benchmarks.training import step
from benchmarks.whole_step import Ours

from secondthought.engines.torch.decoder import Decoder
from secondthought.engines.torch.engine import TorchEngine
from secondthought.learners.trees import TreeReader
from secondthought.runs.reading import read_episodes, read_metrics
from secondthought.viewer.store import Episodes, Query

TINY = Size("tiny", 32, 2, 4)


def test_the_padded_step_has_the_same_gradient_as_ours() -> None:
    model = setting.model(TINY)
    rows = setting.rows(2)
    step(model, TreeReader(Decoder(model)), rows, autocast=False)
    ours = [p.grad.clone() for p in model.parameters() if p.grad is not None]
    model.zero_grad()
    rivals.padded_step(model, rows)
    theirs = [p.grad for p in model.parameters() if p.grad is not None]
    assert all(torch.allclose(a, b, rtol=1e-3, atol=1e-6) for a, b in zip(ours, theirs, strict=True))


def test_generate_writes_as_many_tokens_as_we_do() -> None:
    model = setting.model(TINY)
    asked = setting.requests(6)
    limits = [r.sampling.max_tokens for r in asked]
    assert [len(s.tokens) for s in TorchEngine(model, IDS).sample(asked)] == limits
    tokens, logprobs = rivals.sample(model, asked)
    assert tokens.shape == logprobs.shape == (6, max(limits))


def test_a_whole_step_of_ours_writes_and_trains_what_it_says(tmp_path: Path) -> None:
    ours = Ours(setting.saved(TINY, tmp_path / "model"), group=4, prompt=16, new=8, problems=3)
    stats = ours()
    assert stats["learner/paid_tokens"] % 8 == 0
    assert 0 < stats["learner/paid_tokens"] <= 3 * 4 * 8
    assert stats["sampler_gap/max"] < 1e-4


def test_the_floor_counts_every_product() -> None:
    model = setting.model(TINY)
    floor = Products(model)
    floor.decode([1, 3, 2], context=5, groups=1)
    assert dict(floor.passes) == {(5, 1): 1, (2, 2): 1, (1, 1): 1}
    floor.training(10, 4)
    floor.runner()()


def test_contenders_take_turns() -> None:
    seen: list[str] = []
    figures = alternate({"a": lambda: seen.append("a"), "b": lambda: seen.append("b")}, repeats=3)
    assert seen == ["a", "b"] * 4
    assert figures["a"]["repeats"] == 3
    taken = Taken()
    with Watch(taken):
        held = torch.ones(20 << 18)
    assert held.sum() > 0
    assert taken.wall[0] > 0
    assert ratio({"x": {"wall_s": 3.0}, "y": {"wall_s": 1.5}}, "x", "y") == 2.0


def test_the_page_is_written_between_its_marks(tmp_path: Path) -> None:
    results = Path(page.__file__).parent / "results"
    path = tmp_path / "performance.md"
    path.write_text(f"before\n{page.BEGIN}\nwhat was there\n{page.END}\nafter\n")
    page.write(results, path)
    text = path.read_text()
    assert text.startswith("before\n")
    assert text.endswith("\nafter\n")
    assert "what was there" not in text
    assert "### Sampling" in text
    picture(json.loads((results / "growth.json").read_text())["entries"], tmp_path / "growth.png")
    assert (tmp_path / "growth.png").stat().st_size > 10_000


def test_the_generated_run_is_one_that_the_viewer_can_read(tmp_path: Path) -> None:
    folder = viewing.written(tmp_path / "run", 2)
    result = read_episodes(folder / "episodes" / "step_000002.parquet")
    assert len(result) == viewing.EPISODES
    assert result[0][0].sampled_tokens == 140
    assert len(read_metrics(folder)) == 2
    index = Episodes(folder)
    assert index.refresh(None) == 1.0
    assert index.find(Query()).total == 2 * viewing.EPISODES
    assert index.find(Query(text="Somewhere")).total == 2
    assert index.find(Query(task="task-2-3")).total == viewing.GROUP


def test_the_simulation_keeps_its_books() -> None:
    from benchmarks.simulation import SHEET, Costs, Work, apart, decoded, learned, sampling_time, together

    costs = Costs(step=2.0, token=0.5, drive=0.0, trained=0.1, update=1.0, publish=3.0, gradient=8.0, link=4.0)
    assert decoded(costs, [3, 1]) == 1 * (2 + 2 * 0.5) + 2 * (2 + 0.5)  # both for one step, then one for two
    groups = [((4,), (2, 2)), ((1,),)]
    assert sampling_time(costs, groups, 1) == decoded(costs, [4, 1]) + decoded(costs, [2, 2])
    assert sampling_time(costs, groups, 2) == decoded(costs, [4]) + decoded(costs, [2, 2])
    assert learned(costs, groups, 2) == pytest.approx(8 * 0.1 + 1.0 + 2 * 0.5 * 8 / 4)
    work = Work((groups[0], groups[0]), 2)
    assert together(costs, work, 1, steps=3) == pytest.approx(
        sampling_time(costs, [groups[0]] * 2, 1) + learned(costs, [groups[0]] * 2, 1)
    )
    plays, learns = sampling_time(costs, [groups[0]] * 2, 1), learned(costs, [groups[0]] * 2, 1)
    assert apart(costs, work, 1, 1, ahead=False, steps=10) == pytest.approx((10 * (plays + learns) + 9 * 3.0) / 10)
    assert apart(costs, work, 1, 1, ahead=True, steps=10) == pytest.approx((10 * plays + learns) / 10)  # learning is hidden
    paper = Work.like_the_paper()
    times = [together(SHEET, paper, n, steps=5) for n in (1, 8, 32, 64)]
    assert times[0] > times[1] > times[2] == pytest.approx(times[3], rel=0.01)  # one problem to a device: more do not help
