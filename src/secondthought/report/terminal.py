"""Reports, summaries and claims as tables for the terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from io import StringIO
from typing import Any

from rich.console import Console
from rich.table import Table as Grid

from secondthought.report.words import cell, show, verdict
from secondthought.runs.progress import duration
from secondthought.runs.reports import estimate_from, report_from
from secondthought.types import Claim, Report, Table

WIDTH = 118


class _Page:
    """What was printed so far."""

    def __init__(self) -> None:
        self.out = StringIO()
        self.console = Console(file=self.out, width=WIDTH)

    def grid(self, title: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
        """A table whose first column is words and whose others are numbers."""
        table = Grid(title=title, title_justify="left")
        for number, name in enumerate(columns):
            table.add_column(name, justify="right" if number else "left")
        for row in rows:
            table.add_row(*row)
        self.console.print(table)

    def line(self, text: str) -> None:
        """A sentence."""
        self.console.print(text, markup=False, highlight=False)


def summary(found: Mapping[str, Any]) -> str:
    """The summary of a training run or of a probe."""
    return training(found) if found.get("kind") == "train" else probe(found)


def training(found: Mapping[str, Any]) -> str:
    """Before and after of every probe, and what compared the untrained with the trained model."""
    page = _Page()
    for name, sides in found["probes"].items():
        before, after = report_from(sides["before"]), report_from(sides["after"])
        old = {arm.name: arm.estimate for arm in before.arms}
        rows = [
            (
                ("  " if arm.control else "") + arm.label, show(old.get(arm.name)), show(arm.estimate),
                show(estimate_from(sides["change"][arm.name])) if arm.name in sides["change"] else "-",
            )
            for arm in after.arms
        ]  # fmt: skip
        n = max((arm.estimate.n for arm in after.arms), default=0)
        page.grid(f"{found['run']}: {name}, % of {n} held-out problems [95 %]", ("", "before", "after", "change"), rows)
        page.line(f"before training, {verdict(before)}.")
        page.line(f"after training, {verdict(after)}.")
    for one in found["comparisons"].values():
        compared = report_from(one)
        page.line("")
        for effect in compared.effects:
            page.line(f"{effect.label}: {show(effect.estimate)} points")
        page.line(f"{verdict(compared)}.")
    share = found["training"]["zero_signal_groups"]
    if share > 0.95:
        page.line(f"Nothing was learned: {100 * share:.0f} % of the groups had no signal (all their rewards were equal).")
    return page.out.getvalue().rstrip()


def costs(
    model: str, rows: Mapping[str, tuple[int, int, int, float | None]], prices: tuple[float, float] = (0.0, 0.0)
) -> str:  # fmt: skip
    """What each probe takes of a model if its answers are as long as they may be: calls, tokens read and written, time to
    sample them (None: not known), and dollars at ``prices`` for a million of either.
    """
    page = _Page()
    calls, read, written = (sum(one[k] or 0 for one in rows.values()) for k in range(3))
    times = [one[3] for one in rows.values() if one[3] is not None]
    timed = len(times) == len(rows)
    columns = ["", "calls", "tokens read", "written, up to", *(["time to sample, up to"] if timed else [])]
    columns += ["$, up to"] if any(prices) else []
    shown = []
    for name, (asked, reads, writes, seconds) in {**rows, "all together": (calls, read, written, sum(times))}.items():
        row = [name, f"{asked:,}", f"{reads:,}", f"{writes:,}", *([duration(seconds or 0.0)] if timed else [])]
        shown.append(row + ([f"{(reads * prices[0] + writes * prices[1]) / 1e6:.2f}"] if any(prices) else []))
    page.grid(f"{model}: what it takes", columns, shown)
    return page.out.getvalue().rstrip()


def suite(found: Mapping[str, Any]) -> str:
    """Every question of a suite with its answer."""
    page = _Page()
    for one in found["parts"]:
        for model in one["models"]:
            report = report_from(model["report"])
            page.line(f"{one['asks'] or one['probe']} {model['checkpoint']['name']}: {verdict(report)}.")
    return page.out.getvalue().rstrip()


MODELS_SHOWN = 4


def probe(found: Mapping[str, Any]) -> str:
    """The arms of the last few models side by side, each one's verdict, and what they show together."""
    reports = [(model["checkpoint"]["name"], report_from(model["report"])) for model in found["models"]]
    shown = reports[-MODELS_SHOWN:]
    page = _Page()
    labels = {arm.name: ("  " if arm.control else "") + arm.label for _, report in shown for arm in report.arms}
    rows = [
        (label, *(show(next((a.estimate for a in report.arms if a.name == name), None)) for _, report in shown))
        for name, label in labels.items()
    ]
    page.grid(f"{found['run']}: {found['probe']}, % [95 %]", ("", *(name for name, _ in shown)), rows)
    for name, report in shown:
        page.line(f"{name}: {verdict(report)}.")
        for note in report.notes:
            page.line(f"  {note}")
    if found["across"]:
        report_lines(page, report_from(found["across"]))
    for note in found["notes"]:
        page.line(note)
    return page.out.getvalue().rstrip()


