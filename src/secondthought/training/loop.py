"""The training loop: measure, train, measure again. It knows no method; what is sampled, paid and measured is the recipe's."""

from __future__ import annotations

import math
import signal
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from random import Random
from typing import Any

from secondthought.credit.base import BatchCredit, Credit, Step, paid
from secondthought.distributed.world import World, world_of_environment
from secondthought.engines.base import Engine
from secondthought.engines.factory import engine_for, replica_for
from secondthought.engines.torch.tuning import tuned
from secondthought.engines.watched import Watched
from secondthought.errors import Interrupted
from secondthought.learners.rows import Rows, compile_rows
from secondthought.learners.torch import TorchLearner, too_little
from secondthought.models.hub import described, fingerprint, placed, saved_in
from secondthought.probes.base import Probe, changes
from secondthought.rollouts import Ahead, rollout
from secondthought.runs.files import write_json
from secondthought.runs.journal import Journal, resolved
from secondthought.runs.progress import Progress, Silence
from secondthought.runs.reading import read_groups, read_metrics, read_run
from secondthought.runs.reports import estimate_json, report_json
from secondthought.runs.trackers import Trackers, chosen
from secondthought.training.collecting import Budget, lengths_of, stocked, stocked_stage
from secondthought.training.recipe import Comparison, Recipe
from secondthought.training.watch import Watching
from secondthought.types import Group, Report, Signals, Task, TaskSet, seed_of

AFTERWARDS = (
    "name", "protocol", "credit", "stages", "steps", "token_budget", "loss_budget", "best_by", "comparisons", "watch",
    "eval_every", "checkpoint_every", "checkpoints_kept",
)  # fmt: skip
"""What of a recipe cannot change what is measured and collected before training."""

SampleStep = Callable[[int, Engine], list[Group]]


def train(
    recipe: Recipe, out: Path, progress: Progress, *, resume: bool = False, command: Mapping[str, Any] | None = None,
    beside: Sequence[Path] = (),
) -> dict[str, Any]:  # fmt: skip
    """Measure, train, measure again; everything is in ``out``, and the summary is returned.

    Of several processes each does its share of the groups; the first one measures and keeps the journal, and the others return
    nothing. ``command`` is kept for a resume that need not repeat it. Runs ``beside`` this one that began from the same model,
    problems and seed have measured the untrained model already: that is taken over.

    Raises UserError for an unusable folder or model, :class:`Interrupted` after a clean stop.

    >>> import tempfile
    >>> from dataclasses import replace
    >>> from secondthought.recipes.rrr_countdown import recipe
    >>> from secondthought.runs.progress import Silence
    >>> small = replace(recipe(), steps=1, groups=2, group_size=2, probes=(), comparisons=(), eval_problems=2, dev_problems=2)
    >>> train(small, Path(tempfile.mkdtemp()) / "run", Silence())["steps"]
    1
    """
    names, world = chosen(recipe.track), world_of_environment()
    progress.phase(f"loading {recipe.model}")
    recipe = decided(recipe, out, world, progress)
    with closing(learner_for(recipe, world)) as learner:
        journal = opened(recipe, out, world, resume, command)
        if (warning := too_little(recipe.optim, recipe.total_steps)) is not None:
            progress.phase(f"warning: {warning}")
        if learner.renderer.note:
            progress.phase(f"note: {learner.renderer.note}")
        learner.publish()
        if world.first:
            for other in beside:
                journal.take_over(other, but=AFTERWARDS)
            measure(recipe, learner, journal, progress, "before")
        ready = stocked(recipe, learner, journal, progress)
        start = restore(learner, journal)
        trackers = Trackers(names if world.first else (), journal.folder, resolved(recipe)["recipe"], start, progress)
        progress.phase(f"training: {recipe.total_steps} steps of {recipe.groups} problems x {recipe.group_size}")
        learn(ready, learner, journal, trackers, progress, start)
        back_to_best(ready, learner, journal, progress)
        learner.publish()
        if not world.first:
            return {}
        summary = conclude(recipe, learner, journal, progress)
    trackers.close(headline(summary))
    return summary


