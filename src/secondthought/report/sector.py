"""What ``reproduce sector`` found: a page of Markdown and three pictures."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

from matplotlib.figure import Figure

from secondthought.report.figures import COLOURS, save, spans
from secondthought.report.rrr import show, table
from secondthought.runs.files import write_text
from secondthought.runs.reports import estimate_from

Json = Mapping[str, Any]
ARMS = {
    "sector": "E: vote, both orders (SECToR)", "fast": "A: answers at once", "chain": "B: one simplification",
    "vote": "C: vote of five", "commute": "D: both orders", "oracle": "F: E, right ones only (bound)",
    "supervised": "G: right labels (bound)", "at_once": "H: all lengths in one round",
    "sampled": "I: vote of answers at once", "lax_10": "checker lets 10 % through", "lax_50": "checker lets 50 % through",
    "lax_100": "checker lets all through", "random_20": "20 % of first labels spoiled at random",
    "dropped_20": "20 % of first labels without carries", "random_5": "5 % of first labels spoiled at random",
    "dropped_5": "5 % of first labels without carries",
}  # fmt: skip
SHOWN = ("sector", "fast", "chain", "vote", "commute", "sampled", "supervised")
CHECKERS = (("sector", 0), ("lax_10", 10), ("lax_50", 50), ("lax_100", 100))


def write(out: Path, found: Json) -> Path:
    """Write ``results.md`` and the pictures."""
    save(errors_figure(found["rounds"]), out / "label_error.png")
    save(digits_figure(found["arms"]), out / "digits.png")
    if sum(arm in found["arms"] for arm, _ in CHECKERS) > 1:
        save(checker_figure(found["arms"]), out / "checker.png")
    path = out / "results.md"
    write_text(path, "\n".join(_lines(found)).rstrip() + "\n")
    return path


def _lines(found: Json) -> Iterator[str]:
    arms = found["arms"]
    yield from (
        "# How far a model teaches itself to add",
        "",
        "Written by `secondthought reproduce sector`. Digits reached: the most digits up to which at least half of the held-out"
        " sums are added right at once. Label error and acceptance are of the longest sums of each round, mean over seeds.",
    )
    if arms:
        lengths = list(next(iter(arms.values()))["by_digits"])
        before = next(iter(arms.values()))["before"]
        rows = [["before", "", "", *(show(before[d]) for d in lengths), ""]]
        rows += [
            [
                ARMS[arm], str(one["seeds"]),
                f"**{one['reach']['value']:.1f}** ({', '.join(f'{r:g}' for r in one['each_seed'])})",
                *(show(one["by_digits"][d]) for d in lengths), f"{fmean(one['sampled_tokens']):,.0f}",
            ]
            for arm, one in arms.items()
        ]  # fmt: skip
        head = ("arm", "seeds", "digits reached (each seed)", *(f"{d} digits, %" for d in lengths), "tokens sampled")
        yield from table(head, rows)
    yield from ("", "Label error by round, % (acceptance, %):")
    rounds = max((len(run) for runs in found["rounds"].values() for run in runs), default=0)
    cells = [
        [ARMS[arm], *(_round(runs, number) for number in range(rounds))] for arm, runs in found["rounds"].items()
    ]  # fmt: skip
    yield from table(("arm", *(str(number + 1) for number in range(rounds))), cells)
    yield from ("", "Carries of the sums that were accepted, over those of all sums:")
    biased = [[ARMS[arm], *(_carries(runs, n) for n in range(rounds))] for arm, runs in found["rounds"].items()]
    yield from table(("arm", *(str(number + 1) for number in range(rounds))), biased)
    yield from ("", "![Label error over rounds](label_error.png)", "", "![Accuracy by number of digits](digits.png)")
    if sum(arm in arms for arm, _ in CHECKERS) > 1:
        yield from ("", "![Digits reached by what the checker lets through](checker.png)")


def mean_of(runs: Sequence[Sequence[Json]], number: int, name: str) -> float | None:
    """A figure of a round, mean over the runs that have it."""
    known = [run[number][name] for run in runs if number < len(run) and name in run[number]]
    return fmean(known) if known else None


def _round(runs: Sequence[Sequence[Json]], number: int) -> str:
    wrong, taken = mean_of(runs, number, "longest_label_error"), mean_of(runs, number, "longest_accepted")
    if wrong is None:
        return "" if taken is None else f"none ({100 * taken:.0f})"
    return f"{100 * wrong:.1f} ({100 * (taken or 0.0):.0f})"


def _carries(runs: Sequence[Sequence[Json]], number: int) -> str:
    value = mean_of(runs, number, "longest_carries")
    return "" if value is None else f"{value:.2f}"


def errors_figure(found: Mapping[str, Sequence[Sequence[Json]]]) -> Figure:
    """Label error over rounds."""
    figure = Figure(figsize=(8.6, 4.2))
    axes = figure.add_subplot()
    for number, arm in enumerate(arm for arm in SHOWN if arm in found and arm != "supervised"):
        rounds = range(max((len(run) for run in found[arm]), default=0))
        points = [(n + 1, v) for n in rounds if (v := mean_of(found[arm], n, "longest_label_error")) is not None]
        axes.plot(
            [x for x, _ in points], [max(100 * y, 0.05) for _, y in points], "o-", markersize=4, label=ARMS[arm],
            color=COLOURS[number],
        )  # fmt: skip
    axes.set_yscale("log")
    axes.set_xlabel("round")
    axes.set_ylabel("labels that are wrong, %")
    axes.legend(frameon=False, fontsize=8)
    axes.grid(alpha=0.25)
    return figure


def digits_figure(found: Json) -> Figure:
    """Accuracy at once by number of digits."""
    figure = Figure(figsize=(8.6, 4.2))
    axes = figure.add_subplot()
    some = [arm for arm in SHOWN if arm in found]
    if some:
        before = found[some[0]]["before"]
        axes.plot([int(d) for d in before], [100 * e["value"] for e in before.values()], "k:", label="before training")
    for number, arm in enumerate(some):
        estimates = found[arm]["by_digits"]
        values, bounds = spans([estimate_from(e) for e in estimates.values()])
        axes.errorbar(
            [int(d) for d in estimates], values, yerr=bounds, fmt="o-", markersize=3, capsize=2, label=ARMS[arm],
            color=COLOURS[number],
        )  # fmt: skip
    axes.set_xlabel("digits")
    axes.set_ylabel("held-out sums added right at once, %")
    figure.legend(frameon=False, fontsize=7, loc="outside right upper")
    axes.grid(alpha=0.25)
    return figure


def checker_figure(found: Json) -> Figure:
    """Digits reached by how much of what the check refuses is let through."""
    figure = Figure(figsize=(6.4, 3.6))
    axes = figure.add_subplot()
    some = [(share, estimate_from(found[arm]["reach"])) for arm, share in CHECKERS if arm in found]
    values, bounds = spans([e for _, e in some])
    axes.errorbar([x for x, _ in some], values, yerr=bounds, fmt="o-", capsize=3, color=COLOURS[0])
    axes.set_xlabel("refused labels that are taken all the same, %")
    axes.set_ylabel("digits reached")
    axes.grid(alpha=0.25)
    return figure
