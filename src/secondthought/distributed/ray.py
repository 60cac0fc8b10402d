"""One training in the processes of a Ray cluster: Ray places the learners' processes, and starts them again where they stopped
if one is lost.

Ray Train's ``TorchTrainer`` makes the processes find each other; each then runs the same command as under ``torchrun``. The
run's folder must be one that every machine can write to.
"""

from __future__ import annotations

import logging
import os
import uuid
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from secondthought.errors import Interrupted, UserError

LIVES = 4  # how often a training is started, the first time included
log = logging.getLogger("secondthought")


def launch(words: Sequence[str], processes: int, address: str, run: Callable[[list[str]], None]) -> None:
    """Run ``secondthought WORDS`` in so many processes of the cluster at ``address`` (``auto``: that of this machine;
    ``local``: a new one of this machine); ``run`` is how a process runs a command. A training that loses a process goes on from
    the last complete checkpoint.

    Raises UserError if Ray is missing, the cluster cannot be reached, the command refuses, or the training is lost ``LIVES``
    times.
    """
    from secondthought.engines.ray_actors import connected, last_line, vacate

    ray = connected(None if address == "local" else address, show=True)
    try:
        from ray.train import RunConfig, ScalingConfig, TrainingFailedError
        from ray.train.torch import TorchConfig, TorchTrainer
    except ImportError as error:
        raise UserError("Ray Train is needed for this: pip install 'secondthought[ray]'") from error
    gpus = ray.cluster_resources().get("GPU", 0) >= processes
    if not gpus and ray.cluster_resources().get("CPU", 0) < processes:
        raise UserError(f"the Ray cluster has {ray.cluster_resources().get('CPU', 0):g} CPUs for {processes} processes")
    command, world = list(words), uuid.uuid4().hex[:8]
    for life in range(1, LIVES + 1):
        trainer = TorchTrainer(
            member,
            train_loop_config={"words": command, "folder": str(Path.cwd()), "world": world, "run": run},
            torch_config=TorchConfig(backend="nccl" if gpus else "gloo"),
            scaling_config=ScalingConfig(num_workers=processes, use_gpu=gpus),
            run_config=RunConfig(storage_path=str(Path.cwd() / "runs" / ".ray")),
        )
        try:
            trainer.fit()
            return
        except TrainingFailedError as error:
            for raised in getattr(error, "worker_failures", {}).values():
                if isinstance(raised, UserError | Interrupted):
                    raise raised from None
            vacate(world)
            log.warning(
                "a process of the training was lost (%d of %d): going on from the last checkpoint; %s",
                life,
                LIVES,
                last_line(error),
            )
            command = [*words, *(["--resume"] if "--resume" not in words else [])]
    raise UserError(f"the training was lost {LIVES} times; see Ray's logs, and continue with --resume")


def member(config: dict[str, Any]) -> None:
    """One process of the training."""
    from secondthought.engines.ray_actors import WORLD_NAME

    if Path(config["folder"]).is_dir():
        os.chdir(config["folder"])
    os.environ[WORLD_NAME] = config["world"]
    config["run"](config["words"])
