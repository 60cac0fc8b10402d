"""The family of the pre-training experiment: four corpora, three sizes, three seeds, twelve checkpoints each.

OUT/ARM/SIZE/seed_S/checkpoints/step_N   a Hugging Face folder for each, with the tokens it has read
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from secondthought.files import COMPLETE
from secondthought.nano.arms import ARMS, Arm, ArmCorpus
from secondthought.nano.pretrain import Pretraining, checkpoint_steps, pretrain

SIZES = ("0.03m", "0.1m", "0.2m")


@dataclass(frozen=True)
class Family:
    """What is trained. The seed decides both the first weights and the order of the text; the text is the same in every
    size.
    """

    arms: tuple[Arm, ...] = ARMS
    sizes: tuple[str, ...] = SIZES
    seeds: int = 3
    steps: int = 800
    checkpoints: int = 12

    def members(self) -> Iterator[tuple[Arm, str, int]]:
        """Every run; whole seeds first, so that an unfinished family is a smaller family."""
        return ((arm, size, seed) for seed in range(self.seeds) for arm in self.arms for size in self.sizes)

    def recipe(self, arm: Arm, size: str, seed: int) -> Pretraining:
        """How one member is made."""
        return Pretraining(
            size=size, steps=self.steps, lr=7e-3, warmup=20, decay=0.2, seed=seed, corpus=ArmCorpus(arm, seed=seed),
            marks=self.checkpoints,
        )  # fmt: skip


def folder_of(out: Path, arm: Arm, size: str, seed: int) -> Path:
    """Where a member lives."""
    return out / arm / size / f"seed_{seed}"


def finished(folder: Path, recipe: Pretraining) -> bool:
    """Whether the last checkpoint of a member is there."""
    return (folder / "checkpoints" / f"step_{checkpoint_steps(recipe)[-1]}" / COMPLETE).exists()


def train_family(family: Family, out: Path, *, share: tuple[int, int] = (0, 1)) -> None:
    """Make what is not there yet. ``share`` = (k, n): only every n-th member from the k-th, for n workers side by side.

    Raises UserError if a folder was made by another recipe.
    """
    for number, (arm, size, seed) in enumerate(family.members()):
        recipe, folder = family.recipe(arm, size, seed), folder_of(out, arm, size, seed)
        if number % share[1] == share[0] and not finished(folder, recipe):
            pretrain(recipe, folder, resume=True, save_every=200)
