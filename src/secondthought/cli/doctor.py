"""Does everything work here? One line for each thing that might not."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

Check = tuple[str, str, bool]


def checks() -> Iterator[Check]:
    """``(what, finding, fine)`` for packages, device, disk, the shipped models, and one sampled and trained step."""
    import torch

    for name in ("torch", "transformers", "tokenizers", "pyarrow", "matplotlib"):
        yield name, version(name), True
    for name, extra in (("datasets", "data"),):
        try:
            yield name, version(name), True
        except PackageNotFoundError:
            yield name, f"not installed (optional: pip install 'secondthought[{extra}]')", True
    yield (
        "device",
        torch.cuda.get_device_name() if torch.cuda.is_available() else f"CPU, {torch.get_num_threads()} threads",
        True,
    )
    free = shutil.disk_usage(Path.cwd()).free / 2**30
    yield "disk", f"{free:.1f} GiB free here", free > 1
    yield from _step()


def _step() -> Iterator[Check]:
    from functools import partial

    from secondthought.credit.reflect_retry import reflection_only
    from secondthought.engines.base import Sampling
    from secondthought.learners.optim import Optim
    from secondthought.learners.rows import compile_rows
    from secondthought.learners.torch import TorchLearner
    from secondthought.protocols.reflect_retry import prompts_for, reflect_retry
    from secondthought.rollouts import rollout
    from secondthought.tasks.countdown import Countdown

    tasks = Countdown("train")
    learner = TorchLearner("nano/countdown", Optim(), steps=1)
    protocol = partial(reflect_retry, grade=tasks.grade, prompts=prompts_for("terse"))
    groups = rollout(protocol, [tasks[i] for i in range(8)], 4, learner.publish(), Sampling(max_tokens=32))
    episodes = sum(map(len, groups))
    yield "sampling", f"{episodes} episodes from nano/countdown", episodes > 8
    stats = learner.step(compile_rows(groups, [reflection_only(group) for group in groups]))
    gap = stats.get("sampler_gap/max", 0.0)
    yield "training", f"one step; sampler and trainer differ by at most {gap:.1e} nats", gap < 1e-3
    with tempfile.TemporaryDirectory() as folder:
        learner.save(Path(folder))
        yield "checkpoint", "written and read", (Path(folder) / "model" / "model.safetensors").exists()