def report_lines(page: _Page, report: Report) -> None:
    """The tables and the verdict of a report."""
    for table in report.tables:
        table_lines(page, table)
    if report.claim:
        page.line(f"{verdict(report)}.")


def table_lines(page: _Page, table: Table) -> None:
    """One table."""
    page.grid(table.title, table.columns, [[cell(value) for value in row] for row in table.rows])


def report(found: Report) -> str:
    """One report: its arms, its effects, its tables and its verdict."""
    page = _Page()
    rows = [(("  " if arm.control else "") + arm.label, show(arm.estimate), str(arm.estimate.n)) for arm in found.arms]
    page.grid(f"{found.probe}, % [95 %]", ("", "", "n"), rows)
    if found.effects:
        page.grid("paired effects, points [95 %]", ("", ""), [(e.label, show(e.estimate)) for e in found.effects])
    report_lines(page, found)
    return page.out.getvalue().rstrip()


def claims(name: str, budget: str, found: Sequence[Claim]) -> str:
    """The claims of a reproduction: published beside measured, with verdicts and reasons."""
    page = _Page()
    rows = [
        (one.text, one.source, "-" if one.published is None else str(one.published), show(one.measured), one.verdict)
        for one in found
    ]
    page.grid(f"{name}, budget {budget}", ("claim", "source", "published", "measured", "verdict"), rows)
    for one in found:
        if one.reasons:
            page.line(f"{one.id}: {'; '.join(one.reasons)}")
    return page.out.getvalue().rstrip()


DAY = 86_400.0  # seconds


def plan_of_probe(name: str, shape: Any, count: Any, seconds: float) -> str:
    """What a measurement asks of a model at most, and how long it takes."""
    return (
        f"{name} on {shape.name} ({shape.parameters / 1e6:,.1f}M parameters): at most {count.answers:,} answers and "
        f"{count.written:,} sampled tokens, about {duration(seconds)} here if every answer takes all its tokens"
    )


def plan_in_short(found: Any, steps: int) -> str:
    """The same as :func:`plan` in a line."""
    answers = sum(count.answers for count, _ in found.evaluation.values())
    written = sum(count.written for count, _ in found.evaluation.values())
    asking = sum(seconds for _, seconds in found.evaluation.values())
    needed = sum(found.memory.values()) / 2**30
    return (
        f"at most: {steps:,} steps of {found.tokens:,} tokens in {duration(steps * sum(found.seconds.values()))}; measuring "
        f"{answers:,} answers of {written:,} tokens in {duration(asking)}; {needed:.1f} of {found.room / 2**30:.1f} GiB"
    )


def plan(found: Any, steps: int) -> str:
    """What a run will take (a :class:`secondthought.training.plan.Plan`), and whether it fits."""
    shape = found.shape
    page = _Page()
    learns = "" if shape.trained == shape.parameters else f", of which {shape.trained / 1e6:,.1f}M learn"
    page.console.print(f"{shape.name}: {shape.parameters / 1e6:,.1f}M parameters{learns}; on {found.device}", soft_wrap=True)
    rows = [(name, f"{size / 2**30:.2f}") for name, size in found.memory.items()]
    rows.append(("all of it", f"{sum(found.memory.values()) / 2**30:.2f} of {found.room / 2**30:.1f}"))
    page.grid("memory, at most", ("", "GiB"), rows)
    whole = sum(found.seconds.values())
    rows = [*((name, f"{seconds:.2f}") for name, seconds in found.seconds.items()), ("all of it", f"{whole:.2f}")]
    page.grid("a step at full length", ("", "seconds"), rows)
    measuring = [
        (name, f"{count.answers:,}", f"{count.written:,}", duration(seconds))
        for name, (count, seconds) in found.evaluation.items()
    ]
    if measuring:
        page.grid("measuring, at most", ("", "answers", "tokens", "time"), measuring)
    training, asking = whole * steps, sum(seconds for _, seconds in found.evaluation.values())
    times = f"{steps:,} steps take at most about {duration(training)}, measuring {duration(asking)}"
    page.console.print(f"{found.tokens:,} tokens a step; {times}.", soft_wrap=True)
    if training + asking > DAY:
        page.line(f"That is {(training + asking) / DAY:,.0f} days on this machine: fewer steps, problems or tokens would help.")
    page.line("The memory is enough." if found.fits else "The memory is not enough:")
    for advice in found.advice:
        page.line(f"  {advice}")
    return page.out.getvalue().rstrip()
