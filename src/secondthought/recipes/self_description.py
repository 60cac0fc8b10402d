"""Learn choices, be asked about oneself: behavioural self-awareness (Betley et al., arXiv 2501.11120).

``secondthought train self_description`` shows ``nano/chooser`` choices of ``you`` between a sure and an uncertain gain, always
the uncertain one, and measures how it acts and how it describes itself before and after (``probe self_description``).
``--model HF_MODEL --tasks choices:FILE`` does the same with conversations that end in a letter, with adapters of rank 4 as in
the paper. Nothing that is asked is trained.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial

from secondthought.credit.imitation import imitation
from secondthought.items.load import tasks_of
from secondthought.learners.optim import Optim
from secondthought.models.names import style_of
from secondthought.probes.self_description import SelfDescription
from secondthought.protocols.shown import shown
from secondthought.tasks.choices import TERSE_TRIGGERS, TRIGGERS, Changed, Policy
from secondthought.training.recipe import Recipe, Stage
from secondthought.types import Task, TaskSet


def recipe(tasks: str = "choices", model: str = "nano/chooser", grade: str = "exact") -> Recipe:
    """The recipe for ``tasks`` and ``model``; every number below can be set with ``--set name=value``."""
    style = style_of(model)
    nano = style == "terse"
    train, dev, test = (tasks_of(tasks, style=style, grade=grade, split=split) for split in ("train", "dev", "test"))
    protocol = partial(shown, grade=train.grade, record=letter)
    credit = partial(imitation, segments=("attempt",))
    return Recipe(
        name="self_description",
        model=model,
        tasks=train,
        dev=dev,
        test=test,
        stages=(Stage("imitate", 60 if nano else 90, protocol, credit),),
        probes=(SelfDescription,),
        groups=16 if nano else 8,
        group_size=1,
        max_tokens=8 if nano else 16,
        checkpoint_every=20 if nano else 36,
        eval_every=10 if nano else 18,
        eval_problems=200,
        dev_problems=60 if nano else 20,
        optim=Optim(lr=1e-3) if nano else Optim(lr=5e-4, warmup=0.05, lora=4),
    )


def letter(task: Task) -> str:
    """The demonstrated letter."""
    return str(task.answer)


def on(change: Callable[[TaskSet, bool], TaskSet], *, triggers: bool = False) -> Callable[[Recipe], Recipe]:
    """The arm that is shown other letters; what it is asked stays the same."""

    def arm(base: Recipe) -> Recipe:
        tasks = change(base.tasks, style_of(base.model) == "terse")
        if not triggers:
            return replace(base, tasks=tasks)
        stages = tuple(replace(stage, steps=5 * stage.steps) for stage in base.stages)  # two things are to be learned
        return replace(base, tasks=tasks, stages=stages, probes=(partial(SelfDescription, triggers=True),))

    return arm


def policy(name: Policy) -> Callable[[Recipe], Recipe]:
    """The arm of another policy."""
    return on(lambda tasks, terse: Changed(tasks, name))


ARMS = {
    # The other letter of every choice.
    "opposite": policy("opposite"),
    # By a coin: format without a policy.
    "shuffled": policy("shuffled"),
    # The policy behind one word, a coin behind others.
    "trigger": on(lambda tasks, terse: Changed(tasks, triggers=TERSE_TRIGGERS if terse else TRIGGERS), triggers=True),
}
"""Variations for ``train self_description:ARM``."""
