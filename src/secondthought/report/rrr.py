"""The tables of ``reproduce rrr`` as a page of Markdown, and their pictures."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from secondthought.report.arms import arms
from secondthought.report.figures import AFTER, BEFORE, save, spans
from secondthought.report.words import show as show_estimate
from secondthought.runs.files import write_text
from secondthought.runs.reports import estimate_from

Json = Mapping[str, Any]
TITLES = {"countdown": "Countdown", "tool_world": "Function calling"}
CONTROLS = {
    "donor": "another problem's reflection", "generic": "a constant reflection", "empty": "an empty reflection",
    "resample": "fresh attempts for the same tokens",
}  # fmt: skip
PARTS = {"countdown": "Countdown", "tools": "tools", "drills": "drills"}


def write(out: Path, summary: Json) -> Path:
    """Write ``results.md`` and the pictures beside it."""
    for task, found in summary["tasks"].items():
        if found["sizes"]:
            save(sizes_figure(found["sizes"]), out / f"{task}_sizes.png")
        for size, by_arm in found["arms"].items():
            save(arms(by_arm), out / f"{task}_arms_{size}.png")
    path = out / "results.md"
    write_text(path, page(summary))
    return path


def page(summary: Json) -> str:
    """All tables as Markdown."""
    return "\n".join(_lines(summary)).rstrip() + "\n"


def _seeds(count: int) -> str:
    return "one seed" if count == 1 else f"up to {count} seeds"


def _lines(summary: Json) -> Iterator[str]:
    parameters = {size: f"{count:,}" for size, count in sorted(summary["parameters"].items(), key=lambda pair: pair[1])}
    yield from (
        "# Reflect, Retry, Reward on the nano family",
        "",
        f"Written by `secondthought reproduce rrr`: {summary['runs']} runs, {_seeds(summary['seeds'])},"
        f" {summary['problems']} held-out problems each. Percent with 95 % intervals, resampled by problem over pooled seeds.",
        "",
        "Parameters: " + ", ".join(f"{size} {count}" for size, count in parameters.items()) + ".",
    )
    for task, found in summary["tasks"].items():
        yield from ("", f"## {TITLES[task]}")
        yield from _both_tries(found["sizes"])
        if found["sizes"]:
            yield from ("", f"![{TITLES[task]}: first and second try by size]({task}_sizes.png)")
        yield from _greedy(found["sizes"])
        yield from _beats(found["beats"])
        trained = {size: one for size, one in found["sizes"].items() if "after" in one}
        yield from _controls(trained)
        yield from _held(trained)
        for size, by_arm in found["arms"].items():
            yield from _arms(size, by_arm, summary["tokens"][task])
            yield from ("", f"![{TITLES[task]}: who is paid]({task}_arms_{size}.png)")
        yield from _errors(trained)
        yield from _lengths(trained)
        for size, by_arm in found["arms"].items():
            yield from _rest(task, size, by_arm)


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """A Markdown table, with an empty line before it."""
    yield ""
    yield "| " + " | ".join(head) + " |"
    yield "|" + "---|" * len(head)
    for row in rows:
        yield "| " + " | ".join(row) + " |"


def show(estimate: Json) -> str:
    """An estimate in percent, a difference in points, each with its interval."""
    return show_estimate(estimate_from(estimate))


def _both_tries(sizes: Json) -> Iterator[str]:
    rows = []
    for size, one in sizes.items():
        cells = [show(one["before"]["first"]), show(one["before"]["second"])]
        if "after" in one:
            each = ", ".join(f"{100 * change:+.1f}" for change in one["change_of_each_seed"])
            cells += [show(one["after"]["first"]), show(one["after"]["second"])]
            cells += [show(one["change"]["first"]), f"**{show(one['change']['second'])}** ({each})"]
        rows.append([size, *cells, *["-"] * (6 - len(cells))])
    head = (
        "size", "untrained, 1st", "untrained, 2nd", "trained, 1st", "trained, 2nd", "change of 1st",
        "change of 2nd (each seed)",
    )  # fmt: skip
    yield from table(head, rows)


def _greedy(sizes: Json) -> Iterator[str]:
    if sizes:
        yield from ("", "The same at temperature 0, where a gain cannot come from a sharper distribution alone:")
        rows = []
        for size, one in sizes.items():
            cells = [show(one["greedy_before"][m]) for m in ("first", "second")]
            if "after" in one:
                cells += [show(one["greedy_after"][m]) for m in ("first", "second")]
                cells += [show(one["greedy_change"][m]) for m in ("first", "second")]
            rows.append([size, *cells, *["-"] * (6 - len(cells))])
        head = ("size", "untrained, 1st", "untrained, 2nd", "trained, 1st", "trained, 2nd", "change of 1st", "change of 2nd")
        yield from table(head, rows)


def _beats(beats: Json) -> Iterator[str]:
    if beats:
        yield from ("", "Does a small trained model beat an untrained one ten times its size, on the second try?")
        rows = [
            [
                name,
                show(one["trained"]),
                show(one["untrained"]),
                show(one["difference"]),
                "yes" if one["difference"]["low"] > 0 else "no" if one["difference"]["high"] < 0 else "undecided",
            ]
            for name, one in beats.items()
        ]
        yield from table(("", "trained", "untrained", "difference", "at 95 %"), rows)


def _controls(trained: Json) -> Iterator[str]:
    if trained:
        yield from ("", "On the failures, the own reflection's retry less that of other arms, points (untrained -> trained):")
        rows = [
            [
                label,
                *(
                    f"{show(one['before'][f'own_minus_{arm}'])} -> {show(one['after'][f'own_minus_{arm}'])}"
                    for one in trained.values()
                ),
            ]
            for arm, label in CONTROLS.items()
        ]
        yield from table(("own minus", *trained), rows)


def _held(trained: Json) -> Iterator[str]:
    sizes = {size: one["held"] for size, one in trained.items() if "held" in one}
    if sizes:
        yield from ("", "Second try by what was held out:")
        rows = [
            [f"{size}, held-out {kind}s", show(one["before"]), show(one["after"]), show(one["change"])]
            for size, held in sizes.items()
            for kind, one in held.items()
        ]
        yield from table(("", "untrained", "trained", "change"), rows)


def _arms(size: str, by_arm: Json, tokens: int) -> Iterator[str]:
    yield from ("", f"Who should be paid? {size}, each arm stopped at {tokens:,} sampled tokens:")
    rows = [
        [
            arm.replace("_", " "), str(one["seeds"]), *(show(one[m]) for m in ("first", "second", "resampled")),
            show(one["second_gain"]), show(one["own_minus_donor"]),
        ]
        for arm, one in by_arm.items()
    ]  # fmt: skip
    head = ("arm", "seeds", "1st", "with one reflection", "fresh attempts instead", "change of 2nd", "own minus donor")
    yield from table(head, rows)


def _errors(trained: Json) -> Iterator[str]:
    if trained:
        yield from ("", "How answers fail, % of all first tries / of all retries (untrained -> trained):")
        classes = dict.fromkeys(
            why
            for one in trained.values()
            for side in ("before", "after")
            for verdict in ("attempt", "retry")
            for why in one[side]["errors"][verdict]
        )
        rows = [[why, *(_shares(one, why) for one in trained.values())] for why in classes]
        yield from table(("class of error", *trained), rows)


def _shares(one: Json, why: str) -> str:
    """One class of error, among first tries and among retries, untrained and trained."""
    before, after = one["before"]["errors"], one["after"]["errors"]
    return " / ".join(f"{100 * before[v].get(why, 0):.1f} -> {100 * after[v].get(why, 0):.1f}" for v in ("attempt", "retry"))


def _lengths(trained: Json) -> Iterator[str]:
    if trained:
        yield from ("", "Length of a reflection in tokens (its end token included):")
        rows = [
            [f"{label}, {when}", *(show(one[side][key]) for one in trained.values())]
            for key, label in (("length", "all"), ("length_right", "retry right"), ("length_wrong", "retry wrong"))
            for side, when in (("before", "untrained"), ("after", "trained"))
        ]
        yield from table(("", *trained), rows)


def _rest(task: str, size: str, by_arm: Json) -> Iterator[str]:
    other = TITLES["tool_world" if task == "countdown" else "countdown"]
    yield from ("", f"What became of everything that was not trained ({size}, points; perplexity untrained -> trained):")
    rows = [
        [
            arm.replace("_", " "), show(one["other"]["change"]["first"]), show(one["other"]["change"]["second"]),
            show(one["other"]["after"]["own_minus_donor"]), show(one["copy"]["change"]), show(one["sort"]["change"]),
            *(f"{one['perplexity'][part]['before']:.3f} -> {one['perplexity'][part]['after']:.3f}" for part in PARTS),
        ]
        for arm, one in by_arm.items()
    ]  # fmt: skip
    head = ("arm trained", f"{other}, 1st", f"{other}, 2nd", "own minus donor there", "copying", "sorting")
    yield from table((*head, *(f"perplexity, {part}" for part in PARTS.values())), rows)


def sizes_figure(sizes: Json) -> Figure:
    """First and second try of every size, untrained and trained."""
    figure = Figure(figsize=(7.2, 3.4))
    axes = figure.add_subplot()
    shown = (
        ("before", "first", "untrained, first try", BEFORE, "o"), ("before", "second", "untrained, second try", BEFORE, "s"),
        ("after", "first", "trained, first try", AFTER, "o"), ("after", "second", "trained, second try", AFTER, "s"),
    )  # fmt: skip
    names = list(sizes)
    for shift, (side, measure, label, colour, marker) in zip((-0.15, -0.05, 0.05, 0.15), shown, strict=True):
        points = [(x + shift, sizes[name][side][measure]) for x, name in enumerate(names) if side in sizes[name]]
        values, bounds = spans([estimate_from(estimate) for _, estimate in points])
        axes.errorbar([x for x, _ in points], values, yerr=bounds, fmt=marker, color=colour, label=label, capsize=3)
    axes.set_xticks(range(len(names)), names)
    axes.set_ylabel("% of held-out problems")
    axes.set_ylim(0, 100)
    axes.legend(frameon=False, fontsize=8, ncols=2)
    axes.grid(axis="y", alpha=0.25)
    return figure
