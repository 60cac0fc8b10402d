"""The tables of Reflect, Retry, Reward on a family of our own, with the controls that the paper lacks (arXiv 2505.24726)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from secondthought.report import rrr as page
from secondthought.reproduce import rrr_runs, rrr_tables
from secondthought.reproduce.base import OURS, Reproduced, Reproduction, check_budget, claim
from secondthought.runs.progress import Progress
from secondthought.runs.reports import estimate_from
from secondthought.types import Claim, Estimate

TASK_TITLES = {"countdown": "Countdown", "tool_world": "function calling"}
BEST = {"countdown": "+34.7", "tool_world": "+18.1"}


@dataclass(frozen=True)
class ReflectRetryReward(Reproduction):
    """Train and measure what is not there yet, ``workers`` runs at a time; ``only_tables`` runs nothing."""

    name: ClassVar[str] = "rrr"
    budgets: ClassVar[dict[str, str]] = {"quick": "about ten minutes on two cores", "full": "about eight hours on two cores"}
    workers: int = 2
    only_tables: bool = False

    def run(self, budget: str, out: Path, progress: Progress) -> Reproduced:
        """All runs of a plan, its tables and pictures. Raises UserError if a process dies, or if no run is there."""
        check_budget(self, budget)
        plan = rrr_runs.BUDGETS[budget]
        if not self.only_tables:
            rrr_runs.run_plan(out, plan, self.workers, progress)
        progress.phase("pooling the runs")
        found = rrr_tables.tables(out, plan)
        return Reproduced(claims_of(found), found, page.write(out, found))


reproduction = ReflectRetryReward


def claims_of(found: Mapping[str, Any]) -> tuple[Claim, ...]:
    """The spec's claims, task by task at the smallest size that was trained on it."""
    made: list[Claim] = []
    for task, tables in found["tasks"].items():
        title = TASK_TITLES[task]
        trained = {size: one for size, one in tables["sizes"].items() if "after" in one}
        for size, one in trained.items():
            where = f"{title}, {size}"
            made += [
                _claim(f"{task}_{size}_{name}", f"{where}: {text}", source, published, difference, 0.03)
                for name, text, source, published, difference in (
                    ("second", "paying only reflections raises the second try", "Table 1", BEST[task], one["change"]["second"]),
                    ("first", "the first try rises though it is never paid", "Table 1", "+16.0", one["change"]["first"]),
                    ("donor", "the own reflection beats another problem's", OURS, None, one["after"]["own_minus_donor"]),
                    (
                        "resample",
                        "reflecting beats fresh attempts for the same tokens",
                        OURS,
                        None,
                        one["after"]["own_minus_resample"],
                    ),
                )
            ]
        for size, arms in tables["arms"].items():
            if "rrr" in arms:
                for kind in ("copy", "sort"):
                    loss = estimate_from(arms["rrr"][kind]["change"])
                    made.append(
                        claim(
                            f"{task}_{size}_forgetting_{kind}",
                            f"{title}, {size}: little is forgotten ({kind}: less than one point)",
                            "Table 3", "< 1 point", loss, null=-0.01,
                        )
                    )  # fmt: skip
        for name, one in tables["beats"].items():
            made.append(
                _claim(f"{task}_beats", f"{title}: {name} (second try)", "Section 4", "7B beats 72B", one["difference"], 0.0)
            )
    return tuple(made)


def _claim(id: str, text: str, source: str, published: str | None, measured: Mapping[str, Any] | None, minimum: float) -> Claim:
    found: Estimate | None = estimate_from(measured) if measured is not None else None
    return claim(id, text, source, published, found, minimum=minimum)