def learn(recipe: Recipe, learner: TorchLearner, journal: Journal, trackers: Trackers, progress: Progress, start: int) -> None:
    """The steps from ``start`` on, until a budget is spent."""
    world, steps, budget = learner.world, recipe.total_steps, Budget.of(recipe, journal)
    watched = Watching(recipe.watch, journal.folder)
    with stop_between_steps() as stopping, Ahead() as ahead:
        for step in range(start, steps):
            if budget.spent or watched.over:
                break
            (stage, at), made = recipe.at(step), dict[str, float]()
            if stage.collect is not None:
                learner.publish()
                recipe, made = stocked_stage(recipe, stage, learner, journal, progress)
                stage, at = recipe.at(step)
                budget = Budget.of(recipe, journal)
            began, sample = time.perf_counter(), sampler_of(recipe, world)
            groups = ahead.take() or sample(step, Watched(learner.publish(), progress.beat))
            curve_due, keep = (step + 1) % recipe.eval_every == 0, (step + 1) % recipe.checkpoint_every == 0
            if recipe.asynchronous and not curve_due and not keep and step + 1 < steps and recipe.at(step + 1)[1].number:
                ahead.begin(partial(sample, step + 1, learner.publish()))
            signals = shared_pay(stage.credit, groups, at, world)
            rows = compile_rows(groups, signals)
            stats = learner.step(rows, stage.lr_scale)
            stats |= figures(groups, rows, time.perf_counter() - began, world) | made
            everything = world.gathered(list(zip(groups, signals, strict=True)))
            if curve_due:
                learner.publish()
            if world.first:
                stats |= curve(recipe, learner.sampler) if curve_due else {}
                journal.write(step + 1, [group for group, _ in everything], [one for _, one in everything], stats)
                trackers.log(step + 1, stats)
            budget = budget.after(stats)
            stop = world.most(stopping()) > 0
            if curve_due:
                world.wait()  # what the first process wrote decides in all of them
                watched.look(progress)
            if step + 1 == steps or budget.spent or watched.over or keep or stop:
                ahead.take()  # what was begun is sampled anew after a resume
                learner.gather()
                if world.first:
                    journal.checkpoint(step + 1, learner, keep=recipe.checkpoints_kept, best=partial(best_of, recipe, journal))
            progress.step(step + 1, steps, stats)
            if stop:
                world.wait()
                raise Interrupted(f"stopped after step {step + 1}; continue with --resume")


# --- before the loop -------------------------------------------------------------------------------------------------


def decided(recipe: Recipe, out: Path, world: World, progress: Progress) -> Recipe:
    """The recipe with precision and threads as they were when the run began; in a new run as they are measured now."""
    kept = read_run(out).resolved["recipe"].get("engine", {}) if (out / "resolved.json").is_file() else {}
    known = {
        name: kept[name] for name, open_ in (("precision", "auto"), ("threads", 0))
        if kept.get(name, open_) != open_ and getattr(recipe.engine, name) == open_
    }  # fmt: skip
    engine = replace(recipe.engine, **known)
    if world.size == 1 and (engine.precision == "auto" or not engine.threads):
        config, _ = described(recipe.model)
        engine = tuned(engine, config, saved_in=saved_in(placed(recipe.model)))
        progress.phase(
            f"sampling in {'float32' if engine.precision == 'model' else engine.precision}, {engine.threads} threads"
        )
    if (began := kept.get("threads")) and began != engine.threads:
        progress.phase(f"begun with {began} threads, going on with {engine.threads}: sums are rounded otherwise from here on")
    return replace(recipe, engine=engine)


def learner_for(recipe: Recipe, world: World) -> TorchLearner:
    """The learner that a recipe wants: whole in every process, or split between them."""
    make: Callable[..., TorchLearner] = TorchLearner
    if recipe.optim.shard and world.size > 1:
        from secondthought.learners.sharded import ShardedLearner

        make = ShardedLearner
    learner = make(
        recipe.model, recipe.optim, steps=recipe.total_steps, temperature=recipe.temperature, engine=recipe.engine,
        seed=recipe.seed, world=world,
    )  # fmt: skip
    learner.replica = replica_for(
        recipe.model, recipe.engine, learner.renderer, learner.model.config, rank=world.rank, world=world.size,
        separate=recipe.asynchronous,
    )  # fmt: skip
    return learner


def opened(recipe: Recipe, out: Path, world: World, resume: bool, command: Mapping[str, Any] | None = None) -> Journal:
    """The journal: the first process opens it, the others read what it wrote."""
    what = resolved(recipe, command=command, weights=fingerprint(recipe.model))
    journal = Journal(out, what, resume=resume) if world.first else None
    world.wait()
    return journal or Journal(out, resolved(recipe), resume=True, reads=True)


