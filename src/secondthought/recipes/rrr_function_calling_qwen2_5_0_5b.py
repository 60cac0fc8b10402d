"""Reflect, Retry, Reward with a real language model on two CPU cores: Qwen2.5-0.5B on the Berkeley function-calling benchmark.

The paper's method (Bensal et al. 2025, arXiv 2505.24726), family of models and kind of task, at the smallest size. Where it
departs from the paper: the paper found that models of 0.5B do not learn this, for want of usable reflections. So training has
two stages. In ``start`` the model imitates a tutor's reflections, made by program from what the grader found (which part of the
call was wrong and what the tool's schema says of it, never the right call), and behind each an attempt of its own that was
right; and it learns to obey, from hints that ask for any change and retries that make it. ``reward`` is the paper's, on the
same recorded failures. Adapters learn, not the model, and nothing pulls towards the base model (the paper's weight of 0.001
would add half the cost of a step to no effect). Rewards get a tenth of the start's learning rate: at the whole of it, six steps
undid what the start had taught (LOG.md).

Problems whose tools and question are longer than ``SHORT`` characters are left out, in all splits alike: reading them is what a
CPU spends its time on.
"""

from __future__ import annotations

import json
from dataclasses import replace
from functools import partial

from secondthought.credit import reflect_retry as pay
from secondthought.credit.answer import answer as pay_answer
from secondthought.credit.base import GroupCredit
from secondthought.credit.imitation import imitation
from secondthought.engines.base import EngineOptions
from secondthought.errors import UserError
from secondthought.items.load import tasks_of
from secondthought.learners.optim import Optim
from secondthought.probes.second_try import SecondTry
from secondthought.probes.transplant import Transplant
from secondthought.protocols.answer import answer
from secondthought.protocols.reflect_retry import CALLS, reflect_retry
from secondthought.protocols.tutored import tutored
from secondthought.tasks.base import Split, leak_of
from secondthought.tasks.call_diagnosis import diagnosis
from secondthought.tasks.call_exercise import exercise
from secondthought.tasks.dataset import FunctionCallingList
from secondthought.training.failures import Failures
from secondthought.training.recipe import Recipe, Stage

SHORT = 1_500  # characters of tools and question, about 350 tokens
START, REWARD = 12, 24  # steps
ANSWERS = 4 * REWARD  # one attempt samples less than a reflection and a retry; ``token_budget`` makes the arms equal


def recipe(tasks: str = "bfcl:bfcl_eval/data", model: str = "Qwen/Qwen2.5-Coder-0.5B-Instruct") -> Recipe:
    """The recipe for ``model`` and rows of function calling (``bfcl:FOLDER``, or a file of rows)."""
    train = short(tasks, "train")
    shown = partial(imitation, segments=("reflection", "retry"))
    paid = pay.unleaked(pay.reflection_only, leak_of(train))
    return Recipe(
        name="rrr_function_calling_qwen2.5_0.5b",
        model=model,
        tasks=train,
        dev=short(tasks, "dev"),
        test=short(tasks, "test"),
        stages=(
            Stage(
                "start",
                START,
                partial(tutored, grade=train.grade, prompts=CALLS, tutor=diagnosis, exercise=exercise),
                shown,
            ),
            Stage("reward", REWARD, partial(reflect_retry, grade=train.grade, prompts=CALLS), paid, lr_scale=0.1),
        ),
        probes=(partial(SecondTry, prompts=CALLS),),
        comparisons=(Transplant(CALLS),),
        collect=Failures(problems=192, samples=3, keep=1),
        groups=8,
        group_size=8,
        max_tokens=80,
        eval_every=START + REWARD,
        eval_problems=192,
        dev_problems=48,
        checkpoint_every=4,
        optim=Optim(lr=3e-4, warmup=4, kl=0.0, lora=16, autocast="bfloat16"),
        engine=EngineOptions(kv_mb=768, kept_mb=768),
    )


def short(tasks: str, split: Split) -> FunctionCallingList:
    """The problems of a split that are short. Raises UserError if there are none, or none of function calling."""
    found = tasks_of(tasks, split=split)
    if not isinstance(found, FunctionCallingList):
        raise UserError(f"this recipe is about function calling, and {tasks} is not: write bfcl:FOLDER, or a file of such rows")
    kept = tuple(t for t in found.tasks if len(json.dumps(t.tools)) + len(t.prompt[-1].content) <= SHORT)
    if not kept:
        raise UserError(f"{tasks} has no {split} problem of at most {SHORT} characters")
    return replace(found, tasks=kept)


def rewarded(base: Recipe, credit: GroupCredit) -> Recipe:
    """The same with another credit in the stage ``reward``."""
    return replace(base, stages=(*base.stages[:-1], replace(base.stages[-1], credit=credit)))


def only(base: Recipe, *names: str) -> Recipe:
    """The same with these stages alone."""
    return replace(base, stages=tuple(stage for stage in base.stages if stage.name in names))


ARMS = {
    # The paper to the letter: no tutor.
    "no_start": lambda base: only(base, "reward"),
    # The tutor alone: what of the gain is imitation?
    "start_only": lambda base: only(base, "start"),
    # The decisive control: plain GRPO on the first attempt, no reflection anywhere (arXiv 2402.03300).
    "answer": lambda base: replace(
        base,
        collect=None,
        stages=(Stage("answers", ANSWERS, partial(answer, grade=base.tasks.grade), pay_answer, lr_scale=0.1),),
    ),
    # The retry is paid for itself, behind the same start.
    "retry_only": lambda base: rewarded(base, pay.retry_only),
    # The negative control: rewards drawn by lot, behind the same start. Nothing may be learned beyond it.
    "random_reward": lambda base: rewarded(base, pay.random_reward),
}
"""Variations for ``train rrr_function_calling_qwen2.5_0.5b:ARM``: who is paid, and what comes before."""
