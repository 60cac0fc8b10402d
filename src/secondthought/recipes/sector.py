"""SECToR (Zhang and Parkes 2023, arXiv 2309.08589): teach oneself to add longer numbers than one was ever taught.

``secondthought train sector`` starts from ``nano/adder``, which was taught to add up to 4 digits at once and can take a digit
off longer numbers (:mod:`secondthought.nano.addition_corpus`). Each round asks for sums of one digit more, labels them by
simplify-then-guess for a + b and b + a, keeps those on which all agree, and imitates the labels as answers at once: what takes
a chain of thought in one round takes none in the next. ``--model HF_MODEL`` asks in words, with a supervised start of 1 to 3
digits, as the paper's model had of 6 (``--set lora=16`` for adapters).

What is ours: the model, its supervised length, the number of sums and steps of a round (the paper's are not known), and that
earlier self-taught lengths are labelled anew in each round for the replay. Labels that are wrong are counted, never used.
Rounds go on whatever the self-consistency; ``--set watch.action=back`` ends them when agreement rises while truth falls.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

from secondthought.credit.imitation import imitation
from secondthought.errors import UserError
from secondthought.items.load import tasks_of
from secondthought.learners.optim import Optim
from secondthought.models.names import style_of
from secondthought.probes.digits import Digits
from secondthought.protocols.answer import answer
from secondthought.tasks.addition import Addition
from secondthought.training.recipe import Recipe, Stage
from secondthought.training.self_labels import SelfLabels
from secondthought.training.watch import Watch

ROUNDS = 6
STEPS = 200
TAUGHT = 4  # digits of nano/adder
TAUGHT_CHAT = 3


def recipe(tasks: str = "", model: str = "nano/adder", grade: str = "exact") -> Recipe:
    """The recipe for sums (``tasks`` empty: of 1 to 10 digits; else ``addition:DIGITS``) and ``model``; every number below can
    be set with ``--set name=value``, those of a round as ``digits_5.answers=...``. Raises UserError for other tasks.
    """
    style = style_of(model)
    nano = style == "terse"
    known = TAUGHT if nano else TAUGHT_CHAT
    tasks = tasks or f"addition:{known + ROUNDS}"
    train = tasks_of(tasks, style=style, grade=grade, split="train")
    if not isinstance(train, Addition):
        raise UserError(f"sector teaches itself to add: use --tasks addition[:DIGITS], not {tasks}")
    given = partial(answer, grade=train.grade)  # becomes one that shows what is collected
    learn = partial(imitation, segments=("attempt",))
    start = Stage("supervised", 100, given, learn, collect=SelfLabels(known, 0, "truth", answers=1_000, every=True))
    rounds = tuple(
        Stage(f"digits_{digits}", STEPS, given, learn, collect=SelfLabels(digits, known, answers=10_000 if nano else 1_000))
        for digits in range(known + 1, known + ROUNDS + 1)
    )
    return Recipe(
        name="sector",
        model=model,
        tasks=train,
        dev=tasks_of(tasks, style=style, grade=grade, split="dev"),
        test=tasks_of(tasks, style=style, grade=grade, split="test"),
        stages=rounds if nano else (start, *rounds),
        probes=(Digits,),
        watch=Watch("digits/agreement", "digits/fast"),
        groups=64 if nano else 16,
        group_size=1,
        temperature=0.0,
        max_tokens=128 if nano else 32,
        checkpoint_every=STEPS,
        eval_every=STEPS,
        eval_problems=1000,
        dev_problems=300,
        optim=Optim(lr=7e-4) if nano else Optim(lr=1e-5, warmup=0.03),
    )


def labelled(**changed: Any) -> Callable[[Recipe], Recipe]:
    """The arm whose rounds make or check their labels in another way: options of :class:`SelfLabels`."""
    return lambda base: replace(base, stages=tuple(_changed(stage, changed) for stage in base.stages))


def _changed(stage: Stage, changed: dict[str, Any]) -> Stage:
    collect: Any = stage.collect
    return stage if stage.name == "supervised" else replace(stage, collect=replace(collect, **changed))


def spoiled(rate: float, fault: str) -> Callable[[Recipe], Recipe]:
    """The arm that spoils so many of the labels of its first round, once."""

    def arm(base: Recipe) -> Recipe:
        first = next(i for i, stage in enumerate(base.stages) if stage.name != "supervised")
        stages = [
            _changed(stage, {"corrupt": rate, "fault": fault}) if i == first else stage for i, stage in enumerate(base.stages)
        ]
        return replace(base, stages=tuple(stages))

    return arm


def at_once(base: Recipe) -> Recipe:
    """One round for all lengths, labelled by the initial model: no loop. As many labels and steps as all rounds together."""
    rounds = [stage for stage in base.stages if stage.name != "supervised"]
    last: Any = rounds[-1].collect
    collect = replace(last, every=True, answers=sum(_answers(stage) for stage in rounds))
    stage = replace(rounds[-1], name="all_lengths", steps=sum(stage.steps for stage in rounds), collect=collect)
    return replace(base, stages=(*(s for s in base.stages if s.name == "supervised"), stage))


def _answers(stage: Stage) -> int:
    collect: Any = stage.collect
    return int(collect.answers)


ARMS = {
    # A: its own answers at once, unchecked.
    "fast": labelled(label="fast", commute=False),
    # B: the guess behind one simplification, unchecked.
    "chain": labelled(label="chain", commute=False),
    # C: the majority behind five.
    "vote": labelled(label="vote", commute=False),
    # D: the guess behind one simplification, where a + b and b + a agree.
    "commute": labelled(label="chain"),
    # F: what is kept of the recipe itself (E), less what is wrong (a bound).
    "oracle": labelled(oracle=True),
    # G: supervised on all lengths (a bound).
    "supervised": labelled(label="truth", commute=False),
    # H: the initial model labels all lengths, once.
    "at_once": at_once,
    # I: the majority of sampled answers at once: a vote without a chain of thought.
    "sampled": labelled(label="sampled", commute=False),
    # What the check refuses is let through so often: from the recipe (0) to no check at all.
    **{f"lax_{share}": labelled(lax=share / 100) for share in (10, 50, 100)},
    # So many labels of the first round are spoiled, once.
    **{
        f"{fault}_{rate}": spoiled(rate / 100, kind)
        for rate in (5, 20) for fault, kind in (("random", "random"), ("dropped", "carry"))
    },
}  # fmt: skip
"""Variations for ``train sector:ARM``."""
