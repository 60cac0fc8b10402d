"""What ``reproduce score`` found: a page of Markdown and four pictures."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from secondthought.report.arms import arms
from secondthought.report.figures import AFTER, BEFORE, COLOURS, THIRD, save, spans
from secondthought.report.rrr import show, table
from secondthought.runs.files import write_text
from secondthought.runs.reports import estimate_from

Json = Mapping[str, Any]
ARMS = {
    "score": "SCoRe", "base": "base model", "self_refine": "Self-Refine prompt", "star": "STaR, D", "star_plus": "STaR, D+",
    "pair_sft": "Pair-SFT, D", "pair_sft_plus": "Pair-SFT, D+", "multi_turn": "plain RL over two turns",
    "single_turn": "RL over one turn", "no_stage_one": "SCoRe without stage I", "no_bonus": "SCoRe without the bonus",
    "star_in_stage_two": "stage I, then STaR", "gamma": "gamma 0.8", "fixed_first": "half of the first attempts the base's",
}  # fmt: skip
SHOWN = (
    ("attempt_1", "first attempt", BEFORE), ("attempt_2", "second attempt", AFTER),
    ("resampled", "fresh attempts with an oracle", THIRD),
)  # fmt: skip
EDITS = ("base", "pair_sft", "pair_sft_plus", "star", "multi_turn", "score")


def write(out: Path, found: Json) -> Path:
    """Write ``results.md`` and the pictures."""
    save(arms(found["arms"], SHOWN, ARMS, "% of held-out problems"), out / "arms.png")
    save(edits_figure(found["edits"]), out / "edits.png")
    save(changes_figure(found["curves"]), out / "changes.png")
    if found["shift"]:
        save(shift_figure(found["shift"]), out / "shift.png")
    path = out / "results.md"
    write_text(path, "\n".join(_lines(found)).rstrip() + "\n")
    return path


def _lines(found: Json) -> Iterator[str]:
    yield from (
        "# Self-correction without an oracle",
        "",
        "Written by `secondthought reproduce score`. Percent of held-out problems with 95 % intervals, clustered by problem"
        " over pooled seeds; D and each seed's D in points.",
    )
    rows = [
        [
            ARMS.get(arm, arm), str(one["seeds"]), show(one["attempt_1"]), show(one["attempt_2"]),
            f"**{show(one['gain'])}** ({', '.join(f'{100 * d:+.1f}' for d in one['each_seed'])})",
            show(one["i_to_c"]), show(one["c_to_i"]), show(one["changed"]), show(one["either"]), show(one["resampled"]),
            f"{sum(one['sampled_tokens']) / one['seeds']:,.0f}",
        ]
        for arm, one in found["arms"].items()
    ]  # fmt: skip
    yield from table(
        ("arm", "seeds", "Acc@t1", "Acc@t2", "D", "wrong, then right", "right, then wrong", "answer changes",
         "right in either turn (oracle)", "fresh attempts, same tokens (oracle)", "tokens sampled"), rows,
    )  # fmt: skip
    yield from ("", "Of wrong first attempts mended, and of right ones spoiled:")
    given = [[ARMS.get(arm, arm), show(one["i_to_c_given"]), show(one["c_to_i_given"])] for arm, one in found["arms"].items()]
    yield from table(("arm", "mended", "spoiled"), given)
    yield from ("", "![Both turns of each arm](arms.png)", "", "![How much is changed](edits.png)")
    yield from ("", "![Share of answers that change, over training](changes.png)")
    if found["shift"]:
        yield from ("", "![Corrections of own and of fixed first attempts](shift.png)")
        shifted = []
        for arm, seeds in found["shift"].items():
            last = [points[-1] for points in seeds]
            cells = [
                f"{show(seeds[0][0][name])} -> {', '.join(show(point[name]) for point in last)}" for name in ("fixed", "own")
            ]
            shifted.append([ARMS.get(arm, arm), *cells])
        yield from table(("wrong first attempts mended (each seed)", "of the base model (fixed)", "its own"), shifted)


def edits_figure(found: Json) -> Figure:
    """How far second attempts are from first ones."""
    figure = Figure(figsize=(9.0, 4.2))
    axes = figure.add_subplot()
    for arm in (arm for arm in EDITS if arm in found):
        places = [x for x, _ in found[arm]]
        axes.plot(
            places, [100 * y for _, y in found[arm]], "o-", markersize=3, label=ARMS[arm], color=COLOURS[EDITS.index(arm)]
        )
    axes.set_xlabel("edit distance over length (0: not one token changed)")
    axes.set_ylabel("% of second attempts")
    axes.legend(frameon=False, fontsize=8)
    axes.grid(alpha=0.25)
    return figure


def changes_figure(found: Json) -> Figure:
    """Which share of answers changes, over training."""
    figure = Figure(figsize=(9.0, 4.2))
    axes = figure.add_subplot()
    for number, (arm, points) in enumerate((a, p) for a, p in found.items() if p):
        line = "-" if number < len(COLOURS) else "--"
        steps, shares = [p["step"] for p in points], [100 * p["changed"] for p in points]
        colour = COLOURS[number % len(COLOURS)]
        axes.plot(steps, shares, line, marker="o", markersize=3, label=ARMS.get(arm, arm), color=colour)
    axes.set_ylim(0, 100)
    axes.set_xlabel("step")
    axes.set_ylabel("answers that change, % (dev problems)")
    figure.legend(frameon=False, fontsize=7, loc="outside right upper")
    axes.grid(alpha=0.25)
    return figure


def shift_figure(found: Json) -> Figure:
    """Corrections of fixed first attempts (whole lines) and of own ones (dashed), over training."""
    figure = Figure(figsize=(9.0, 4.2))
    axes = figure.add_subplot()
    for number, (arm, seeds) in enumerate(found.items()):
        for name, style in (("fixed", "o-"), ("own", "s--")):
            values, bounds = spans([estimate_from(point[name]) for point in seeds[0]])
            label = f"{ARMS.get(arm, arm)}, {'the base model' + chr(39) + 's' if name == 'fixed' else 'its own'}"
            steps = [point["step"] for point in seeds[0]]
            axes.errorbar(steps, values, yerr=bounds, fmt=style, markersize=3, capsize=2, color=COLOURS[number], label=label)
    axes.set_xlabel("step")
    axes.set_ylabel("wrong first attempts that are mended, %")
    figure.legend(frameon=False, fontsize=7, loc="outside right upper")
    axes.grid(alpha=0.25)
    return figure
