from __future__ import annotations

from typing import Any

import pytest
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from secondthought.models.chat import PLAIN_STOP, TemplateRenderer, renderer_of
from secondthought.types import Message, Segment, Task

CHATML = (
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
LLAMA3 = (
    "<|begin|>{% for m in messages %}<|start_header|>{{ m['role'] }}<|end_header|>\n\n{{ m['content'] | trim }}<|eot|>{% endfor %}"
    "{% if add_generation_prompt %}<|start_header|>assistant<|end_header|>\n\n{% endif %}"
)
# Qwen-3 drops the thoughts of earlier turns, and shows empty ones in the last.
QWEN3 = (
    "{% for m in messages %}{% set text = m['content'].split('</think>')[-1] %}<|im_start|>{{ m['role'] }}\n"
    "{% if m['role'] == 'assistant' and loop.last %}<think>\n\n</think>\n\n{% endif %}{{ text }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
# R1 opens the thought itself, and drops earlier ones.
R1 = (
    "<|begin|>{% for m in messages %}{% if m['role'] == 'user' %}<|User|>{{ m['content'] }}"
    "{% else %}<|Assistant|>{{ m['content'].split('</think>')[-1] }}<|eos|>{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}<|Assistant|><think>\n{% endif %}"
)
SPECIAL = ["<|im_start|>", "<|im_end|>", "<|begin|>", "<|start_header|>", "<|end_header|>", "<|eot|>", "<|User|>"]
SPECIAL += ["<|Assistant|>", "<|eos|>", "<|endoftext|>"]
TEMPLATES = {
    "chatml": (CHATML, "<|im_end|>"),
    "llama3": (LLAMA3, "<|eot|>"),
    "qwen3": (QWEN3, "<|im_end|>"),
    "r1": (R1, "<|eos|>"),
}


def tokenizer(template: str | None, eos: str) -> Any:
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    inner = Tokenizer(models.BPE(vocab={c: i for i, c in enumerate(alphabet)}, merges=[]))
    inner.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    inner.decoder = decoders.ByteLevel()
    found = PreTrainedTokenizerFast(tokenizer_object=inner, eos_token=eos, additional_special_tokens=SPECIAL)
    found.chat_template = template
    return found


def converse(renderer: TemplateRenderer, task: Task, said: str, stop: str = "end") -> tuple[Segment, ...]:
    """The model says something, is answered, and is about to speak again."""
    prompt = renderer.render(task, [Segment("prompt", "task", "user", task.prompt[-1].content)])
    tokens = (*renderer.encode(said), *([next(iter(renderer.ends))] if stop == "end" else []))
    spoken = Segment("attempt", "policy", "assistant", said, tokens, (0.0,) * len(tokens), 0, stop)  # type: ignore[arg-type]
    asked = Segment("ask", "task", "user", "Wrong. Reflect.")
    return renderer.render(task, [*prompt, spoken, asked])


@pytest.mark.parametrize("name", TEMPLATES)
def test_a_conversation_reads_as_the_template_would_write_it(name: str) -> None:
    template, eos = TEMPLATES[name]
    tok = tokenizer(template, eos)
    renderer = renderer_of(tok)
    task = Task.of("2 + 2?", answer="4", family="t")
    segments = converse(renderer, task, "It is 5.")
    result = [
        m._asdict() for m in (Message("user", "2 + 2?"), Message("assistant", "It is 5."), Message("user", "Wrong. Reflect."))
    ]
    whole = tok.apply_chat_template(result, tokenize=False, add_generation_prompt=True)
    if name == "r1":  # the thought that R1's own prompt opens was sampled after, and stays
        whole = whole.replace("<|Assistant|>It is", "<|Assistant|><think>\nIt is")
    assert tok.decode([t for s in segments for t in s.tokens]) == whole


@pytest.mark.parametrize("name", TEMPLATES)
def test_what_was_sampled_is_never_rendered_again(name: str) -> None:
    template, eos = TEMPLATES[name]
    renderer = renderer_of(tokenizer(template, eos))
    task = Task.of("2 + 2?", answer="4", family="t")
    thought = "<think>hm, 5</think> It is 5."
    segments = converse(renderer, task, thought)
    assert renderer.text_of(segments[1].tokens) == thought
    assert [s.author for s in segments] == ["task", "policy", "task"]


@pytest.mark.parametrize("name", TEMPLATES)
def test_a_turn_cut_short_is_closed_by_the_next_one_and_a_closed_one_is_not_closed_twice(name: str) -> None:
    template, eos = TEMPLATES[name]
    tok = tokenizer(template, eos)
    task = Task.of("2 + 2?", answer="4", family="t")
    for stop in ("end", "length"):
        segments = converse(renderer_of(tok), task, "It is 5.", stop)
        between = tok.decode([*segments[1].tokens, *segments[2].tokens])
        assert between.count(eos) == (2 if eos in ("<|im_end|>", "<|eot|>") else 1)


@pytest.mark.parametrize("name", TEMPLATES)
def test_the_template_says_which_token_ends_a_turn(name: str) -> None:
    template, eos = TEMPLATES[name]
    tok = tokenizer(template, "<|endoftext|>")
    ends = renderer_of(tok).ends
    assert next(iter(ends.values())) == eos
    assert "<|endoftext|>" in ends.values()


@pytest.mark.parametrize("name", TEMPLATES)
def test_a_prefill_is_appended_as_it_is(name: str) -> None:
    template, eos = TEMPLATES[name]
    tok = tokenizer(template, eos)
    renderer = renderer_of(tok)
    task = Task.of("2 + 2?", answer="4", family="t")
    written = [Segment("prompt", "task", "user", "2 + 2?"), Segment("thought", "intervention", "assistant", "Wait, ")]
    prompt, thought = renderer.render(task, written)
    assert tok.decode(prompt.tokens) == renderer.apply(task.prompt, (), True)
    assert tok.decode(thought.tokens) == "Wait, "


def test_a_system_turn_and_a_prefilled_prompt_are_kept() -> None:
    tok = tokenizer(CHATML, "<|im_end|>")
    prompt = (Message("system", "Be brief."), Message("user", "2 + 2?"), Message("assistant", "It"))
    task = Task.of(prompt, answer="4", family="t")
    rendered = renderer_of(tok).render(task, [Segment("prompt", "task", "assistant", "It")])
    text = tok.decode(rendered[0].tokens)
    assert text.startswith("<|im_start|>system\nBe brief.")
    assert text.endswith("<|im_start|>assistant\nIt")


def test_no_template_means_the_plain_dialect_and_a_note() -> None:
    renderer = renderer_of(tokenizer(None, "<|endoftext|>"))
    assert "no chat template" in renderer.note
    assert renderer.stop == PLAIN_STOP
    segments = converse(renderer, Task.of("2 + 2?", answer="4", family="t"), " It is 5.", "length")
    text = renderer.decode([t for s in segments for t in s.tokens])
    assert text == "User: 2 + 2?\n\nAssistant: It is 5.\n\nUser: Wrong. Reflect.\n\nAssistant:"


def test_a_stop_string_is_not_written_twice() -> None:
    renderer = renderer_of(tokenizer(None, "<|endoftext|>"))
    task = Task.of("2 + 2?", answer="4", family="t")
    prompt = renderer.render(task, [Segment("prompt", "task", "user", "2 + 2?")])
    tokens = tuple(renderer.encode(" It is 5.\n\nUser:"))
    spoken = Segment("attempt", "policy", "assistant", " It is 5.", tokens, (0.0,) * len(tokens), 0, "string")
    segments = renderer.render(task, [*prompt, spoken, Segment("ask", "task", "user", "Wrong.")])
    assert renderer.decode([t for s in segments for t in s.tokens]).count("User:") == 2


# --- tools -----------------------------------------------------------------------------------------------------------

TOOL: dict[str, Any] = {
    "name": "geo.find",
    "description": "Find",
    "parameters": {"type": "object", "properties": {"city": {"type": "string"}}},
}
# As Hermes and Qwen-2.5 have it: tools in the system turn.
HERMES = (
    "{% if tools %}<|im_start|>system\n<tools>{% for tool in tools %}{{ tool | tojson }}{% endfor %}</tools><|im_end|>\n{% endif %}"
) + CHATML
# As Llama-3.1 has it: tools before the first words of the user; it takes no other tools than those of OpenAI's shape.
LLAMA31 = (
    "<|begin|>{% for m in messages %}<|start_header|>{{ m['role'] }}<|end_header|>\n\n"
    "{% if tools and loop.first %}{% for tool in tools %}{{ tool.function.name }}{{ tool.function.parameters | tojson }}\n{% endfor %}"
    "{% endif %}{{ m['content'] | trim }}<|eot|>{% endfor %}"
    "{% if add_generation_prompt %}<|start_header|>assistant<|end_header|>\n\n{% endif %}"
)
# As Gemma has it: no system turn at all.
GEMMA = (
    "{% if messages[0]['role'] == 'system' %}{{ raise_exception('System role not supported') }}{% endif %}"
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>model\n{% endif %}"
)


@pytest.mark.parametrize(
    ("template", "eos", "begins"),
    [
        (HERMES, "<|im_end|>", '<|im_start|>system\n<tools>{"type": "function", "function": {"name": "geo.find"'),
        (LLAMA31, "<|eot|>", '<|begin|><|start_header|>user<|end_header|>\n\ngeo.find{"type": "object"'),
        (CHATML, "<|im_end|>", '<|im_start|>system\nYou can call these tools:\n{"name": "geo.find"'),
        (GEMMA, "<|im_end|>", '<|im_start|>user\nYou can call these tools:\n{"name": "geo.find"'),
        (None, "<|endoftext|>", 'You can call these tools:\n{"name": "geo.find"'),
    ],
    ids=["hermes", "llama31", "chatml", "gemma", "none"],
)
def test_tools_are_shown_by_the_template_or_else_as_json(template: str | None, eos: str, begins: str) -> None:
    tok = tokenizer(template, eos)
    renderer = renderer_of(tok)
    task = Task.of("Where?", answer=None, family="t", tools=[TOOL])
    segments = converse(renderer, task, "Oslo.")
    result = tok.decode([t for s in segments for t in s.tokens])
    assert result.startswith(begins)
    assert result.count("geo.find") == 1  # shown once, and not again with every turn
    assert "Wrong. Reflect." in result
    plainly = Task.of("Where?", answer=None, family="t")
    assert "geo.find" not in tok.decode([t for s in converse(renderer, plainly, "Oslo.") for t in s.tokens])


def test_a_system_turn_and_tools_share_a_turn() -> None:
    tok = tokenizer(CHATML, "<|im_end|>")
    task = Task.of((Message("system", "Be brief."), Message("user", "Where?")), answer=None, family="t", tools=[TOOL])
    (prompt,) = renderer_of(tok).render(task, [Segment("prompt", "task", "user", "Where?")])
    result = tok.decode(prompt.tokens)
    assert result.count("<|im_start|>system") == 1
    assert result.index("geo.find") < result.index("Be brief.")
