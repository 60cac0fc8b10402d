"""How the cost of our step grows with the size of a group, the length of the prompt and the number of problems."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from benchmarks.clock import alternate
from benchmarks.setting import SIZES, saved
from benchmarks.whole_step import Ours

SEGMENT = 32  # tokens in each attempt, reflection and retry
AXES: dict[str, tuple[int, ...]] = {
    "group": (2, 4, 8, 16, 32, 64),
    "prompt": (32, 64, 128, 256, 512, 1024),
    "problems": (4, 8, 16, 32, 64, 128, 256),
}


def measure(repeats: int, *, quick: bool = False) -> list[dict[str, Any]]:
    """One entry for each point; everything else stays at 8 problems, groups of 8, prompt 64."""
    found = []
    with tempfile.TemporaryDirectory() as place:
        folder = saved(SIZES["1.5M"], Path(place) / "model")
        for axis, values in AXES.items():
            for value in values[: 2 if quick else None]:
                shape: dict[str, Any] = {"group": 8, "prompt": 64, "problems": 8, axis: value}
                step = Ours(folder, new=SEGMENT, **shape)
                figures = alternate({"ours": step}, min(repeats, 3))["ours"]
                reflections = shape["group"] * shape["problems"]
                each = figures["wall_s"] / reflections
                found.append({"axis": axis, "value": value, "figures": figures, "ms_per_reflection": round(1000 * each, 3)})
                print(axis, value, figures["wall_s"], found[-1]["ms_per_reflection"], flush=True)
    return found


def picture(entries: list[dict[str, Any]], path: Path) -> None:
    """Three log-log panels: milliseconds for each reflection."""
    import matplotlib.pyplot as plt

    figure, panels = plt.subplots(1, 3, figsize=(11, 3.4), sharey=True, layout="constrained")
    titles = {"group": "reflections in a group", "prompt": "tokens in the prompt", "problems": "problems in a step"}
    for panel, (axis, title) in zip(panels, titles.items(), strict=True):
        points = [(e["value"], e["ms_per_reflection"]) for e in entries if e["axis"] == axis]
        panel.loglog(*zip(*points, strict=True), marker="o", color="#2b6cb0", linewidth=1.6)
        panel.set_xlabel(title)
        panel.set_xticks([x for x, _ in points], [str(x) for x, _ in points])
        panel.minorticks_off()
        panel.set_yticks([20, 50, 100, 200], ["20", "50", "100", "200"])
        panel.grid(alpha=0.25)
        panel.spines[["top", "right"]].set_visible(False)
    panels[0].set_ylabel("ms for each reflection\n(whole step, one core)")
    figure.savefig(path, dpi=150)
    plt.close(figure)
