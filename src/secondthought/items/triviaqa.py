"""Trivia questions with a passage that is about something close, and does not hold the answer.

From a JSONL of ``question``, ``answer``, ``passage`` and (optionally) ``aliases``. For every question the flawed reasoning is
the passage of another question that resembles it most (TF-IDF), at most 500 words that contain none of the right answers, and
the other question's answer; the clean one is its own passage with the right answer, where the passage holds it.
"""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path
from typing import Any, cast

import numpy as np

from secondthought.errors import UserError
from secondthought.items.base import Item, Items, OnProgress, silent
from secondthought.items.templates import CLEAN, Reading, cut, released_items, triggers
from secondthought.tasks.jsonl import need, rows_of
from secondthought.types import Json

FAMILY = "triviaqa"
MOST_WORDS = 500
NEIGHBOURS = 30


def without_articles(text: str) -> str:
    """As answers are compared: lower case, letters and digits, no articles.

    >>> without_articles("The Hague!")
    'hague'
    """
    return " ".join(re.sub(r"\b(?:a|an|the)\b", " ", re.sub(r"[^\w\s]", " ", text.lower())).split())


def contains(text: str, answer: str) -> bool:
    """Whether an answer stands in a text, whole words only."""
    wanted = without_articles(answer)
    return bool(wanted) and f" {wanted} " in f" {without_articles(text)} "


def from_passages(path: str | Path) -> Items:
    """One item for each question that has a close passage without its answer."""
    items, questions = Items(), []
    for line, row in rows_of(path):
        where = f"{path}, line {line}"
        question, answer, passage = need(row, ("question", "answer", "passage"), where)
        aliases = row.get("aliases") or []
        if not isinstance(aliases, list) or not all(isinstance(alias, str) for alias in aliases):
            raise UserError(f"{where}: 'aliases' must be a list of texts")
        questions.append((str(row.get("id", line)), question, list(dict.fromkeys([answer, *aliases])), passage))
    neighbours = nearest([f"{question} {passage}" for _, question, _, passage in questions])
    for (key, question, answers, passage), others in zip(questions, neighbours, strict=True):
        gold: dict[str, Any] = {"aliases": answers}
        clean = reasoning(passage, answers[0]) if any(contains(passage, a) for a in answers) else ""
        for other in others:
            _, _, (wrong, *_), passage_of_other = questions[other]
            short = " ".join(passage_of_other.split()[:MOST_WORDS])
            if not any(contains(short, a) or contains(wrong, a) or contains(a, wrong) for a in answers):
                items.add(
                    Item(key, question, gold, clean, reasoning(short, wrong), wrong, FAMILY, "passage", Path(path).name),
                    f"{path}, {key}",
                )
                break
        else:
            items.not_made["no close passage without the right answer"] += 1
    return items


def reasoning(passage: str, answer: str) -> str:
    """A passage and what somebody takes from it."""
    return f"Passage: {passage}\nAnswer: {answer}"


def nearest(texts: list[str]) -> list[list[int]]:
    """For each text the others, closest first (cosine of TF-IDF), a few dozen of them."""
    from scipy.sparse import csr_matrix, diags

    counts = [Counter(without_articles(text).split()) for text in texts]
    number = {word: i for i, word in enumerate(dict.fromkeys(w for c in counts for w in c))}
    rows = [i for i, c in enumerate(counts) for _ in c]
    columns = [number[w] for c in counts for w in c]
    values = [1 + np.log(n) for c in counts for n in c.values()]
    matrix = csr_matrix((values, (rows, columns)), shape=(len(texts), max(1, len(number))))
    spread = np.bincount(matrix.indices, minlength=matrix.shape[1])
    weighted = matrix @ diags(np.log((1 + len(texts)) / (1 + spread)))
    norms = np.sqrt(np.asarray(weighted.multiply(weighted).sum(axis=1)).ravel())
    unit = diags(1 / np.maximum(norms, 1e-12)) @ weighted
    found = []
    for i in range(len(texts)):
        close = np.asarray((unit[i] @ unit.T).todense()).ravel()
        close[i] = -1
        found.append([int(j) for j in np.argsort(-close, kind="stable")[:NEIGHBOURS] if j != i])
    return found


def _right(item: Item, answer: str) -> bool:
    """A right alias is named, and the passage's answer is not (the paper's exact_match)."""
    aliases: Any = cast(dict[str, Any], item.gold)["aliases"] if isinstance(item.gold, dict) else item.gold
    names: list[str] = [aliases] if isinstance(aliases, str) else aliases
    return any(contains(answer, alias) for alias in names) and not contains(answer, item.wrong)


READINGS = {
    "clean": Reading(
        "Question: {question}\n", "{question}", lambda text: cut(text).strip() or None, _right, CLEAN, "", 128
    ),
    "paper": Reading(
        "Question: {question}\n", "{question}", lambda text: text.strip() or None, _right,
        triggers(" \n\n wait,", " \n\n wait, I made a mistake", " \n\n okay,"), "", 1536,
    ),
}  # fmt: skip
"""How the family is asked and read; see :mod:`secondthought.items.templates`."""


def item_set(place: str, n: int | None, seed: int, on_progress: OnProgress = silent) -> Items:
    """``triviaqa:FILE`` or ``triviaqa:hf:DATASET``: questions with passages, or rows with ``adversarial_answer``."""
    first = rows_of(place)[0][1]
    return released_items(place, FAMILY, released) if "adversarial_answer" in first else from_passages(place)


def released(row: dict[str, object], where: str) -> tuple[str, Json, str, str]:
    """Question, gold, flawed chain and wrong answer of a row of EssentialAI/triviaqa_adv."""
    question, answer, adversarial = need(row, ("question", "answer", "adversarial_answer"), where)
    passage, _, last = question.rpartition("\nQuestion:")
    return (last or question).strip(), {"aliases": [answer]}, passage or f"Answer: {adversarial}", adversarial
