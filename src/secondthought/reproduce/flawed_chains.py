"""Flawed chains of thought given to real language models: what "Wait," does, against every control, in both profiles.

OUT/PROFILE/TASKS/     the probe of flawed chains over all models (:mod:`secondthought.probes.run`), resumable
OUT/summary.json, results.md, episodes.md
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from secondthought.engines.base import EngineOptions
from secondthought.errors import UserError
from secondthought.probes.checkpoints import checkpoints_of
from secondthought.probes.flawed_chain import FlawedChain
from secondthought.probes.flawed_chain_report import LABELS, OUTCOMES, outcome_of, verdict_on
from secondthought.probes.run import Options, run_probe
from secondthought.report import flawed_chains as page
from secondthought.reproduce.base import OURS, Reproduced, Reproduction, check_budget, claim
from secondthought.runs.files import write_json
from secondthought.runs.progress import Progress
from secondthought.runs.reading import read_groups
from secondthought.runs.reports import estimate_from
from secondthought.training.settings import made
from secondthought.types import Claim, Group

SOURCE = "arXiv 2504.04022, section 4"
N = {"quick": 8, "full": 100}
READ = ("flawed/none", "flawed/wait", "flawed/filler", "self/wait", "clean/wait")
"""The cells whose turns are shown, for the first :data:`ITEMS` items of each measurement."""
ITEMS = 2


@dataclass(frozen=True)
class FlawedChains(Reproduction):
    """Measure every model on every set of items in every profile; what is measured already is read.

    models       folders, files or hub names, separated by commas
    tasks        SPECs of items, separated by semicolons (gsm8k:FILE;svamp:FILE;bbh:FILE)
    profiles     clean, paper, or both, separated by commas
    n            items of each set; 0: 8 (quick) or 100 (full)
    max_tokens   sampled tokens of a turn; 0: those of the family
    threads      CPU threads; 0: as measured
    """

    name: ClassVar[str] = "flawed_chains"
    needs: ClassVar[str] = "--set models=A,B --set 'tasks=gsm8k:FILE;svamp:FILE'"
    budgets: ClassVar[dict[str, str]] = {
        "quick": "eight items of each set", "full": "a hundred items of each set",
    }  # fmt: skip
    models: str = ""
    tasks: str = ""
    profiles: str = "clean,paper"
    n: int = 0
    max_tokens: int = 0
    threads: int = 0

    def run(self, budget: str, out: Path, progress: Progress) -> Reproduced:
        """Do what is not done yet in ``out``, then look at all of it. Raises UserError without models or tasks."""
        check_budget(self, budget)
        models, specs = [m for m in self.models.split(",") if m], [t for t in self.tasks.split(";") if t]
        if not models or not specs:
            raise UserError(f"which models, and which items? write {self.needs} (docs/probes/flawed_chain.md)")
        found: list[dict[str, Any]] = []
        options = Options(engine=EngineOptions(threads=self.threads))
        for profile in self.profiles.split(","):
            for spec in specs:
                name = spec.partition(":")[0] if ":" in spec else Path(spec).stem
                progress.phase(f"{name}, profile {profile}")
                folder = out / profile / name
                size = {"n": self.n or N[budget], "max_tokens": self.max_tokens}
                probe = made(FlawedChain, [f"profile={profile}"], tasks=spec, **size)
                summary = run_probe(probe, checkpoints_of(models), folder, progress, options)
                found += [cell_of(model, name, profile, folder) for model in summary["models"]]
        tables = {"measured": found}
        write_json(out / "summary.json", tables)
        return Reproduced(tuple(claims_of(found)), tables, page.write(out, found))


reproduction = FlawedChains


def cell_of(model: Mapping[str, Any], task: str, profile: str, folder: Path) -> dict[str, Any]:
    """What one model did with one set of items: its arms, effects and outcomes by name and label, and turns to be read."""
    report, groups = model["report"], read_groups(folder / "episodes" / f"{model['episodes']}.parquet")
    outcomes = {
        f"{words}, {trigger or 'no trigger'}": estimate
        for outcome, words in OUTCOMES.items() for trigger in ("", "wait")
        for name, estimate in report["figures"].items() if name.endswith(f"flawed/{trigger or 'none'}/outcome/{outcome}")
    }  # fmt: skip
    return {
        "model": model["checkpoint"]["name"], "parameters": model["parameters"], "frame": model["frame"], "tasks": task,
        "profile": profile, "items": len(groups), "verdict": report["verdict"],
        "arms": [{key: arm[key] for key in ("name", "label", "estimate")} for arm in report["arms"]],
        "effects": [{key: effect[key] for key in ("name", "label", "estimate")} for effect in report["effects"]],
        "outcomes": outcomes, "read": [turns_of(group) for group in groups[:ITEMS]],
    }  # fmt: skip


def turns_of(group: Group) -> dict[str, Any]:
    """An item with the turns of the cells in :data:`READ`."""
    task = group[0].task
    turns = [
        {
            "cell": LABELS[episode.arm], "said": episode["rest"].text,
            "given": " ".join(s.text for s in episode.segments if s.name in ("chain", "trigger")),
            "outcome": outcome_of(episode).replace("_", " ") or verdict_on(episode).why,
        }
        for episode in group if episode.arm in READ
    ]  # fmt: skip
    return {"question": task.prompt[-1].content, "right": str(task.answer), "turns": turns}


def claims_of(found: list[dict[str, Any]]) -> Iterator[Claim]:
    """Does the trigger help, is it the word, is the chain read, and is recovering more than solving?"""
    for one in found:
        where = f"{one['model']}, {one['tasks']}, profile {one['profile']}"
        id = f"{one['model']}/{one['tasks']}/{one['profile']}"
        for effect, text, source in (
            ("trigger", "after a flawed chain “Wait,” is better than nothing", SOURCE),
            ("words", "“Wait,” is better than a filler as long", OURS),
            ("reading", "with this question's flawed chain, “Wait,” is better than with another's", OURS),
            ("beyond_solving", "recovering beats solving without a chain", OURS),
        ):
            measured = next((estimate_from(e["estimate"]) for e in one["effects"] if e["name"] == effect), None)
            yield claim(f"{id}/{effect}", f"{where}: {text}", source, None, measured, minimum=0.05)
