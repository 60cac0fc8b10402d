"""The paper's function calling on one GPU: Qwen2-1.5B-Instruct on APIGen with its published hyperparameters (arXiv 2505.24726).

As :mod:`secondthought.recipes.rrr_countdown_qwen2_5_1_5b`, with the 60,000 rows of APIGen (xLAM), which the hub gives to those
who accept its terms; ``--tasks FILE`` takes the same rows from a file.
"""

from dataclasses import replace

from secondthought.recipes.rrr import ARMS, on_one_gpu
from secondthought.recipes.rrr import recipe as rrr
from secondthought.training.failures import Failures
from secondthought.training.recipe import Recipe

__all__ = ["ARMS", "recipe"]


def recipe(tasks: str = "hf:Salesforce/xlam-function-calling-60k", model: str = "Qwen/Qwen2-1.5B-Instruct") -> Recipe:
    """The recipe for ``model`` and rows of function calling."""
    base = replace(rrr(tasks, model), name="rrr_function_calling_qwen2_1.5b")
    return replace(on_one_gpu(base), collect=Failures(problems=15_000, samples=4))