def restore(learner: TorchLearner, journal: Journal) -> int:
    """Go back to the newest complete checkpoint, if there is one, and say how many steps are done."""
    start = 0
    if (found := journal.latest()) is not None:
        start, folder = found
        learner.restore(folder)
    learner.world.wait()  # nobody deletes what another still reads
    if learner.world.first:
        journal.rewind(start)
    learner.world.wait()
    return start


# --- one step --------------------------------------------------------------------------------------------------------


def draw(tasks: TaskSet | Sequence[Task], step: int, n: int, *, seed: int) -> list[Task]:
    """``n`` different tasks for a step; which ones depends on nothing but the seed and the step."""
    rng = Random(seed_of("draw", seed, step))
    found: dict[str, Task] = {}
    for _ in range(50 * n):
        task = tasks[rng.randrange(len(tasks))]
        found.setdefault(task.key, task)
        if len(found) == n:
            break
    return list(found.values())


def sampler_of(recipe: Recipe, world: World) -> SampleStep:
    """What makes this process's groups of a step."""

    def sample(step: int, engine: Engine) -> list[Group]:
        stage, _ = recipe.at(step)
        tasks = world.share(draw(stage.tasks or recipe.tasks, step, recipe.groups, seed=recipe.seed))
        return rollout(
            stage.protocol, tasks, recipe.group_size, engine, recipe.sampling, seed=seed_of("step", recipe.seed, step)
        )

    return sample


def shared_pay(credit: Credit, groups: Sequence[Group], step: Step, world: World) -> list[list[Signals]]:
    """The signals of this process's groups; a credit over the batch sees those of all processes."""
    if world.size == 1 or not isinstance(credit, BatchCredit):
        return paid(credit, groups, step)
    return world.share(paid(credit, world.everywhere(groups), step))


def figures(groups: Sequence[Group], rows: Rows, seconds: float, world: World) -> dict[str, float]:
    """What one step looked like over all processes: the mean of every verdict, the length of every segment, speed.

    What episodes share was sampled and graded once, so it counts once.
    """
    episodes, lengths = [episode for group in groups for episode in group], lengths_of(groups)
    graded: dict[str, dict[int, float]] = {}
    for episode in episodes:
        for name, verdict in episode.verdicts.items():
            about = id(episode[name]) if name in episode else id(episode)
            graded.setdefault(name, {})[about] = verdict.score
    trained = sum(1 for row in rows.rows for target in row.targets if target.policy or target.imitate)
    tokens, learned, without, count = world.total([sum(map(sum, lengths.values())), trained, rows.zero_signal, rows.groups])
    names, verdicts = world.agreed(lengths), world.agreed(graded)
    means = world.means([
        *(list(graded.get(name, {}).values()) for name in verdicts), *(lengths.get(name, ()) for name in names)
    ])  # fmt: skip
    found = {
        "groups/zero_signal": without, "groups/count": count, "groups/zero_signal_share": without / max(1, count),
        "tokens/sampled": tokens, "tokens/learned": learned,
        "speed/tokens_per_second": tokens / seconds, "speed/seconds": seconds,
    }  # fmt: skip
    labels = [*(f"reward/{name}" for name in verdicts), *(f"length/{name}" for name in names)]
    return found | dict(zip(labels, means, strict=True))


def curve(recipe: Recipe, engine: Engine) -> dict[str, float]:
    """Every arm of every probe on the dev problems, as ``PROBE/ARM`` with its interval."""
    found: dict[str, float] = {}
    for probe in recipe.exam(dev=True):
        report = probe.report(probe.measure(engine, Silence()))  # the bar is the training's
        for arm in report.arms:
            group = probe.name if arm.estimate.unit == "fraction" else f"{probe.name}_{arm.estimate.unit}"
            name = f"{group}/{arm.name}"
            found |= {name: arm.estimate.value, f"{name}/low": arm.estimate.low, f"{name}/high": arm.estimate.high}
    return found


def best_of(recipe: Recipe, journal: Journal) -> int | None:
    """The step of the checkpoint that ``best_by`` chooses, where it chooses one."""
    name = recipe.best_by or recipe.watch.back
    return journal.best(name, recipe.checkpoint_every) if name else None


def back_to_best(recipe: Recipe, learner: TorchLearner, journal: Journal, progress: Progress) -> None:
    """Go back to the checkpoint that ``best_by`` chooses; where no step has that figure, stay at the last one and say so."""
    alarmed = not recipe.best_by and Watching(recipe.watch, journal.folder).over
    name = recipe.best_by or (recipe.watch.back if alarmed else "")
    if not name or not recipe.total_steps:
        return
    step = best_of(recipe, journal)
    if step is None:
        progress.phase(f"warning: no step has a figure {name!r} to choose by: the last checkpoint is measured")
        return
    progress.phase(f"step {step} has the highest {name}: that checkpoint is measured")
    learner.restore(journal.folder / "checkpoints" / f"step_{step}")
    learner.world.wait()


