"""The training loop, and the frozen recipe it follows."""

from __future__ import annotations

import math
import signal
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from random import Random
from typing import Any

from secondthought.credit.base import Credit
from secondthought.crew import Crew, crew_of_environment
from secondthought.engines.elsewhere import elsewhere
from secondthought.engines.hub import engine_for
from secondthought.engines.torch import EngineOptions
from secondthought.evaluate import measured
from secondthought.files import Interrupted, UserError, write_json
from secondthought.journal import Journal, estimate_json, read_episodes, read_metrics, resolved, scores_of
from secondthought.learners.torch import Optim, TorchLearner
from secondthought.probes import second_try
from secondthought.progress import Watcher
from secondthought.protocols.failures import Failures, collect
from secondthought.protocols.reflect_retry import Prompts
from secondthought.rollout import Ahead, BoundProtocol, rollout
from secondthought.rows import Rows, compile_rows
from secondthought.scene import Engine, Sampling
from secondthought.stats import difference, mean
from secondthought.trackers import Trackers, chosen
from secondthought.types import Group, Task, TaskSet, seed_of


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """Everything that decides a run. A recipe is a page of Python that returns one of these.

    groups, group_size      problems a step, and tellings of each
    token_budget            ends training once so many tokens were sampled (to compare methods at equal cost); 0: never
    eval_problems           held-out problems, measured before and after with all controls
    dev_problems            problems for the curve, measured every ``eval_every`` steps
    train_problems          train on so many different problems only; 0: on all
    offline_problems        collect the paper's data set of failures first (``offline_samples`` attempts each by the initial
                            model) and reflect on those; 0: fail online, with the present model
    asynchronous            tell the next step's groups while this one is learned from, with the weights of before it; the loss
                            corrects for their age of one step. The steps after a checkpoint or a measurement wait for it
    style, prompts          the wording of the evaluation
    track                   other people's dashboards, separated by commas: tensorboard, wandb, trackio, mlflow
    """

    name: str
    model: str
    tasks: TaskSet
    dev: TaskSet
    test: TaskSet
    protocol: BoundProtocol
    credit: Credit
    prompts: Prompts
    style: str
    steps: int = 200
    groups: int = 16
    group_size: int = 8
    temperature: float = 1.0
    max_tokens: int = 32
    token_budget: int = 0
    checkpoint_every: int = 50
    checkpoints_kept: int = 2
    eval_every: int = 25
    eval_problems: int = 2000
    dev_problems: int = 256
    train_problems: int = 0
    offline_problems: int = 0
    offline_samples: int = 8
    asynchronous: bool = False
    seed: int = 0
    track: str = field(default="", repr=False)  # who is told is no part of what a run is
    optim: Optim = field(default_factory=Optim)
    engine: EngineOptions = field(default_factory=EngineOptions)

    @property
    def sampling(self) -> Sampling:
        """How tellings are sampled, in training and in evaluation."""
        return Sampling(temperature=self.temperature, max_tokens=self.max_tokens)

    def setting(self, tasks: TaskSet) -> second_try.Setting:
        """What stays fixed when this recipe's models are measured."""
        return second_try.Setting(tasks, self.prompts, self.sampling, self.style, self.seed)


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


def train(recipe: Recipe, out: Path, watcher: Watcher, *, resume: bool = False) -> dict[str, Any]:
    """Measure, train, measure again; everything is in ``out``, and the summary is returned.

    In a crew of several processes each does its share of the groups; the first one measures and keeps the journal, and the
    others return nothing. Raises UserError for an unusable folder or model, :class:`Interrupted` after a clean stop.
    """
    names, crew = chosen(recipe.track), crew_of_environment()
    watcher.phase(f"loading {recipe.model}")
    with closing(learner_for(recipe, crew)) as learner:
        journal = opened(recipe, out, crew, resume)
        if learner.dialect.note:
            watcher.phase(f"note: {learner.dialect.note}")
        learner.publish()
        if crew.first:
            evaluate(recipe, learner, journal, watcher, "before")
        problems, protocol = failing(recipe, learner, journal, watcher)
        start, sampled = restore(learner, journal)
        trackers = Trackers(names if crew.first else (), journal.folder, resolved(recipe)["recipe"], start, watcher)

        def tell(step: int, engine: Engine) -> list[Group]:
            tasks, seed = crew.share(draw(problems, step, recipe.groups, seed=recipe.seed)), seed_of("step", recipe.seed, step)
            return rollout(protocol, tasks, recipe.group_size, engine, recipe.sampling, seed=seed)

        watcher.phase(f"training: {recipe.steps} steps of {recipe.groups} problems x {recipe.group_size}")
        learn(recipe, learner, tell, journal, trackers, watcher, start, sampled)
        learner.publish()
        if not crew.first:
            return {}
        summary = conclude(recipe, learner, journal, watcher)
    trackers.close(
        {f"{side}/{name}": summary[side][name]["value"] for side in ("before", "after") for name in ("first", "second")}
    )
    return summary


