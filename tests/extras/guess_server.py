"""An OpenEnv server: a number is to be guessed. ``python -m tests.extras.guess_server PORT``."""

from __future__ import annotations

import sys
from typing import Any

import uvicorn
from openenv.core.env_server.http_server import create_app
from openenv.core.env_server.interfaces import Environment
from openenv.core.env_server.types import Action, Observation, State
from pydantic import Field


class Guess(Action):
    number: str = Field(..., description="A whole number from 0 to 9")


class Seen(Observation):
    text: str = ""


class Game(Environment):
    SUPPORTS_CONCURRENT_SESSIONS = True

    def __init__(self) -> None:
        self.secret = 0

    def reset(self, seed: int | None = None, episode_id: str | None = None, **_: Any) -> Seen:
        self.secret = (seed or 0) * 7 % 10
        return Seen(text="I think of a number.", done=False, reward=0.0)

    def step(self, action: Guess, timeout_s: float | None = None, **_: Any) -> Seen:
        said = int(action.number) if action.number.isdecimal() else -1
        if said == self.secret:
            return Seen(text="Yes.", done=True, reward=1.0)
        return Seen(text="Too low." if said < self.secret else "Too high.", done=False, reward=0.0)

    @property
    def state(self) -> State:
        return State(episode_id="guess", step_count=0)


if __name__ == "__main__":
    app = create_app(Game, Guess, Seen, env_name="guess", max_concurrent_envs=64)
    uvicorn.run(app, host="127.0.0.1", port=int(sys.argv[1]), log_level="warning")
