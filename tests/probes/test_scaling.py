"""A sweep finds what was planted along compute, and does not find what size or skill alone would explain."""

from __future__ import annotations

import math
from random import Random

import pytest

from secondthought.probes.scaling import Point, always_failed, correlations, self_reflection, steps, trade_off


def sweep_of(recovery: object, seeds: int = 3, noise: float = 0.02) -> list[Point]:
    """Three sizes, ten checkpoints, ``recovery(size, progress, skill)`` planted; skill grows with progress."""
    points = []
    for size in (1, 10, 100):
        for seed in range(seeds):
            rng = Random(f"{size} {seed}")
            for i in range(10):
                progress = i / 9
                skill = min(1.0, progress * 0.9 + rng.gauss(0, 0.05))
                value = recovery(size, progress, skill) + rng.gauss(0, noise)  # type: ignore[operator]
                points.append(Point(
                    f"{size}-{seed}-{i}", "", str(size), f"{size}-{seed}", size * 1000, 1e6 * 100**progress,
                    {"flawed/wait": {"accuracy": value}, "solve": {"accuracy": skill}},
                ))  # fmt: skip
    return points


def test_growth_with_compute_is_found_within_size() -> None:
    found = correlations(sweep_of(lambda size, progress, skill: 0.6 * progress))["accuracy"]
    assert found["within_size"].value > 0.9
    assert found["within_size"].low > 0.8
    assert found["per_decade"].value == pytest.approx(0.3, abs=0.03)  # 0.6 over two decades


def test_growth_with_size_alone_is_not_growth_within_size() -> None:
    found = correlations(sweep_of(lambda size, progress, skill: 0.2 * math.log10(size)))["accuracy"]
    assert found["pooled"].value > 0.4
    assert found["within_size"].low < 0 < found["within_size"].high


def test_nothing_is_found_where_nothing_grows() -> None:
    found = correlations(sweep_of(lambda size, progress, skill: 0.1))["accuracy"]
    assert abs(found["within_size"].value) < 0.3
    assert found["per_decade"].low < 0 < found["per_decade"].high


def test_recovery_that_is_only_skill_is_nothing_beyond_solving() -> None:
    only_skill = correlations(sweep_of(lambda size, progress, skill: 0.7 * skill))["accuracy"]
    assert only_skill["within_size"].value > 0.9
    assert abs(only_skill["beyond_solving"].value) < 0.35
    assert only_skill["with_solving"].value > 0.7
    more = correlations(sweep_of(lambda size, progress, skill: 0.7 * progress))["accuracy"]
    assert more["beyond_solving"].value > 0.7


def point(name: str, tokens: float, wait: dict[str, float], solve: dict[str, float], size: str = "s") -> Point:
    return Point(name, "", size, "run", 100, tokens, {}, {"flawed/wait": wait, "solve": solve, "self/wait": wait})


def test_steps_are_tested_in_pairs_and_corrected() -> None:
    keys = [str(i) for i in range(40)]
    low, high = dict.fromkeys(keys, 0.0), dict.fromkeys(keys, 1.0)
    found = steps([point("c", 3, high, {}), point("a", 1, low, {}), point("b", 2, low, {})])
    assert [(one["from"], one["to"]) for one in found] == [("a", "b"), ("b", "c"), ("a", "c")]
    assert found[0]["p"] == 1
    assert found[1]["p_holm"] == pytest.approx(3 * 2 / 2**40, rel=1e-3)
    assert found[1]["change"] == 1


def test_self_reflection_is_over_what_every_checkpoint_failed() -> None:
    one = point("a", 1, {"x": 1.0, "y": 0.0}, {"x": 0.0, "y": 0.0, "z": 1.0})
    two = point("b", 2, {"x": 1.0}, {"x": 0.0, "y": 1.0, "z": 1.0})
    assert always_failed([one, two]) == {"s": {"x"}}
    found = self_reflection([one, two])
    assert found["items"] == {"s": 1}
    assert found["accuracy"] == {"a": 1.0, "b": 1.0}


def test_the_trade_off_is_interpolated_and_never_made_up() -> None:
    frontier = [{"waits": 1, "tokens": 10.0, "solved": 0.2}, {"waits": 2, "tokens": 30.0, "solved": 0.4}]
    one = Point("a", "", "s", "r", 100, 1e6, {}, {}, frontier)
    assert trade_off([one], 0.3)[0]["tokens"] == pytest.approx(20)
    assert trade_off([one], 0.3)[0]["test"] == pytest.approx(2 * 100 * 20)
    assert math.isnan(trade_off([one], 0.5)[0]["tokens"])


def test_checkpoints_of_unknown_compute_are_left_out() -> None:
    points = sweep_of(lambda size, progress, skill: progress)[:4]
    lost = [Point(p.name, "", p.size, p.run, p.parameters, None, p.cells) for p in points]
    assert correlations([*lost, *points[:2]]) == {}
