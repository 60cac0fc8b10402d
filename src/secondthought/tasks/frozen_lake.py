"""Frozen lake in text: walk from the start to the goal over ice whose holes are seen only by falling in.

An environment, played turn by turn; after Gymnasium's FrozenLake, but the holes are not shown and the ice does not slip, so
that a failed walk teaches exactly one thing: where a hole is. Experiential RL (arXiv 2602.13949) plays it to let a policy
reflect on a whole attempt and play again.

Chat models are asked in sentences, nano models with ``lake 1 1 goal 3 4`` and answers like ``at 2 1`` and ``hole 2 2``.
"""

from __future__ import annotations

import re
from collections import deque
from dataclasses import dataclass
from random import Random
from typing import Any, Literal

from secondthought.tasks.base import Split, nowhere, one_action, split_by
from secondthought.types import Message, Step, Task, Verdict, seed_of

FAMILY = "frozen_lake"
MODEL = "nano/lake"
Square = tuple[int, int]
MOVES: dict[str, Square] = {"up": (-1, 0), "down": (1, 0), "left": (0, -1), "right": (0, 1)}
_MOVE = re.compile(rf"\b({'|'.join(MOVES)})\b", re.IGNORECASE)
RULES = (
    "You walk over a frozen lake of {size} rows and {size} columns; row 1 is at the top, column 1 at the left. Some squares "
    "are holes. You cannot see them: who steps into one falls in, and the walk is over. Each turn answer with one word: up, "
    "down, left or right.\nYou stand in row {start[0]}, column {start[1]}. The goal is row {goal[0]}, column {goal[1]}."
)


@dataclass(frozen=True)
class FrozenLake:
    """Lakes of one split; splits are by the whole lake. Endless.

    >>> lakes = FrozenLake("test", "terse")
    >>> lakes[0].prompt[0].content.split()[0]
    'lake'
    """

    split: Split = "train"
    style: Literal["chat", "terse"] = "chat"
    size: int = 4
    holes: int = 3
    turns: int = 12

    def __len__(self) -> int:
        return 1 << 40

    def __getitem__(self, index: int) -> Task:
        rng = Random(seed_of(FAMILY, self.split, self.size, self.holes, index))
        squares = [(row, column) for row in range(1, self.size + 1) for column in range(1, self.size + 1)]
        while True:
            start, goal, *holes = rng.sample(squares, 2 + self.holes)
            here = split_by("frozen lake split", start, goal, *sorted(holes))
            far = abs(start[0] - goal[0]) + abs(start[1] - goal[1]) >= self.size - 1
            if far and here == self.split and path(self.size, start, goal, set(holes)):
                break
        answer: Any = {"size": self.size, "start": list(start), "goal": list(goal), "holes": sorted(map(list, holes))}
        if self.style == "terse":
            asked = f"lake {start[0]} {start[1]} goal {goal[0]} {goal[1]}"
        else:
            asked = RULES.format(size=self.size, start=start, goal=goal)
        return Task.of((Message("user", asked),), answer=answer, family=FAMILY)

    def reset(self, task: Task) -> Walk:
        """A walk from the start."""
        return Walk(task, self.style)

    def grade(self, task: Task, text: str) -> Verdict:
        """The worth of a walk of one step."""
        return one_action(self, task, text)

    def leak(self, task: Task, text: str) -> str:
        """``full`` for a text that spells a walk to the goal, ``hint`` for one that names a hole."""
        walk = Walk(task, self.style)
        if any(walk.step(found[1]).reward for found in _MOVE.finditer(text)):
            return "full"
        lake: Any = task.answer
        named = re.findall(r"(\d+)\D{1,12}(\d+)", text)
        return "hint" if any([int(row), int(column)] in lake["holes"] for row, column in named) else "none"


class Walk:
    """One walk over a lake."""

    def __init__(self, task: Task, style: str) -> None:
        lake: Any = task.answer
        self.size: int = lake["size"]
        self.at: Square = tuple(lake["start"])
        self.goal: Square = tuple(lake["goal"])
        self.holes: set[Square] = {tuple(hole) for hole in lake["holes"]}
        self.terse = style == "terse"
        self.over = False

    def step(self, action: str) -> Step:
        """Go where the last direction in ``action`` points; the border cannot be crossed, and without a direction one stays."""
        found = _MOVE.findall(action)
        if self.over or not found:
            return Step(self._seen("at" if found else "no direction: still at"), done=self.over)
        self.at = moved(self.size, self.at, found[-1].lower())
        self.over = self.at == self.goal or self.at in self.holes
        if self.at in self.holes:
            return Step(self._seen("hole" if self.terse else "You fell into a hole at"), done=True)
        if self.at == self.goal:
            return Step(self._seen("goal" if self.terse else "You reached the goal,"), 1.0, done=True)
        return Step(self._seen("at"))

    def _seen(self, what: str) -> str:
        row, column = self.at
        if self.terse:
            return f"{what.rpartition(' ')[2]} {row} {column}"
        words = {"at": "You stand in", "no direction: still at": "That names no direction; you still stand in"}
        return f"{words.get(what, what)} row {row}, column {column}."


def moved(size: int, at: Square, move: str) -> Square:
    """Where a move leads; over the border nowhere.

    >>> moved(4, (1, 1), "down"), moved(4, (1, 1), "up")
    ((2, 1), (1, 1))
    """
    row, column = at[0] + MOVES[move][0], at[1] + MOVES[move][1]
    return (row, column) if 1 <= row <= size and 1 <= column <= size else at


def path(size: int, start: Square, goal: Square, avoided: set[Square], rng: Random | None = None) -> list[str]:
    """The moves of a shortest path around the ``avoided`` squares, a random one with ``rng``; none where there is no path."""
    queue, came = deque([start]), {start: ("", start)}
    while queue and goal not in came:
        at = queue.popleft()
        for move in rng.sample(list(MOVES), len(MOVES)) if rng else MOVES:
            if (there := moved(size, at, move)) not in came and there not in avoided:
                came[there] = (move, at)
                queue.append(there)
    found: list[str] = []
    while goal in came and goal != start:
        move, goal = came[goal]
        found.append(move)
    return found[::-1]


def task_set(place: str, split: Split | None, style: str) -> FrozenLake:
    """``frozen_lake[:SPLIT]``, endless."""
    nowhere(FAMILY, place)
    return FrozenLake(split or "test", "terse" if style == "terse" else "chat")
