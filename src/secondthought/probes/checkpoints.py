"""Which models a probe measures: folders, globs, shipped names, hub names at revisions, endpoints, engines of one's own."""

from __future__ import annotations

import glob
import json
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from secondthought.engines.factory import split
from secondthought.engines.remote.openai import is_endpoint
from secondthought.errors import UserError
from secondthought.models.gguf import is_gguf
from secondthought.models.names import resolve
from secondthought.probes.base import Checkpoint
from secondthought.runs.redaction import hide
from secondthought.types import seed_of


def checkpoints_of(places: Sequence[str]) -> list[Checkpoint]:
    """Folders (searched for models), globs, shipped names, hub names, ``hub/name@revision,revision``, and endpoints.

    Raises UserError where nothing is found.
    """
    found: list[Checkpoint] = []
    for place in places:
        if is_endpoint(place):
            found.append(Checkpoint(place, place.partition("#")[2] or place))
            continue
        if split(place)[0] != "torch":
            found.append(Checkpoint(place, place))
            continue
        hub, _, revisions = place.partition("@")
        if revisions and not Path(place).exists():
            found += [replace(_named(hub, f"{hub}@{r}", r), run=hub) for r in revisions.split(",")]
            continue
        if is_gguf(place):
            found.append(replace(_named(resolve(place), Path(place).stem, None), run=place))
            continue
        if place.startswith("nano/"):
            found.append(_named(resolve(place), place, None))
            continue
        many = glob.has_magic(place)
        roots = sorted(map(Path, glob.glob(place))) if many else [Path(place)]  # noqa: PTH207 (a pattern may be absolute)
        folders = [config.parent for root in roots for config in sorted(root.rglob("config.json"))]
        folders = [folder for folder in folders if not folder.name.startswith(".")]  # half-written ones
        if not folders and (many or Path(place).exists() or place.startswith((".", "/"))):
            raise UserError(f"there is no model in {place}: no config.json is found there")
        base = Path(place.split("*")[0]).parent if many else Path(place)
        found += [_folder(folder, base) for folder in folders] or [_named(place, place, None)]
    found = list({(c.place, c.revision): c for c in found}.values())
    names = Counter(c.name for c in found)
    found = [replace(c, name=c.place) if names[c.name] > 1 else c for c in found]
    return sorted(found, key=lambda c: (c.series, c.size, c.run, c.tokens or 0, natural(c.name)))


def natural(name: str) -> list[tuple[int, str]]:
    """A key that sorts numbers in names as numbers.

    >>> sorted(["step_10", "step_9"], key=natural)
    ['step_9', 'step_10']
    """
    return [(int(part), "") if part.isdecimal() else (0, part) for part in re.split(r"(\d+)", name)]


def _folder(folder: Path, base: Path) -> Checkpoint:
    """A checkpoint on disk; what pre-training wrote beside it says what it has read. Raises UserError if that is broken."""
    inside = folder.is_relative_to(base) and folder != base
    name = str(folder.relative_to(base)) if inside else folder.name
    facts_file = folder / "pretraining.json"
    if not facts_file.exists():
        return replace(_named(str(folder), name, None), run=str(folder.parent) if inside else name)
    try:
        facts = json.loads(facts_file.read_text(encoding="utf-8"))
        recipe, tokens = facts["recipe"], float(facts["tokens"])
        series, size, seed = str(recipe.get("corpus", {}).get("arm", "")), str(recipe["size"]), recipe["seed"]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(f"{facts_file} is not what pre-training writes ({error!r}); mend it or move it away") from error
    return Checkpoint(str(folder), name, None, series, size, f"{series} {size} seed {seed}".strip(), tokens)


def _named(place: str, name: str, revision: str | None) -> Checkpoint:
    """A checkpoint of which only the name is known, such as OLMo's ``stage1-step1000-tokens5B``."""
    read = re.search(r"tokens(\d+(?:\.\d+)?)([BT])", revision or name)
    tokens = float(read[1]) * {"B": 1e9, "T": 1e12}[read[2]] if read else None
    return Checkpoint(place, name, revision, "", "", name, tokens)


def file_name(checkpoint: Checkpoint) -> str:
    """What a checkpoint's files are called: its name, and a digest of where it lies and of its weight files."""
    folder, marks = Path(checkpoint.place), [checkpoint.revision or ""]
    if folder.is_dir():
        weights = sorted(path for path in folder.iterdir() if path.suffix in (".safetensors", ".bin"))
        marks += [str(folder.resolve()), *(f"{w.name} {w.stat().st_size} {w.stat().st_mtime_ns}" for w in weights)]
    name = re.sub(r"[^A-Za-z0-9._-]+", "__", hide(checkpoint.name))[-80:]
    return f"{name}-{seed_of(checkpoint.place, *marks):016x}"
