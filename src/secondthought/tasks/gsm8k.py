"""GSM8K and word problems like it: rows of ``question`` and ``answer``, whose last number (behind ``####``) is wanted."""

from __future__ import annotations

from secondthought.errors import UserError
from secondthought.tasks.base import Split, split_of
from secondthought.tasks.dataset import TaskList
from secondthought.tasks.grade import number
from secondthought.tasks.jsonl import need, rows_of
from secondthought.tasks.numbers import gold_number, spelled
from secondthought.types import Message, Task

FAMILY = "gsm8k"
ASK = "{question}\nThink step by step, and end with: The answer is N."


def task_set(place: str, split: Split | None, style: str) -> TaskList:
    """``gsm8k:FILE`` or ``gsm8k:hf:DATASET``. Raises UserError for a missing or broken file, and for an empty split."""
    if not place:
        raise UserError("gsm8k needs a file of questions and answers: write gsm8k:FILE.jsonl or gsm8k:hf:openai/gsm8k")
    found: dict[str, Task] = {}
    for line, row in rows_of(place):
        where = f"{place}, line {line}"
        question, solution = need(row, ("question", "answer"), where)
        value = gold_number(solution)
        if value is None:
            raise UserError(f"{where}: the answer holds no number behind ####")
        gold = spelled(value)
        if split is None or split_of(Task.of(question, answer=gold, family=FAMILY)) == split:
            task = Task.of((Message("user", ASK.replace("{question}", question)),), answer=gold, family=FAMILY)
            found.setdefault(task.key, task)
    if not found:
        raise UserError(f"{place} has no rows that fall into {split}; more rows are needed, or :all")
    return TaskList(tuple(found.values()), number, f"gsm8k:{place}")
