"""Which metrics of a training run stand in which picture: by the names that the run itself gave them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple


class Chart(NamedTuple):
    """One picture over steps: ``lines`` of (metric, label), ``scale`` applied to every value, ``smooth`` by default or not."""

    title: str
    lines: tuple[tuple[str, str], ...]
    scale: float = 1.0
    smooth: bool = True

    @property
    def json(self) -> dict[str, Any]:
        """For the browser."""
        return {"title": self.title, "lines": [list(line) for line in self.lines], "scale": self.scale, "smooth": self.smooth}


ALONE = {
    "loss/kl": ("KL to the reference, nats", "k3", 1.0),
    "sampler_gap/mean": ("Sampler-trainer gap, nats", "mean", 1.0),
    "groups/zero_signal_share": ("Groups without a signal, %", "zero signal", 100.0),
    "speed/tokens_per_second": ("Tokens a second", "sampled", 1.0),
    "learner/grad_norm": ("Gradient norm", "before clipping", 1.0),
}
TOGETHER = {"reward": ("Training reward, %", 100.0), "length": ("Length, tokens", 1.0)}
LARGEST = 6  # lines in one picture


def charts_of(names: Iterable[str]) -> list[Chart]:
    """The pictures of a run whose metrics have these names: what probes measured on dev problems first, then training.

    >>> [chart.title for chart in charts_of(["reward/retry", "demo/right", "demo/right/low", "demo/right/high", "loss/kl"])]
    ['demo on dev problems, %', 'Training reward, %', 'KL to the reference, nats']
    """
    known = dict.fromkeys(names)
    measured: dict[str, list[str]] = {}
    for name in known:
        if f"{name}/low" in known:
            measured.setdefault(name.partition("/")[0], []).append(name)
    found = []
    for group, keys in measured.items():
        probe, _, unit = group.rpartition("_") if group.endswith(("_tokens", "_r")) else (group, "", "")
        title = f"{probe.replace('_', ' ')} on dev problems, {unit or '%'}"
        lines = tuple((key, _label(key)) for key in keys)
        found += [Chart(title, lines[i : i + LARGEST], 1.0 if unit else 100.0, False) for i in range(0, len(lines), LARGEST)]
    for group, (title, scale) in TOGETHER.items():
        keys = [name for name in known if name.startswith(f"{group}/")]
        if keys:
            found.append(Chart(title, tuple((key, _label(key)) for key in keys), scale))
    return found + [Chart(title, ((key, label),), scale) for key, (title, label, scale) in ALONE.items() if key in known]


def _label(name: str) -> str:
    return name.partition("/")[2].replace("_", " ")
