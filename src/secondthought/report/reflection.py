"""The page and the pictures of a reflection probe or sweep."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from secondthought.files import UserError
from secondthought.journal import read_episodes
from secondthought.probes.reflection import CELLS
from secondthought.report.figures import AFTER, ARM_COLOURS, BEFORE, THIRD, percent, svg
from secondthought.report.pages import Page, environment, told_in
from secondthought.report.table import CELL_NAMES, EFFECT_NAMES, show
from secondthought.types import Episode

MEASURE_NAMES = {
    "accuracy": "right after a flawed chain and “Wait,”",
    "explicit_rate": "says that something is wrong",
    "explicit_accuracy": "right and says so",
    "implicit_accuracy": "right silently",
    "no_trigger": "right without a trigger",
    "mistake": "right after “I made a mistake”",
    "filler": "right after a filler",
    "other_chain": "right after another question's chain",
    "self": "right after the own chain and “Wait,”",
    "solve": "right without a chain",
    "false_alarms": "says wrong of a right chain",
    "above_chance": "right after “Wait,”, less chance",
    "detection": "says wrong of flawed rather than right chains",
}
SENTENCES = (
    ("flawed/wait", "right", "A flawed chain put right"),
    ("flawed/wait", "same wrong answer", "The same wrong answer again"),
    ("flawed/wait", "other wrong answer", "Another wrong answer"),
    ("clean/wait", "other wrong answer", "A right chain spoilt"),
    ("self/wait", "right", "The own error put right"),
)
SHOWN_POINTS = 12


def page(out: Path) -> Page:
    """The page of a finished probe or sweep. Raises UserError if it is not finished."""
    resolved, summary = told_in(out)
    if not summary:
        raise UserError(f"{out} has no summary.json yet; run the same command again to finish it")
    points = summary["checkpoints"]
    pictures = figures(summary)
    shown = points if len(points) <= SHOWN_POINTS else last_of_each_run(points)[:SHOWN_POINTS]
    html = environment().get_template("probe.html").render(
        run=out.name,
        resolved=resolved,
        summary=summary,
        figures=[(title, Markup(svg(figure))) for title, figure in pictures.values()],
        correlations=[
            (family, [(series, _correlation_rows(found["correlations"])) for series, found in by_series.items()])
            for family, by_series in summary["sweeps"].items() if by_series
        ],
        changes=[(family, _changes(by_series)) for family, by_series in summary["sweeps"].items() if by_series],
        always_failed=[
            (family, [pair for found in by_series.values() for pair in found["always_failed"]["items"].items()])
            for family, by_series in summary["sweeps"].items() if by_series
        ],
        points=[_point(point) for point in shown],
        sentences=_sentences(out, shown[-1]) if shown else [],
        last=shown[-1]["checkpoint"]["name"] if shown else "",
    )  # fmt: skip
    return Page(html, {name: figure for name, (_, figure) in pictures.items()})


def last_of_each_run(points: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """The checkpoint with the most tokens of every run."""
    newest: dict[str, Mapping[str, Any]] = {}
    for point in points:
        newest[point["checkpoint"]["run"]] = point  # they come in order of tokens
    return list(newest.values())


def heading(point: Mapping[str, Any]) -> str:
    """What a column about a checkpoint is called: its run where it is one of many, else its name."""
    where = point["checkpoint"]
    return str(where["run"] if where["size"] else where["name"])


def _correlation_rows(found: Mapping[str, Mapping[str, Any]]) -> list[tuple[str, list[str]]]:
    columns = ("pooled", "within_size", "within_size_spearman", "beyond_solving", "with_solving")
    return [
        (label, [show(found[name]["per_decade"], signed=True), *(r(found[name][c]) for c in columns)])
        for name, label in MEASURE_NAMES.items() if name in found
    ]  # fmt: skip


def _changes(by_series: Mapping[str, Mapping[str, Any]]) -> list[tuple[str, str, str, str]]:
    """The last checkpoint of each run against its first (where they are named), and how many single steps differ."""
    rows = []
    for found in by_series.values():
        ends = {
            run: [p["name"] for p in found["points"] if p["run"] == run]
            for run in dict.fromkeys(p["run"] for p in found["points"])
        }
        for run, names in ends.items():
            whole = [s for s in found["steps"] if (s["from"], s["to"]) == (names[0], names[-1])]
            single = [s for s in found["steps"] if s["to"] in names and s not in whole]
            differ = sum(s["p_holm"] < 0.05 for s in single)
            for s in whole:
                rows.append((run, f"{100 * s['change']:+.1f}", f"{s['p_holm']:.1g}", f"{differ} of {len(single)}"))
    return rows


def r(estimate: Mapping[str, Any]) -> str:
    """A correlation with its interval, in hundredths.

    >>> r({"value": 0.83, "low": 0.6, "high": 0.92})
    '+0.83 [+0.60, +0.92]'
    """
    if estimate["value"] is None:
        return "-"
    low, high = estimate["low"], estimate["high"]
    return f"{estimate['value']:+.2f}" + (f" [{low:+.2f}, {high:+.2f}]" if low is not None and high is not None else "")


def _point(point: Mapping[str, Any]) -> dict[str, Any]:
    families = []
    for family, found in point["families"].items():
        metrics = ("accuracy", "explicit_rate", "explicit_accuracy", "implicit_accuracy", "same_wrong_answer", "answered")
        rows = [
            (label, found["cells"][cell]["accuracy"]["n"], [show(found["cells"][cell][m]) for m in metrics])
            for cell, label in CELL_NAMES.items() if cell in found["cells"]
        ]  # fmt: skip
        effects = [
            (label, show(found["effects"].get(k), signed=True)) for k, label in EFFECT_NAMES.items() if k in found["effects"]
        ]
        told = [found["decomposition"].get(name) for name in ("predicted", "measured")]
        decomposition = "" if None in told else " / ".join(f"{100 * share:.1f}" for share in told)
        families.append((family, rows, effects, found["flips"], decomposition))
    return {"name": point["checkpoint"]["name"], "claim": point["claim"], "families": families}


def _sentences(out: Path, point: Mapping[str, Any], each: int = 2) -> list[tuple[str, list[Episode]]]:
    """A few episodes of every kind of outcome."""
    path = out / "episodes" / f"{point['episodes']}.parquet"
    if not path.exists():
        return []
    found: dict[str, list[Episode]] = {title: [] for _, _, title in SENTENCES}
    for episode, _ in read_episodes(path):
        cell, why = CELLS[episode.path[1]].name, episode.verdicts["rest"].why
        for wanted, outcome, title in SENTENCES:
            if cell == wanted and why == outcome and len(found[title]) < each:
                found[title].append(episode)
    return [(title, episodes) for title, episodes in found.items() if episodes]


# --- pictures --------------------------------------------------------------------------------------------------------


def figures(summary: Mapping[str, Any]) -> dict[str, tuple[str, Figure]]:
    """Name, title and figure: the cells of the last models, and for sweeps compute, correlations and the trade-off."""
    found: dict[str, tuple[str, Figure]] = {}
    points = summary["checkpoints"]
    for family in dict.fromkeys(family for point in points for family in point["families"]):
        swept = summary["sweeps"].get(family) or {}
        if swept:
            found[f"compute_{family}"] = (f"Along pre-training: {family}", along_compute(swept))
            found[f"correlations_{family}"] = (f"What goes with compute: {family}", correlation_forest(swept))
            if any(_frontiers(analysed) for analysed in swept.values()):
                found[f"trade_off_{family}"] = (f"Training against test compute: {family}", trade_off(swept))
        last = [p for p in last_of_each_run(points) if family in p["families"]][:6]
        if last:
            found[f"cells_{family}"] = (f"What a chain and a trigger do: {family}", cells(last, family))
    return found


def cells(points: Sequence[Mapping[str, Any]], family: str) -> Figure:
    """How often each model is right in each cell: silently, and saying that something was wrong."""
    names = [cell for cell in CELL_NAMES if any(cell in p["families"][family]["cells"] for p in points)]
    figure = Figure(figsize=(4.4 + 2.2 * len(points), 0.42 * len(names) + 1.3))
    grid = figure.subplots(1, len(points), squeeze=False, sharey=True)[0]
    for axes, point in zip(grid, points, strict=True):
        for y, cell in enumerate(names):
            found = point["families"][family]["cells"].get(cell)
            if found is None:
                continue
            silent, named = 100 * (found["implicit_accuracy"]["value"] or 0), 100 * (found["explicit_accuracy"]["value"] or 0)
            axes.barh(y, silent, color=BEFORE, height=0.62)
            axes.barh(y, named, left=silent, color=AFTER, height=0.62)
            (value,), bounds = percent([found["accuracy"]])
            axes.errorbar(value, y, xerr=bounds, fmt="none", ecolor="#111827", capsize=2, linewidth=1)
        axes.set_title(heading(point), fontsize=9, loc="left")
        axes.set_xlim(0, 100)
        axes.grid(axis="x", alpha=0.25)
    grid[0].set_yticks(range(len(names)), [CELL_NAMES[cell] for cell in names])
    grid[0].invert_yaxis()
    figure.supxlabel("% right", fontsize=9)
    figure.legend(
        handles=[
            grid[0].barh(0, 0, color=colour, label=label)
            for colour, label in ((BEFORE, "silently"), (AFTER, "saying that something was wrong"))
        ],
        frameon=False, fontsize=8, loc="outside upper right", ncols=2,
    )  # fmt: skip
    return figure


TRACES = (
    ("solve", "no chain", BEFORE, "--"),
    ("accuracy", "flawed chain, “Wait,”", AFTER, "-"),
    ("mistake", "… “I made a mistake”", "#7c3aed", "-"),
    ("filler", "… filler", THIRD, "-"),
    ("no_trigger", "… no trigger", "#059669", ":"),
)


def along_compute(swept: Mapping[str, Mapping[str, Any]]) -> Figure:
    """One row for each series, one column for each model size: how often right, over pre-training compute."""
    sizes = list(dict.fromkeys(p["size"] for analysed in swept.values() for p in analysed["points"]))
    figure = Figure(figsize=(max(8.4, 3.1 * len(sizes) + 0.8), 2.1 * len(swept) + 0.8))
    grid = figure.subplots(len(swept), len(sizes), squeeze=False, sharey=True)
    for row, (series, analysed) in zip(grid, swept.items(), strict=True):
        for axes, size in zip(row, sizes, strict=True):
            points = [p for p in analysed["points"] if p["size"] == size and p["compute"]]
            for measure, label, colour, style in TRACES:
                trace(axes, points, measure, label, colour, style)
            axes.set_xscale("log")
            axes.set_ylim(-3, 103)
            axes.set_title(f"{series or 'all'} · {size}", fontsize=9, loc="left")
            axes.grid(alpha=0.25)
        row[0].set_ylabel("% right", fontsize=9)
    figure.supxlabel("pre-training compute 6ND, FLOP", fontsize=9)
    handles, labels = grid[0][0].get_legend_handles_labels()
    figure.legend(handles, labels, frameon=False, fontsize=8, loc="outside upper center", ncols=len(labels))
    return figure


def trace(axes: Axes, points: Sequence[Mapping[str, Any]], measure: str, label: str, colour: str, style: str) -> None:
    """The mean over runs, and every run faintly."""
    by_compute: dict[float, list[float]] = {}
    for run in dict.fromkeys(p["run"] for p in points):
        mine = sorted((p["compute"], 100 * p[measure]) for p in points if p["run"] == run and p[measure] is not None)
        if mine:
            axes.plot(*zip(*mine, strict=True), color=colour, alpha=0.2, linewidth=0.8)
        for position, (compute, value) in enumerate(mine):
            by_compute.setdefault(position, []).append(value)
            by_compute.setdefault(-1 - position, []).append(compute)
    count = sum(position >= 0 for position in by_compute)
    if count:
        x = [sum(by_compute[-1 - i]) / len(by_compute[-1 - i]) for i in range(count)]
        y = [sum(by_compute[i]) / len(by_compute[i]) for i in range(count)]
        axes.plot(x, y, style, color=colour, label=label, linewidth=1.6)


def correlation_forest(swept: Mapping[str, Mapping[str, Any]]) -> Figure:
    """Pooled, within size, and beyond solving, for each series and measure."""
    shown = ("above_chance", "accuracy", "explicit_rate", "explicit_accuracy", "implicit_accuracy", "no_trigger", "solve")
    kinds = (("pooled", "pooled", BEFORE), ("within_size", "within size", AFTER), ("beyond_solving", "beyond solving", THIRD))
    figure = Figure(figsize=(3.4 + 2.3 * len(swept), 3.8))
    grid = figure.subplots(1, len(swept), squeeze=False, sharey=True)[0]
    for axes, (series, analysed) in zip(grid, swept.items(), strict=True):
        for y, measure in enumerate(shown):
            for shift, (kind, _, colour) in zip((-0.2, 0.0, 0.2), kinds, strict=True):
                found = analysed["correlations"].get(measure, {}).get(kind)
                if found and found["value"] is not None:
                    low, high = (found["value"] if found[k] is None else found[k] for k in ("low", "high"))
                    bounds = [[max(0.0, found["value"] - low)], [max(0.0, high - found["value"])]]
                    axes.errorbar(found["value"], y + shift, xerr=bounds, fmt="o", color=colour, capsize=2, markersize=4)
        axes.axvline(0, color=BEFORE, linewidth=0.8)
        axes.set_xlim(-1.05, 1.05)
        axes.set_title(series or "all", fontsize=9, loc="left")
        axes.grid(axis="x", alpha=0.25)
    grid[0].set_yticks(range(len(shown)), [MEASURE_NAMES[m] for m in shown])
    grid[0].invert_yaxis()
    for _, label, colour in kinds:
        grid[0].plot([], [], "o", color=colour, label=label)
    figure.legend(*grid[0].get_legend_handles_labels(), frameon=False, fontsize=8, loc="outside upper center", ncols=3)
    figure.supxlabel("correlation with log compute", fontsize=9)
    return figure


def _frontiers(analysed: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    return [p for p in analysed["trade_off"]["points"] if p["test"] and p["train"]]


def trade_off(swept: Mapping[str, Mapping[str, Any]]) -> Figure:
    """Compute spent in training and in writing, for each checkpoint that reaches the share of items named above it."""
    figure = Figure(figsize=(5.6, 3.8))
    axes = figure.add_subplot()
    for colour, (series, analysed) in zip(ARM_COLOURS * 3, swept.items(), strict=False):
        points = _frontiers(analysed)
        if points:
            label = f"{series or 'all'}: {100 * analysed['trade_off']['target']:.0f} % solved"
            axes.plot([p["train"] for p in points], [p["test"] for p in points], "o", color=colour, label=label, markersize=4)
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xlabel("training compute 6ND, FLOP")
    axes.set_ylabel("test compute 2Nw for each item, FLOP")
    axes.legend(frameon=False, fontsize=8)
    axes.grid(alpha=0.25)
    return figure


def terminal(summary: Mapping[str, Any]) -> str:
    """A few lines for the terminal: the last models' cells, and the correlations."""
    from io import StringIO

    from rich.console import Console
    from rich.table import Table

    out = StringIO()
    console = Console(file=out, width=118)
    last = last_of_each_run(summary["checkpoints"])
    for family in dict.fromkeys(family for point in last for family in point["families"]):
        table = Table(title=f"{family}: % right [95 %]", title_justify="left")
        table.add_column("chain, trigger")
        here = [p for p in last if family in p["families"]][:4]
        for point in here:
            table.add_column(heading(point), justify="right")
        for cell, label in CELL_NAMES.items():
            found = [p["families"][family]["cells"].get(cell, {}).get("accuracy") for p in here]
            if any(found):
                table.add_row(label, *(show(f) for f in found))
        console.print(table)
    for family, swept in summary["sweeps"].items():
        for series, analysed in swept.items():
            accuracy = analysed["correlations"].get("accuracy")
            if accuracy:
                slope, *rs = (accuracy[key] for key in ("per_decade", "pooled", "within_size", "beyond_solving"))
                growth = f"{family} {series}: recovery {show(slope, signed=True)} points for ten times the compute"
                console.print(
                    growth + "; r with log compute = {} pooled, {} within size, {} beyond solving".format(*map(r, rs))
                )
    for why, found in summary["left_out"].items():
        console.print(f"left out: {found['rows']} x {why} (first: {found['first']})")
    return out.getvalue().rstrip()
