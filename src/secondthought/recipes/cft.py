"""Critique Fine-Tuning (Wang, Yue and Chen 2025, arXiv 2501.17703): learn to criticise answers, be asked for answers.

``secondthought train cft`` lets the initial model answer Countdown problems, has the answers criticised by a program, and
learns from the tokens of the critiques alone; what is measured is direct answering. ``--model HF_MODEL --tasks SPEC`` does the
same with the paper's hyperparameters, ``--set imitate.critic=URL#MODEL`` with a language model as the critic, ``--set
imitate.file=FILE`` with critiques from a file (``secondthought data build critiques``).

The paper's critiques are a strong teacher's and often hold the right solution. Here they do not, unless ``--set
imitate.show=true`` (the arm ``with_answer``): else a gain could be the answer that leaked. A fifth as many of the model's own
answers, right or wrong as they came, are imitated beside the critiques (``replay``), which keeps a small model from forgetting
how to answer and teaches it nothing; the arm ``no_replay`` is the paper to the letter.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

from secondthought.credit.base import Credit
from secondthought.credit.imitation import imitation, last_segment
from secondthought.credit.reflect_retry import anchored, reflection_only, unleaked
from secondthought.credit.score import stage_one, stage_two
from secondthought.items.load import tasks_of
from secondthought.learners.optim import Optim
from secondthought.models.names import style_of
from secondthought.probes.answer import Answer
from secondthought.probes.critique import CritiqueProbe
from secondthought.probes.second_try import SecondTry
from secondthought.probes.self_correction import SelfCorrection
from secondthought.protocols.answer import answer
from secondthought.protocols.reflect_retry import prompts_for, reflect_retry
from secondthought.protocols.self_correction import request_for, self_correction
from secondthought.tasks.base import leak_of
from secondthought.training.critiques import Critiques
from secondthought.training.recipe import Recipe, Stage


def recipe(tasks: str = "countdown", model: str = "nano/countdown", grade: str = "exact") -> Recipe:
    """The recipe for ``tasks`` and ``model``; every number below can be set with ``--set name=value``."""
    style = style_of(model)
    nano = style == "terse"
    train = tasks_of(tasks, style=style, grade=grade, split="train")
    # The protocol becomes one that shows what is collected.
    stage = Stage("imitate", 150 if nano else 100, partial(answer, grade=train.grade), last_segment, collect=Critiques())
    return Recipe(
        name="cft",
        model=model,
        tasks=train,
        dev=tasks_of(tasks, style=style, grade=grade, split="dev"),
        test=tasks_of(tasks, style=style, grade=grade, split="test"),
        stages=(stage,),
        probes=(Answer, CritiqueProbe),
        groups=64 if nano else 512,
        group_size=1,
        max_tokens=64 if nano else 512,
        checkpoint_every=50 if nano else 20,
        eval_every=50 if nano else 20,
        optim=Optim(lr=3e-4) if nano else Optim(lr=5e-6, warmup=0.1, schedule="cosine"),
    )


def critiques(**changed: Any) -> Callable[[Recipe], Recipe]:
    """The arm that imitates something else: options of :class:`Critiques`."""
    both = changed.get("imitate") == "both"

    def arm(base: Recipe) -> Recipe:
        (stage,) = base.stages
        collect: Any = stage.collect
        credit: Credit = partial(imitation, segments=("attempt", "critique")) if both else last_segment
        return replace(base, stages=(replace(stage, collect=replace(collect, **changed), credit=credit),))

    return arm


def then_rrr(base: Recipe) -> Recipe:
    """Critiques first, then Reflect, Retry, Reward."""
    prompts = prompts_for(style_of(base.model))
    credit = anchored(unleaked(reflection_only, leak_of(base.tasks)), "retry", weight=3.0)
    stage = Stage("reward", 100, partial(reflect_retry, grade=base.tasks.grade, prompts=prompts), credit)
    probes = (partial(SecondTry, prompts=prompts),)
    return replace(base, stages=(*base.stages, stage), probes=probes, groups=24, group_size=12)


def then_score(base: Recipe) -> Recipe:
    """Critiques first, then SCoRe."""
    request = request_for(style_of(base.model))
    turns = partial(self_correction, grade=base.tasks.grade, request=request)
    stages = (Stage("stage_one", 40, turns, stage_one(beta2=1.0)), Stage("stage_two", 60, turns, stage_two()))
    return replace(base, stages=(*base.stages, *stages), probes=(partial(SelfCorrection, request=request),), group_size=4)


def from_base(arm: Callable[[Recipe], Recipe]) -> Callable[[Recipe], Recipe]:
    """The same without the critiques first."""
    return lambda base: replace(made := arm(base), stages=made.stages[1:])


ARMS = {
    # Nothing but critiques, as in the paper: a small model then forgets how to answer.
    "no_replay": critiques(replay=0.0),
    # A fifth of the critiques are wrong; nothing but the verdict; each belongs to another problem; a right answer is named.
    "noisy": critiques(kind="noisy"),
    "verdict": critiques(kind="verdict"),
    "shuffled": critiques(kind="shuffled"),
    "with_answer": critiques(show=True),
    # Imitate answers instead: as the model gave them, those that are right, the solver's.
    "answers": critiques(imitate="answer"),
    "answers_right": critiques(imitate="answer", answers="right"),
    "answers_gold": critiques(imitate="answer", answers="gold"),
    # Right answers and the critiques of them.
    "both": critiques(imitate="both", answers="right"),
    # As a start for reinforcement learning, and the same from the initial model.
    "then_rrr": then_rrr,
    "rrr": from_base(then_rrr),
    "then_score": then_score,
    "score": from_base(then_score),
}
"""Variations for ``train cft:ARM``; compare those of imitation at equal ``loss_budget``."""
