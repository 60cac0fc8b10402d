"""How likely a model is to answer with one word or another: read from log-probabilities, nothing is sampled."""

from __future__ import annotations

import math
from collections.abc import Sequence

from secondthought.engines.base import LogitsEngine, Renderer
from secondthought.types import Episode


def spellings(word: str) -> tuple[str, ...]:
    """A word with a space and without: which one a model writes depends on its template.

    >>> spellings("yes")
    ('yes', ' yes')
    """
    return word, f" {word}"


def context_of(renderer: Renderer, episode: Episode) -> tuple[int, ...]:
    """All tokens of a conversation, as a model reads it."""
    return tuple(token for segment in renderer.render(episode.task, episode.segments) for token in segment.tokens)


def word_odds(model: LogitsEngine, episodes: Sequence[Episode], words: Sequence[Sequence[str]]) -> list[list[float]]:
    """For each conversation the log-probability (nats) that it goes on with each of its ``words``, in any spelling."""
    contexts, continuations = list[tuple[int, ...]](), list[tuple[int, ...]]()
    for episode, wanted in zip(episodes, words, strict=True):
        context = context_of(model.renderer, episode)
        for word in wanted:
            for spelling in spellings(word):
                contexts.append(context)
                continuations.append(tuple(model.renderer.encode(spelling)))
    scored = iter([math.fsum(logprobs) for logprobs in model.score(contexts, continuations)])
    return [[added([next(scored) for _ in spellings(word)]) for word in wanted] for wanted in words]


def added(logprobs: Sequence[float]) -> float:
    """The log-probability of one or the other, of things that exclude each other.

    >>> round(math.exp(added([math.log(0.25), math.log(0.5)])), 2)
    0.75
    """
    largest = max(logprobs)
    return largest + math.log(math.fsum(math.exp(one - largest) for one in logprobs)) if largest > -math.inf else -math.inf


def log_ratio(odds: Sequence[float]) -> float:
    """The log-odds of the first word against the second; nan where neither can come."""
    return odds[0] - odds[1] if max(odds) > -math.inf else math.nan
