"""``--set name=value``: the scalars of a frozen dataclass, of what it holds (``engine.name``), and of a recipe's optimiser."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from dataclasses import fields, is_dataclass, replace
from functools import partial
from typing import Any, TypeVar, get_args, get_origin, get_type_hints

from secondthought.credit.base import BatchCredit, Credit
from secondthought.engines.base import CHOICES as SAMPLING
from secondthought.engines.base import EngineOptions
from secondthought.engines.decoding import Decoding
from secondthought.errors import UserError
from secondthought.learners.optim import ADAPTER_LR
from secondthought.learners.optim import CHOICES as LEARNING
from secondthought.training.recipe import Recipe, Stage

T = TypeVar("T")
FIXED = ("name", "model")
POSITIVE = {
    "steps", "groups", "group_size", "max_tokens", "checkpoint_every", "checkpoints_kept", "eval_every", "eval_problems",
    "dev_problems", "updates", "dr_grpo_length", "engine.kv_mb", "collect.samples",
    "watch.patience",
}  # fmt: skip
CHOICES = {
    **LEARNING,
    "watch.action": ("log", "stop", "back"),
    **{f"engine.{name}": allowed for name, allowed in SAMPLING.items()},
}


def settable(recipe: Recipe) -> dict[str, Any]:
    """Every scalar of a recipe by name: its own and its optimiser's plainly, others as ``engine.name``, ``collect.name``, or
    ``STAGE.name``: a stage's steps and lr_scale, the options of its credit, and what it collects.
    """
    own = _scalars(recipe)
    if recipe.stages:
        own.pop("steps", None)
    found = {**_scalars(recipe.engine, "engine."), **_scalars(recipe.watch, "watch."), **_scalars(recipe.optim), **own}
    if is_dataclass(recipe.collect):
        found |= _scalars(recipe.collect, "collect.")
    for stage in recipe.stages:
        parts = [_scalars(stage), _options(stage.credit), _scalars(stage.collect) if is_dataclass(stage.collect) else {}]
        found |= {f"{stage.name}.{name}": value for part in parts for name, value in part.items()}
    return found


def _options(credit: Credit) -> dict[str, Any]:
    """The scalars that are bound to a credit."""
    bound = credit.pay if isinstance(credit, BatchCredit) else credit
    known = bound.keywords if isinstance(bound, partial) else {}
    return {name: value for name, value in known.items() if isinstance(value, bool | int | float | str)}


def _set_in(stage: Stage, name: str, value: Any) -> Stage:
    """The stage with another value of its own, of its credit, or of what it collects."""
    if name in _scalars(stage):
        return replace(stage, **{name: value})
    if name in _options(stage.credit):
        if isinstance(stage.credit, BatchCredit):
            return replace(stage, credit=BatchCredit(partial(stage.credit.pay, **{name: value})))
        return replace(stage, credit=partial(stage.credit, **{name: value}))
    collect: Any = stage.collect
    return replace(stage, collect=replace(collect, **{name: value}))


def _scalars(holder: Any, prefix: str = "") -> dict[str, Any]:
    return {
        f"{prefix}{f.name}": value for f in fields(holder)
        if f.name not in FIXED and isinstance(value := getattr(holder, f.name), bool | int | float | str)
    }  # fmt: skip


def override(recipe: Recipe, settings: Sequence[str]) -> Recipe:
    """The recipe with ``name=value`` settings applied. Raises UserError for an unknown name or a value of another type.

    >>> from secondthought.recipes import load
    >>> override(load("rrr_countdown"), ["steps=10", "lr=1e-4"]).optim.lr
    0.0001
    """
    given = dict(pair(one) for one in settings)
    if given.get("lora", "0") != "0" and "lr" not in given:
        adapted = replace(recipe.optim, lr=max(recipe.optim.lr, ADAPTER_LR))
        recipe = replace(recipe, optim=adapted)  # what suits a whole model hardly moves adapters
    for setting in settings:
        known = settable(recipe)
        name, text = pair(setting)
        if name not in known:
            raise UserError(f"a recipe has no {name!r} to set; the nearest is {nearest(name, known)}")
        value = convert(name, text, known[name])
        owner, _, inner = name.rpartition(".")
        stages = [stage.name for stage in recipe.stages]
        if owner in stages:
            changed = tuple(_set_in(s, inner, value) if s.name == owner else s for s in recipe.stages)
            recipe = replace(recipe, stages=changed)
        elif owner:
            recipe = replace(recipe, **{owner: replace(getattr(recipe, owner), **{inner: value})})
        elif name in {f.name for f in fields(recipe)}:
            recipe = replace(recipe, **{name: value})
        else:
            recipe = replace(recipe, optim=replace(recipe.optim, **{name: value}))
    return recipe


def engine_options(settings: Sequence[str]) -> EngineOptions:
    """The options of an engine with ``engine.name=value`` settings. Raises UserError as :func:`override` does.

    >>> engine_options(["engine.top_k=20"]).top_k
    20
    """
    chosen = EngineOptions()
    known = _scalars(chosen, "engine.")
    for setting in settings:
        name, text = pair(setting)
        chosen = replace(chosen, **{name.removeprefix("engine."): convert(name, text, known[name])})
    Decoding.chosen(replace(chosen, sampling="recipe"), None)
    return chosen


def options(kind: type) -> dict[str, tuple[Any, Any]]:
    """The options of a dataclass that ``--set`` can give, each with its type and its default."""
    hints = get_type_hints(kind)
    return {f.name: (hints[f.name], f.default) for f in fields(kind) if _simple(hints[f.name]) is not None}


def _simple(hint: Any) -> type | None:
    """The scalar type that a text is read as: of ``T | None``, of the items of ``tuple[T, ...]``, of a Literal."""
    if hint in (bool, int, float, str):
        return hint  # type: ignore[no-any-return]
    if get_origin(hint) is tuple:
        return _simple(get_args(hint)[0])
    inside = [one for one in get_args(hint) if one is not type(None)]
    if inside and all(isinstance(one, str) for one in inside):
        return str
    found = [one for one in map(_simple, inside) if one is not None]
    if str in found:
        return str
    return found[0] if found else None


def made(kind: type[T], settings: Sequence[str], **given: Any) -> T:
    """A dataclass with ``name=value`` settings and what else is given. Raises UserError for unknown names and other types.

    >>> from secondthought.probes.second_try import SecondTry
    >>> made(SecondTry, ["n=10"], temperature=0.5).n
    10
    """
    known = options(kind)
    values = dict(given)
    for setting in settings:
        name, text = pair(setting)
        if name not in known:
            label = getattr(kind, "name", kind.__name__)
            raise UserError(f"{label} has no {name!r} to set; the nearest is {nearest(name, known)}")
        hint, default = known[name]
        simple = _simple(hint) or str
        if get_origin(hint) is tuple:
            values[name] = tuple(convert(name, part, simple(), free=True) for part in text.split(",") if part)
            continue
        allowed = [one for one in get_args(hint) if isinstance(one, str)]
        if allowed and len(allowed) == len(get_args(hint)) and text not in allowed:
            raise UserError(f"--set {name}={text}: choose {', '.join(allowed)}")
        old = default if isinstance(default, bool | int | float | str) else simple()
        values[name] = convert(name, text, old, free=True)
    return kind(**values)


def pair(setting: str) -> tuple[str, str]:
    """Name and value. Raises UserError where there is no ``=``."""
    name, equals, text = setting.partition("=")
    if not equals:
        raise UserError(f"--set {setting}: write name=value")
    return name, text


def nearest(name: str, known: Any) -> str:
    """The names most like one that is not known."""
    return ", ".join(difflib.get_close_matches(name, known, n=3, cutoff=0.4) or sorted(known))


def convert(name: str, text: str, old: Any, *, free: bool = False) -> Any:
    """A text as the type of ``old``. Raises UserError where it is none, or no sensible value (``free``: any number will do)."""
    if name in CHOICES and text not in CHOICES[name]:
        raise UserError(f"--set {name}={text}: choose {', '.join(CHOICES[name])}")
    try:
        value = type(old)(text) if not isinstance(old, bool) else {"true": True, "false": False}[text.lower()]
    except (ValueError, KeyError) as error:
        raise UserError(f"--set {name}={text}: {name} is a {type(old).__name__}, such as {old}") from error
    if not free and isinstance(value, int | float) and (value < 0 or (name in POSITIVE and value < 1)):
        raise UserError(f"--set {name}={text}: {name} must be {'at least 1' if name in POSITIVE else 'at least 0'}")
    return value
