"""Turns into tokens: a model's own chat template, or a plain renderer for models that have none.

Token in, token out: what was sampled is never rendered again. A later turn is rendered alone, by asking the template for
the conversation with a stand-in where the model wrote, and keeping what comes after the stand-in. So scaffold tokens belong
to the author of the written turn, thoughts that a template would delete from history stay as they were sampled, and a
prefilled turn is simply appended as ids.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Any, cast

from secondthought.errors import UserError
from secondthought.types import Json, Message, Messages, Segment, Task

Tools = Sequence[Mapping[str, Json]]

STAND_IN = "\u2023assistant\u2023wrote\u2023here\u2023"

PLAIN_TEMPLATE = (
    "{% for message in messages %}"
    "{% if message['role'] == 'assistant' %}Assistant: {{ message['content'] }}\n\n"
    "{% elif message['role'] == 'user' %}User: {{ message['content'] }}\n\n"
    "{% else %}{{ message['content'] }}\n\n{% endif %}"
    "{% endfor %}{% if add_generation_prompt %}Assistant:{% endif %}"
)
ANSWER_IN_JSON = 'Answer with a JSON list of calls and nothing else: [{"name": "...", "arguments": {"...": ...}}]'
PLAIN_STOP = ("\n\nUser:",)


@dataclass(frozen=True)
class TemplateRenderer:
    """How one model writes conversations.

    ``apply(messages, tools, generate)`` renders a conversation to text; ``encode`` and ``decode`` go between text and ids,
    special tokens spelled out and none added; ``ends`` maps the ids that end an assistant's turn to their text, the usual
    one first; ``stop`` are strings that end a turn. ``style`` is the wording a task should choose, ``chat`` or ``terse``.
    ``unknown`` is the id that stands for what the model cannot write, if it has one; ``raw`` says that there are no turns at
    all.
    """

    apply: Callable[[Messages, Tools, bool], str]
    encode: Callable[[str], list[int]]
    decode: Callable[[Sequence[int]], str]
    ends: Mapping[int, str]
    stop: tuple[str, ...] = ()
    style: str = "chat"
    note: str = ""
    unknown: int | None = None
    raw: bool = False
    _cache: dict[Any, tuple[int, ...]] = field(default_factory=dict, repr=False, compare=False)

    def render(self, task: Task, segments: Sequence[Segment]) -> tuple[Segment, ...]:
        """The same segments, every written one with the ids it adds; those that have ids keep them."""
        done: list[Segment] = []
        for segment in segments:
            if not segment.tokens and segment.logprobs is None:
                ended = self._ending(done[-1]) if done else ""
                key = (task.prompt, task.key if task.tools else "", bool(done), segment.role, segment.text, segment.stop, ended)
                if key not in self._cache:
                    self._cache[key] = tuple(self._tokens(task, segment, ended, first=not done))
                segment = replace(segment, tokens=self._cache[key])
            done.append(segment)
        return tuple(done)

    def text_of(self, tokens: Sequence[int]) -> str:
        """The text of a sampled turn, without its end token."""
        kept = tokens[:-1] if tokens and tokens[-1] in self.ends else tokens
        return self.decode(kept)

    def _tokens(self, task: Task, segment: Segment, ended: str, *, first: bool) -> list[int]:
        prompt = task.prompt
        prefilled = prompt[-1].role == "assistant"
        asked = prompt[:-1] if prefilled else prompt
        if first:
            return self.encode(self.apply(asked, task.tools, True) + (prompt[-1].content if prefilled else ""))
        if segment.role == "assistant":
            return self.encode(segment.text) + ([next(iter(self.ends))] if segment.stop == "end" else [])
        turns = (*asked, Message("assistant", STAND_IN), Message(segment.role, segment.text))
        scaffold = self.apply(turns, task.tools, True).rpartition(STAND_IN)[2]
        if ended and scaffold.lstrip().startswith(ended):
            scaffold = scaffold.lstrip().removeprefix(ended)
        return self.encode(scaffold)

    def _ending(self, previous: Segment) -> str:
        """The text that already closed the previous turn, and must not be written twice."""
        if previous.stop == "string":
            return next((s for s in self.stop if self.decode(previous.tokens).endswith(s)), "").lstrip()
        return self.ends.get(previous.tokens[-1], "") if previous.tokens else ""


def spelling(decode: Callable[[Sequence[int]], str], tokens: Sequence[int], characters: int) -> int:
    """How many of the first tokens it takes to spell so many characters.

    >>> spelling(lambda tokens: "".join("ab"[t] * 2 for t in tokens), (0, 1, 0), 3)
    2
    """
    low, high = 0, len(tokens)
    while low < high:
        middle = (low + high) // 2
        low, high = (middle + 1, high) if len(decode(tokens[:middle])) < characters else (low, middle)
    return low


def plain(messages: Messages, tools: Tools, generate: bool) -> str:
    """A conversation in the plain renderer.

    >>> plain((Message("user", "2 + 2?"),), (), True)
    'User: 2 + 2?\\n\\nAssistant:'
    """
    return str(_plain_template().render(messages=with_tools(messages, tools), add_generation_prompt=generate))


def with_tools(messages: Messages, tools: Tools, *, system: bool = True) -> Messages:
    """The conversation with its tools as JSON in the system turn, for models whose template has no place for tools; without
    ``system``, before the first turn of the user.
    """
    if not tools:
        return messages
    shown = "\n".join(json.dumps(tool, ensure_ascii=False) for tool in tools)
    text = f"You can call these tools:\n{shown}\n\n{ANSWER_IN_JSON}"
    first, *others = messages
    if first.role == "system" or not system:
        return (first._replace(content=f"{text}\n\n{first.content}"), *others)
    return (Message("system", text), *messages)


@lru_cache(maxsize=1)
def _plain_template() -> Any:
    import jinja2

    return jinja2.Environment(autoescape=False).from_string(PLAIN_TEMPLATE)


def renderer_of(
    tokenizer: Any, *, style: str = "chat", ends: Sequence[int] = (), raw: bool = False, thinking: bool | None = None
) -> TemplateRenderer:
    """The renderer of a Hugging Face tokenizer; without a chat template it is the plain one, with a note that says so.

    ``ends`` are further ids that end a turn (those of the model's generation config). A ``raw`` renderer has no turns at all:
    what is asked is the beginning of a text, as base models are asked. ``thinking`` is what the template gets as
    ``enable_thinking`` (None: nothing).
    """

    def encode(text: str) -> list[int]:
        return cast(list[int], tokenizer(text, add_special_tokens=False)["input_ids"])

    def decode(tokens: Sequence[int]) -> str:
        return cast(str, tokenizer.decode(list(tokens), skip_special_tokens=False, clean_up_tokenization_spaces=False))

    def templated(messages: Messages, tools: Tools, generate: bool) -> str:
        turns = messages if takes_tools else with_tools(messages, tools, system=takes_system)
        offered = tools if takes_tools else ()
        return template(turns if takes_system else without_system(turns), offered, generate)

    def prefixed(messages: Messages, tools: Tools, generate: bool) -> str:
        return (tokenizer.bos_token or "") + plain(messages, tools, generate)

    def bare(messages: Messages, tools: Tools, generate: bool) -> str:
        begins = bool(tokenizer.bos_token) and tokenizer("a")["input_ids"][0] == tokenizer.bos_token_id
        return (tokenizer.bos_token if begins else "") + "".join(m.content for m in with_tools(messages, tools))

    has_template = bool(tokenizer.chat_template) and not raw
    template = replace(Template.of(tokenizer), thinking=thinking) if has_template else Template(tokenizer)
    takes_tools, takes_system = has_template and template.shows_tools(), has_template and template.shows_system()
    known = [i for i in (tokenizer.eos_token_id, *ends) if i is not None]
    if has_template:
        closing = encode(templated((Message("user", "?"), Message("assistant", STAND_IN)), (), False).rpartition(STAND_IN)[2])
        if closing and closing[0] in (tokenizer.all_special_ids or []):
            known.insert(0, closing[0])
    note = "" if has_template or raw else "this model has no chat template; turns are written as 'User:' and 'Assistant:'"
    if not known:
        note = f"{note}; " * bool(note) + "this model has no end token, so every answer goes on to its token limit"
    return TemplateRenderer(
        apply=bare if raw else templated if has_template else prefixed,
        encode=encode,
        decode=decode,
        ends={i: cast(str, tokenizer.convert_ids_to_tokens(i)) for i in dict.fromkeys(known)},
        stop=() if has_template or raw else PLAIN_STOP,
        style=style,
        note=note,
        unknown=tokenizer.unk_token_id,
        raw=raw,
    )


PROBE_NAME = "zyxwvu"
TOOL: Mapping[str, Json] = {
    "name": PROBE_NAME,
    "description": "?",
    "parameters": {"type": "object", "properties": {}, "required": []},
}


def without_system(messages: Messages) -> Messages:
    """The conversation for a model that knows no system turn: its words stand before the first turn of the user.

    >>> without_system((Message("system", "Be brief."), Message("user", "2 + 2?")))
    (Message(role='user', content='Be brief.\\n\\n2 + 2?'),)
    """
    words = [m.content for m in messages if m.role == "system"]
    others = [m for m in messages if m.role != "system"]
    first = next((i for i, m in enumerate(others) if m.role == "user"), None)
    if not words:
        return messages
    if first is None:
        return (Message("user", "\n\n".join(words)), *others)
    others[first] = others[first]._replace(content="\n\n".join([*words, others[first].content]))
    return tuple(others)


def alternating(messages: Messages) -> Messages:
    """Turns of one role that follow each other as one turn, for templates that insist on it."""
    found: list[Message] = []
    for message in messages:
        if found and found[-1].role == message.role:
            found[-1] = message._replace(content=f"{found[-1].content}\n\n{message.content}")
        else:
            found.append(message)
    return tuple(found)


@dataclass(frozen=True)
class Template:
    """A tokenizer's chat template: the one called ``name`` where there are several; ``parts`` if it wants contents as lists of
    parts.
    """

    tokenizer: Any
    name: str | None = None
    parts: bool = False
    thinking: bool | None = None

    @classmethod
    def of(cls, tokenizer: Any) -> Template:
        """Raises UserError for templates of which none is the usual one, and for one that does not show what is asked."""
        name = None
        if isinstance(tokenizer.chat_template, dict):
            names = list(tokenizer.chat_template)
            known = [one for one in ("default", "chat", "chat_template") if one in names] or (names if len(names) == 1 else [])
            if not known:
                raise UserError(
                    f"the tokenizer has the chat templates {', '.join(sorted(names))} and none called default; "
                    "name one of them default in its chat_template, or use --frame raw"
                )
            name = known[0]
        for parts in (False, True):
            found = cls(tokenizer, name, parts)
            if found._shows((Message("user", PROBE_NAME),)):
                if not found._shows((Message("user", "?"), Message("assistant", PROBE_NAME), Message("user", "!"))):
                    raise UserError("the chat template of this model does not show its own turns; mend it, or use --frame raw")
                return found
        raise UserError(
            "the chat template of this model does not show the user's question"
            f"{found.complaint((Message('user', PROBE_NAME),))}; mend its chat_template, or use --frame raw"
        )

    def __call__(self, messages: Messages, tools: Tools, generate: bool) -> str:
        """A conversation as text. Raises UserError with the template's own words for one that it refuses."""
        import jinja2

        try:
            return self._render(messages, tools, generate)
        except jinja2.TemplateError as error:
            joined = alternating(messages)
            if joined != messages:
                return self(joined, tools, generate)
            roles = ", ".join(message.role for message in messages)
            raise UserError(f"the chat template of this model refuses the turns {roles}: {error}; use --frame raw") from error

    def shows_tools(self) -> bool:
        """Whether it has a place for tools: one with an unusual name is to be found in what it renders."""
        return self._shows((Message("user", "?"),), [TOOL])

    def shows_system(self) -> bool:
        """Whether it has a place for a system turn."""
        return self._shows((Message("system", PROBE_NAME), Message("user", "?")))

    def complaint(self, messages: Messages) -> str:
        """What it says of a conversation that it refuses, in brackets."""
        import jinja2

        try:
            self._render(messages, (), True)
        except (jinja2.TemplateError, TypeError, ValueError) as error:
            return f" ({str(error)[:100]})"
        return ""

    def _shows(self, messages: Messages, tools: Tools = ()) -> bool:
        import jinja2

        try:
            return PROBE_NAME in self._render(messages, tools, True)
        except (jinja2.TemplateError, TypeError, ValueError):
            return False

    def _render(self, messages: Messages, tools: Tools, generate: bool) -> str:
        turns = [
            {"role": m.role, "content": [{"type": "text", "text": m.content}] if self.parts else m.content} for m in messages
        ]
        offered = [{"type": "function", "function": dict(tool)} for tool in tools] or None
        named: dict[str, Any] = {} if self.thinking is None else {"enable_thinking": self.thinking}
        if self.name:
            several = self.tokenizer.chat_template
            named["chat_template"] = several["tool_use" if tools and "tool_use" in several else self.name]
        text = self.tokenizer.apply_chat_template(turns, tools=offered, tokenize=False, add_generation_prompt=generate, **named)
        return cast(str, text)
