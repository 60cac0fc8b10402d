"""The paper's data set of failures: attempts of the initial model that went wrong, recorded once and reflected on for ever.

Bensal et al. sample each training query several times with the initial model and keep the queries it fails. Which reading of
"fails" they meant is not settled, so the pass rate of each problem over its k samples is kept and both can be selected.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from secondthought.files import write_text
from secondthought.protocols.answer import answer
from secondthought.rollout import rollout
from secondthought.scene import Engine, Sampling
from secondthought.types import Message, Segment, Task, TaskSet, Verdict, seed_of


@dataclass(frozen=True)
class Failure:
    """A problem, one wrong attempt at it, and how often k samples were right."""

    task: Task
    attempt: Segment
    pass_rate: float


class Failures:
    """Failed attempts as tasks: each has its own key, and :meth:`attempt` gives back what was said, token for token."""

    def __init__(self, tasks: TaskSet, failures: Sequence[Failure]) -> None:
        self.base = tasks
        self.failures = list(failures)
        self._by_key = {failure.task.key: failure for failure in self.failures}

    def __len__(self) -> int:
        return len(self.failures)

    def __getitem__(self, index: int) -> Task:
        return self.failures[index].task

    def grade(self, task: Task, text: str) -> Verdict:
        """The verdict of the task set that was failed."""
        return self.base.grade(task, text)

    def attempt(self, task: Task) -> tuple[Segment, ...]:
        """The recorded wrong attempt, to be replayed."""
        return (self._by_key[task.key].attempt,)

    def save(self, path: Path) -> None:
        """Write one JSON line for each failure."""
        write_text(path, "".join(json.dumps(asdict(failure)) + "\n" for failure in self.failures))

    @classmethod
    def load(cls, path: Path, tasks: TaskSet) -> Failures:
        """What :meth:`save` wrote."""
        return cls(tasks, [_failure(json.loads(line)) for line in path.read_text(encoding="utf-8").splitlines()])


def collect(
    engine: Engine, tasks: TaskSet, problems: Sequence[Task], sampling: Sampling, *, k: int = 8, keep: int = 2, seed: int = 0
) -> Failures:
    """Sample each problem ``k`` times with the initial model; keep up to ``keep`` different wrong attempts at each."""
    found = []
    for group in rollout(partial(answer, grade=tasks.grade), problems, k, engine, sampling, seed=seed_of("failures", seed)):
        wrong = {e["attempt"].tokens: e for e in group if e.verdicts["attempt"].score == 0}
        rate = 1 - sum(e.verdicts["attempt"].score == 0 for e in group) / len(group)
        for number, episode in enumerate(list(wrong.values())[:keep]):
            key = f"{seed_of(episode.task.key, number):016x}"
            found.append(Failure(replace(episode.task, key=key), episode["attempt"], rate))
    return Failures(tasks, found)


def _failure(row: dict[str, Any]) -> Failure:
    told, said = row["task"], row["attempt"]
    task = Task(
        told["key"], tuple(Message(*turn) for turn in told["prompt"]), told["answer"], told["family"], tuple(told["tools"])
    )
    lists = {"tokens": tuple(said["tokens"]), "logprobs": tuple(said["logprobs"])}
    return Failure(task, Segment(**{**said, **lists}), row["pass_rate"])
