"""The paper's Countdown run on one GPU: Qwen2.5-1.5B-Instruct with its published hyperparameters (arXiv 2505.24726).

Learning rate 5e-7 with a cosine, 3 % warm-up of 1,750 steps, KL 0.001, 256 reflections a step. Failures of the initial model
are collected first, as in the paper; how many attempts it kept for each problem, the group size, the temperature and the token
limit are not published, those are ours.
"""

from dataclasses import replace

from secondthought.recipes.rrr import ARMS, on_one_gpu
from secondthought.recipes.rrr import recipe as rrr
from secondthought.training.failures import Failures
from secondthought.training.recipe import Recipe

__all__ = ["ARMS", "recipe"]


def recipe(model: str = "Qwen/Qwen2.5-1.5B-Instruct") -> Recipe:
    """The recipe for ``model``: this one, or another instruct model of about its size."""
    base = replace(rrr("countdown", model), name="rrr_countdown_qwen2.5_1.5b")
    return replace(on_one_gpu(base), collect=Failures(problems=15_000, samples=4))
