"""Chat templates as models have them: what they show, what they refuse, and what is done about it."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from transformers import AutoTokenizer

from secondthought import Message, Task, UserError
from secondthought.models.chat import renderer_of
from secondthought.models.hub import load
from secondthought.types import Messages

LOOP = "{% for m in messages %}<|{{ m['role'] }}|>{{ m['content'] }}<|end|>{% endfor %}{% if add_generation_prompt %}<|assistant|>{% endif %}"
NO_SYSTEM = "{% if messages[0]['role'] == 'system' %}{{ raise_exception('System role not supported') }}{% endif %}" + LOOP
ALTERNATING = (
    "{% for m in messages %}{% if (m['role'] == 'user') != (loop.index0 % 2 == 0) %}"
    "{{ raise_exception('Conversation roles must alternate') }}{% endif %}{% endfor %}" + LOOP
)
PARTS = LOOP.replace("{{ m['content'] }}", "{% for p in m['content'] %}{{ p['text'] }}{% endfor %}")
BLIND = "{% for m in messages %}<|{{ m['role'] }}|><|end|>{% endfor %}<|assistant|>"
MUTE = LOOP.replace("{{ m['content'] }}", "{% if m['role'] != 'assistant' %}{{ m['content'] }}{% endif %}")
TOOLS = "{% for t in tools %}[{{ t['function']['name'] }}]{% endfor %}" + LOOP
CONVERSATION = (Message("system", "Be brief."), Message("user", "Capital of Peru?"))
TWO_USERS = (Message("user", "Capital of Peru?"), Message("user", "One word."))


@pytest.fixture
def tokenizer(tiny_folder: Path) -> Any:
    return AutoTokenizer.from_pretrained(str(tiny_folder))


def rendered(tokenizer: Any, template: Any, messages: Messages, **more: Any) -> str:
    tokenizer.chat_template = template
    return renderer_of(tokenizer).apply(messages, more.get("tools", ()), True)


@pytest.mark.parametrize(
    ("template", "messages", "text"),
    [
        (LOOP, CONVERSATION, "<|system|>Be brief.<|end|><|user|>Capital of Peru?<|end|><|assistant|>"),
        (NO_SYSTEM, CONVERSATION, "<|user|>Be brief.\n\nCapital of Peru?<|end|><|assistant|>"),
        (ALTERNATING, CONVERSATION, "<|user|>Be brief.\n\nCapital of Peru?<|end|><|assistant|>"),
        (ALTERNATING, TWO_USERS, "<|user|>Capital of Peru?\n\nOne word.<|end|><|assistant|>"),
        (PARTS, CONVERSATION, "<|system|>Be brief.<|end|><|user|>Capital of Peru?<|end|><|assistant|>"),
        (
            {"default": LOOP, "rag": BLIND},
            CONVERSATION,
            "<|system|>Be brief.<|end|><|user|>Capital of Peru?<|end|><|assistant|>",
        ),
    ],
)
def test_every_word_is_shown(tokenizer: Any, template: Any, messages: Messages, text: str) -> None:
    assert rendered(tokenizer, template, messages) == text


def test_the_template_for_tools_is_used_where_there_are_tools(tokenizer: Any) -> None:
    tools = ({"name": "pay", "parameters": {}},)
    named = {"default": LOOP, "tool_use": TOOLS}
    assert rendered(tokenizer, named, CONVERSATION, tools=tools).startswith("[pay]<|system|>")
    assert rendered(tokenizer, named, CONVERSATION).startswith("<|system|>")


@pytest.mark.parametrize(
    ("template", "words"),
    [
        (BLIND, "does not show the user's question"),
        (MUTE, "does not show its own turns"),
        ({"rag": LOOP, "summary": LOOP}, "has the chat templates rag, summary and none called default"),
        ("{{ raise_exception('never') }}", r"does not show the user's question \(never\)"),
    ],
)
def test_a_template_that_cannot_be_used_is_one_sentence(tokenizer: Any, template: Any, words: str) -> None:
    tokenizer.chat_template = template
    with pytest.raises(UserError, match=words):
        renderer_of(tokenizer)
    assert renderer_of(tokenizer, raw=True).apply((Message("user", "2 + 2 ="),), (), True).endswith("2 + 2 =")


def test_turns_that_a_template_refuses_are_named(tokenizer: Any) -> None:
    with pytest.raises(UserError, match=r"refuses the turns assistant: Conversation roles must alternate"):
        rendered(tokenizer, ALTERNATING, (Message("assistant", "hm"),))


def test_a_later_turn_is_written_in_parts_as_well(tokenizer: Any) -> None:
    from secondthought import Draft, Scripted
    from secondthought.rollouts import drive

    tokenizer.chat_template = PARTS
    engine = Scripted(lambda request: "Lima")
    engine.renderer = renderer_of(tokenizer)

    async def talk(task: Task) -> Draft:
        draft = Draft(task)
        await draft.sample("attempt")
        draft.write("ask", "Sure?")
        await draft.sample("again")
        return draft

    (draft,) = drive([talk(Task.of(CONVERSATION, answer="Lima", family="t"))], engine)
    ask = next(segment for segment in draft.segments if segment.name == "ask")
    assert "Sure?" in engine.renderer.decode(ask.tokens)
    assert "Peru" not in engine.renderer.decode(ask.tokens)


def test_a_tokenizer_longer_than_the_model_is_one_sentence(tiny_folder: Path, tmp_path: Path) -> None:
    folder = tmp_path / "model"
    shutil.copytree(tiny_folder, folder)
    tokenizer = AutoTokenizer.from_pretrained(str(folder))
    tokenizer.add_tokens(["<extra_one>", "<extra_two>"])
    tokenizer.save_pretrained(folder)
    rows = json.loads((folder / "config.json").read_text())["vocab_size"]
    with pytest.raises(UserError, match=f"has {len(tokenizer):,} tokens and the model only {rows:,}"):
        load(str(folder))
