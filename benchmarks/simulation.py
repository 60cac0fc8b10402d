"""Where do more devices stop helping? A discrete-event simulation of training steps on 1 to 64 of them.

Three ways to place the work of one step (rounds of attempts, reflections and retries; then an update):

together    every device samples its share of the groups and learns from it (``launch --processes N``)
apart       some devices sample (``engine.at=ray:N``), the others learn; each waits for the other
ahead       the same, but the next step is sampled while this one is learned from (``asynchronous=true``)

A round ends when its longest turn does; a device decodes all its turns at once, a step of which costs ``step`` and ``token``
for each turn still going. ``python -m benchmarks.simulation`` writes the picture and the table in docs/ray.md.
"""

from __future__ import annotations

import heapq
import json
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from secondthought.types import Group

DEVICES = (1, 2, 4, 8, 16, 32, 64)
PLACES = Path(__file__).parent / "results"


class Costs(NamedTuple):
    """Seconds: of a decoding ``step``, of each ``token`` in it, of what the process that asks does for a token (``drive``), of
    a token ``trained``, of an ``update``, and to ``publish`` weights; ``gradient`` bytes go over a ``link`` of so many bytes a
    second.
    """

    step: float
    token: float
    drive: float
    trained: float
    update: float
    publish: float
    gradient: float
    link: float

    def summed(self, devices: int) -> float:
        """Adding gradients up in a ring (each sends and receives nearly twice their size)."""
        return 2 * (devices - 1) / devices * self.gradient / self.link


# Qwen2.5-1.5B on H200s, from data sheets and NOT measured: 3 GB of weights at 4.8 TB/s, 400 TFLOP/s of 989, NVLink at 450 GB/s.
SHEET = Costs(
    step=0.003,
    token=1.2e-5,
    drive=1.5e-5,
    trained=6 * 1.5e9 / 400e12 * 1.5,
    update=0.02,
    publish=0.5,
    gradient=6.2e9,
    link=450e9,
)


class Work(NamedTuple):
    """What one group writes in each round (lengths in tokens), many groups of them to draw from."""

    groups: tuple[tuple[tuple[int, ...], ...], ...]
    drawn: int  # groups a step

    @classmethod
    def of(cls, groups: Sequence[Group]) -> Work:
        """As it was in a real step."""
        found = []
        for group in groups:
            rounds: dict[str, dict[int, int]] = {}
            for episode in group:
                for s in episode.segments:
                    if s.logprobs is not None:
                        rounds.setdefault(s.name, {})[id(s)] = len(s.tokens)
            found.append(tuple(tuple(turns.values()) for turns in rounds.values()))
        return cls(tuple(found), len(found))

    @classmethod
    def like_the_paper(cls, longest: int = 512, seed: int = 0) -> Work:
        """32 problems with 8 reflections, lengths with a heavy tail up to ``longest`` (log-normal, median a quarter of it)."""
        rng = random.Random(seed)

        def turn() -> int:
            return min(longest, max(8, int(rng.lognormvariate(0.0, 0.6) * longest / 4)))

        groups = tuple(((turn(),), tuple(turn() for _ in range(8)), tuple(turn() for _ in range(8))) for _ in range(512))
        return cls(groups, 32)

    def step(self, rng: random.Random) -> list[tuple[tuple[int, ...], ...]]:
        """The groups of one step."""
        return rng.sample(self.groups, self.drawn)


def decoded(costs: Costs, lengths: Sequence[int]) -> float:
    """Seconds of one device for turns of these lengths: from one end of a turn to the next, with fewer each time."""
    clock, at, alive = 0.0, 0, len(lengths)
    for length in sorted(lengths):
        clock += (length - at) * (costs.step + costs.token * alive)
        at, alive = length, alive - 1
    return clock


def decoded_phase(costs: Costs, shares: Sequence[Sequence[int]]) -> float:
    """Seconds of a round: until the last device has said the last word."""
    return max((decoded(costs, share) for share in shares), default=0.0)


def sampling_time(costs: Costs, groups: Sequence[tuple[tuple[int, ...], ...]], devices: int) -> float:
    """Seconds for the rounds of a step on devices that wait for each other after each round."""
    clock = 0.0
    for number in range(max(map(len, groups), default=0)):
        shares: list[list[int]] = [[] for _ in range(devices)]
        load = [(0, d) for d in range(devices)]
        for turns in sorted((g[number] for g in groups if number < len(g)), key=len, reverse=True):
            busy, device = heapq.heappop(load)
            shares[device] += turns
            heapq.heappush(load, (busy + len(turns), device))
        clock += decoded_phase(costs, shares) + costs.drive * sum(map(sum, shares))
    return clock


def learned(costs: Costs, groups: Sequence[tuple[tuple[int, ...], ...]], devices: int) -> float:
    """Seconds of an update on a batch dealt to ``devices``: attempts and reflections are fed, retries are not."""
    loads = [0] * devices
    for i, group in enumerate(groups):
        loads[i % devices] += sum(sum(turns) for turns in group[:2])
    return max(loads) * costs.trained + costs.update + costs.summed(devices)


