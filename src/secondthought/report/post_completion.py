"""What ``reproduce post_completion`` found: a page of Markdown and a picture."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from statistics import fmean
from typing import Any

from secondthought.report.arms import arms
from secondthought.report.figures import AFTER, BEFORE, save
from secondthought.report.rrr import show, table
from secondthought.runs.files import write_text

Json = Mapping[str, Any]
ARMS = {
    "post_completion": "post-completion learning", "answers_only": "plain rewards", "untrained": "evaluations not paid",
    "shuffled": "paid for other problems' outcomes", "form": "any evaluation paid", "summed": "both paid the sum",
    "per_problem": "evaluations compared within a problem", "taught": "start from true evaluations",
}  # fmt: skip
SHOWN = (("before", "right before", BEFORE), ("right", "right after", AFTER))


def write(out: Path, found: Json) -> Path:
    """Write ``results.md`` and the picture."""
    save(arms(found["arms"], SHOWN, ARMS, "% of held-out problems"), out / "answers.png")
    path = out / "results.md"
    write_text(path, "\n".join(_lines(found)).rstrip() + "\n")
    return path


def _lines(found: Json) -> Iterator[str]:
    yield from (
        "# What stands behind the end of an answer",
        "",
        "Written by `secondthought reproduce post_completion`. Percent of held-out problems with 95 % intervals, clustered by"
        " problem over pooled seeds; gains in points; AUROC of the probability that an evaluation says right.",
    )
    rows = [
        [
            ARMS[arm], str(one["seeds"]), show(one["before"]), show(one["right"]), f"**{show(one['gain'])}**",
            f"**{one['auroc']['value']:.3f} [{one['auroc']['low']:.3f}, {one['auroc']['high']:.3f}]**"
            if one["auroc"]["value"] is not None else "-",
            show(one["says_right"]), show(one["agrees"]), show(one["same"]), f"{one['tokens']['value']:.1f}",
            f"{one['behind']['value']:.1f}" if one["behind"]["value"] is not None else "-",
            f"{fmean(one['sampled_tokens']):,.0f}",
        ]
        for arm, one in found["arms"].items()
    ]  # fmt: skip
    yield from table(
        ("arm", "seeds", "right before", "after", "gain", "AUROC of evaluations", "say right", "are true",
         "answers the same without them", "tokens of an answer", "tokens behind it", "tokens sampled"), rows,
    )  # fmt: skip
    yield from ("", "![Answers that are right](answers.png)")
