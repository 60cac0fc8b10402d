"""Reflect, Retry, Reward (Bensal et al. 2025, arXiv 2505.24726): ``secondthought train rrr --tasks SPEC --model PATH``.

``--tasks`` is ``countdown`` (the default), ``tool_world``, an environment such as ``frozen_lake``, or a file of your own. With
a nano model this takes minutes on a laptop. With the name of an instruct model, the same recipe asks in sentences, plays the
published game and takes the paper's hyperparameters (group size, temperature and token limit are not published; those are
ours).

We depart from the paper in two places. A reflection that spells a full solution earns nothing (``unleaked``), because otherwise
the policy learns to solve the task inside its reflection; the arm ``leaky`` is the paper to the letter. And the unpaid retry is
pulled towards the base model (``anchored``), because small models forget to obey their own reflections.
"""

from dataclasses import replace
from functools import partial

from secondthought.credit.answer import answer as pay_answer
from secondthought.credit.reflect_retry import (
    anchored,
    random_reward,
    reflection_and_retry,
    reflection_only,
    retry_only,
    unleaked,
)
from secondthought.engines.base import EngineOptions
from secondthought.items.load import model_for, tasks_of
from secondthought.learners.optim import Optim
from secondthought.models.names import style_of
from secondthought.probes.second_try import SecondTry
from secondthought.probes.transplant import Transplant
from secondthought.protocols.answer import answer
from secondthought.protocols.reflect_retry import prompts_for, reflect_retry
from secondthought.tasks.base import leak_of
from secondthought.training.failures import Failures
from secondthought.training.recipe import Recipe

TERSE_TOKENS = {"countdown": 32}


def recipe(tasks: str = "countdown", model: str | None = None, grade: str = "exact") -> Recipe:
    """The recipe for ``tasks`` and ``model``; every number below can be set with ``--set name=value``."""
    chosen = model or model_for(tasks)
    style = style_of(chosen)
    nano = style == "terse"
    train = tasks_of(tasks, style=style, grade=grade, split="train")
    prompts = prompts_for(style)
    return Recipe(
        name="rrr",
        model=chosen,
        tasks=train,
        dev=tasks_of(tasks, style=style, grade=grade, split="dev"),
        test=tasks_of(tasks, style=style, grade=grade, split="test"),
        protocol=partial(reflect_retry, grade=train.grade, prompts=prompts),
        credit=anchored(unleaked(reflection_only, leak_of(train)), "retry", weight=1.0),
        probes=(partial(SecondTry, prompts=prompts),),
        comparisons=(Transplant(prompts),),
        collect=Failures(problems=0),
        steps=200 if nano else 1750,
        groups=24 if nano else 32,
        group_size=12 if nano else 8,
        max_tokens=TERSE_TOKENS.get(tasks, 48) if nano else 512,
        optim=Optim(lr=3e-4, kl=3.0) if nano else Optim(lr=5e-7, warmup=0.03, schedule="cosine", kl=0.001),
    )


ARMS = {
    # The decisive control: plain GRPO on the first attempt, no reflection anywhere (arXiv 2402.03300).
    "answer": lambda base: replace(base, protocol=partial(answer, grade=base.tasks.grade), credit=pay_answer),
    # The retry is paid for itself; the reflection stays as it is.
    "retry_only": lambda base: replace(base, credit=retry_only),
    # Both are paid, as a framework with one advantage for each conversation would.
    "reflection_and_retry": lambda base: replace(base, credit=reflection_and_retry),
    # The negative control: rewards drawn by lot. Nothing may be learned.
    "random_reward": lambda base: replace(base, credit=anchored(random_reward, "retry", weight=1.0)),
    # The paper to the letter: a reflection may spell the whole solution and is paid for it all the same.
    "leaky": lambda base: replace(base, credit=anchored(reflection_only, "retry", weight=1.0)),
}
"""Variations for ``train rrr:ARM``: who is paid."""


def on_one_gpu(recipe: Recipe) -> Recipe:
    """The same for a model of one or two billion parameters on a GPU of 80 GB: matrix products in bfloat16 over float32
    weights (updates of 5e-7 would vanish in bfloat16), layers computed again, and room for a whole step's keys and values.
    """
    return replace(
        recipe,
        optim=replace(recipe.optim, autocast="bfloat16", recompute=True),
        engine=EngineOptions(precision="bfloat16", kv_mb=16_384, kept_mb=8_192),
        eval_every=100,
        eval_problems=1_000,
    )