def together(costs: Costs, work: Work, devices: int, *, steps: int = 50, seed: int = 0) -> float:
    """Seconds a step where every device samples and learns."""
    rng = random.Random(seed)
    clock = 0.0
    for _ in range(steps):
        groups = work.step(rng)
        ready = [(sampling_time(costs, groups[d::devices], 1), d) for d in range(devices)]  # nobody waits between rounds
        clock += max(ready)[0] + learned(costs, groups, devices)
    return clock / steps


def apart(costs: Costs, work: Work, samplers: int, learners: int, *, ahead: bool, steps: int = 50, seed: int = 0) -> float:
    """Seconds a step where ``samplers`` and ``learners`` are different devices; ``ahead``: they work at the same time.

    Events in the order of time: a step is sampled when the samplers are free and the weights it wants are there; it is learned
    when it is sampled and the learners are free; then its weights are sent.
    """
    rng = random.Random(seed)
    batches = [work.step(rng) for _ in range(steps)]
    weights = {0: 0.0}  # when the weights after so many steps are with the samplers
    events: list[tuple[float, str, int]] = [(0.0, "sample", 0)]
    learners_free = done = 0.0
    while events:
        now, what, step = heapq.heappop(events)
        if what == "sample":
            heapq.heappush(events, (now + sampling_time(costs, batches[step], samplers), "sampled", step))
        elif what == "sampled":
            begins = max(now, learners_free)
            learners_free = begins + learned(costs, batches[step], learners)
            heapq.heappush(events, (learners_free, "learned", step))
            if ahead and step + 1 < steps:
                heapq.heappush(events, (max(now, weights.get(step, now)), "sample", step + 1))
        else:
            done = now
            weights[step + 1] = now + costs.publish
            if not ahead and step + 1 < steps:
                heapq.heappush(events, (weights[step + 1], "sample", step + 1))
    return done / steps


def best_apart(costs: Costs, work: Work, devices: int, *, ahead: bool) -> tuple[float, int]:
    """The best division of ``devices`` into samplers and learners: seconds a step, and how many sample."""
    splits = sorted({max(1, min(devices - 1, round(devices * share / 8))) for share in range(1, 8)})
    return min((apart(costs, work, n, devices - n, ahead=ahead, steps=20), n) for n in splits)


def table(costs: Costs, work: Work) -> list[dict[str, Any]]:
    """Steps an hour by number of devices, for each way to place the work."""
    found = []
    for devices in DEVICES:
        row: dict[str, Any] = {"devices": devices, "together": 3600 / together(costs, work, devices)}
        for name, ahead in (("apart", False), ("ahead", True)):
            if devices > 1:
                seconds, samplers = best_apart(costs, work, devices, ahead=ahead)
                row |= {name: 3600 / seconds, f"{name}_samplers": samplers}
        found.append(row)
    return found


def main() -> None:
    """Both sets of costs: those measured on this kind of machine, and those of a GPU's data sheet."""
    measured = json.loads((PLACES / "actors.json").read_text())["entries"]
    costs_entry = next(entry for entry in measured if entry["case"] == "costs")
    ours = Costs(*(float(costs_entry[name]) for name in Costs._fields))
    result: dict[str, dict[str, Any]] = {
        "measured": {"costs": ours._asdict(), "rows": table(ours, Work.like_the_paper(32))},
        "sheet": {"costs": SHEET._asdict(), "rows": table(SHEET, Work.like_the_paper(512))},
    }
    (PLACES / "simulation.json").write_text(json.dumps(result, indent=1) + "\n")
    for name, found in result.items():
        print(name)
        for row in found["rows"]:
            print({key: round(value, 1) for key, value in row.items()})
    picture(result, Path(__file__).parent.parent / "docs" / "images" / "scaling.png")


def picture(result: dict[str, Any], path: Path) -> None:
    """Steps an hour against devices, for both sets of costs."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    titles = {"measured": "nano, costs measured on one CPU core", "sheet": "1.5B, costs of an H200's data sheet"}
    looks = {"together": ("tab:blue", "o", "-"), "apart": ("tab:orange", "s", "-"), "ahead": ("tab:green", "^", "-")}
    figure, axes = plt.subplots(1, 2, figsize=(9, 3.6), layout="constrained")
    for axis, (name, found) in zip(axes, result.items(), strict=True):
        first = found["rows"][0]["together"]
        for way, (color, marker, line) in looks.items():
            points = [(row["devices"], row[way] / first) for row in found["rows"] if way in row]
            axis.plot(*zip(*points, strict=True), color=color, marker=marker, linestyle=line, label=way)
        axis.plot(DEVICES, DEVICES, color="0.7", linestyle=":", label="ideal")
        axis.set(xscale="log", yscale="log", title=titles[name], xlabel="devices", ylabel="speed, one device = 1")
        axis.set_xticks(DEVICES, [str(d) for d in DEVICES])
        axis.grid(alpha=0.3)
    axes[0].legend(frameon=False)
    figure.savefig(path, dpi=120)


if __name__ == "__main__":
    main()
