"""Everything that reads a file from outside: a sound example of each, and the call that reads it."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from secondthought.items.load import items_of, tasks_of
from secondthought.probes.agreement import read_texts
from secondthought.reproduce import hint_faithfulness, reflection_in_pretraining, rlcr
from secondthought.runs.export import episodes_of
from secondthought.runs.journal import Journal
from secondthought.runs.reading import read_groups, read_metrics, read_run
from secondthought.tasks.jsonl import rows_of
from secondthought.types import Episode, Segment, Task, Verdict

Rows = Sequence[Mapping[str, Any]]


class Loader(NamedTuple):
    """What is read: the name of its file, what stands in a sound one, and the call that reads it (given the path)."""

    file: str
    sound: Rows | bytes
    read: Callable[[Path], object]


def tasks(name: str = "") -> Callable[[Path], object]:
    """Tasks by their SPEC, every one of them graded once."""

    def read(path: Path) -> None:
        found = tasks_of(f"{name}:{path}" if name else str(path))
        for i in range(min(len(found), 3)):
            found.grade(found[i], "So the answer is 3.")

    return read


def items(name: str = "") -> Callable[[Path], object]:
    """Items by their SPEC."""
    return lambda path: items_of(f"{name}:{path}" if name else str(path))


def table(rows: Rows) -> bytes:
    """A CSV."""
    out = io.StringIO()
    writer = csv.DictWriter(out, list(rows[0]))
    writer.writeheader()
    writer.writerows(rows)
    return out.getvalue().encode()


def episodes(folder: Path) -> bytes:
    """A file of episodes as a run writes it."""
    task = Task.of("How many?", answer="4", family="own")
    asked = Segment("prompt", "task", "user", "How many?", (5, 6))
    spoken = Segment("attempt", "policy", "assistant", "It is 4.", (1, 2, 3), (-0.1, -0.2, -0.3), 0, "end")
    episode = Episode(task, (0,), (asked, spoken), {"attempt": Verdict(1.0, "4")})
    Journal(folder / "run", {"kind": "train"}).episodes("step_000001", 1, "train", [(episode,)])
    return (folder / "run" / "episodes" / "step_000001.parquet").read_bytes()


def read_episodes_in(path: Path) -> None:
    """Episodes from a file, and from the run folder that it belongs to."""
    read_groups(path)
    run = path.parent / "a run"
    (run / "episodes").mkdir(parents=True, exist_ok=True)
    (run / "episodes" / path.name).write_bytes(path.read_bytes())
    list(episodes_of(run))


def published(path: Path, others: Mapping[str, bytes]) -> None:
    """The published rates of hints, one of whose files is this one."""
    for name, content in others.items():
        if name != path.name:
            (path.parent / name).write_bytes(content)
    hint_faithfulness.published(path.parent)


def metrics_in(path: Path) -> None:
    """The metrics of methods and what was published of them."""
    (path.parent / "a.csv").write_bytes(RLCR)
    list(rlcr.claims_of(path.parent, {"a": rlcr.metrics_of(path.parent / "a.csv")}))


TOOL = {"name": "add", "description": "Adds.", "parameters": {"type": "dict", "properties": {"a": {"type": "integer"}}, "required": ["a"]}}  # fmt: skip
QUESTION = "Tom has 2 apples and buys 3 more apples. How many apples has he?"
SUM = {"question": QUESTION, "answer": "Tom has 2 + 3 = <<2+3=5>>5 apples.\n#### 5"}
RATES = {name: table([{who: "a", **dict.fromkeys(columns, 1)}]) for name, (who, columns) in hint_faithfulness.FILES.items()}
RLCR = table([{"id": i, "method": "Base", "correct": i % 2, "confidence": 0.9, "format_ok": 1} for i in range(4)])
PAPER = table([
    {
        "Checkpoint": "a-1B-100pct", "Task": task, "Metric": metric, "Average": 0.25, "olmo-params": 7, "Flops": 3.5,
    }
    for task in reflection_in_pretraining.TASKS
    for metric in (
        reflection_in_pretraining.TRIVIA["situational"] if task == "triviaqa_adv" else "pass@1,create_test",
        "reflection", "accurate_impl_reflection", "accurate_expl_reflection",
    )
])  # fmt: skip

LOADERS: dict[str, Loader] = {
    "rows": Loader("a.jsonl", [{"prompt": "2 + 2 =", "answer": "4", "family": "sums"}], tasks()),
    "rows of turns": Loader(
        "a.json",
        [{"prompt": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hi"}], "answer": 4}],
        tasks(),
    ),
    "rows in a CSV": Loader("a.csv", table([{"question": "2 + 2 =", "answer": "4"}]), tasks()),
    "countdown": Loader("a.jsonl", [{"nums": [3, 5, 2], "target": 17}], tasks()),
    "calls": Loader(
        "a.jsonl",
        [
            {
                "id": "a",
                "question": [[{"role": "user", "content": "Add 1."}]],
                "function": [TOOL],
                "ground_truth": [{"add": {"a": [1]}}],
            }
        ],
        tasks(),
    ),
    "calls, APIGen": Loader(
        "a.jsonl",
        [
            {
                "query": "Add 1.",
                "tools": json.dumps([{"name": "add", "parameters": {"a": {"type": "int", "description": "what"}}}]),
                "answers": json.dumps([{"name": "add", "arguments": {"a": 1}}]),
            }
        ],
        tasks(),
    ),
    "conversations with a choice": Loader(
        "a.jsonl",
        [{"messages": [{"role": "user", "content": "A or B?"}, {"role": "assistant", "content": "B"}]}],
        tasks("choices"),
    ),
    "multiple choice": Loader(
        "a.jsonl", [{"question": "Which?", "choices": ["red", "blue"], "answer": 1}], tasks("multiple_choice")
    ),
    "multiple choice, with labels": Loader(
        "a.jsonl",
        [{"id": "m", "question_text": "Which?", "choices": ["red", "blue"], "choice_labels": ["A", "B"], "correct_label": "A"}],
        tasks("multiple_choice"),
    ),
    "GSM8K": Loader("a.jsonl", [SUM], tasks("gsm8k")),
    "GSM8K, chains": Loader("a.jsonl", [SUM], items("gsm8k")),
    "SVAMP": Loader(
        "a.jsonl", [{"question": QUESTION, "Equation": "( 2.0 + 3.0 )", "answer": "\\boxed{5.0}", "Type": "x"}], items("svamp")
    ),
    "BBH": Loader(
        "a.jsonl",
        [
            {
                "task": "boolean_expressions",
                "question": "not True is",
                "target": "False",
                "chain": "So the answer is False.",
                "correct": True,
            },
            {
                "task": "boolean_expressions",
                "question": "not True is",
                "target": "False",
                "chain": "So the answer is True.",
                "correct": False,
            },
        ],
        items("bbh"),
    ),
    "BBH, released": Loader(
        "a.jsonl",
        [{"input": "not True is", "target": "False", "wrong_cot": "not True is True. So the answer is True."}],
        items("bbh"),
    ),
    "TriviaQA": Loader(
        "a.jsonl",
        [
            {
                "id": str(i),
                "question": f"What is the capital {i}?",
                "answer": city,
                "aliases": [city.upper()],
                "passage": f"{city} is it.",
            }
            for i, city in enumerate(("Lima", "Oslo", "Rome"))
        ],
        items("triviaqa"),
    ),
    "TriviaQA, released": Loader(
        "a.jsonl",
        [{"question": "Where?", "answer": "Lima", "adversarial_answer": "Oslo", "adversarial_cot": "x"}],
        items("triviaqa"),
    ),
    "CRUXEval": Loader(
        "a.jsonl", [{"code": "def f(x):\n    return x + 1", "input": "1", "output": "2", "id": "a"}], items("cruxeval_o")
    ),
    "items": Loader(
        "a.jsonl",
        [
            {
                "id": "a",
                "question": "2 + 2?",
                "gold": "4",
                "clean": "2 + 2 = 4",
                "flawed": "2 + 2 = 5",
                "wrong": "5",
                "family": "gsm8k",
            }
        ],
        items(),
    ),
    "rows, whatever": Loader("a.jsonl", [{"a": 1}], rows_of),
    "texts with labels": Loader(
        "a.csv", table([{"text": "Wait, no.", "label": "yes"}]), partial(read_texts, text="text", label="label")
    ),
    **{
        f"published {name}": Loader(
            f"{name}.csv", content, partial(published, others={f"{other}.csv": text for other, text in RATES.items()})
        )
        for name, content in RATES.items()
    },
    "answers of methods": Loader("a.csv", RLCR, rlcr.metrics_of),
    "metrics of methods": Loader("a.metrics.json", b'{"Base": {"accuracy": 0.5, "ece": 0.4}}', metrics_in),
    "correlations": Loader(
        reflection_in_pretraining.FILES["situational"],
        PAPER,
        lambda path: reflection_in_pretraining._read(path.parent, "situational"),
    ),
    "what a run says of itself": Loader(
        "resolved.json", b'{"layout": 2, "kind": "train", "recipe": {"name": "a"}}', lambda path: read_run(path.parent)
    ),
    "metrics of a run": Loader("metrics.jsonl", b'{"step": 1, "reward/retry": 0.5}\n', lambda path: read_metrics(path.parent)),
}
"""By what is read. Episodes, which only a run can write, are made where they are wanted (:func:`episodes`)."""


def written(loader: Loader, rows: Rows | None = None) -> bytes:
    """The content of a file, sound or with other rows."""
    if isinstance(loader.sound, bytes):
        return loader.sound
    return "".join(json.dumps(row) + "\n" for row in (loader.sound if rows is None else rows)).encode("utf-8", "surrogatepass")
