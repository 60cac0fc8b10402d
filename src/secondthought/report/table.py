"""A summary as a table for the terminal."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from io import StringIO
from typing import Any

from rich.console import Console
from rich.table import Table

ROWS = (
    ("first", "first try"),
    ("second", "second try (right at once, or after one reflection)"),
    ("second_without_leaks", "  ... without reflections that spell a solution"),
    ("retry_after_failure", "retry after failure, own reflection"),
    ("resample_after_failure", "  fresh attempts instead, same sampled tokens"),
    ("donor", "  another problem's reflection"),
    ("generic", "  a constant reflection"),
    ("empty", "  an empty reflection"),
    ("leak_rate", "reflections that spell a solution"),
    ("reflection_tokens", "length of a reflection, tokens"),
)
"""The figures a reader wants first, and what they are called."""


CELL_NAMES = {
    "solve": "no chain",
    "flawed/none": "flawed chain",
    "flawed/wait": "flawed chain, “Wait,”",
    "flawed/mistake": "flawed chain, “Wait, I made a mistake”",
    "flawed/filler": "flawed chain, filler as long",
    "other/wait": "another question's flawed chain, “Wait,”",
    "self/none": "own flawed chain",
    "self/wait": "own flawed chain, “Wait,”",
    "self/filler": "own flawed chain, filler",
    "clean/none": "right chain",
    "clean/wait": "right chain, “Wait,”",
}
"""The cells of the reflection probe, and what they are called."""
EFFECT_NAMES = {
    "trigger": "“Wait,” against no trigger",
    "words": "“Wait,” against a filler as long",
    "naming": "“I made a mistake” against “Wait,”",
    "reading": "this question's chain against another's",
    "beyond_solving": "recovering against solving without a chain",
    "damage": "right chain: “Wait,” against no trigger",
    "self_trigger": "own chain: “Wait,” against no trigger",
    "self_words": "own chain: “Wait,” against a filler",
}
"""Its paired effects."""


def errors_of(summary: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """How answers fail, first tries and retries: ``title`` and ``rows`` of ``(why, before, after)``, shares or None."""
    found = summary.get("errors") or {}
    for verdict, title in (("attempt", "First tries"), ("retry", "Retries")):
        before, after = ((found.get(side) or {}).get(verdict) or {} for side in ("before", "after"))
        whys = sorted({*before, *after}, key=lambda why: -max(before.get(why, 0), after.get(why, 0)))
        if whys:
            yield {"title": title, "rows": [(why, before.get(why), after.get(why)) for why in whys]}


def show(estimate: dict[str, Any] | None, *, signed: bool = False) -> str:
    """An estimate in percent (or in its unit) with its interval.

    >>> show({"value": 0.412, "low": 0.38, "high": 0.44, "n": 1000, "unit": "fraction"})
    '41.2 [38.0, 44.0]'
    """
    if not estimate or estimate["value"] is None:
        return "-"
    factor = 100 if estimate["unit"] in ("fraction", "difference") else 1
    sign = "+" if signed else ""
    value, low, high = (estimate[key] for key in ("value", "low", "high"))
    if low is None or high is None:
        return f"{value * factor:{sign}.1f}"
    return f"{value * factor:{sign}.1f} [{low * factor:{sign}.1f}, {high * factor:{sign}.1f}]"


def summary(found: dict[str, Any]) -> str:
    """The before/after table of a run, or the one column of an evaluation."""
    sides = [side for side in ("before", "after") if side in found]
    n = found["after"]["first"]["n"]
    table = Table(title=f"{found['run']}: % of {n} held-out problems [95 %]", title_justify="left")
    table.add_column("")
    for side in sides:
        table.add_column(side if len(sides) > 1 else found["model"], justify="right")
    change = found.get("change", {})
    if change:
        table.add_column("change, points", justify="right")
    for key, label in ROWS:
        if any(key in found[side] for side in sides):
            cells = [show(found[side].get(key)) for side in sides]
            table.add_row(label, *cells, *([show(change.get(key), signed=True)] if change else []))
    out = StringIO()
    console = Console(file=out, width=118)
    console.print(table)
    for side, claim in found.get("claim", {}).items():
        name = f"{side}: " if len(sides) > 1 else ""
        console.print(f"{name}{claim['verdict']} ({show(claim['effect'], signed=True)} points): {claim['claim']}.")
    gain = found.get("transplant", {}).get("gain")
    if gain:
        console.print(
            "On the base model's failures, trained reflections lift the UNTRAINED retrier by "
            f"{show(gain['reflection'], signed=True)} points;\n"
            f"the trained retrier gains {show(gain['retry'], signed=True)} from base reflections; "
            f"both together {show(gain['both'], signed=True)}."
        )
    return out.getvalue().rstrip()


def arms(found: dict[str, Any]) -> str:
    """The arms of an ablation, a line each."""
    table = Table(title="after the same number of sampled tokens, % [95 %]", title_justify="left")
    for name in ("arm", "seeds", "first try", "with one reflection", "fresh attempts instead", "second: change, points"):
        table.add_column(name, justify="left" if name == "arm" else "right")
    for arm, figures in found["arms"].items():
        cells = [show(figures[measure]) for measure in ("first", "second", "resampled")]
        table.add_row(arm, str(figures["seeds"]), *cells, show(figures["second_gain"], signed=True))
    out = StringIO()
    Console(file=out, width=128).print(table)
    return out.getvalue().rstrip()


def plan(found: Any, steps: int) -> str:
    """What a run will take (a ``secondthought.plan.Plan``), and whether it fits."""
    shape, out = found.shape, StringIO()
    console = Console(file=out, width=100)
    learns = "" if shape.trained == shape.parameters else f", of which {shape.trained / 1e6:,.1f}M learn"
    console.print(f"{shape.name}: {shape.parameters / 1e6:,.1f}M parameters{learns}; on {found.device}", soft_wrap=True)
    grid = Table(title="memory, at most", title_justify="left")
    grid.add_column("")
    grid.add_column("GiB", justify="right")
    for name, size in found.memory.items():
        grid.add_row(name, f"{size / 2**30:.2f}")
    grid.add_row("all of it", f"{sum(found.memory.values()) / 2**30:.2f} of {found.room / 2**30:.1f}")
    console.print(grid)
    grid = Table(title="a step at full length", title_justify="left")
    grid.add_column("")
    grid.add_column("seconds", justify="right")
    for name, seconds in found.seconds.items():
        grid.add_row(name, f"{seconds:.2f}")
    whole = sum(found.seconds.values())
    grid.add_row("all of it", f"{whole:.2f}")
    console.print(grid)
    hours = whole * steps / 3600
    told = f"{found.tokens:,} tokens a step; {steps:,} steps take at most about {hours:.1f} hours, measuring apart."
    console.print(told, soft_wrap=True)
    console.print("It fits." if found.fits else "It does not fit:")
    for line in found.advice:
        console.print(f"  {line}")
    return out.getvalue().rstrip()
