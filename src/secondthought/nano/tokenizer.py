"""The tokenizer of the nano family: whole words of the small language, single characters for everything else.

Numbers 0-99 and the words of the corpus are one token each. Any other printable ASCII text is spelled in characters
(WordPiece without training), so nothing a user types is ever ``<unk>``; white space is not kept.
"""

from __future__ import annotations

import string
from collections.abc import Sequence
from pathlib import Path

from transformers import PreTrainedTokenizerFast

USER, MODEL, END, PAD, UNKNOWN = "<user>", "<model>", "<end>", "<pad>", "<unk>"
WORDS = [
    "use",
    "make",
    "example",
    "check",
    "start",
    "with",
    "keep",
    "for",
    "last",
    "first",
    "avoid",
    "too",
    "high",
    "low",
    "by",
    "wait",
    "wrong",
    "right",
    "reflect",
    "retry",
    "think",
    "harder",
    "be",
    "careful",
    "try",
    "again",
    "the",
    "numbers",
    "step",
    "then",
    "done",
]

CHAT_TEMPLATE = (
    "{% for message in messages %}"
    "{% if message['role'] == 'assistant' %}<model> {{ message['content'] }} <end> "
    "{% else %}<user> {% if tools and loop.first %}tools "
    "{% for tool in tools %}{{ tool.function.name.replace('.', ' . ') }} ( "
    "{% for name in tool.function.parameters.properties %}{{ name }} {% endfor %}) "
    "{% endfor %}ask {% endif %}{{ message['content'] }} {% endif %}"
    "{% endfor %}{% if add_generation_prompt %}<model> {% endif %}"
)


def vocabulary(more: Sequence[str] = ()) -> dict[str, int]:
    """Token strings to ids, ``more`` words after the common ones; the order is fixed, because shipped weights depend on it."""
    characters = [c for c in string.printable if not c.isspace()]
    tokens = [PAD, UNKNOWN, USER, MODEL, END, *map(str, range(100)), *"+-*/=,.:?()", *WORDS]
    tokens += [c for c in characters if c not in tokens]
    tokens += [f"##{c}" for c in characters]
    tokens += more
    return {token: i for i, token in enumerate(dict.fromkeys(tokens))}


def build(more: Sequence[str] = ()) -> PreTrainedTokenizerFast:
    """The tokenizer, with its chat template, ready to be saved beside a model; ``more`` words are one token each.

    >>> tokenizer = build()
    >>> tokenizer.tokenize("use 3 12 make 36 , oh")
    ['use', '3', '12', 'make', '36', ',', 'o', '##h']
    """
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers

    words = models.WordPiece(vocabulary(more), unk_token=UNKNOWN, max_input_chars_per_word=10_000)
    tokenizer = Tokenizer(words)
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer.decoder = decoders.WordPiece(prefix="##", cleanup=False)
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        eos_token=END,
        pad_token=PAD,
        unk_token=UNKNOWN,
        additional_special_tokens=[USER, MODEL],
        clean_up_tokenization_spaces=False,
    )
    fast.chat_template = CHAT_TEMPLATE
    return fast


def save(folder: Path) -> None:
    """Write tokenizer.json and chat_template.jinja into ``folder``."""
    build().save_pretrained(folder)