def learn(
    recipe: Recipe, learner: TorchLearner, tell: Callable[[int, Engine], list[Group]], journal: Journal, trackers: Trackers,
    watcher: Watcher, start: int, sampled: int,
) -> None:  # fmt: skip
    """The steps from ``start`` on, ``sampled`` tokens having been sampled before; ``tell`` makes the groups of a step."""
    crew = learner.crew
    with stop_between_steps() as stopping, Ahead() as ahead:
        for step in range(start, recipe.steps):
            if recipe.token_budget and sampled >= recipe.token_budget:
                break
            began = time.perf_counter()
            groups = ahead.take() or tell(step, learner.publish())
            measure, keep = (step + 1) % recipe.eval_every == 0, (step + 1) % recipe.checkpoint_every == 0
            if recipe.asynchronous and not measure and not keep and step + 1 < recipe.steps:
                ahead.begin(partial(tell, step + 1, learner.publish()))
            signals = [recipe.credit(group) for group in groups]
            rows = compile_rows(groups, signals)
            stats = learner.step(rows)
            stats |= figures(groups, rows, time.perf_counter() - began, crew)
            told = crew.gathered(list(zip(groups, signals, strict=True)))
            if measure:
                learner.publish()
            if crew.first:
                stats |= curve(recipe, learner.voice) if measure else {}
                journal.write(step + 1, [group for group, _ in told], [paid for _, paid in told], stats)
                trackers.log(step + 1, stats)
            sampled += int(stats["tokens/sampled"])
            stop = crew.most(stopping()) > 0
            last = step + 1 == recipe.steps or (recipe.token_budget and sampled >= recipe.token_budget)
            if last or keep or stop:
                ahead.take()  # what was begun is told anew after a resume
                learner.gather()
                if crew.first:
                    journal.checkpoint(step + 1, learner, keep=recipe.checkpoints_kept)
            watcher.step(step + 1, recipe.steps, stats)
            if stop:
                crew.wait()
                raise Interrupted(f"stopped after step {step + 1}; continue with --resume")


def learner_for(recipe: Recipe, crew: Crew) -> TorchLearner:
    """The learner that a recipe wants: whole in every process, or split between them."""
    make: Callable[..., TorchLearner] = TorchLearner
    if recipe.optim.shard and crew.size > 1:
        from secondthought.learners.sharded import ShardedLearner

        make = ShardedLearner
    learner = make(
        recipe.model, recipe.optim, steps=recipe.steps, temperature=recipe.temperature, engine=recipe.engine, seed=recipe.seed,
        crew=crew,
    )  # fmt: skip
    learner.elsewhere = elsewhere(
        recipe.model, recipe.engine, learner.dialect, learner.model.config, rank=crew.rank, crew=crew.size,
        apart=recipe.asynchronous,
    )  # fmt: skip
    return learner


def opened(recipe: Recipe, out: Path, crew: Crew, resume: bool) -> Journal:
    """The journal: the first process opens it, the others read what it wrote."""
    journal = Journal(out, resolved(recipe), resume=resume) if crew.first else None
    crew.wait()
    return journal or Journal(out, resolved(recipe), resume=True)


def restore(learner: TorchLearner, journal: Journal) -> tuple[int, int]:
    """Go back to the newest complete checkpoint, if there is one: how many steps are done, and how many tokens were sampled."""
    start = 0
    if (found := journal.latest()) is not None:
        start, folder = found
        learner.restore(folder)
    learner.crew.wait()  # nobody forgets what another still reads
    if learner.crew.first:
        journal.rewind(start)
    learner.crew.wait()
    return start, int(sum(line.get("tokens/sampled", 0) for line in read_metrics(journal.folder)))


def failing(
    recipe: Recipe, learner: TorchLearner, journal: Journal, watcher: Watcher
) -> tuple[TaskSet | Sequence[Task], BoundProtocol]:
    """What is drawn from and told: online, the recipe's own tasks; offline, recorded failures of the initial model."""
    if not recipe.offline_problems:
        few = second_try.distinct(recipe.tasks, recipe.train_problems)
        return few or recipe.tasks, recipe.protocol
    path = journal.folder / "failures.jsonl"
    if learner.crew.first and not path.exists():
        watcher.phase(f"collecting failures: {recipe.offline_problems} problems x {recipe.offline_samples} attempts")
        problems = second_try.distinct(recipe.tasks, recipe.offline_problems)
        collect(learner.voice, recipe.tasks, problems, recipe.sampling, k=recipe.offline_samples, seed=recipe.seed).save(path)
    learner.crew.wait()
    failures = Failures.load(path, recipe.tasks)
    if not len(failures):
        raise UserError(f"{recipe.model} failed none of the {recipe.offline_problems} problems: there is nothing to reflect on")
    protocol: Callable[..., Any] = recipe.protocol
    return failures, partial(protocol, failed=failures.attempt)


