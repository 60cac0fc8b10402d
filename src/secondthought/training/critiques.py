"""Critiques of the model's own answers, made before training by a program, by a language model, or read from a file.

``secondthought data build critiques`` writes the same to a file that can be read and edited (``collect.file=FILE``).
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from random import Random
from typing import Literal

from secondthought.engines.base import Engine, Sampling
from secondthought.engines.disk_cache import DiskCache, digest_of
from secondthought.engines.factory import engine_for
from secondthought.errors import UserError
from secondthought.models.names import style_of
from secondthought.probes.base import circle
from secondthought.protocols.answer import answer
from secondthought.protocols.base import Draft
from secondthought.protocols.critiqued import Critique, critiqued, request_for
from secondthought.rollouts import drive, rollout
from secondthought.runs.files import cache_folder, write_text
from secondthought.runs.progress import Progress
from secondthought.runs.reading import task_from, task_json
from secondthought.tasks.base import distinct
from secondthought.tasks.critic import critic_of, solution_of, verdict_in
from secondthought.tasks.jsonl import need, rows_of
from secondthought.training.recipe import Collect, Recipe
from secondthought.training.recorded import Recorded, sampled
from secondthought.types import Episode, Group, Message, Segment, Task, TaskSet, seed_of

Kind = Literal["exact", "noisy", "verdict", "shuffled"]
Answers = Literal["sampled", "right", "gold"]
NOISE = 0.2  # of critiques that are wrong on purpose, as about a fifth of the paper's were by accident
TEACHER = Sampling(temperature=0.3, top_p=0.95, max_tokens=3200)  # the paper's
ASK = (
    "You are an expert who checks solutions. Question:\n{question}\n\nA student's solution:\n{answer}\n\n"
    "Explain briefly whether the solution is right; do not solve the problem anew. End with one line: "
    '"Conclusion: right" or "Conclusion: wrong".'
)
"""What a language model is asked as a critic."""


@dataclass(frozen=True)
class Critiques(Collect):
    """Sample ``problems`` problems ``samples`` times with the initial model and have every answer criticised.

    critic      program (exact), or a model: a folder, a hub name, URL#MODEL
    kind        exact; noisy (a fifth of the critiques are of answers of the other sort); verdict (nothing but right or wrong);
                shuffled (each belongs to another problem's answer)
    show        a critique of a wrong answer names a right one
    imitate     critique, answer, or both
    replay      beside critiques, so many of the model's own answers (a share of them, as they came) are imitated
    answers     which answers are imitated: sampled (as they come), right (those that the grader accepts), gold (the task set's
                own solutions)
    file        critiques that were written or edited before, instead of making them
    """

    problems: int = 2000
    samples: int = 2
    critic: str = "program"
    kind: Kind = "exact"
    show: bool = False
    imitate: Literal["critique", "answer", "both"] = "critique"
    replay: float = 0.2
    answers: Answers = "sampled"
    file: str = ""

    def make(self, engine: Engine, recipe: Recipe, progress: Progress) -> list[Group]:
        """An episode for each answer, with its critique; a group for each problem."""
        if self.file:
            return read_critiques(self.file, recipe.tasks)
        progress.phase(f"collecting answers to criticise: {self.problems} problems x {self.samples}")
        problems, seed = distinct(recipe.tasks, self.problems), seed_of("critiques", recipe.seed)
        protocol = partial(answer, grade=recipe.tasks.grade)
        groups = sampled(protocol, problems, self.samples, engine, recipe, progress, seed=seed)
        episodes = [episode for group in groups for episode in group]
        critiques = iter(criticised(episodes, recipe.tasks, self.critic, self.show, progress))
        return [tuple(with_critique(episode, next(critiques)) for episode in group) for group in groups]

    def use(self, recipe: Recipe, groups: Sequence[Group]) -> Recipe:
        """The recipe that imitates what was chosen. Raises UserError if nothing is left to imitate."""
        tasks, style = recipe.tasks, style_of(recipe.model)
        solution = solution_of(tasks)
        episodes = [episode for group in groups for episode in group]
        said = changed([e["critique"].text for e in episodes], episodes, self.kind, recipe.seed)
        records = []
        for episode, critique in zip(episodes, said, strict=True):
            right = episode.verdicts["attempt"].score == 1
            if self.imitate != "critique" and self.answers == "right" and not right:
                continue
            shown = solution(episode.task) if self.answers == "gold" else attempt_of(episode)
            if critique or self.imitate == "answer":
                records.append((episode.task, Critique(shown, "" if self.imitate == "answer" else critique)))
        if self.imitate == "critique":
            rng = Random(seed_of("replay", recipe.seed))
            records += [(e.task, Critique(attempt_of(e), "")) for e in episodes if rng.random() < self.replay]
        if not records:
            raise UserError(f"none of the {len(episodes)} answers is right, so there is none to imitate; set answers=gold")
        known: Recorded[Critique] = Recorded(tasks, records)
        protocol = partial(critiqued, grade=tasks.grade, request=request_for(style), record=known.record)
        return recipe.with_protocol(lambda _: protocol, known)


def criticised(
    episodes: Sequence[Episode], tasks: TaskSet, critic: str, show: bool, progress: Progress, cache: Path | None = None
) -> list[str]:
    """What a critic says of each answer; a language model's words are kept in ``cache``, so that nothing is paid for twice."""
    if critic == "program":
        judge = critic_of(tasks)
        return [judge(e.task, e["attempt"].text, show) for e in episodes]
    teacher = engine_for(critic)
    digest: str = getattr(teacher, "digest", "") or digest_of(teacher.model)  # type: ignore[attr-defined]
    path = cache or cache_folder() / "critics.sqlite"
    progress.phase(f"asking {critic} for {len(episodes)} critiques")

    async def ask(episode: Episode) -> str:
        words = ASK.replace("{question}", episode.task.prompt[-1].content).replace("{answer}", episode["attempt"].text)
        task = Task.of((Message("user", words),), answer=None, family="critique")
        return await Draft(task).sample("critique", author="judge")

    found: list[str] = []
    with closing(DiskCache(teacher, path, digest)) as engine:
        for begin in range(0, len(episodes), PART):
            found += drive([ask(e) for e in episodes[begin : begin + PART]], engine, TEACHER)
            progress.step(len(found), len(episodes), {})
    return found


def attempt_of(episode: Episode) -> Segment | str:
    """The answer as it was sampled, or as a text where it comes from a file."""
    attempt = episode["attempt"]
    return attempt if attempt.tokens else attempt.text


PART = 64  # critiques that a language model is asked for at a time


def with_critique(episode: Episode, critique: str) -> Episode:
    """The same episode with a critique behind it."""
    asked = Segment("ask_critique", "task", "user", "")
    return replace(episode, segments=(*episode.segments, asked, Segment("critique", "intervention", "assistant", critique)))


def changed(critiques: Sequence[str], episodes: Sequence[Episode], kind: Kind, seed: int) -> list[str]:
    """The critiques as an arm wants them; "" where it has none. ``episodes`` are what they are about."""
    if kind == "exact":
        return list(critiques)
    if kind == "verdict":
        found = [verdict_in(critique) for critique in critiques]
        stated = ["Conclusion: " if "Conclusion:" in critique else "" for critique in critiques]
        return ["" if v is None else s + ("right" if v else "wrong") for v, s in zip(found, stated, strict=True)]
    order = list(range(len(critiques)))
    rng = Random(seed_of("critiques", kind, seed))
    rng.shuffle(order)
    keys, right = [e.task.key for e in episodes], [e.verdicts["attempt"].score == 1 for e in episodes]
    if kind == "shuffled":
        given = circle(order, lambda one, other: keys[one] != keys[other])
    else:
        given = circle(order, lambda one, other: right[one] != right[other])
        given = {i: other for i, other in given.items() if rng.random() < NOISE}
    made = list(critiques)
    for i, other in given.items():
        made[order[i]] = critiques[other]
    return made


# --- files -----------------------------------------------------------------------------------------------------------


def build_critiques(
    tasks: TaskSet, out: Path, *, model: str, n: int, critic: str, show: bool, seed: int, progress: Progress
) -> int:
    """Answers of a model to ``n`` problems and a critique of each, in a file; how many. Raises UserError for a model or a
    critic that cannot be had.
    """
    progress.phase(f"answers of {model} to {n} problems")
    sampling = Sampling(1.0, max_tokens=64 if style_of(model) == "terse" else 512)
    problems, found = distinct(tasks, n), list[Group]()
    engine = engine_for(model)
    for begin in range(0, len(problems), PART):
        part = problems[begin : begin + PART]
        found += rollout(partial(answer, grade=tasks.grade), part, 1, engine, sampling, seed=seed)
        progress.step(len(found), len(problems), {})
    episodes = [group[0] for group in found]
    said = criticised(episodes, tasks, critic, show, progress, cache=out.with_name(f".{out.name}.cache.sqlite"))
    return write_critiques(out, [(with_critique(episode, one),) for episode, one in zip(episodes, said, strict=True)])


def write_critiques(path: Path, groups: Sequence[Group]) -> int:
    """A JSONL of ``question``, ``answer``, ``right``, ``critique``, ``verdict`` and the task itself; how many rows."""
    rows = [
        {
            "question": e.task.prompt[-1].content, "answer": e["attempt"].text, "right": e.verdicts["attempt"].score == 1,
            "critique": e["critique"].text, "verdict": verdict_in(e["critique"].text),
            "task": {"key": e.task.key, "family": e.task.family, **task_json(e.task)},
        }
        for group in groups for e in group
    ]  # fmt: skip
    write_text(path, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))
    return len(rows)


def read_critiques(path: str | Path, tasks: TaskSet) -> list[Group]:
    """Rows that :func:`write_critiques` wrote, or of ``question``, ``answer``, ``critique`` and ``gold``, graded anew. Raises
    UserError for a row that lacks one.
    """
    found: list[Group] = []
    for line, row in rows_of(path):
        where = f"{path}, line {line}"
        question, shown, critique = need(row, ("question", "answer", "critique"), where)
        if isinstance(kept := row.get("task"), dict):
            task = task_from(kept, kept["key"], kept["family"])
        elif "gold" in row:
            task = Task.of((Message("user", question),), answer=row["gold"], family=tasks[0].family)
        else:
            raise UserError(f"{where}: there is no column 'gold', and no task")
        attempt = Segment("attempt", "intervention", "assistant", shown)
        asked = Draft(task).segments
        episode = Episode(task, (line,), (*asked, attempt), {"attempt": tasks.grade(task, shown)})
        found.append((with_critique(episode, critique),))
    return found
