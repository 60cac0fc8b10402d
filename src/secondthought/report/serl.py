"""What ``reproduce serl`` found: a page of Markdown and two pictures."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

from matplotlib.figure import Figure

from secondthought.report.arms import arms, over_steps
from secondthought.report.figures import AFTER, BEFORE, save
from secondthought.report.rrr import show, table
from secondthought.runs.files import write_text

Json = Mapping[str, Any]
ARMS = {
    "serl": "SERL", "oracle": "a judge that knows (bound)", "placebo": "another problem's judgements",
    "blind": "a judge that knows nothing", "actor_only": "the judge is not trained", "one_order": "one order of each pair",
    "any_length": "length not controlled", "const": "equal weights throughout",
}  # fmt: skip
SHOWN = (("quality_before", "before", BEFORE), ("quality_after", "after", AFTER))


def write(out: Path, found: Json) -> Path:
    """Write ``results.md`` and the pictures."""
    save(arms(found["arms"], SHOWN, ARMS, "closeness of answers to the target, %"), out / "quality.png")
    save(judge_figure(found["curves"]), out / "judge.png")
    path = out / "results.md"
    write_text(path, "\n".join(_lines(found)).rstrip() + "\n")
    return path


def _lines(found: Json) -> Iterator[str]:
    yield from (
        "# A model that judges itself",
        "",
        "Written by `secondthought reproduce serl`. Closeness: 1 for the target, less the farther an answer is, 0 if it"
        " breaks the rules; no reward looks at it. Percent with 95 % intervals, clustered by problem over pooled seeds;"
        " gains in points.",
    )
    rows = [
        [
            ARMS[arm], str(one["seeds"]), show(one["quality_before"]), show(one["quality_after"]),
            f"**{show(one['gain'])}** ({', '.join(f'{100 * g:+.1f}' for g in one['each_seed'])})",
            show(one["right_before"]), show(one["right_after"]), f"{fmean(one['sampled_tokens']):,.0f}",
        ]
        for arm, one in found["arms"].items()
    ]  # fmt: skip
    head = ("arm", "seeds", "closeness before", "after", "gain (each seed)", "exactly right before", "after", "tokens sampled")
    yield from table(head, rows)
    yield from ("", "The judge, before -> after:")
    cells = [
        [ARMS[arm], *(f"{show(one[f'{name}_before'])} -> {show(one[f'{name}_after'])}" for name in NAMES)]
        for arm, one in found["arms"].items()
    ]
    yield from table(("arm", *NAMES.values()), cells)
    yield from ("", "![Closeness of answers](quality.png)", "", "![Agreement and truth of judgements](judge.png)")


NAMES = {
    "accuracy": "right", "consistent": "same winner in both orders", "first": "takes the first shown",
    "cyclic": "triples that go round",
}  # fmt: skip


def judge_figure(found: Mapping[str, Sequence[Json]]) -> Figure:
    """How often judgements agree (whole lines) and are right (dashed), over training."""
    some = {ARMS[arm]: points for arm, points in found.items() if arm in ("serl", "placebo", "blind", "actor_only")}
    return over_steps(some, {"consistent": "agree", "accuracy": "right"})
