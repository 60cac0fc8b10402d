"""Environments of Prime Intellect's ``verifiers``: ``--tasks verifiers:TASKSET[?NAME=VALUE&...][:SPLIT]``.

TASKSET is what ``load_taskset`` knows (a built-in one such as ``textarena``, an installed package, a module in this folder);
what stands behind ``?`` goes to its config, for instance ``verifiers:textarena?game=Hangman-v0``; ``limit`` (1,000) is how many
tasks are read, ``turns`` (32) how many actions a play has. Needs verifiers 0.4 or later.

The environment keeps its own control flow: its ``run(task, agents)`` goes on in a thread and is handed an agent whose turns are
those that a protocol samples here. Its rewards are its own, summed with their weights, and kept within 0 and 1. Environments of
one agent can be played that ask it for text; those that need a sandbox, tool servers or several agents are refused.
"""

from __future__ import annotations

import asyncio
import inspect
import json
import queue
import sys
import threading
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import cache
from itertools import islice
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

from secondthought.errors import UserError
from secondthought.tasks.answer_leaks import answer_in_text
from secondthought.tasks.base import Split, one_action, split_by
from secondthought.tasks.grade import where
from secondthought.types import Message, Messages, Role, Step, Task, Verdict

SECONDS = 120.0  # that an environment may take for one step


class Verifiers:
    """The tasks of one taskset, or of one of its splits (80, 10 and 10 % by a hash of what defines a task)."""

    def __init__(self, taskset: str, options: Mapping[str, Any], split: Split | None, *, limit: int, turns: int) -> None:
        self.name, self.turns = taskset, turns
        self.environment = _environment(taskset, options)
        rows = list(islice(self.environment.taskset, limit))
        kept = [row for row in rows if split is None or split_by("verifiers split", row.key) == split]
        if not kept:
            raise UserError(f"verifiers:{taskset} has {len(rows)} tasks and none falls into {split}; more are needed, or :all")
        self._rows = {row.data.idx: row for row in kept}
        self._tasks: list[Task | None] = [None] * len(kept)
        self._order = list(self._rows)
        _check(self.environment, kept[0])

    def __len__(self) -> int:
        return len(self._order)

    def __getitem__(self, index: int) -> Task:
        task = self._tasks[index]
        if task is None:
            task = self._tasks[index] = self._task(self._rows[self._order[index]])
        return task

    def _task(self, row: Any) -> Task:
        data = row.data
        turns: list[Message] = [Message("system", data.system_prompt)] if data.system_prompt else []
        if data.prompt is None:  # the environment speaks first
            play = Play(self, row)
            play.close()
            turns.append(Message("user", play.seen))
        else:
            turns += [Message("user", data.prompt)] if isinstance(data.prompt, str) else _messages(data.prompt)
        answer = getattr(data, "answer", None)
        known: dict[str, Any] = {"index": data.idx, "key": row.key}
        if isinstance(answer, str | int | float):
            known["answer"] = answer
        return Task.of(tuple(turns), answer=known, family=f"verifiers:{self.name}")

    def reset(self, task: Task) -> Play:
        """A new episode of a task."""
        known: Any = task.answer
        return Play(self, self._rows[known["index"]])

    def grade(self, task: Task, text: str) -> Verdict:
        """The rewards of an episode of one turn."""
        return one_action(self, task, text)

    def leak(self, task: Task, text: str) -> str:
        """``full`` for a text that gives the answer away, where the task has one."""
        known: Any = task.answer
        return answer_in_text(replace(task, answer=known["answer"]), text) if "answer" in known else "none"


