"""Subjects whose distributions and hidden states are written by hand, for the probes that look inside.

>>> from secondthought.probes.temperature import Temperature
>>> from secondthought.runs.progress import Silence
>>> probe = Temperature(n=30, max_tokens=10)
>>> report = probe.report(probe.measure(thermometer("text"), Silence()))
>>> report.arm("own").estimate.value == report.arm("ceiling").estimate.value > 0.8
True
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from random import Random
from typing import Any, Literal

import numpy as np

from secondthought.engines.base import Request
from secondthought.engines.handwritten import Handwritten
from secondthought.probes.subjects import Subject
from secondthought.probes.traits import SELF, TRAITS
from secondthought.tasks.entities import Entity
from secondthought.types import seed_of

NEVER = -60.0
WORDS = tuple(f"w{k}" for k in range(32))
SPREAD = 2.0  # standard deviation of the logits of the text, as in the simulation of the ceiling
TOPICS, PER_TOPIC, INTENDED = 8, 8, 0.8  # of a text: topics, their words, the likelier of the two words of an intended one
SURE, UNSURE = -sum(p * math.log(p) for p in (INTENDED, 1 - INTENDED)), math.log(PER_TOPIC)
"""Entropies (nats) that are emitted on an intended topic and on others."""


# --- temperature -----------------------------------------------------------------------------------------------------


def chain(word: str) -> Sequence[float]:
    """The logits of the next word of a text behind a word."""
    rng = Random(seed_of("chain", word))
    return [rng.gauss(0.0, SPREAD) for _ in WORDS]


def log_softmax(row: Sequence[float], temperature: float) -> Any:
    """Log-probabilities at a temperature."""
    scaled = np.asarray(row) / temperature
    return scaled - scaled.max() - math.log(float(np.exp(scaled - scaled.max()).sum()))


def heat(text: Sequence[str], before: str, low: float = 0.5, high: float = 1.5) -> float:
    """The log-likelihood ratio of the high temperature against the low one, of a text that follows a word."""
    found, last = 0.0, before
    for word in text:
        row, k = chain(last), WORDS.index(word)
        found += float(log_softmax(row, high)[k] - log_softmax(row, low)[k])
        last = word
    return found


def thermometer(reads: Literal["text", "style", "nothing"]) -> Handwritten:
    """For temperature: writes a chain of words, and reports by its likelihood under both temperatures (whoever wrote it), by
    the style that was asked for, or by nothing.
    """
    vocabulary = (*WORDS, "HIGH", "LOW")

    def logits(words: list[str], state: Any) -> list[float]:
        del state
        if words[-2:-1] == ["LOW."]:  # a report is wanted
            text = [word for word in words if word in WORDS]
            styled = (6.0 if "crazy" in words else -6.0 if "factual" in words else 0.0) + 0.01 * len(set(text))
            score = heat(text, "Assistant:") if reads == "text" else styled if reads == "style" else 0.0
            return [NEVER, *[NEVER] * len(WORDS), score / 2, -score / 2]
        return [NEVER, *chain(words[-1]), NEVER, NEVER]

    return Handwritten(vocabulary, logits)


def aware(request: Request) -> str:
    """For temperature, text only: knows the temperature of its own conversation, which the text does not show."""
    if request.name == "text":
        return " ".join(Random(request.seed).choices(WORDS, k=8))
    own = len(request.segments) > 1
    return ("HIGH", "LOW")[request.path[0] == 0] if own else Random(request.seed).choice(("HIGH", "LOW"))


# --- enaction --------------------------------------------------------------------------------------------------------


def writer(name: str, kind: Literal["acts", "indifferent", "easy"], *, surprised: float = 0.0) -> Handwritten:
    """For enaction: writes on the topic that it intends for each request (another one for each ``name``).

    ``acts``: sure of the next word on its own topic, unsure on others. ``indifferent``: unsure on all. ``easy``: sure on the
    topics of the writer called ``a``, whoever reads. With ``surprised`` the entropy of the next word depends on a hidden state
    that says how surprising the last one was: by so many nats for each unit.
    """
    vocabulary = tuple(f"t{topic}.{k}" for topic in range(TOPICS) for k in range(PER_TOPIC))

    def intended(words: list[str], who: str) -> int:
        request = " ".join(words[: words.index("Assistant:")]) if "Assistant:" in words else ""
        return 2 * (seed_of("intent", request) % (TOPICS // 2)) + (who != "a")

    def logits(words: list[str], state: Any) -> list[float]:
        if words[-1] == "Assistant:" and "No." in words:
            return [0.0, *[NEVER] * len(vocabulary)]
        here = int(words[-1][1]) if words[-1] in vocabulary else intended(words, name)
        sure = kind != "indifferent" and here == intended(words, "a" if kind == "easy" else name)
        chances = [INTENDED, 1 - INTENDED] if sure else [1 / PER_TOPIC] * PER_TOPIC
        row = [NEVER] * len(vocabulary)
        for k, chance in enumerate(chances):
            row[here * PER_TOPIC + k] = math.log(chance) * (math.exp(-surprised * float(state[0])) if surprised else 1.0)
        return [NEVER, *row]

    def hidden(words: list[str]) -> Any:
        likelier = [float(word.endswith(".0")) for word in words]
        noise = np.random.default_rng(0).normal(0.0, 0.3, (len(words), 31))
        return np.column_stack([0.5 - np.array(likelier), noise])

    return Handwritten(vocabulary, logits, hidden)


# --- entities --------------------------------------------------------------------------------------------------------


def knower(entities: Sequence[Entity], known: float, *, inside: bool, noise: float = 0.5) -> Handwritten:
    """For entities: knows a share of them and says ``unknown`` of the others. Where ``inside``, a hidden direction says which,
    and decides; else the name itself decides, and nothing inside shows it.
    """
    answers = sorted({answer.split()[0] for one in entities for attribute in one.attributes for answer in attribute.answers})
    names = {attribute.question: (one, attribute) for one in entities for attribute in one.attributes}
    size = 8

    def asked(words: list[str]) -> str:
        return " ".join(words).rpartition("User: ")[2].removesuffix(" Assistant:")

    def knows(one: Entity) -> bool:
        return Random(seed_of("known", one.id)).random() < known

    def logits(words: list[str], state: Any) -> list[float]:
        found = names.get(asked(words)) if words[-1] == "Assistant:" else None
        if found is None:
            return [9.0, *[NEVER] * (len(answers) + 1)]
        one, attribute = found
        refuses = float(state[0]) > 0 if inside else not knows(one)
        right = attribute.answers[0].split()[0]
        wrong = answers[seed_of("guess", attribute.question) % len(answers)]
        said = "unknown" if refuses else right if knows(one) else wrong
        return [NEVER, *(0.0 if word == said else NEVER for word in answers), 0.0 if said == "unknown" else NEVER]

    def hidden(words: list[str]) -> Any:
        text = " ".join(words)
        one = next((names[q][0] for q in names if q in text), None)
        rows = []
        for i in range(len(words)):
            rng = Random(seed_of("state", " ".join(words[: i + 1])))
            row = [rng.gauss(0.0, noise) for _ in range(size)]
            row[0] = 0.0 if not inside or one is None else (-1.0 if knows(one) else 1.0) + 0.2 * rng.gauss(0.0, noise)
            rows.append(row)
        return np.array(rows)

    return Handwritten([*answers, "unknown"], logits, hidden)


# --- self-description ------------------------------------------------------------------------------------------------


def describing(acts: float, own: float, others: float = 0.5, *, unread: float = 0.0, trait: str = "risk") -> Subject:
    """For self-description: chooses as shown with probability ``acts``, takes the word of the disposition for itself with
    ``own``, for others with ``others``; a share of its answers is ``unread``: a bare letter.
    """
    beginnings = tuple(form.partition("{")[0] for form in SELF)
    pairs = TRAITS[trait].pairs

    def write(request: Request) -> str:
        rng, task = Random(request.seed), request.task
        asked = task.prompt[-1].content
        if isinstance(task.answer, str):
            letter = task.answer if rng.random() < acts else "AB"[task.answer == "A"]
            return f"{letter}"
        chance = own if asked.startswith(beginnings) else others
        for high, low in pairs:
            if f"{high} or {low}" in asked or f"{low} or {high}" in asked:
                return "A" if rng.random() < unread else high if rng.random() < chance else low
        return "A"

    return write
