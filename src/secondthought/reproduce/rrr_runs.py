"""The runs behind the tables of Reflect, Retry, Reward on a family of our own, with the controls that the paper lacks.

OUT/family/SIZE/seed_0/                the models, where they are not shipped (:mod:`secondthought.nano.family`)
OUT/runs/TASK/ARM/SIZE/seed_S/         a whole training run for each task, arm, size and seed
OUT/runs/TASK/untrained/SIZE/seed_S/   the same measurement of models that are not trained
OUT/aside/...                          what training did to everything that was not trained on
OUT/summary.json, results.md, *.png    (:mod:`secondthought.reproduce.rrr_tables`)

All arms of a task stop at the same number of sampled tokens.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Literal, NamedTuple

from secondthought.distributed.jobs import Job, side_by_side
from secondthought.engines.factory import engine_for
from secondthought.errors import UserError
from secondthought.models.hub import load
from secondthought.models.names import SHIPPED
from secondthought.nano.family import family_of, last_checkpoint, size_of, train_member, unfinished
from secondthought.nano.mixture import Mixture
from secondthought.nano.pretrain import held_out_loss
from secondthought.probes.base import Probe
from secondthought.protocols.answer import answer
from secondthought.reproduce.arms import ARMS, BASE
from secondthought.reproduce.arms import made as arm_recipe
from secondthought.rollouts import rollout
from secondthought.runs.files import COMPLETE, write_json
from secondthought.runs.journal import Journal, resolved
from secondthought.runs.progress import Progress, Silence
from secondthought.runs.reading import read_metrics
from secondthought.runs.reports import report_json
from secondthought.tasks.base import distinct
from secondthought.tasks.copy_sort import KINDS, CopySort
from secondthought.training.loop import train
from secondthought.training.recipe import Recipe
from secondthought.types import Report

TaskName = Literal["countdown", "tool_world"]
TASKS: tuple[TaskName, ...] = ("countdown", "tool_world")
UNTRAINED = "untrained"
FORGETTING = "forgetting.json"
CORPUS_FROM = 10_000_000
"""Documents from this index on were never read in pre-training."""


@dataclass(frozen=True)
class Plan:
    """What is run. ``trained`` and ``untrained`` are sizes; the other arms are run at the size ``compared``.

    ``tokens``: after how many sampled tokens each arm stops, by task. ``pretraining``: steps, where not those of the family.
    """

    trained: tuple[str, ...]
    untrained: tuple[str, ...]
    compared: tuple[str, ...]
    arms: tuple[str, ...]
    seeds: int
    problems: int
    others: int
    tokens: dict[TaskName, int]
    pretraining: int | None = None

    @property
    def sizes(self) -> tuple[str, ...]:
        """Every size there is a model of."""
        return tuple(dict.fromkeys((*self.trained, *self.untrained)))


BUDGETS = {
    "quick": Plan(
        ("0.1m",), ("1m",), (), ("rrr",), seeds=1, problems=400, others=200,
        tokens={"countdown": 150_000, "tool_world": 250_000},
    ),
    "full": Plan(
        ("0.3m", "0.1m", "1m"), ("1m", "3.3m"), ("0.3m",), ARMS, seeds=3, problems=2000, others=1000,
        tokens={"countdown": 534_112, "tool_world": 1_000_000},
    ),
}  # fmt: skip


class Run(NamedTuple):
    """One training run (or, for the arm ``untrained``, one measurement)."""

    task: TaskName
    arm: str
    size: str
    seed: int

    def folder(self, out: Path) -> Path:
        """Where it lives."""
        return out / "runs" / self.task / self.arm / self.size / f"seed_{self.seed}"

    def aside(self, out: Path) -> Path:
        """Where it is written what became of everything else."""
        return out / "aside" / self.task / self.arm / self.size / f"seed_{self.seed}"

    @property
    def at_zero(self) -> bool:
        """Whether it is measured at temperature 0 as well; untrained models need that only once."""
        return self.arm == "rrr" or (self.arm == UNTRAINED and self.seed == 0)

    def done(self, out: Path) -> bool:
        """Whether all of it is there."""
        needed = (COMPLETE, "reports/greedy.json") if self.at_zero else (COMPLETE,)
        return all((self.aside(out) / name).exists() for name in needed)


def runs_of(plan: Plan) -> Iterator[Run]:
    """Every run of a plan: all of one seed before the next, so that an unfinished plan is a smaller plan."""
    for seed in range(plan.seeds):
        yield from (Run(task, UNTRAINED, size, seed) for size in plan.sizes for task in TASKS)
        for size in plan.trained:
            arms = plan.arms if size in plan.compared else ("rrr",)
            yield from (Run(task, arm, size, seed) for arm in arms for task in TASKS)


def plan_of(budget: str) -> Plan:
    """The plan of a budget. Raises UserError if there is none of that name."""
    if budget not in BUDGETS:
        raise UserError(f"there is no budget {budget!r}; choose {' or '.join(BUDGETS)}")
    return BUDGETS[budget]


def run_plan(out: Path, plan: Plan, workers: int, progress: Progress) -> None:
    """Do what is not done yet. Raises UserError if a process dies."""
    models = {size: model_of(out, size, plan) for size in plan.sizes}
    missing = [size for size in plan.sizes if str(out) in models[size]]
    family = family_of("duo", sorted(missing, key=size_of, reverse=True), steps=plan.pretraining)
    jobs = [
        Job(f"pre-training {name}", train_member, (recipe, out / "family" / name))
        for name, recipe in unfinished(family, out / "family").items()
    ]
    if jobs:
        progress.phase(f"pre-training {len(jobs)} models, {workers} at a time")
        side_by_side(jobs, workers, progress)
    jobs = []
    for run in runs_of(plan):
        work = measure_untrained if run.arm == UNTRAINED else train_one
        if not run.done(out):
            name = f"{run.task}: {run.arm} {run.size}, seed {run.seed}"
            share = partial(share_of, run.folder(out), plan.tokens[run.task])
            jobs.append(Job(name, work, (out, plan, run, models[run.size]), share))
    if jobs:
        progress.phase(f"{len(jobs)} runs, {workers} at a time")
        side_by_side(jobs, workers, progress)


def model_of(out: Path, size: str, plan: Plan) -> str:
    """The model of a size: shipped, or in OUT/family."""
    ((name, recipe),) = family_of("duo", (size,), steps=plan.pretraining).items()
    shipped = SHIPPED / f"duo-{size}"
    return f"nano/{shipped.name}" if shipped.is_dir() else str(last_checkpoint(out / "family", name, recipe))


def share_of(folder: Path, tokens: int) -> float:
    """How much of its tokens a run has sampled."""
    sampled: float = sum(line.get("tokens/sampled", 0.0) for line in read_metrics(folder))
    return 0.9 * min(1.0, sampled / tokens)


def made(plan: Plan, run: Run, model: str) -> Recipe:
    """The recipe of a run; its tokens end it, never its steps."""
    arm = BASE if run.arm == UNTRAINED else run.arm
    equal = [f"token_budget={plan.tokens[run.task]}", "eval_every=50", f"eval_problems={plan.problems}"]
    return arm_recipe(arm, model, run.seed, equal, tasks=run.task)


def train_one(out: Path, plan: Plan, run: Run, model: str) -> None:
    """Train, measure, and look what became of everything else."""
    recipe, folder = made(plan, run, model), run.folder(out)
    journal = Journal(folder, resolved(recipe), resume=True)
    untrained = run._replace(arm=UNTRAINED).folder(out)
    for kind in ("reports", "episodes"):  # measured once for all arms
        (folder / kind).mkdir(exist_ok=True)
        for path in (untrained / kind).glob("before*"):
            if not (folder / kind / path.name).exists():
                shutil.copy(path, folder / kind / path.name)
    if not (folder / "summary.json").exists():
        train(recipe, folder, Silence(), resume=True)
    step, checkpoint = journal.latest() or (0, Path())
    aside(plan, run, model, str(checkpoint / "model"), run.aside(out), step)
    greedy(plan, run, str(checkpoint / "model"), run.aside(out))


def measure_untrained(out: Path, plan: Plan, run: Run, model: str) -> None:
    """The measurement before training, and no training."""
    recipe = made(plan, run, model)
    measured(Journal(run.folder(out), resolved(recipe), resume=True), recipe, model, "before")
    run.aside(out).mkdir(parents=True, exist_ok=True)
    if not (run.aside(out) / FORGETTING).exists():
        write_json(run.aside(out) / FORGETTING, forgetting(model, plan, run.seed))
    greedy(plan, run, model, run.aside(out))
    write_json(run.aside(out) / COMPLETE, {})


def measured(journal: Journal, recipe: Recipe, model: str, label: str, step: int = 0) -> None:
    """The recipe's probes on its held-out problems; kept by the journal under ``label``."""
    for probe in recipe.exam():

        def make(probe: Probe = probe) -> Report:
            groups = probe.measure(engine_for(model), Silence())
            journal.episodes(f"{label}_{probe.name}", step, label, groups)
            return probe.report(groups)

        journal.report(f"{label}_{probe.name}", make)


