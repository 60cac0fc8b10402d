"""What ``import secondthought`` offers: pinned, documented, and free until it is used."""

from __future__ import annotations

import subprocess
import sys

import pytest

import secondthought

PINNED = {
    "Access", "Arm", "BatchCredit", "Claim", "Curve", "Draft", "Effect", "Engine", "EngineOptions", "Episode", "Estimate",
    "Group", "Interrupted", "Measured", "Message", "Optim", "Probe", "Progress", "Recipe", "Report", "Reproduced",
    "Reproduction", "Request", "Sampled", "Sampling", "Scripted", "Segment", "Signal", "Signals", "Silence", "Stage", "Step",
    "Table", "Task", "TaskSet", "UNGRADED", "UserError", "Verdict", "arm_of", "by_step", "claim", "decide",
    "difference", "drive", "effect_of", "engine_for", "gather", "items_of", "mean", "normalised", "read_episodes",
    "read_groups", "read_metrics", "read_run", "reported", "rollout", "run_probe", "scores", "seed_of", "show_progress",
    "tasks_of", "train", "units_of",
}  # fmt: skip
VALUES = {"Group", "Signals", "UNGRADED"}  # described where they are defined


def test_the_names_are_pinned() -> None:
    assert set(secondthought.__all__) == PINNED
    with pytest.raises(AttributeError, match="nothing"):
        _ = secondthought.nothing  # type: ignore[attr-defined]


@pytest.mark.parametrize("name", sorted(PINNED - VALUES))
def test_every_name_has_an_example_that_the_doctests_run(name: str) -> None:
    found = getattr(secondthought, name)
    assert found.__name__ == name  # no module of the same name hides it
    assert found.__module__.startswith("secondthought.")
    assert ">>>" in (found.__doc__ or ""), name


def test_importing_is_quick() -> None:
    """Under a fifth of a second of CPU time; what is heavy is imported when it is used."""
    script = "import time; began = time.process_time(); import secondthought; print(time.process_time() - began)"
    taken = [
        float(subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout)
        for _ in range(3)
    ]
    assert min(taken) < 0.2
