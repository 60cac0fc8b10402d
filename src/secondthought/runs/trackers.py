"""Other people's dashboards: TensorBoard, Weights & Biases, Trackio and MLflow behind one small interface.

A run always has its own journal and its own terminal; these are extras, chosen by ``--track`` or in the recipe. One that is not
installed is refused before the run starts. One that fails later is named once and dropped: it never stops a run.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
import math
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from secondthought.errors import UserError
from secondthought.runs.files import write_json
from secondthought.runs.progress import Progress

PROJECT = "secondthought"


class Tracker(Protocol):
    """Somebody who keeps the figures of a run. ``stats`` are finite numbers by slash-separated names."""

    def log(self, step: int, stats: Mapping[str, float]) -> None:
        """The figures of one step."""
        ...

    def close(self, summary: Mapping[str, float]) -> None:
        """The run is over; its last figures."""
        ...


class TensorBoard:
    """Event files in RUN/tensorboard; ``tensorboard --logdir RUN`` shows them."""

    def __init__(self, folder: Path, config: Mapping[str, Any], start: int) -> None:
        from torch.utils.tensorboard import SummaryWriter

        self.writer = SummaryWriter(str(folder / "tensorboard"), purge_step=start + 1)
        self.writer.add_text("recipe", f"```json\n{json.dumps(config, indent=1, default=str)}\n```", start)

    def log(self, step: int, stats: Mapping[str, float]) -> None:
        """Scalars, grouped by what stands before the slash."""
        for name, value in stats.items():
            self.writer.add_scalar(name, value, step)

    def close(self, summary: Mapping[str, float]) -> None:
        """Scalars under ``summary/``."""
        self.log(0, {f"summary/{name}": value for name, value in summary.items()})
        self.writer.close()


class Wandb:
    """Weights & Biases; without a network set ``WANDB_MODE=offline`` and ``wandb sync`` later. A resumed run goes on."""

    def __init__(self, folder: Path, config: Mapping[str, Any], start: int) -> None:
        import wandb

        name = hashlib.blake2b(str(folder.resolve()).encode(), digest_size=8).hexdigest()
        self.run = wandb.init(
            project=PROJECT,
            name=folder.name,
            id=name,
            dir=str(folder),
            config=dict(config),
            resume="allow",
            reinit="create_new",
        )

    def log(self, step: int, stats: Mapping[str, float]) -> None:
        """One row."""
        self.run.log(dict(stats), step=step)

    def close(self, summary: Mapping[str, float]) -> None:
        """The run's summary."""
        self.run.summary.update(dict(summary))
        self.run.finish()


class Trackio:
    """Trackio, on this machine; ``trackio show`` opens it. A resumed run goes on."""

    def __init__(self, folder: Path, config: Mapping[str, Any], start: int) -> None:
        import trackio

        self.trackio = trackio
        space = os.environ.get("TRACKIO_SPACE_ID")  # trackio sends the run there by itself
        trackio.init(project=PROJECT, name=folder.name, config=dict(config), resume="allow")
        write_json(folder / "trackio.json", {"project": PROJECT, "name": folder.name, "space": space})

    def log(self, step: int, stats: Mapping[str, float]) -> None:
        """One row."""
        self.trackio.log(dict(stats), step=step)

    def close(self, summary: Mapping[str, float]) -> None:
        """The last row, under ``summary/``."""
        self.trackio.log({f"summary/{name}": value for name, value in summary.items()})
        self.trackio.finish()


class MLflow:
    """MLflow: the server that ``MLFLOW_TRACKING_URI`` names, else a file in RUN/mlflow. A resumed run goes on."""

    def __init__(self, folder: Path, config: Mapping[str, Any], start: int) -> None:
        import mlflow

        here = folder / "mlflow"
        here.mkdir(exist_ok=True)
        self.mlflow = mlflow
        mlflow.set_tracking_uri(os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{(here / 'mlflow.db').resolve()}")
        mlflow.set_experiment(PROJECT)
        known = here / "run.json"
        if known.exists():
            mlflow.start_run(run_id=json.loads(known.read_text())["run_id"])
            return
        run = mlflow.start_run(run_name=folder.name)
        write_json(known, {"run_id": run.info.run_id})
        mlflow.log_params({k: str(v)[:500] for k, v in config.items() if isinstance(v, bool | int | float | str)})

    def log(self, step: int, stats: Mapping[str, float]) -> None:
        """One row."""
        self.mlflow.log_metrics(dict(stats), step=step)

    def close(self, summary: Mapping[str, float]) -> None:
        """Metrics under ``summary/``."""
        self.mlflow.log_metrics({f"summary/{name}": value for name, value in summary.items()})
        self.mlflow.end_run()


TRACKERS: dict[str, tuple[str, Callable[[Path, Mapping[str, Any], int], Tracker]]] = {
    "tensorboard": ("tensorboard", TensorBoard), "wandb": ("wandb", Wandb), "trackio": ("trackio", Trackio),
    "mlflow": ("mlflow", MLflow),
}  # fmt: skip
"""The package that each needs, and how it is opened: with the run's folder, its recipe, and the step it goes on from."""


class Trackers:
    """Some trackers at once, none of which can do any harm."""

    def __init__(self, names: Sequence[str], folder: Path, config: Mapping[str, Any], start: int, progress: Progress) -> None:
        self.progress = progress
        self.open: dict[str, Tracker] = {}
        for name in names:
            self._guarded(name, lambda name=name: self.open.update({name: TRACKERS[name][1](folder, config, start)}))  # type: ignore[misc]

    def log(self, step: int, stats: Mapping[str, float]) -> None:
        """The figures of one step, those that are numbers."""
        finite = {name: value for name, value in stats.items() if math.isfinite(value)}
        for name, tracker in list(self.open.items()):
            self._guarded(name, lambda tracker=tracker: tracker.log(step, finite))  # type: ignore[misc]

    def close(self, summary: Mapping[str, float]) -> None:
        """The end of the run."""
        for name, tracker in list(self.open.items()):
            self._guarded(name, lambda tracker=tracker: tracker.close(summary))  # type: ignore[misc]
        self.open = {}

    def _guarded(self, name: str, act: Callable[[], Any]) -> None:
        try:
            act()
        except Exception as error:
            self.open.pop(name, None)
            self.progress.phase(f"note: {name} failed and gets nothing more ({type(error).__name__}: {str(error)[:200]})")


def chosen(names: str) -> tuple[str, ...]:
    """Trackers by their names, separated by commas. Raises UserError for an unknown one and for one that is not installed."""
    found = tuple(name.strip() for name in names.split(",") if name.strip())
    for name in found:
        if name not in TRACKERS:
            raise UserError(f"there is no tracker {name!r}; choose {', '.join(TRACKERS)}")
        package = TRACKERS[name][0]
        if importlib.util.find_spec(package) is None:
            raise UserError(f"--track {name} needs the package {package}: pip install 'secondthought[{name}]'")
    return found
