"""The reflection card: what all probes found of one or more models on one page, side by side, and what could not be asked.

OUT/card.md      for a model card, a paper's appendix, an issue
OUT/card.json    the same for programs
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from secondthought.report.suite import decisive
from secondthought.report.words import show
from secondthought.runs.files import write_json, write_text
from secondthought.runs.reading import RunFolder, read_run
from secondthought.runs.reports import estimate_json, report_from


def write(folder: Path) -> Path:
    """Write both files of a finished ``probe all``; returns where the Markdown is. Raises UserError where there is no run."""
    card = of(read_run(folder))
    write_json(folder / "card.json", card)
    write_text(folder / "card.md", markdown(card))
    return folder / "card.md"


def of(run: RunFolder) -> dict[str, Any]:
    """The card of a suite: models, questions (each with the answer for every model that was asked), and what was left out."""
    recipe = run.resolved["recipe"]
    questions: dict[str, dict[str, Any]] = {}
    for part in run.summary.get("parts", ()):
        one = questions.setdefault(
            part["probe"], {"asks": part["asks"] or part["probe"], "probe": part["probe"], "answers": {}}
        )
        for model in part["models"]:
            report = report_from(model["report"])
            by = decisive(report)
            one["answers"][model["checkpoint"]["name"]] = {
                "claim": report.claim, "verdict": report.verdict, "by": by["label"],
                "estimate": None if by["estimate"] is None else estimate_json(by["estimate"]), "shown": show(by["estimate"]),
                "folder": part["folder"],
            }  # fmt: skip
    return {
        "models": list(recipe["models"]), "n": recipe["n"], "tasks": recipe["tasks"], "items": recipe["items"],
        "questions_from": recipe["questions"], "versions": run.resolved["versions"], "questions": list(questions.values()),
        "left_out": run.summary.get("left_out", {}),
    }  # fmt: skip


def markdown(card: dict[str, Any]) -> str:
    """A table with a column for each model, the claims behind it, and how to repeat it."""
    models = card["models"]
    lines = [f"# Reflection card: {', '.join(map(plain, models))}", ""]
    lines += ["What decides each question, in % or points with a 95 % interval, and the verdict on the claim below.", ""]
    lines += ["| question | " + " | ".join(map(plain, models)) + " |", "|---|" + "---|" * len(models)]
    for question in card["questions"]:
        cells = []
        for model in models:
            answer = question["answers"].get(model)
            cells.append("not asked" if answer is None else f"{answer['shown']} ({answer['verdict']})")
        lines.append(f"| {plain(question['asks'])} | " + " | ".join(cells) + " |")
    lines += ["", "## The claims", ""]
    for question in card["questions"]:
        claims = {(one["claim"], one["by"]) for one in question["answers"].values()}
        lines += [f"- **{question['probe']}**: {plain(claim)}; decided by {plain(by)}" for claim, by in sorted(claims)]
    missing = {model: probes for model, probes in card["left_out"].items() if probes}
    if missing:
        lines += ["", "## What could not be asked", ""]
        for model, probes in missing.items():
            lines += [f"- {plain(model)}: {name} (needs {why})" for name, why in probes.items()]
    named = {"tasks": card["tasks"], "items": card["items"], "questions": card["questions_from"]}
    words = "".join(f" --{name} {value}" for name, value in named.items() if value)
    made = ", ".join(f"{name} {number}" for name, number in card["versions"].items() if number)
    lines += [
        "",
        "## How to repeat it",
        "",
        f"    secondthought probe all --model {','.join(models)} --n {card['n']}{words}",
        "",
        made,
        "",
    ]
    return "\n".join(lines)


def plain(text: str) -> str:
    """In a cell of a table, where nothing of it is markup.

    >>> plain("a|b\\n<i>")
    'a\\\\|b &lt;i>'
    """
    return " ".join(str(text).split()).replace("|", "\\|").replace("<", "&lt;")
