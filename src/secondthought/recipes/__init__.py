"""Recipes: one file a paper, a function ``recipe`` that returns a frozen Recipe, its arms and presets beside it."""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, cast

from secondthought import catalog
from secondthought.errors import UserError
from secondthought.training.recipe import Recipe

Arm = Callable[[Recipe], Recipe]


def load(name: str, *, model: str | None = None, tasks: str | None = None, grade: str = "exact") -> Recipe:
    """The recipe of a shipped name (whose dots may be written), a .py path or an installed one, ``NAME:ARM`` for one of its
    arms; for a model and, where it takes them, for tasks.

    Raises UserError for an unknown name or arm, and for tasks given to a recipe that has its own.
    """
    place, _, arm = name.rpartition(":") if ":" in name and not name.endswith(".py") else (name, "", "")
    make = catalog.find("recipes", place)
    accepted = inspect.signature(make).parameters
    given = {k: v for k, v in {"model": model, "tasks": tasks}.items() if v is not None}
    if tasks is not None and (grade != "exact" or "grade" in accepted):
        given["grade"] = grade
    for key in given:
        if key not in accepted:
            raise UserError(f"the recipe {place} takes no --{key}; the recipe rrr takes any tasks")
    for key, parameter in accepted.items():
        if parameter.default is inspect.Parameter.empty and key not in given:
            raise UserError(f"the recipe {place} needs --{key}")
    made = cast(Recipe, make(**given))
    return varied(made, arm, arms_of(place)) if arm else made


def arms_of(name: str) -> Mapping[str, Arm]:
    """The arms of a recipe: its module's ``ARMS``, by name a function from the recipe to its variation."""
    found: Mapping[str, Arm] = getattr(catalog.module("recipes", name), "ARMS", {})
    return found


def varied(recipe: Recipe, arm: str, arms: Mapping[str, Any]) -> Recipe:
    """An arm of a recipe. Raises UserError if it has none of that name."""
    if arm not in arms:
        near = difflib.get_close_matches(arm, arms, n=3, cutoff=0.3) or sorted(arms)
        raise UserError(f"{recipe.name} has no arm {arm!r}; " + (f"there is {', '.join(near)}" if near else "it has no arms"))
    made: Recipe = arms[arm](recipe)
    return replace(made, name=f"{recipe.name}:{arm}")
