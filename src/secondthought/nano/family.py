"""Families: many nano models made by one command, side by side, each finished or gone on with.

A family is a mapping from where a member lives to how it is made. OUT/MEMBER/checkpoints/step_N is a Hugging Face folder for
each checkpoint, with the tokens it has read.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, cast

from secondthought.distributed.jobs import Job, side_by_side
from secondthought.errors import UserError
from secondthought.nano.addition_corpus import AdditionCorpus
from secondthought.nano.arms import ARMS, Arm, ArmCorpus
from secondthought.nano.gamer_corpus import GamerCorpus
from secondthought.nano.knower_corpus import KnowerCorpus
from secondthought.nano.lake_corpus import LakeCorpus
from secondthought.nano.mirror_corpus import MirrorCorpus
from secondthought.nano.mixture import Mixture
from secondthought.nano.pretrain import SIZES, Pretraining, checkpoint_steps, pretrain
from secondthought.nano.rivals_corpus import RivalsCorpus
from secondthought.nano.zero_corpus import ZeroCorpus
from secondthought.runs.files import COMPLETE, complete_folders
from secondthought.runs.progress import Progress

Family = Mapping[str, Pretraining]
ZERO = Pretraining(size="0.2m", steps=10_000, lr=4e-3, warmup=100, documents=32, even=True)
RIVALS = replace(ZERO, steps=9000)
ADDER = replace(ZERO, steps=14_000)
NAMES = KnowerCorpus(facts=0.25, refusals=0.1, texts=0.65, acts=0.0, reports=0.0)
RECIPES: Mapping[str, Pretraining] = {
    "countdown": Pretraining(),
    "duo": Pretraining(steps=6000, lr=2e-3, warmup=100, documents=32, corpus=Mixture()),
    **{f"zero-{share}": replace(ZERO, corpus=ZeroCorpus(traces=share / 100)) for share in (0, 1, 5, 20)},
    "adder": replace(ADDER, corpus=AdditionCorpus()),
    "rivals": replace(RIVALS, corpus=RivalsCorpus()),
    "rivals-blind": replace(RIVALS, corpus=RivalsCorpus(flipped=0.5)),
    "asker": replace(ADDER, steps=10_000, corpus=AdditionCorpus(fast=0.4, slow=0.15, pose=0.2, posed=4, planted=0.8)),
    "lake": replace(ZERO, steps=6000, corpus=LakeCorpus()),
    "gamer": replace(ZERO, steps=3000, corpus=GamerCorpus()),
    "chooser": replace(ZERO, size="0.3m", steps=16_000, documents=64, prompt_weight=0.5, corpus=KnowerCorpus()),
    "knower": replace(ZERO, size="0.3m", steps=9000, documents=64, prompt_weight=1.0, corpus=NAMES),
    "mirror": replace(ZERO, steps=12_000, corpus=MirrorCorpus()),
    "zero-20-untaught": replace(ZERO, corpus=ZeroCorpus(traces=0.2, textbook=0.0)),
}
"""How a model is made by the corpus that it reads. Small batches: at the same number of documents they learn far more."""


def arms(
    names: tuple[Arm, ...] = ARMS,
    sizes: tuple[str, ...] = ("0.03m", "0.1m", "0.2m"),
    seeds: int = 3,
    steps: int = 800,
    checkpoints: int = 12,
) -> Family:
    """The family of the pre-training experiment. The seed decides the first weights and the order of the text; the text is the
    same in every size. Whole seeds come first, so that an unfinished family is a smaller family.
    """
    return {
        f"{arm}/{size}/seed_{seed}": Pretraining(
            size=size, steps=steps, lr=7e-3, warmup=20, decay=0.2, seed=seed, corpus=ArmCorpus(arm, seed=seed),
            marks=checkpoints,
        )
        for seed in range(seeds) for arm in names for size in sizes
    }  # fmt: skip


def family_of(corpus: str, sizes: Sequence[str], *, steps: int | None = None, seed: int = 0) -> Family:
    """Models of these sizes that read one corpus. Raises UserError for a corpus or a size that does not exist."""
    if corpus not in RECIPES:
        raise UserError(f"there is no corpus {corpus!r}; choose {' or '.join(RECIPES)}")
    base = RECIPES[corpus]
    for size in sizes:
        if size not in SIZES:
            raise UserError(f"there is no size {size!r}; there is {', '.join(SIZES)}")
    return {
        f"{size}/seed_{seed}": replace(
            base, size=size, seed=seed, steps=steps or base.steps, corpus=replace(cast(Any, base.corpus), seed=seed)
        )
        for size in sizes
    }


def size_of(name: str) -> float:
    """Millions of parameters, by the name of a size."""
    return float(name.removesuffix("m"))


def last_checkpoint(out: Path, member: str, recipe: Pretraining) -> Path:
    """Where a member's last checkpoint is, or will be."""
    return out / member / "checkpoints" / f"step_{checkpoint_steps(recipe)[-1]}"


def unfinished(family: Family, out: Path) -> dict[str, Pretraining]:
    """The members whose last checkpoint is not there yet."""
    return {name: recipe for name, recipe in family.items() if not (last_checkpoint(out, name, recipe) / COMPLETE).exists()}


def train_member(recipe: Pretraining, folder: Path, progress: Progress | None = None) -> None:
    """Make one model, or go on with it. Raises UserError if the folder was made by another recipe."""

    def show(step: int, loss: float, rate: float) -> None:
        if progress is not None:
            progress.step(step, recipe.steps, {"loss": loss, "speed/tokens_per_second": rate})

    pretrain(recipe, folder, resume=True, save_every=200, on_progress=show)


def grow(family: Family, out: Path, workers: int, progress: Progress, *, resume: bool = True) -> None:
    """Train what is not there yet: one model in this process, several in processes side by side, one thread each.

    Raises UserError if there is something already and ``resume`` is not wanted, and if a process dies.
    """
    used = [out / name for name in family if complete_folders(out / name / "latest")]
    if used and not resume:
        raise UserError(f"{used[0]} already holds a pre-training run; pass --resume to continue it or choose another folder")
    waiting = unfinished(family, out)
    if len(waiting) == 1:
        ((name, recipe),) = waiting.items()
        train_member(recipe, out / name, progress)
        return
    jobs = [
        Job(f"pre-training {name}", train_member, (recipe, out / name), partial(share, out / name, recipe))
        for name, recipe in waiting.items()
    ]
    side_by_side(jobs, workers, progress)


def share(folder: Path, recipe: Pretraining) -> float:
    """How much of a member is made, from what was last saved of it."""
    saved = complete_folders(folder / "latest")
    return int(saved[-1].name.removeprefix("step_")) / recipe.steps if saved else 0.0
