"""What ``reproduce cft`` found: a page of Markdown and a picture."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from secondthought.report.arms import arms
from secondthought.report.figures import AFTER, BEFORE, save
from secondthought.report.rrr import show, table
from secondthought.runs.files import write_text

Json = Mapping[str, Any]
ARMS = {
    "cft": "critiques", "no_replay": "critiques and nothing else", "noisy": "critiques, a fifth wrong",
    "verdict": "verdicts only", "shuffled": "critiques of others' answers", "with_answer": "critiques that name a right answer",
    "answers": "its own answers as they came", "answers_right": "its own right answers", "answers_gold": "the solver's answers",
    "both": "right answers and critiques", "then_rrr": "critiques, then Reflect, Retry, Reward",
    "rrr": "Reflect, Retry, Reward", "then_score": "critiques, then SCoRe", "score": "SCoRe",
}  # fmt: skip


def write(out: Path, found: Json) -> Path:
    """Write ``results.md`` and the picture."""
    if found["arms"]:
        shown = (("before", "before", BEFORE), ("first", "after", AFTER))
        save(arms(found["arms"], shown, ARMS, "% of held-out problems answered rightly"), out / "arms.png")
    path = out / "results.md"
    write_text(path, "\n".join(_lines(found)).rstrip() + "\n")
    return path


def _lines(found: Json) -> Iterator[str]:
    yield from (
        "# Learning from critiques",
        "",
        "Written by `secondthought reproduce cft`. Percent of held-out problems, sampled at temperature 1, 95 % intervals"
        " clustered by problem over pooled seeds; changes in points.",
    )
    rows = [
        [
            ARMS[arm], str(one["seeds"]), f"{sum(one['learned_tokens']) / one['seeds']:,.0f}", show(one["before"]),
            show(one["first"]), f"**{show(one['gain'])}** ({', '.join(f'{100 * d:+.1f}' for d in one['each_seed'])})",
            show(one["verdict"]), show(one["commoner"]), show(one["borrowed"]),
            "-" if one["auroc"] is None else f"{one['auroc']:.2f}",
        ]
        for arm, one in found["arms"].items()
    ]  # fmt: skip
    yield from table(
        ("learned from", "seeds", "loss tokens", "right before", "right after", "change (each seed)", "verdict right",
         "commoner verdict", "verdict on another answer", "AUROC of the verdict"), rows,
    )  # fmt: skip
    yield from ("", "![Direct answering after each](arms.png)")
    if found["starts"]:
        yield from ("", "As a start for reinforcement learning (before: the initial model):")
        sides = [f"{when}/{which}" for when in ("before", "after") for which in ("first", "second")]
        rows = [[ARMS[arm], str(one["seeds"]), *(show(one[side]) for side in sides)] for arm, one in found["starts"].items()]
        yield from table(("arm", "seeds", *sides), rows)