# --- before and after ------------------------------------------------------------------------------------------------


def measure(recipe: Recipe, learner: TorchLearner, journal: Journal, progress: Progress, label: str) -> dict[str, Report]:
    """What the recipe's probes find of what the learner last published; kept by the journal under ``label``."""
    found = {}
    for probe in recipe.exam():

        def make(probe: Probe = probe) -> Report:
            progress.phase(f"measuring {label} training: {probe.name} on {recipe.eval_problems} held-out problems")
            groups = probe.measure(Watched(learner.sampler, progress.beat), progress)
            journal.episodes(f"{label}_{probe.name}", learner.step_count, label, groups)
            return probe.report(groups)

        found[probe.name] = journal.report(f"{label}_{probe.name}", make)
    return found


def conclude(recipe: Recipe, learner: TorchLearner, journal: Journal, progress: Progress) -> dict[str, Any]:
    """The summary of a finished run, written to summary.json."""
    before = measure(recipe, learner, journal, progress, "before")
    after = measure(recipe, learner, journal, progress, "after")
    lines = [line for line in read_metrics(journal.folder) if "tokens/sampled" in line]
    summary = {
        "run": journal.run, "kind": "train", "recipe": recipe.name, "model": recipe.model, "seed": recipe.seed,
        "steps": len(lines), "measured_step": learner.step_count,
        "probes": {
            name: {
                "before": report_json(before[name], scores=False), "after": report_json(report, scores=False),
                "change": {e.name: estimate_json(e.estimate) for e in changes(before[name], report)},
            }
            for name, report in after.items()
        },
        "comparisons": {
            one.name: report_json(compared(one, recipe, learner, journal, progress), scores=False)
            for one in recipe.comparisons
        },
        "training": {
            "sampled_tokens": int(sum(line["tokens/sampled"] for line in lines)),
            "seconds": round(sum(line["speed/seconds"] for line in lines), 1),
            "zero_signal_groups": sum(line["groups/zero_signal"] for line in lines)
            / max(1, sum(line["groups/count"] for line in lines)),
        },
    }  # fmt: skip
    write_json(journal.folder / "summary.json", summary)
    return summary


def compared(one: Comparison, recipe: Recipe, learner: TorchLearner, journal: Journal, progress: Progress) -> Report:
    """What a comparison of the untrained with the trained model finds, from the groups that the first probe wrote before."""

    def make() -> Report:
        (first, *_) = recipe.exam()
        before = read_groups(journal.folder / "episodes" / f"before_{first.name}.parquet")
        progress.phase(f"{one.name}: the untrained beside the trained model")
        base = learner.decoding.on(engine_for(recipe.model, recipe.engine))
        groups = one.measure(
            base, Watched(learner.sampler, progress.beat), before, recipe.test, recipe.sampling, recipe.seed, progress
        )
        journal.episodes(one.name, learner.step_count, one.name, groups)
        return one.report(groups)

    return journal.report(one.name, make)


def headline(summary: dict[str, Any]) -> dict[str, float]:
    """The last figures for other people's dashboards: every arm before and after."""
    return {
        f"{side}/{name}/{arm['name']}": arm["estimate"]["value"]
        for name, found in summary["probes"].items() for side in ("before", "after") for arm in found[side]["arms"]
        if arm["estimate"]["value"] is not None and math.isfinite(arm["estimate"]["value"])
    }  # fmt: skip


@contextmanager
def stop_between_steps() -> Iterator[Callable[[], bool]]:
    """Ctrl-C asks for a stop after the present step; a second one stops at once. Yields whether a stop was asked for."""
    asked = Counter[str]()

    def ask(*_: object) -> None:
        if asked["stop"]:
            raise KeyboardInterrupt
        asked["stop"] += 1
        print("stopping after this step (Ctrl-C again to stop at once)", file=sys.stderr)

    try:
        previous = signal.signal(signal.SIGINT, ask)
    except ValueError:  # not the main thread: somebody else handles signals
        yield lambda: False
        return
    try:
        yield lambda: asked["stop"] > 0
    finally:
        signal.signal(signal.SIGINT, previous)
