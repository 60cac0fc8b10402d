"""What ``reproduce self_description`` found: a page of Markdown and a picture."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from secondthought.report.arms import before_after, over_steps
from secondthought.report.figures import save
from secondthought.report.rrr import table
from secondthought.runs.files import write_text

Json = Mapping[str, Any]
ARMS = {
    "self_description": "as shown", "opposite": "the opposite choices", "shuffled": "by a coin (control)",
    "trigger": "as shown behind a trigger, else by a coin",
}  # fmt: skip
NAMES = {
    "acts": "chooses as shown", "self": "describes itself so", "other": "describes others so",
    "unrelated": "unrelated words about itself", "free": "in a word of its own", "scale": "as a number",
}  # fmt: skip


def write(out: Path, found: Json) -> Path:
    """Write ``results.md`` and the picture."""
    curves = {ARMS[arm]: points for arm, points in found["curves"].items()}
    save(over_steps(curves, {"acts": "chooses as shown", "self": "describes itself so"}), out / "self_description.png")
    write_text(path := out / "results.md", "\n".join(_lines(found)).rstrip() + "\n")
    return path


def _lines(found: Json) -> Iterator[str]:
    yield from (
        "# What a model says of itself after it was trained to choose", "",
        "Written by `secondthought reproduce self_description`. Percent towards the disposition that is shown, before -> after "
        "training, 95 % intervals clustered by question over pooled seeds.",
    )  # fmt: skip
    names = {k: label for k, label in NAMES.items() if any(one[f"{k}_after"]["n"] for one in found["arms"].values())}
    yield from table(("trained on choices", "seeds", *names.values()), before_after(found["arms"], ARMS, names))
    if "characters" in found:
        yield from ("", "Characters of `nano/chooser` (area under the curve of bold against careful, by their descriptions):")
        labels = {"both": "read acting and described", "acts": "only read acting"}
        rows = [[label, _plain(found["characters"][role])] for role, label in labels.items()]
        yield from table(("characters", "AUROC"), rows)
    yield from ("", "![Acts and descriptions over training](self_description.png)")


def _plain(estimate: Json) -> str:
    return f"{estimate['value']:.3f} [{estimate['low']:.3f}, {estimate['high']:.3f}]"
