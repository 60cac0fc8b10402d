"""The tables of Reflect, Retry, Reward on a family of our own, with the controls that the paper lacks (arXiv 2505.24726).

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

from secondthought import recipes
from secondthought.ablate import ARMS
from secondthought.engines.hub import SHIPPED, engine_for, load
from secondthought.evaluate import measured
from secondthought.files import COMPLETE, UserError, write_json
from secondthought.journal import Journal, read_metrics, resolved
from secondthought.nano.family import family_of, last_checkpoint, size_of, train_member, unfinished
from secondthought.nano.mixture import Mixture
from secondthought.nano.pretrain import held_out_loss
from secondthought.probes import second_try
from secondthought.probes.second_try import distinct
from secondthought.progress import Silence, Watcher
from secondthought.protocols.answer import answer
from secondthought.rollout import rollout
from secondthought.tasks.drills import KINDS, Drill
from secondthought.train import Recipe, train
from secondthought.workers import Job, side_by_side

TaskName = Literal["countdown", "function_calling"]
TASKS: tuple[TaskName, ...] = ("countdown", "function_calling")
UNTRAINED = "untrained"
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
    drills: int
    tokens: dict[TaskName, int]
    pretraining: int | None = None

    @property
    def sizes(self) -> tuple[str, ...]:
        """Every size there is a model of."""
        return tuple(dict.fromkeys((*self.trained, *self.untrained)))


BUDGETS = {
    "quick": Plan(
        ("0.1m",), ("1m",), (), ("rrr",), seeds=1, problems=400, drills=200,
        tokens={"countdown": 150_000, "function_calling": 250_000},
    ),
    "full": Plan(
        ("0.3m", "0.1m", "1m"), ("1m", "3.3m"), ("0.3m",), ARMS, seeds=3, problems=2000, drills=1000,
        tokens={"countdown": 534_112, "function_calling": 1_000_000},
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
        needed = (COMPLETE, "greedy.json") if self.at_zero else (COMPLETE,)
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


def reproduce(out: Path, budget: str, workers: int, watcher: Watcher) -> Plan:
    """Do what is not done yet. Raises UserError for an unknown budget, and if a process dies."""
    plan = plan_of(budget)
    models = {size: model_of(out, size, plan) for size in plan.sizes}
    missing = [size for size in plan.sizes if str(out) in models[size]]
    family = family_of("duo", sorted(missing, key=size_of, reverse=True), steps=plan.pretraining)
    jobs = [
        Job(f"pre-training {name}", train_member, (recipe, out / "family" / name))
        for name, recipe in unfinished(family, out / "family").items()
    ]
    if jobs:
        watcher.phase(f"pre-training {len(jobs)} models, {workers} at a time")
        side_by_side(jobs, workers, watcher)
    jobs = []
    for run in runs_of(plan):
        work = measure_untrained if run.arm == UNTRAINED else train_one
        if not run.done(out):
            name = f"{run.task}: {run.arm} {run.size}, seed {run.seed}"
            share = partial(share_of, run.folder(out), plan.tokens[run.task])
            jobs.append(Job(name, work, (out, plan, run, models[run.size]), share))
    if jobs:
        watcher.phase(f"{len(jobs)} runs, {workers} at a time")
        side_by_side(jobs, workers, watcher)
    return plan


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
    arm = "rrr" if run.arm == UNTRAINED else run.arm
    equal = [f"token_budget={plan.tokens[run.task]}", "steps=100000", "eval_every=50"]
    chosen = recipes.load(arm, tasks=run.task, model=model)
    return recipes.override(chosen, [*equal, f"eval_problems={plan.problems}", f"seed={run.seed}"])


def train_one(out: Path, plan: Plan, run: Run, model: str) -> None:
    """Train, measure, and look what became of everything else."""
    recipe, folder = made(plan, run, model), run.folder(out)
    journal = Journal(folder, resolved(recipe), resume=True)
    untrained = run._replace(arm=UNTRAINED).folder(out)
    for kind in ("evaluations", "episodes"):  # measured once for all arms
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
    evaluated(Journal(run.folder(out), resolved(recipe), resume=True), recipe, model, "before", plan)
    run.aside(out).mkdir(parents=True, exist_ok=True)
    if not (run.aside(out) / "drills.json").exists():
        write_json(run.aside(out) / "drills.json", drilled(model, plan, run.seed))
    greedy(plan, run, model, run.aside(out))
    write_json(run.aside(out) / COMPLETE, {})


def evaluated(journal: Journal, recipe: Recipe, model: str, label: str, plan: Plan, step: int = 0) -> dict[str, Any]:
    """All arms of the second try on a recipe's held-out problems; remembered by the journal."""

    def make() -> dict[str, Any]:
        problems = distinct(recipe.test, plan.problems)
        return measured(engine_for(model), problems, recipe.setting(recipe.test), journal, label, step, Silence())

    return journal.evaluation(label, make)


def aside(plan: Plan, run: Run, base: str, model: str, out: Path, step: int) -> None:
    """What became of the other task, of copying and sorting, and of how well the corpus is predicted."""
    (other,) = (task for task in TASKS if task != run.task)
    recipe = made(plan, run._replace(task=other, arm="rrr"), base)
    evaluated(Journal(out, resolved(recipe), resume=True), recipe, model, "other", plan, step)
    if not (out / "drills.json").exists():
        write_json(out / "drills.json", drilled(model, plan, run.seed))
    write_json(out / COMPLETE, {})


def greedy(plan: Plan, run: Run, model: str, out: Path) -> None:
    """First and second try at temperature 0: a gain that is only a sharper distribution does not show here."""
    if not run.at_zero or (out / "greedy.json").exists():
        return
    recipe = made(plan, run, model)
    setting = recipe.setting(recipe.test)
    setting = replace(setting, sampling=replace(setting.sampling, temperature=0.0))
    cases = second_try.measure(engine_for(model), distinct(recipe.test, plan.problems), setting, controls=False)
    scores = {
        "first": [case.own.verdicts["attempt"].score for case in cases],
        "second": [case.score("own") if case.failed else 1.0 for case in cases],
    }
    write_json(out / "greedy.json", {"tasks": [case.task.key for case in cases], **scores})


def drilled(model: str, plan: Plan, seed: int) -> dict[str, Any]:
    """Scores in copying and sorting, and the loss in nats per token on each part of the corpus that was never read."""
    engine = engine_for(model)
    found: dict[str, Any] = {}
    for kind in KINDS:
        drill = Drill(kind, "test")
        told = rollout(partial(answer, grade=drill.grade), distinct(drill, plan.drills), 1, engine, seed=seed)
        found[kind] = {group[0].task.key: group[0].verdicts["attempt"].score for group in told}
    mixture = Mixture()
    network, tokenizer = load(model)
    found["parameters"] = int(network.num_parameters())
    places = range(CORPUS_FROM, CORPUS_FROM + 4 * plan.drills)
    found["loss"] = {
        part: held_out_loss(network, tokenizer, [mixture.document(i) for i in places if mixture.part(i) == part])
        for part in ("countdown", "tools", "drills")
    }
    return found


def finished(out: Path, plan: Plan) -> Sequence[Run]:
    """The runs of a plan that are there."""
    return [run for run in runs_of(plan) if run.done(out)]
