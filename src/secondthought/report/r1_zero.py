"""What ``reproduce r1_zero`` found: a page of Markdown and three pictures."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from secondthought.report.arms import arms
from secondthought.report.figures import COLOURS, THIRD, save
from secondthought.report.rrr import show, table
from secondthought.runs.files import write_text
from secondthought.runs.reports import estimate_from

Json = Mapping[str, Any]
ARMS = {
    "r1_zero": "GRPO", "dr_grpo": "Dr. GRPO", "length_only": "own length, no deviation",
    "std_only": "deviation, constant length", "token": "mean over tokens", "binary": "GRPO, nothing for the form",
}  # fmt: skip
BEHAVIOURS = ("confirms", "fixes", "breaks", "stays wrong", "repeats", "begins")


def write(out: Path, found: Json) -> Path:
    """Write ``results.md`` and the pictures."""
    save(reflection_figure(found), out / "reflection.png")
    save(lengths_figure(found), out / "lengths.png")
    if found["arms"]:
        shown = (("wrong_length", "responses that are not right", THIRD),)
        save(arms(found["arms"], shown, ARMS, "mean tokens after training"), out / "wrong.png")
    path = out / "results.md"
    write_text(path, "\n".join(_lines(found)).rstrip() + "\n")
    return path


def _lines(found: Json) -> Iterator[str]:
    yield from (
        "# R1-Zero from base models that do and do not reflect",
        "",
        "Written by `secondthought reproduce r1_zero`. Percent of responses to held-out problems, sampled at temperature 1,"
        " 95 % intervals clustered by problem over pooled seeds; lengths in tokens.",
    )
    rows = []
    for base, one in found["bases"].items():
        for when in ("before", "after"):
            side = one[when]
            rows.append([
                base, str(one["seeds"]), when, *(show(side[name]) for name in ("right", "any", "answered", "reflects")),
                *(f"{100 * side[name]:.1f}" for name in BEHAVIOURS), show(side["within_question"]), tokens(side["length"]),
                tokens(side["wrong_length"]),
            ])  # fmt: skip
    yield from table(
        ("base model (share of reflective traces)", "seeds", "", "right", "any of 8", "answered", "reflects", *BEHAVIOURS,
         "reflecting minus others, same problem", "tokens", "tokens, not right"), rows,
    )  # fmt: skip
    yield from ("", "![Reflection over training](reflection.png)", "", f"Arms on {found['compared']}:")
    rows = [
        [
            ARMS[arm], str(one["seeds"]), show(one["right"]), show(one["reflects"]), tokens(one["length"]),
            f"**{tokens(one['wrong_length'])}** ({', '.join(f'{n:.1f}' for n in one['wrong_each_seed'])})",
            *(f"{one['lengths'][name]:+.1f}" for name in ("change", "mix", "within", "reflection")),
            f"{one['lengths']['follows']:.2f}",
        ]
        for arm, one in found["arms"].items()
    ]  # fmt: skip
    yield from table(
        ("arm", "seeds", "right", "reflects", "tokens", "tokens, not right (each seed)", "change of mean length in training",
         "by the mix of outcomes", "within outcomes", "by reflection", "correlation with the mix"), rows,
    )  # fmt: skip
    yield from ("", "![Length of what is not right](wrong.png)", "", "![Length by outcome over training](lengths.png)")


def tokens(estimate: Json) -> str:
    """A length with its interval."""
    known = estimate_from(estimate)
    return f"{known.value:.1f} [{known.low:.1f}, {known.high:.1f}]" if known.n else "-"


def reflection_figure(found: Json) -> Figure:
    """How many responses reflect, over training, from each base model (first seed whole, others thin)."""
    figure = Figure(figsize=(9.0, 4.2))
    axes = figure.add_subplot()
    for number, base in enumerate(found["bases"]):
        for seed, parts in enumerate(found["dynamics"][base]):
            axes.plot(
                [part["step"] for part in parts], [100 * part["reflects"] for part in parts], color=COLOURS[number],
                linewidth=1.8 if seed == 0 else 0.6, label=base if seed == 0 else None,
            )  # fmt: skip
    axes.set_ylim(bottom=0)
    axes.set_xlabel("step")
    axes.set_ylabel("responses that reflect, %")
    axes.legend(frameon=False, fontsize=8)
    axes.grid(alpha=0.25)
    return figure


def lengths_figure(found: Json) -> Figure:
    """The mean length and that of each outcome over training (first seed), with the shares of the outcomes behind it."""
    shown = [name for name in (found["compared"], f"{found['compared']}:dr_grpo") if name in found["dynamics"]]
    figure = Figure(figsize=(9.0, 3.6))
    for place, name in enumerate(shown):
        axes, parts = figure.add_subplot(1, len(shown), place + 1), found["dynamics"][name][0]
        steps = [part["step"] for part in parts]
        axes.plot(steps, [part["length"] for part in parts], color="black", linewidth=2, label="all")
        for number, outcome in enumerate(parts[0]["lengths"]):
            points = [(part["step"], part["lengths"][outcome]) for part in parts if part["lengths"][outcome] is not None]
            axes.plot(*zip(*points, strict=True), color=COLOURS[number], label=outcome) if points else None
        shares = axes.twinx()
        shares.fill_between(steps, [100 * part["share"]["right"] for part in parts], color=COLOURS[0], alpha=0.1)
        shares.set_ylim(0, 100)
        shares.set_ylabel("right, % (shaded)")
        axes.set_title("Dr. GRPO" if ":" in name else "GRPO", fontsize=10)
        axes.set_xlabel("step")
        axes.set_ylabel("tokens")
        axes.legend(frameon=False, fontsize=8)
    return figure
