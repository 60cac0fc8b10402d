"""The experiment that the paper could not do: the same pre-training with and without text about noticing one's mistakes.

OUT/checkpoints/ARM/SIZE/seed_S/   the family (:mod:`secondthought.nano.family`), made by as many processes as wanted
OUT/probe/                         the probe of flawed chains over all of it
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from secondthought.nano.family import arms, grow, unfinished
from secondthought.probes.checkpoints import checkpoints_of
from secondthought.probes.flawed_chain import FlawedChain
from secondthought.probes.run import Options, run_probe
from secondthought.report import formats
from secondthought.reproduce.base import Reproduced, Reproduction, check_budget, claim
from secondthought.runs.progress import Progress
from secondthought.runs.reports import estimate_from
from secondthought.types import Claim, Estimate

FAMILIES = {"quick": arms(sizes=("0.1m",), seeds=1, checkpoints=6), "full": arms()}
ITEMS = {"quick": 200, "full": 500}
SOURCE = "arXiv 2504.04022, asked of corpora that differ in one thing"


@dataclass(frozen=True)
class ReflectionInNano(Reproduction):
    """Train the family and measure all its checkpoints, ``workers`` models at a time."""

    name: ClassVar[str] = "reflection_in_nano"
    budgets: ClassVar[dict[str, str]] = {"quick": "about ten minutes on two cores", "full": "under two hours on two cores"}
    workers: int = 2

    def run(self, budget: str, out: Path, progress: Progress) -> Reproduced:
        """Train what is not trained, measure what is not measured. Raises UserError if a training process dies."""
        check_budget(self, budget)
        family, place = FAMILIES[budget], out / "checkpoints"
        if waiting := unfinished(family, place):
            progress.phase(f"pre-training {len(waiting)} models, {self.workers} at a time")
            grow(family, place, self.workers, progress)
        probe = FlawedChain(tasks="arithmetic", n=ITEMS[budget], temperature=1.0, waits=2, batch=512)
        summary = run_probe(probe, checkpoints_of([str(place)]), out / "probe", progress, Options(cache=False))
        page = formats.write(out / "probe")
        return Reproduced(claims_of(summary), summary["across"], page)


reproduction = ReflectionInNano


def claims_of(summary: Mapping[str, Any]) -> tuple[Claim, ...]:
    """Does "Wait," bring back right answers at the end of pre-training, corpus by corpus, and does it grow with compute?"""
    last: dict[str, Mapping[str, Any]] = {}
    for model in summary["models"]:
        where = model["checkpoint"]
        known = last.get(where["series"])
        if known is None or (where["tokens"] or 0) >= (known["checkpoint"]["tokens"] or 0):
            last[where["series"]] = model
    figures = (summary["across"] or {}).get("figures", {})
    made = []
    for series, model in last.items():
        words = {e["name"]: estimate_from(e["estimate"]) for e in model["report"]["effects"]}.get("words")
        made.append(
            claim(
                f"{series}_words",
                f"a corpus {MEANING[series]}: after a flawed chain “Wait,” beats a filler as long, at the end",
                SOURCE, None, words, minimum=0.05,
            )
        )  # fmt: skip
        for kind, text in (
            ("within_size", "recovery rises with log compute within size"),
            ("beyond_solving", "beyond solving"),
        ):
            found: Estimate | None = None
            if (key := f"arithmetic {series}/accuracy/{kind}") in figures:
                found = estimate_from(figures[key])
            made.append(claim(f"{series}_{kind}", f"a corpus {MEANING[series]}: {text} (r)", SOURCE, None, found, minimum=0.1))
    return tuple(made)


MEANING = {
    "silent": "without any correction", "neutral": "with an idle “wait”", "sparse": "with few corrections",
    "matched": "with many corrections",
}  # fmt: skip
