"""What the episodes of a training were like, part by part: read once, and kept beside the run."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from secondthought.runs.files import write_json
from secondthought.runs.progress import Progress
from secondthought.runs.reading import read_groups
from secondthought.types import Group


def in_parts(
    run: Path, name: str, parts: int, figures: Callable[[Sequence[Group]], dict[str, Any]], progress: Progress
) -> None:
    """Write ``name`` into a run: the ``figures`` of the groups of each of about so many parts, with the step in its middle."""
    path = run / name
    if path.exists():
        return
    progress.phase(f"reading the episodes of {run}")
    files = sorted((run / "episodes").glob("step_*.parquet"))
    size, found = max(1, len(files) // parts), list[dict[str, Any]]()
    for begin in range(0, len(files), size):
        groups = [group for file in files[begin : begin + size] for group in read_groups(file)]
        found.append({"step": begin + size / 2, **figures(groups)})
        progress.step(min(begin + size, len(files)), len(files), {})
    write_json(path, found)
