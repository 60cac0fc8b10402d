"""What a client asks of a server, checked in full before it waits with others: every fault is one sentence, and its own."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, cast

from secondthought.engines.base import Request, Sampling
from secondthought.engines.torch.engine import TorchEngine
from secondthought.errors import UserError
from secondthought.types import Json, Message, Messages, Segment, Task

ROLES = ("system", "user", "assistant")
STOPS = 16  # strings that may end a turn


def fields(value: Any, name: str) -> dict[str, Any]:
    """A JSON object. Raises UserError for anything else."""
    if not isinstance(value, dict):
        raise UserError(f"{name} must be an object")
    return value


def request(tokens: Any, asked: Mapping[str, Any], engine: TorchEngine) -> Request:
    """A call as a request: a context of ids, and how to go on from it. Raises UserError for what the model cannot do."""
    words = engine.model.config.get_text_config().vocab_size
    if not isinstance(tokens, list | tuple) or not tokens:
        raise UserError("the prompt must be a text or a list of token ids, and not empty")
    if wrong := [one for one in tokens if type(one) is not int or not 0 <= one < words][:1]:
        raise UserError(f"{wrong[0]!r} is no token of this model; it has 0 to {words - 1}")
    if _number(asked, "n", 1, 0, math.inf, whole=True) != 1:
        raise UserError("this server gives one answer to a call (n = 1); ask several times, with other seeds")
    stop = asked.get("stop") or ()
    stops = (stop,) if isinstance(stop, str) else stop
    if not isinstance(stops, list | tuple) or len(stops) > STOPS or not all(isinstance(s, str) and s for s in stops):
        raise UserError(f"stop must be a text or at most {STOPS} of them")
    most = "max_completion_tokens" if asked.get("max_completion_tokens") is not None else "max_tokens"
    sampling = Sampling(
        temperature=_number(asked, "temperature", 1.0, 0.0, 100.0),
        top_p=_number(asked, "top_p", 1.0, 1e-9, 1.0),
        max_tokens=int(_number(asked, most, 16, 1, 10**9, whole=True)),
        stop=tuple(stops),
        top_k=max(0, int(_number(asked, "top_k", 0, -1, 10**9, whole=True))),
        min_p=_number(asked, "min_p", 0.0, 0.0, 1.0),
        repetition_penalty=_number(asked, "repetition_penalty", 1.0, 1e-3, 100.0),
    )
    seed = int(_number(asked, "seed", 0, -math.inf, math.inf, whole=True)) % 2**63
    task = Task(",".join(map(str, tokens[:64])), (), answer=None, family="served")
    return Request("answer", task, (), (Segment("prompt", "task", "user", "", tuple(tokens)),), seed, sampling)


def turns_of(body: Mapping[str, Any]) -> tuple[Messages, tuple[Mapping[str, Json], ...]]:
    """The turns of a chat, and the tools that are offered. Raises UserError for what are none."""
    listed = body.get("messages")
    if not isinstance(listed, list) or not listed:
        raise UserError("messages must be a list of turns, and not empty")
    turns = [fields(turn, "a turn") for turn in listed]
    if other := [turn.get("role") for turn in turns if turn.get("role") not in ROLES][:1]:
        raise UserError(f"a turn has the role {other[0]!r}; this model knows {', '.join(ROLES)}")
    tools = body.get("tools") or []
    if not isinstance(tools, list):
        raise UserError("tools must be a list")
    offered = [fields(fields(tool, "a tool").get("function", tool), "a tool") for tool in tools]
    return tuple(Message(turn["role"], words_of(turn.get("content"))) for turn in turns), tuple(offered)


def words_of(content: Any) -> str:
    """The words of a turn: a text, a list of parts, or nothing. Raises UserError for parts that are no text."""
    if isinstance(content, list):
        parts = [fields(part, "a part of a turn") for part in content]
        if other := sorted({str(part.get("type")) for part in parts} - {"text"}):
            raise UserError(f"this model reads text only, and a turn has {', '.join(other)}")
        return "".join(str(part.get("text", "")) for part in parts)
    if not isinstance(content, str | None):
        raise UserError("the content of a turn must be a text or a list of parts")
    return content or ""


def _number(asked: Mapping[str, Any], name: str, default: float, low: float, high: float, *, whole: bool = False) -> float:
    """A number in a range; its default where it is left out. Raises UserError for anything else."""
    value = asked.get(name)
    if value is None:
        return default
    kind = "a whole number" if whole else "a number"
    if isinstance(value, bool) or not isinstance(value, int | float) or (whole and value != value // 1):
        raise UserError(f"{name} must be {kind}, not {value!r}")
    if not (low <= value <= high) or (isinstance(value, float) and not math.isfinite(value)):
        raise UserError(f"{name} must be {kind} from {low:g} to {high:g}, not {value!r}")
    return cast(float, value)
