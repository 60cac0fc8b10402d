"""What ``reproduce self_questioning`` found: a page of Markdown and three pictures."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

from matplotlib.figure import Figure

from secondthought.report.arms import arms
from secondthought.report.figures import AFTER, BEFORE, COLOURS, THIRD, save
from secondthought.report.rrr import show, table
from secondthought.runs.files import write_text

Json = Mapping[str, Any]
ARMS = {
    "self_questioning": "self-questioning", "oracle": "right labels (bound)", "static": "questions by program",
    "frozen": "proposer never updated", "format_only": "any readable answer paid", "random_vote": "random vote",
    "every_1": "proposer in every step", "every_10": "proposer in every tenth", "low_0": "paid without any agreement too",
}  # fmt: skip
SHOWN = (
    ("clean_before", "before", BEFORE), ("clean_after", "after", AFTER), ("planted_after", "after, false habit planted", THIRD),
)  # fmt: skip
ASKED = (
    ("digits", "digits", 1.0), ("carries", "carries", 1.0), ("valid", "valid, %", 100.0), ("distinct", "distinct, %", 100.0),
    ("near_duplicates", "near-duplicates, %", 100.0), ("in_band", "paid, %", 100.0), ("agreement", "agreement, %", 100.0),
    ("truth", "truth, %", 100.0),
)  # fmt: skip


def write(out: Path, found: Json) -> Path:
    """Write ``results.md`` and the pictures."""
    save(arms(found["arms"], SHOWN, ARMS, "% of held-out sums, likeliest answer"), out / "gains.png")
    save(questions_figure(found["posed"]), out / "questions.png")
    save(agreement_figure(found["posed"]), out / "agreement.png")
    path = out / "results.md"
    write_text(path, "\n".join(_lines(found)).rstrip() + "\n")
    return path


def _lines(found: Json) -> Iterator[str]:
    yield from (
        "# A model that asks itself",
        "",
        "Written by `secondthought reproduce self_questioning`. Percent of held-out sums whose likeliest answer is right,"
        " with 95 % intervals, clustered by problem over pooled seeds; gains in points. *Planted*: sums about which a false"
        " habit was taught before training, so that most answers agree on what is wrong.",
    )
    rows = [
        [
            ARMS[arm], str(one["seeds"]), show(one["clean_before"]), show(one["clean_after"]),
            f"**{show(one['clean_gain'])}** ({', '.join(f'{100 * g:+.1f}' for g in one['each_seed'])})",
            show(one["planted_before"]), show(one["planted_after"]), show(one["planted_gain"]),
            f"{fmean(one['sampled_tokens']):,.0f}",
        ]
        for arm, one in found["arms"].items()
    ]  # fmt: skip
    yield from table(
        ("arm", "seeds", "before", "after", "gain (each seed)", "planted, before", "planted, after", "planted, gain",
         "tokens sampled"), rows,
    )  # fmt: skip
    yield from ("", "What is asked in the first and in the last tenth of training (mean over seeds):")
    cells = [[ARMS[arm], *(_ends(runs, name, scale) for name, _, scale in ASKED)] for arm, runs in found["posed"].items()]
    yield from table(("arm", *(label for _, label, _ in ASKED)), cells)
    yield from ("", "![Accuracy of each arm](gains.png)", "", "![What is asked](questions.png)")
    yield from ("", "![Agreement and truth of answers in training](agreement.png)")


def part_mean(runs: Sequence[Sequence[Json]], number: int, name: str) -> float | None:
    """A figure of one part of training, mean over the runs that have it."""
    known = [run[number][name] for run in runs if len(run) > number and run[number].get(name) is not None]
    return fmean(known) if known else None


def _ends(runs: Sequence[Sequence[Json]], name: str, scale: float) -> str:
    first, last = part_mean(runs, 0, name), part_mean(runs, min(map(len, runs)) - 1, name)
    if first is None or last is None:
        return ""
    return f"{scale * first:.2f} -> {scale * last:.2f}" if scale == 1 else f"{scale * first:.0f} -> {scale * last:.0f}"


def questions_figure(found: Mapping[str, Sequence[Sequence[Json]]]) -> Figure:
    """How hard and how diverse questions are, over training."""
    figure = Figure(figsize=(9.6, 3.6))
    left, right = figure.subplots(1, 2)
    for number, (arm, runs) in enumerate(found.items()):
        parts = range(min(map(len, runs)))
        steps = [runs[0][n]["step"] for n in parts]
        colour, line = COLOURS[number % len(COLOURS)], "-" if number < len(COLOURS) else "--"
        left.plot(steps, [part_mean(runs, n, "carries") for n in parts], line, color=colour, label=ARMS[arm])
        right.plot(steps, [100 * (part_mean(runs, n, "near_duplicates") or 0.0) for n in parts], line, color=colour)
    left.set_ylabel("carries of a question")
    right.set_ylabel("near-duplicates, %")
    for axes in (left, right):
        axes.set_xlabel("step")
        axes.grid(alpha=0.25)
    figure.legend(frameon=False, fontsize=7, loc="outside right upper")
    return figure


def agreement_figure(found: Mapping[str, Sequence[Sequence[Json]]]) -> Figure:
    """Agreement (whole lines) and hidden truth (dashed) of the answers in training."""
    figure = Figure(figsize=(8.6, 3.8))
    axes = figure.add_subplot()
    for number, (arm, runs) in enumerate(
        (a, r) for a, r in found.items() if a in ("self_questioning", "oracle", "format_only")
    ):
        parts = range(min(map(len, runs)))
        for name, line in (("agreement", "o-"), ("truth", "s--")):
            values = [100 * (part_mean(runs, n, name) or 0.0) for n in parts]
            axes.plot(
                [runs[0][n]["step"] for n in parts], values, line, markersize=3, color=COLOURS[number],
                label=f"{ARMS[arm]}, {name}",
            )  # fmt: skip
    axes.set_xlabel("step")
    axes.set_ylabel("% of answers in training")
    figure.legend(frameon=False, fontsize=7, loc="outside right upper")
    axes.grid(alpha=0.25)
    return figure
