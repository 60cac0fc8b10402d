"""Finds recipes, probes, reproductions, tasks, items and engines by name; nothing registers itself anywhere.

A name is that of a shipped module (``probes/flawed_chain.py`` is ``flawed_chain``), the path of a .py file, or an installed
entry point of the group ``secondthought.ROOM``. The module (or what the entry point names) holds one maker, called as its room
says:

=============  ==================  ===============================================================
room           maker               what it makes
=============  ==================  ===============================================================
recipes        ``recipe``          a function that returns a Recipe
probes         ``probe``           a Probe class; its fields are its options
reproduce      ``reproduction``    a Reproduction class; its fields are its options
tasks          ``task_set``        a function of (place, split, style) that returns a TaskSet
items          ``item_set``        a function of (place, n, seed, on_progress) that returns Items
engines        ``engine``          a function of (model, options) that returns an Engine
=============  ==================  ===============================================================
"""

from __future__ import annotations

import ast
import difflib
import importlib
import importlib.util
import re
import sys
from functools import lru_cache
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

from secondthought.errors import UserError

MAKERS = {
    "recipes": "recipe", "probes": "probe", "reproduce": "reproduction", "tasks": "task_set", "items": "item_set",
    "engines": "engine",
}  # fmt: skip
NOUNS = {
    "recipes": "recipe", "probes": "probe", "reproduce": "reproduction", "tasks": "tasks", "items": "items",
    "engines": "engine",
}  # fmt: skip
HOME = Path(__file__).parent


class Entry(NamedTuple):
    """One thing that can be found by name, where it comes from, and what its docstring says first."""

    name: str
    source: str
    summary: str


def find(room: str, name: str) -> Any:
    """The maker called ``name`` in ``room``. Raises UserError, with the nearest names, if there is none.

    >>> find("recipes", "rrr").__name__
    'recipe'
    """
    found = module(room, name)
    maker = getattr(found, MAKERS[room], None) if isinstance(found, ModuleType) else found
    if maker is None:
        raise UserError(f"{name} has nothing called {MAKERS[room]}; see CONTRIBUTING.md for how a {NOUNS[room]} is written")
    return maker


def module(room: str, name: str) -> Any:
    """The module (or what an entry point names) behind ``name``. Raises UserError if there is none."""
    if name.endswith(".py"):
        return from_path(Path(name))
    known = name.replace(".", "_").replace("-", "_")
    if known in shipped(room):
        return importlib.import_module(f"secondthought.{room}.{known}")
    if name in installed(room):
        try:
            return installed(room)[name].load()
        except (ImportError, AttributeError) as error:
            raise UserError(f"the entry point {name} of secondthought.{room} cannot be loaded: {error}") from error
    names = [*shipped(room), *installed(room)]
    near = difflib.get_close_matches(known, names, n=3, cutoff=0.3) or names
    raise UserError(f"there is no {NOUNS[room]} {name!r}; the nearest is {', '.join(near)}, or give the path of a .py file")


def exists(room: str, name: str) -> bool:
    """Whether there is something of that name."""
    known = name.replace(".", "_").replace("-", "_")
    return name.endswith(".py") or known in shipped(room) or name in installed(room)


def entries(room: str) -> list[Entry]:
    """All that is shipped or installed in a room, by name."""
    found = [Entry(name, "shipped", summary) for name, summary in shipped(room).items()]
    return found + [Entry(name, point.value, "") for name, point in installed(room).items()]


@lru_cache(maxsize=16)
def shipped(room: str) -> dict[str, str]:
    """The modules of a room that hold its maker, each with the first sentence of its docstring; none is imported.

    >>> "flawed_chain" in shipped("probes"), "detectors" in shipped("probes")
    (True, False)
    """
    found = {}
    for path in sorted((HOME / room).glob("[!_]*.py")):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        names = {node.name for node in tree.body if isinstance(node, ast.FunctionDef | ast.ClassDef)}
        names |= {t.id for node in tree.body if isinstance(node, ast.Assign) for t in node.targets if isinstance(t, ast.Name)}
        if MAKERS[room] in names:
            text = " ".join((ast.get_docstring(tree) or "").split("\n\n")[0].split())
            found[path.stem] = re.sub(r":\w+:|`", "", text)
    return found


@lru_cache(maxsize=16)
def installed(room: str) -> dict[str, EntryPoint]:
    """The entry points of other packages in the group ``secondthought.ROOM``."""
    return {point.name: point for point in entry_points(group=f"secondthought.{room}")}


def from_path(path: Path) -> ModuleType:
    """The module in a .py file; modules beside it can be imported from it. Raises UserError if it is not there or broken."""
    if not path.is_file():
        raise UserError(f"there is no file {path}")
    spec = importlib.util.spec_from_file_location(f"secondthought_file_{path.stem}", path)
    assert spec is not None
    assert spec.loader is not None
    made = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = made
    sys.path.insert(0, str(path.resolve().parent))
    try:
        spec.loader.exec_module(made)
    except (ImportError, SyntaxError) as error:
        raise UserError(f"{path} cannot be loaded: {error}") from error
    finally:
        sys.path.pop(0)
    return made
