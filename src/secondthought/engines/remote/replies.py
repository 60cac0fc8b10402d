"""What OpenAI-compatible servers answer, and how it is understood.

A reply may hold text, parts, calls of tools, thoughts of its own, nothing at all, or an error inside a success. What is no
answer is asked again (:class:`secondthought.engines.remote.http.Again`); what the server will not answer ends with ``nothing``
and is never graded.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from secondthought.engines.remote.http import Again
from secondthought.types import Stop

STOPS: dict[str, Stop] = {
    "stop": "end", "length": "length", "end_turn": "end", "max_tokens": "length",
    "content_filter": "nothing", "refusal": "nothing",
}  # fmt: skip


@dataclass(frozen=True)
class Reply:
    """One answer: its text (thoughts in ``<think>``, calls as a JSON list), why it ended, and what it cost (None where the
    server does not say).
    """

    text: str
    stop: Stop
    read: int | None = None
    written: int | None = None
    logprobs: Mapping[str, Any] = field(default_factory=dict)


def reply_of(answer: Any, *, chat: bool) -> Reply:
    """The answer in what a server sent. Raises :class:`Again` with the server's words where there is none.

    >>> reply_of({"choices": [{"message": {"content": [{"type": "text", "text": "4"}]}, "finish_reason": "stop"}]}, chat=True)
    Reply(text='4', stop='end', read=None, written=None, logprobs={})
    """
    if not isinstance(answer, Mapping):
        raise Again(f"it answered {_short(answer)}; is it an OpenAI-compatible endpoint?")
    if answer.get("error"):
        error = answer["error"]
        raise Again(f"it reports an error: {_short(error.get('message', error) if isinstance(error, Mapping) else error)}")
    choices = answer.get("choices")
    if not isinstance(choices, Sequence) or isinstance(choices, str) or not choices or not isinstance(choices[0], Mapping):
        raise Again(f"it answered without a choice: {_short(answer)}; is it an OpenAI-compatible endpoint?")
    choice = choices[0]
    stop = STOPS.get(str(choice.get("finish_reason")), "end")
    used = answer.get("usage")
    usage = used if isinstance(used, Mapping) else {}
    read, written = (_count(usage.get(name)) for name in ("prompt_tokens", "completion_tokens"))
    if not chat:
        text, found = choice.get("text"), choice.get("logprobs")
        if text is None and stop != "nothing":
            raise Again(f"it answered without a text: {_short(answer)}")
        return Reply(_text(text), stop, read, written, found if isinstance(found, Mapping) else {})
    message = choice.get("message")
    if not isinstance(message, Mapping):
        raise Again(f"it answered without a message: {_short(answer)}")
    return Reply(*_said(message, stop), read, written)


def _count(value: Any) -> int | None:
    """A number of tokens; None for what is none."""
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None


def _said(message: Mapping[str, Any], stop: Stop) -> tuple[str, Stop]:
    """The text of a chat message, and why it ended."""
    thought = _text(message.get("reasoning_content") or message.get("reasoning"))
    content, calls = _text(message.get("content")), _calls(message.get("tool_calls") or message.get("function_call"))
    if message.get("refusal") or stop == "nothing":
        return content, "nothing"
    answer = "\n".join(part for part in (content, calls) if part)
    if not answer and not thought:
        if "content" in message and message["content"] is None:
            raise Again("its answer is empty (null)")
        return "", stop
    if not thought:
        return answer, stop
    closed = answer or stop != "length"  # cut off in the middle of its thoughts: there is no answer yet
    return f"<think>{thought}{'</think>' if closed else ''}{answer}", stop


def _text(content: Any) -> str:
    """A content as text: a string, or parts of which some are."""
    if isinstance(content, str):
        return content
    if isinstance(content, Sequence):
        return "".join(_text(part.get("text")) if isinstance(part, Mapping) else _text(part) for part in content)
    return ""


def _calls(found: Any) -> str:
    """Calls of tools as the JSON list that a model would have written."""
    listed = found if isinstance(found, list) else [found] if isinstance(found, Mapping) else []
    calls = []
    for one in listed:
        function = one.get("function", one) if isinstance(one, Mapping) else {}
        arguments = function.get("arguments")
        try:
            given = json.loads(arguments) if isinstance(arguments, str) else arguments
        except (ValueError, RecursionError):
            given = arguments  # unreadable, and graded as that
        calls.append({"name": function.get("name"), "arguments": {} if given in (None, "") else given})
    return json.dumps(calls, ensure_ascii=False) if calls else ""


def _short(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
    return " ".join(text.split())[:200]