class Play:
    """One episode: the environment's coroutine in a thread of its own, asked for one turn at a time."""

    def __init__(self, tasks: Verifiers, row: Any) -> None:
        self._tasks, self._row, self._left = tasks, row, tasks.turns
        self._events: queue.Queue[tuple[str, Any]] = queue.Queue()
        self._replies: asyncio.Queue[str | None] = asyncio.Queue()
        self._future = asyncio.run_coroutine_threadsafe(self._episode(), _loop())
        kind, self.seen = self._next()
        if kind == "end":
            raise UserError(f"verifiers:{tasks.name} ended an episode before it asked for anything")

    def step(self, action: str) -> Step:
        """What the environment answers; at the end with its rewards."""
        self._left -= 1
        _loop().call_soon_threadsafe(self._replies.put_nowait, action)
        kind, found = self._next()
        return Step("", found, done=True) if kind == "end" else Step(found)

    def _next(self) -> tuple[str, Any]:
        name = f"verifiers:{self._tasks.name}"
        try:
            kind, found = self._events.get(timeout=SECONDS)
        except queue.Empty:
            self._future.cancel()
            raise UserError(f"{name} took more than {SECONDS:g} s for one step") from None
        if kind == "error":
            raise UserError(f"{name} failed: {where(found)}") from found
        return kind, found

    async def ask(self, observation: str) -> str | None:
        """The policy's next turn; None when the play is over for it."""
        if self._left == 0:
            return None
        self._events.put(("observation", observation))
        return await self._replies.get()

    async def _episode(self) -> None:
        try:
            import verifiers.v1 as vf

            environment, task = self._tasks.environment, self._row
            named = vf.TraceTask(type=type(task).__name__, data=task.data, key=task.key, hash=task.hash)
            episode = vf.Episode(env=vf.EnvInfo(id=environment.config.env_id), task=named)
            agents: Any = vf.Agents(environment.config, lambda name, _: Agent(self, name, episode.traces))
            await environment.setup(agents)
            await environment.run(task, agents)
            await environment.finalize(task, episode)
            self._events.put(("end", float(sum(trace.reward for trace in episode.traces))))
        except asyncio.CancelledError:
            raise
        except BaseException as error:
            self._events.put(("error", error))

    def close(self) -> None:
        """End an episode that was not played to its end: it still waits."""
        self._future.cancel()


class Agent:
    """What an environment takes for its agent: :meth:`run` and :meth:`interaction`, as ``verifiers.v1.Agent`` has them."""

    def __init__(self, play: Play, name: str, completed: list[Any]) -> None:
        self._play, self.name, self._completed, self.trainable = play, name, completed, True

    async def run(self, task: Any, **_: Any) -> Any:
        """One reply to the task, scored."""
        async with self.interaction(task) as conversation:
            await conversation.turn()
        return conversation.trace

    @asynccontextmanager
    async def interaction(self, task: Any, **_: Any) -> AsyncIterator[Conversation]:
        """A conversation that the environment leads; scored when it is left."""
        conversation = Conversation(self._play, task, self.name)
        yield conversation
        trace = conversation.trace
        await task.finalize(trace, None)
        await task.score(trace, None)
        trace.stop("user_closed")
        trace.ok = True
        self._completed.append(trace)


class Conversation:
    """The trace of a conversation, and how the environment goes on with it."""

    def __init__(self, play: Play, task: Any, name: str) -> None:
        import verifiers.v1 as vf
        from verifiers.v1.state import state_cls

        self._play, self._opened, data = play, task.data.prompt is None, task.data
        config = vf.AgentConfig(model="secondthought")
        named = vf.TraceTask(type=type(task).__name__, data=data, key=task.key, hash=task.hash)
        self.trace: Any = vf.Trace(task=named, state=state_cls(type(task))(), agent=vf.AgentInfo(config=config, name=name))
        if data.system_prompt:
            self._note(vf.SystemMessage(content=data.system_prompt))
        for message in _as_messages(data.prompt):
            self._note(message)

    async def turn(self, message: Any = None) -> Any:
        """What the policy answers to ``message`` (or to the prompt), as a ``verifiers.v1.Segment``."""
        import verifiers.v1 as vf

        observed = _as_messages(message)
        for one in observed:
            self._note(one)
        text = await self._play.ask(_text(observed))
        if text is None:
            return vf.Segment(messages=[], terminated=True)
        said = vf.AssistantMessage(content=text)
        self._note(said, sampled=True)
        return vf.Segment(messages=[said])

    def _note(self, message: Any, *, sampled: bool = False) -> None:
        import verifiers.v1 as vf

        before = len(self.trace.nodes) - 1
        self.trace.nodes.append(vf.MessageNode(parent=before if before >= 0 else None, message=message, sampled=sampled))