def aside(plan: Plan, run: Run, base: str, model: str, out: Path, step: int) -> None:
    """What became of the other task, of copying and sorting, and of how well the corpus is predicted."""
    (other,) = (task for task in TASKS if task != run.task)
    recipe = made(plan, run._replace(task=other, arm=BASE), base)
    measured(Journal(out, resolved(recipe), resume=True), recipe, model, "other", step)
    if not (out / FORGETTING).exists():
        write_json(out / FORGETTING, forgetting(model, plan, run.seed))
    write_json(out / COMPLETE, {})


def greedy(plan: Plan, run: Run, model: str, out: Path) -> None:
    """First and second try at temperature 0: a gain that is only a sharper distribution does not show here."""
    path = out / "reports" / "greedy.json"
    if not run.at_zero or path.exists():
        return
    recipe = replace(made(plan, run, model), temperature=0.0)
    (make,) = recipe.probes
    probe = make(
        tasks=recipe.test, n=plan.problems, temperature=0.0, max_tokens=recipe.max_tokens, seed=recipe.seed, controls=False
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    write_json(path, report_json(probe.report(probe.measure(engine_for(model), Silence()))))


def forgetting(model: str, plan: Plan, seed: int) -> dict[str, Any]:
    """Scores in copying and sorting, and the loss in nats per token on each part of the corpus that was never read."""
    engine = engine_for(model)
    found: dict[str, Any] = {}
    for kind in KINDS:
        tasks = CopySort(kind, "test")
        groups = rollout(partial(answer, grade=tasks.grade), distinct(tasks, plan.others), 1, engine, seed=seed)
        found[kind] = {group[0].task.key: group[0].verdicts["attempt"].score for group in groups}
    mixture = Mixture()
    network, tokenizer = load(model)
    found["parameters"] = int(network.num_parameters())
    places = range(CORPUS_FROM, CORPUS_FROM + 4 * plan.others)
    found["loss"] = {
        part: held_out_loss(network, tokenizer, [mixture.document(i) for i in places if mixture.part(i) == part])
        for part in ("countdown", "tools", "drills")
    }
    return found


def finished(out: Path, plan: Plan) -> Sequence[Run]:
    """The runs of a plan that are there."""
    return [run for run in runs_of(plan) if run.done(out)]
