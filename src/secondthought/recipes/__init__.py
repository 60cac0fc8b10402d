"""Recipes: a page of Python each, with one function ``recipe`` that returns a frozen Recipe."""

from __future__ import annotations

import difflib
import importlib.util
import inspect
from collections.abc import Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import Any, cast

from secondthought.files import UserError
from secondthought.train import Recipe

FOLDER = Path(__file__).parent


def shipped() -> list[str]:
    """The names of the recipes that come with the package."""
    return sorted(path.stem for path in FOLDER.glob("*.py") if not path.stem.startswith("_"))


def load(name: str, *, model: str | None = None, tasks: str | None = None, grade: str = "exact") -> Recipe:
    """The recipe at a path or of a shipped name (whose dots may be written), for a model and, where it takes them, for tasks.

    Raises UserError for an unknown name, and for tasks given to a recipe that has its own.
    """
    path = Path(name) if name.endswith(".py") else FOLDER / f"{name.replace('.', '_')}.py"
    if not path.is_file() or name.startswith("_"):
        near = difflib.get_close_matches(name, shipped(), n=3, cutoff=0.3) or shipped()
        raise UserError(f"there is no recipe {name!r}; the nearest is {', '.join(near)}, or give the path of a .py file")
    spec = importlib.util.spec_from_file_location(f"secondthought_recipe_{path.stem}", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    make = getattr(module, "recipe", None)
    if make is None:
        raise UserError(f"{path} has no function called recipe; a recipe is a function that returns a Recipe")
    accepted = inspect.signature(make).parameters
    given = {k: v for k, v in {"model": model, "tasks": tasks}.items() if v is not None}
    if tasks is not None and (grade != "exact" or "grade" in accepted):
        given["grade"] = grade
    for key in given:
        if key not in accepted:
            raise UserError(f"the recipe {name} takes no --{key}; the recipe rrr takes any tasks")
    for key, parameter in accepted.items():
        if parameter.default is inspect.Parameter.empty and key not in given:
            raise UserError(f"the recipe {name} needs --{key}")
    return cast(Recipe, make(**given))


def settable(recipe: Recipe) -> dict[str, Any]:
    """Every scalar of a recipe by name: its own and its optimiser's plainly, its engine's as ``engine.name``."""
    engine = {f"engine.{f.name}": getattr(recipe.engine, f.name) for f in fields(recipe.engine)}
    learning = {f.name: getattr(recipe.optim, f.name) for f in fields(recipe.optim)}
    own = {f.name: getattr(recipe, f.name) for f in fields(recipe)}
    fixed = ("name", "model", "style")
    found = {**engine, **learning, **own}
    return {k: v for k, v in found.items() if isinstance(v, bool | int | float | str) and k not in fixed}


def override(recipe: Recipe, settings: Sequence[str]) -> Recipe:
    """The recipe with ``name=value`` settings applied. Raises UserError for an unknown name or a value of another type.

    >>> override(load("rrr_countdown"), ["steps=10", "lr=1e-4"]).optim.lr
    0.0001
    """
    known = settable(recipe)
    for setting in settings:
        name, equals, text = setting.partition("=")
        if not equals:
            raise UserError(f"--set {setting}: write name=value")
        if name not in known:
            near = difflib.get_close_matches(name, known, n=3, cutoff=0.4) or sorted(known)
            raise UserError(f"a recipe has no {name!r} to set; the nearest is {', '.join(near)}")
        value = _convert(name, text, known[name])
        if name.startswith("engine."):
            recipe = replace(recipe, engine=replace(recipe.engine, **{name.removeprefix("engine."): value}))
        elif name in {f.name for f in fields(recipe)}:
            recipe = replace(recipe, **{name: value})
        else:
            recipe = replace(recipe, optim=replace(recipe.optim, **{name: value}))
    return recipe


POSITIVE = {
    "steps", "groups", "group_size", "max_tokens", "checkpoint_every", "checkpoints_kept", "eval_every", "eval_problems",
    "dev_problems", "offline_samples", "updates", "length", "engine.kv_mb",
}  # fmt: skip


def _convert(name: str, text: str, old: Any) -> Any:
    from secondthought.engines.torch import CHOICES as SAMPLING
    from secondthought.learners.torch import CHOICES as LEARNING

    choices = {**LEARNING, **{f"engine.{key}": allowed for key, allowed in SAMPLING.items()}}
    if name in choices and text not in choices[name]:
        raise UserError(f"--set {name}={text}: choose {', '.join(choices[name])}")
    try:
        value = type(old)(text) if not isinstance(old, bool) else {"true": True, "false": False}[text.lower()]
    except (ValueError, KeyError) as error:
        raise UserError(f"--set {name}={text}: {name} is a {type(old).__name__}, such as {old}") from error
    if isinstance(value, int | float) and (value < 0 or (name in POSITIVE and value < 1)):
        raise UserError(f"--set {name}={text}: {name} must be {'at least 1' if name in POSITIVE else 'at least 0'}")
    return value
