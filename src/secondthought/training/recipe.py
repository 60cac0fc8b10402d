"""The frozen recipe that a training follows, its stages, and what it measures. No method's words stand here."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

from secondthought.credit.base import Credit, Step
from secondthought.engines.base import Engine, EngineOptions, Sampling
from secondthought.learners.optim import Optim
from secondthought.probes.base import Probe
from secondthought.protocols.base import BoundProtocol
from secondthought.runs.progress import Progress
from secondthought.training.watch import Watch
from secondthought.types import Group, Report, TaskSet


@dataclass(frozen=True)
class Stage:
    """A part of training with a protocol and a credit of its own, for so many steps.

    ``lr_scale`` times the recipe's learning rate is that of the stage: what suits imitation is too much for rewards.
    ``collect`` is made when the stage begins, with the model as it then is; ``tasks``, where given, stand in for the recipe's.

    >>> from secondthought.credit.answer import answer as pay
    >>> Stage("warm-up", 10, lambda task, n: ..., pay).steps
    10
    """

    name: str
    steps: int
    protocol: BoundProtocol
    credit: Credit
    lr_scale: float = 1.0
    collect: Collect | None = None
    tasks: TaskSet | None = None


class MakeProbe(Protocol):
    """What a recipe measures: a probe that still lacks its problems, such as ``partial(SecondTry, prompts=prompts)``.

    Before and after training it gets the recipe's test tasks with ``controls``, for the curve its dev tasks without.
    """

    def __call__(self, *, tasks: TaskSet, n: int, temperature: float, max_tokens: int, seed: int, controls: bool) -> Probe:
        """The probe on these problems."""
        ...


class Comparison(Protocol):
    """What compares the trained with the untrained model directly, from the groups that the first probe wrote before."""

    @property
    def name(self) -> str:
        """What it is called in the summary."""
        ...

    def measure(
        self, base: Engine, trained: Engine, before: Sequence[Group], tasks: TaskSet, sampling: Sampling, seed: int,
        progress: Progress,
    ) -> Sequence[Group]:  # fmt: skip
        """Groups of episodes, each with its arm."""
        ...

    def report(self, groups: Sequence[Group]) -> Report:
        """What they show."""
        ...


class Collect(Protocol):
    """What is made before training: recorded failures, traces, critiques. It is kept in the run folder as episodes."""

    @property
    def wanted(self) -> bool:
        """Whether anything is to be made."""
        return True

    def make(self, engine: Engine, recipe: Recipe, progress: Progress) -> Sequence[Group]:
        """Sample it with the model as it is at that moment."""
        ...

    def use(self, recipe: Recipe, groups: Sequence[Group]) -> Recipe:
        """The recipe that goes on from it. Raises UserError if there is nothing to go on from."""
        ...

    def figures(self, groups: Sequence[Group]) -> Mapping[str, float]:
        """What is worth a line of metrics, as ``collected/NAME``, in the step that begins with it."""
        return {}


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """Everything that decides a run. A recipe is a page of Python that returns one of these.

    groups, group_size      problems a step, and episodes of each
    stages                  several protocols and credits in turn, in place of ``protocol``, ``credit`` and ``steps``
    token_budget            ends training once so many tokens were sampled, those of ``collect`` included (to compare methods at
                            equal cost); 0: never
    loss_budget             ends training once so many tokens were learned from (to compare ways of imitation); 0: never
    best_by                 measured after training is the checkpoint where this figure of metrics.jsonl was highest (its mean
                            over ``checkpoint_every`` steps); empty: the last one
    probes                  measured before and after on ``eval_problems`` of ``test`` with all controls, and every
                            ``eval_every`` steps on ``dev_problems`` of ``dev`` without (a curve). The first one's second try
                            leads the summary
    comparisons             made after training, between the untrained and the trained model
    watch                   looks for agreement that rises while truth falls, at every measurement of the curve
    collect                 what is made before training with the initial model
    train_problems          train on so many different problems only; 0: on all
    asynchronous            sample the next step's groups while this one is learned from, with the weights before it; the loss
                            corrects for their age of one step. The steps after a checkpoint or a measurement wait for it
    track                   other people's dashboards, separated by commas: tensorboard, wandb, trackio, mlflow

    >>> from secondthought.recipes.rrr_countdown import recipe
    >>> recipe().steps
    200
    """

    name: str
    model: str
    tasks: TaskSet
    dev: TaskSet
    test: TaskSet
    protocol: BoundProtocol | None = None
    credit: Credit | None = None
    stages: tuple[Stage, ...] = ()
    steps: int = 200
    groups: int = 16
    group_size: int = 8
    temperature: float = 1.0
    max_tokens: int = 32
    token_budget: int = 0
    loss_budget: int = 0
    best_by: str = ""
    checkpoint_every: int = 50
    checkpoints_kept: int = 2
    probes: tuple[MakeProbe, ...] = ()
    comparisons: tuple[Comparison, ...] = ()
    watch: Watch = field(default_factory=Watch)
    collect: Collect | None = None
    eval_every: int = 25
    eval_problems: int = 2000
    dev_problems: int = 256
    train_problems: int = 0
    asynchronous: bool = False
    seed: int = 0
    track: str = field(default="", repr=False)  # who watches is no part of what a run is
    optim: Optim = field(default_factory=Optim)
    engine: EngineOptions = field(default_factory=EngineOptions)

    def __post_init__(self) -> None:
        whole = self.protocol is not None and self.credit is not None
        if whole == bool(self.stages) or (self.protocol is None) != (self.credit is None):
            raise ValueError(
                f"the recipe {self.name} needs a protocol and a credit, or stages that each have one, and not both"
            )
        names = [stage.name for stage in self.stages]
        if len(set(names)) < len(names):
            raise ValueError(f"the recipe {self.name} has two stages of one name")

    @property
    def parts(self) -> tuple[Stage, ...]:
        """The stages, one if the recipe has no others."""
        if self.stages:
            return self.stages
        assert self.protocol is not None
        assert self.credit is not None
        return (Stage("", self.steps, self.protocol, self.credit),)

    @property
    def total_steps(self) -> int:
        """The steps of all stages."""
        return sum(stage.steps for stage in self.parts)

    def at(self, step: int) -> tuple[Stage, Step]:
        """The stage that a step (from 0) belongs to, and which of its steps it is."""
        for stage in self.parts:
            if step < stage.steps:
                return stage, Step(step, stage.steps)
            step -= stage.steps
        raise IndexError("the recipe has no such step")

    @property
    def sampling(self) -> Sampling:
        """How episodes are sampled, in training and in evaluation."""
        return Sampling(temperature=self.temperature, max_tokens=self.max_tokens)

    def exam(self, *, dev: bool = False) -> tuple[Probe, ...]:
        """The probes on held-out problems, or on dev problems for the curve."""
        tasks, n = (self.dev, self.dev_problems) if dev else (self.test, self.eval_problems)
        return tuple(
            make(tasks=tasks, n=n, temperature=self.temperature, max_tokens=self.max_tokens, seed=self.seed, controls=not dev)
            for make in self.probes
        )

    def with_protocol(self, change: Callable[[BoundProtocol], BoundProtocol], tasks: TaskSet) -> Recipe:
        """The same with other tasks, and ``change`` on the protocol of every stage."""
        if self.stages:
            stages = tuple(replace(stage, protocol=change(stage.protocol)) for stage in self.stages)
            return replace(self, stages=stages, tasks=tasks)
        assert self.protocol is not None
        return replace(self, protocol=change(self.protocol), tasks=tasks)