def figures(groups: Sequence[Group], rows: Rows, seconds: float, crew: Crew) -> dict[str, float]:
    """What one step looked like over all processes: rewards, outcomes, lengths, speed."""
    episodes = [episode for group in groups for episode in group]
    # A shared prefix was sampled once: count segments by identity.
    written = {id(s): s for episode in episodes for s in episode.segments if s.logprobs is not None}.values()
    lengths: dict[str, list[int]] = {}
    for segment in written:
        lengths.setdefault(segment.name, []).append(len(segment.tokens))
    firsts = [episode.verdicts["attempt"].score for group in groups for episode in group[:1]]
    retries = [e.verdicts["retry"].score for e in episodes if "retry" in e.verdicts]
    answers = [e.verdicts["attempt"].score for e in episodes]
    tokens, silent, count = crew.total([sum(map(sum, lengths.values())), rows.silent, rows.groups])
    names = crew.agreed(lengths)
    first, retry, answered, *means = crew.means([firsts, retries, answers, *(lengths.get(name, ()) for name in names)])
    found = {
        "reward/mean": answered if math.isnan(retry) else retry,
        "reward/first": first,
        "reward/retry": retry,
        "groups/silent": silent,
        "groups/count": count,
        "tokens/sampled": tokens,
        "speed/tokens_per_second": tokens / seconds,
        "speed/seconds": seconds,
    }
    return found | {f"length/{name}": value for name, value in zip(names, means, strict=True)}


def curve(recipe: Recipe, engine: Engine) -> dict[str, float]:
    """First and second try on a fixed sample of dev problems, with their intervals."""
    problems = second_try.distinct(recipe.dev, recipe.dev_problems)
    cases = second_try.measure(engine, problems, recipe.setting(recipe.dev), controls=False)
    numbers = second_try.summary(cases)
    found: dict[str, float] = {}
    for name in ("first", "second", "retry_after_failure", "leak_rate", "reflection_tokens"):
        estimate = numbers[name]
        found |= {f"dev/{name}": estimate.value, f"dev/{name}/low": estimate.low, f"dev/{name}/high": estimate.high}
    return found


def evaluate(recipe: Recipe, learner: TorchLearner, journal: Journal, watcher: Watcher, label: str) -> dict[str, Any]:
    """Measure what the learner last published on held-out problems, all arms; remembered by the journal under ``label``."""

    def make() -> dict[str, Any]:
        problems = second_try.distinct(recipe.test, recipe.eval_problems)
        watcher.phase(f"measuring {label} training on {len(problems)} held-out problems")
        setting = recipe.setting(recipe.test)
        return measured(learner.voice, problems, setting, journal, label, learner.step_count, watcher)

    return journal.evaluation(label, make)


def conclude(recipe: Recipe, learner: TorchLearner, journal: Journal, watcher: Watcher) -> dict[str, Any]:
    """The summary of a finished run, written to summary.json."""
    before = evaluate(recipe, learner, journal, watcher, "before")
    after = evaluate(recipe, learner, journal, watcher, "after")
    moved = journal.evaluation("transplant", lambda: transplant(recipe, learner, journal, watcher))
    lines = [line for line in read_metrics(journal.folder) if "tokens/sampled" in line]
    summary = {
        "run": journal.run,
        "recipe": recipe.name,
        "model": recipe.model,
        "seed": recipe.seed,
        "steps": len(lines),
        "before": before["numbers"],
        "after": after["numbers"],
        "change": {
            name: estimate_json(difference(scores_of(after, name), scores_of(before, name), before["tasks"]))
            for name in ("first", "second")
        },
        "transplant": moved,
        "errors": {"before": before["errors"], "after": after["errors"]},
        "claim": {"before": before["claim"], "after": after["claim"]},
        "training": {
            "sampled_tokens": int(sum(line["tokens/sampled"] for line in lines)),
            "seconds": round(sum(line["speed/seconds"] for line in lines), 1),
            "silent_groups": sum(line["groups/silent"] for line in lines) / max(1, sum(line["groups/count"] for line in lines)),
        },
    }
    write_json(journal.folder / "summary.json", summary)
    return summary


def transplant(recipe: Recipe, learner: TorchLearner, journal: Journal, watcher: Watcher) -> dict[str, Any]:
    """Reflections by {base, trained} x retries by {base, trained}, on the failures of the base model."""
    failures = [e for e, _ in read_episodes(journal.folder / "episodes" / "before.parquet") if "retry" in e.verdicts]
    if not failures:
        return {}
    watcher.phase(f"transplanting reflections between base and trained model on {len(failures)} failures")
    writers = {"base": engine_for(recipe.model, options=recipe.engine), "trained": learner.voice}
    found = second_try.transplant(writers, failures, recipe.setting(recipe.test))
    keys = [failure.task.key for failure in failures]
    cells = {
        reflector: {retrier: estimate_json(mean(scores, keys)) for retrier, scores in row.items()}
        for reflector, row in found.items()
    }
    gain = {
        "reflection": difference(found["trained"]["base"], found["base"]["base"], keys),
        "retry": difference(found["base"]["trained"], found["base"]["base"], keys),
        "both": difference(found["trained"]["trained"], found["base"]["base"], keys),
    }
    return {"cells": cells, "gain": {name: estimate_json(value) for name, value in gain.items()}}


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
