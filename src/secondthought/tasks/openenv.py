"""Environments of OpenEnv on a server: ``--tasks openenv:URL[?NAME=VALUE&...][:SPLIT]``.

Task i is ``reset(seed=i)``; its prompt says how to act (from the server's action schema) and what is seen first, so a seed must
always begin alike. ``tasks`` (100) is how many seeds there are, ``turns`` (32) how many actions a play has. An action of one
required text field is written as plain text, any other as JSON. A play's steps' rewards are summed and kept within 0 and 1.
Each play holds a session of its own: the server must allow as many as are played at once (``max_concurrent_envs``).
"""

from __future__ import annotations

import json
import urllib.request
from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qsl

from secondthought.errors import UserError
from secondthought.tasks.base import Split, one_action, split_by
from secondthought.tasks.grade import where
from secondthought.types import Step, Task, Verdict

SECONDS = 60.0  # for the server to answer


class OpenEnv:
    """The seeds of one environment, or those of one split (80, 10 and 10 %)."""

    def __init__(self, url: str, split: Split | None, *, tasks: int = 100, turns: int = 32) -> None:
        self.url, self.turns = url.rstrip("/"), turns
        kept = [i for i in range(tasks) if split is None or split_by("openenv split", i) == split]
        if not kept:
            raise UserError(f"none of {tasks} seeds falls into {split}; more tasks are needed, or :all")
        self._seeds, self._tasks = kept, dict[int, Task]()
        self.schema = _schema(self.url)

    def __len__(self) -> int:
        return len(self._seeds)

    def __getitem__(self, index: int) -> Task:
        seed = self._seeds[index]
        if seed not in self._tasks:
            play = Play(self, seed)
            play.close()
            asked = f"{how_to_act(self.schema)}\n\n{play.seen}"
            self._tasks[seed] = Task.of(asked, answer={"seed": seed}, family="openenv")
        return self._tasks[seed]

    def reset(self, task: Task) -> Play:
        """A new session. Raises UserError where it begins otherwise than the task says."""
        known: Any = task.answer
        play = Play(self, known["seed"])
        if not task.prompt[-1].content.endswith(play.seen):
            raise UserError(f"openenv:{self.url} does not begin alike with the same seed, so it has no tasks to try again")
        return play

    def grade(self, task: Task, text: str) -> Verdict:
        """The reward of a play of one action."""
        return one_action(self, task, text)

    def leak(self, task: Task, text: str) -> str:
        """Nobody knows the answer."""
        return "none"


class Play:
    """One session on the server."""

    def __init__(self, tasks: OpenEnv, seed: int) -> None:
        try:
            from openenv import GenericEnvClient
        except ImportError as error:
            raise UserError("openenv-core is not installed: pip install 'secondthought[openenv]'") from error
        self._tasks = tasks
        self._client: Any = GenericEnvClient(base_url=tasks.url, message_timeout_s=SECONDS).sync()
        try:
            self._client.connect()
            self.seen = seen(self._client.reset(seed=seed).observation)
        except Exception as error:
            raise UserError(f"openenv:{tasks.url} gives no session: {where(error)}") from error

    def step(self, action: str) -> Step:
        """Do it; an action that the server refuses earns nothing, and its complaint is what is seen."""
        import websockets.exceptions

        try:
            found = self._client.step(as_action(action, self._tasks.schema))
        except (OSError, TimeoutError, websockets.exceptions.WebSocketException) as error:
            raise UserError(f"openenv:{self._tasks.url} broke off: {where(error)}") from error
        except (ValueError, RuntimeError) as error:
            return Step(f"That is no action: {' '.join(str(error).split())[:300]}")
        return Step(seen(found.observation), float(found.reward or 0.0), bool(found.done))

    def close(self) -> None:
        """Give the session back."""
        self._client.close()


def as_action(text: str, schema: Mapping[str, Any]) -> dict[str, Any]:
    """What the model wrote as an action. Raises ValueError for what is none.

    >>> as_action("north", {"required": ["move"]}), as_action('{"a": 1, "b": 2}', {"required": ["a", "b"]})
    ({'move': 'north'}, {'a': 1, 'b': 2})
    """
    text = text.strip().removeprefix("```json").strip("`").strip()
    required = list(schema.get("required", ()))
    try:
        found = json.loads(text)
    except ValueError:
        found = text
    if isinstance(found, dict):
        return found
    if len(required) != 1:
        raise ValueError(f"a JSON object with {', '.join(required) or 'the fields of an action'} is wanted")
    wanted = schema.get("properties", {}).get(required[0], {}).get("type")
    return {required[0]: text if wanted == "string" else found}


def how_to_act(schema: Mapping[str, Any]) -> str:
    """The action schema in words.

    >>> how_to_act({"required": ["move"], "properties": {"move": {"type": "string", "description": "Where to go"}}})
    'Your whole answer is taken as move: Where to go.'
    """
    fields = {name: one for name, one in schema.get("properties", {}).items() if name != "metadata"}
    required = list(schema.get("required", ()))
    if len(required) == 1 and fields.get(required[0], {}).get("type") == "string":
        return f"Your whole answer is taken as {required[0]}: {fields[required[0]].get('description', 'text').rstrip('.')}."
    listed = "; ".join(f"{name} ({one.get('description') or one.get('type', 'any')})" for name, one in fields.items())
    return f"Answer with a JSON object and nothing else. Its fields: {listed}."


def seen(observation: Any) -> str:
    """An observation as text: its only text, or JSON.

    >>> seen({"text": "a door", "done": False, "reward": None, "metadata": {}}), seen({"a": 1, "b": "x"})
    ('a door', '{"a": 1, "b": "x"}')
    """
    if not isinstance(observation, dict):
        return str(observation)
    fields = {name: value for name, value in observation.items() if name not in ("done", "reward", "metadata")}
    if len(fields) == 1 and isinstance(only := next(iter(fields.values())), str):
        return only
    return json.dumps(fields, ensure_ascii=False, sort_keys=True)


def _schema(url: str) -> dict[str, Any]:
    try:
        with urllib.request.urlopen(f"{url}/schema", timeout=SECONDS) as answer:
            found: dict[str, Any] = json.loads(answer.read())["action"]
            return found
    except (OSError, ValueError, KeyError) as error:
        raise UserError(f"there is no OpenEnv server at {url}: {where(error)}") from error


def task_set(place: str, split: Split | None, style: str) -> OpenEnv:
    """``openenv:URL[?tasks=100&turns=32][:SPLIT]``. Raises UserError for a place that is no URL, and unknown options."""
    url, _, asked = place.partition("?")
    if not url.startswith(("http://", "https://")):
        raise UserError(f"openenv needs the address of a server, openenv:http://HOST:PORT, not {place!r}")
    counts = {"tasks": 100, "turns": 32}
    for name, text in parse_qsl(asked, keep_blank_values=True):
        if name not in counts or not text.isdecimal() or not int(text):
            raise UserError(f"openenv takes tasks and turns, whole numbers of at least 1, not {name}={text}")
        counts[name] = int(text)
    return OpenEnv(url, split, **counts)