def _as_messages(said: Any) -> list[Any]:
    import verifiers.v1 as vf

    if said is None or isinstance(said, str):
        return [vf.UserMessage(content=said)] if said else []
    return [vf.UserMessage(content=str(one["content"])) if isinstance(one, dict) else one for one in said]


def _text(messages: list[Any]) -> str:
    from verifiers.v1.types import content_text

    return "\n\n".join(filter(None, (content_text(message.content) for message in messages)))


def _messages(prompt: Any) -> Messages:
    """A prompt of several messages. Raises UserError for one with tools or pictures."""
    found = []
    for message in prompt:
        role, content = message.role, message.content
        if role not in ("system", "user", "assistant") or not isinstance(content, str):
            raise UserError("a prompt of this taskset holds more than text, which cannot be asked here")
        spoken: Role = role
        found.append(Message(spoken, content))
    return tuple(found)


def _environment(taskset: str, options: Mapping[str, Any]) -> Any:
    """The environment of a taskset. Raises UserError in a sentence for what is not installed, unknown or misconfigured."""
    try:
        from verifiers.v1.utils.loaders import load_environment, resolve_env_config
    except ImportError as error:
        raise UserError(
            "verifiers 0.4 or later is not installed (Python 3.11 or later): pip install 'secondthought[verifiers]'"
        ) from error
    sys.path.insert(0, str(Path.cwd()))
    try:
        environment = load_environment(resolve_env_config({"taskset": {"id": taskset, **options}}))
    except Exception as error:  # whatever stands in the taskset's module, and what pydantic says of its options
        raise UserError(f"verifiers:{taskset} cannot be loaded: {' '.join(str(error).split())[:300]}") from error
    finally:
        sys.path.pop(0)
    return environment


def _check(environment: Any, row: Any) -> None:
    """Raise UserError for an environment that cannot be played as a conversation of one agent."""
    from verifiers.v1.configs.agent import agent_config_fields

    name = f"verifiers:{environment.config.taskset.id}"
    seats = list(agent_config_fields(environment.config))
    if len(seats) != 1:
        raise UserError(f"{name} has {len(seats)} agents ({', '.join(seats)}); environments of one agent can be played")
    if row.NEEDS_CONTAINER:
        raise UserError(f"{name} needs a container for each episode, which cannot be had here")
    if type(row).toolsets(row.config) or type(environment.taskset).toolsets(environment.taskset.config):
        raise UserError(f"{name} gives its agent tools over MCP, which cannot be called here")
    for hook in (*row.hooks("reward"), *row.hooks("metric")):
        needed = inspect.signature(hook).parameters.get("runtime")
        if needed is not None and needed.default is inspect.Parameter.empty:
            raise UserError(f"{name} is scored in a sandbox ({hook.__name__}), which cannot be had here")


@cache
def _loop() -> asyncio.AbstractEventLoop:
    """The loop in which all environments of this process go on."""
    loop = asyncio.new_event_loop()
    threading.Thread(target=loop.run_forever, name="verifiers", daemon=True).start()
    return loop


def _options(asked: str) -> dict[str, Any]:
    """``game=Hangman-v0&seed=3`` as values: JSON where it is JSON, else text."""
    found: dict[str, Any] = {}
    for name, text in parse_qsl(asked, keep_blank_values=True):
        try:
            found[name] = json.loads(text)
        except ValueError:
            found[name] = text
    return found


def task_set(place: str, split: Split | None, style: str) -> Verifiers:
    """``verifiers:TASKSET[?NAME=VALUE&...][:SPLIT]``. Raises UserError where no taskset is named."""
    taskset, _, asked = place.partition("?")
    if not taskset:
        raise UserError("which taskset? write verifiers:NAME, for instance verifiers:textarena?game=Hangman-v0")
    options = _options(asked)
    counts = {name: options.pop(name, usual) for name, usual in (("limit", 1000), ("turns", 32))}
    for name, value in counts.items():
        if not isinstance(value, int) or isinstance(value, bool) or value < 1:
            raise UserError(f"{name} must be a whole number of at least 1, not {value!r}")
    return Verifiers(taskset, options, split, **counts)
