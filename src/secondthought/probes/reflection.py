"""Does a model notice that a chain of thought went wrong, and find its way back? (arXiv 2504.04022, with the controls it
lacks.)

Every item is told in several *cells*: a chain of thought in the model's mouth, a trigger behind it, and then the model goes on.

* ``flawed/...``  somebody else's wrong reasoning (situational reflection), with no trigger, "Wait,", "Wait, I made a mistake",
  or a filler of as many tokens that says nothing;
* ``self/...``    the model's own wrong reasoning (self-reflection), where it had failed;
* ``solve``       no chain at all: what it can do unaided;
* ``clean/...``   right reasoning: what a trigger breaks;
* ``other/wait``  another question's wrong reasoning: what is just solving the task anew.

A correct answer is *explicit* reflection if the words say that something was wrong, else *implicit*; so accuracy is the sum of
explicit and implicit accuracy. ``flips`` is how often a model would be right that only ever changed the answer it was given.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from random import Random
from typing import Any, Literal, NamedTuple

from secondthought.probes import detectors
from secondthought.protocols.second_thoughts import put_in, second_thoughts
from secondthought.scene import Engine, Sampling, drive, gather
from secondthought.stats import difference, mean
from secondthought.tasks.items import Item
from secondthought.tasks.reading import Profile, Reading, reading_of
from secondthought.types import Episode, Estimate, Message, Report, Segment, Task, seed_of

Frame = Literal["chat", "raw"]
NANO = ("chains", "countdown")  # families whose language has closed words for right and wrong
DEALT = 100  # answers of others that each item is dealt, to see what chance gives


class Cell(NamedTuple):
    """Which chain the model is given, and which trigger behind it ("" for none)."""

    chain: Literal["none", "flawed", "clean", "other", "self"]
    trigger: Literal["", "wait", "mistake", "filler"]

    @property
    def name(self) -> str:
        """``flawed/wait``; ``solve`` where there is nothing."""
        return "solve" if self.chain == "none" else f"{self.chain}/{self.trigger or 'none'}"


CELLS = (
    Cell("none", ""), Cell("flawed", ""), Cell("flawed", "wait"), Cell("flawed", "mistake"), Cell("flawed", "filler"),
    Cell("clean", ""), Cell("clean", "wait"), Cell("other", "wait"),
    Cell("self", ""), Cell("self", "wait"), Cell("self", "filler"),
)  # fmt: skip
EFFECTS = {
    "trigger": ("flawed/wait", "flawed/none"),
    "words": ("flawed/wait", "flawed/filler"),
    "naming": ("flawed/mistake", "flawed/wait"),
    "reading": ("flawed/wait", "other/wait"),
    "beyond_solving": ("flawed/wait", "solve"),
    "damage": ("clean/wait", "clean/none"),
    "self_trigger": ("self/wait", "self/none"),
    "self_words": ("self/wait", "self/filler"),
}
"""Paired differences in accuracy: what the trigger does, its words rather than their length, naming the mistake, having this
question's chain rather than another's, recovering rather than solving, and the trigger on right reasoning."""


@dataclass(frozen=True)
class Setting:
    """What stays fixed: how items are read, how the model is asked (``chat`` by its template, ``raw`` as bare text), sampling.

    ``temperature`` and ``max_tokens`` override the reading's. ``waits``: how many times the trigger comes in ``flawed/wait``.
    """

    profile: Profile = "clean"
    frame: Frame = "chat"
    temperature: float | None = None
    max_tokens: int | None = None
    waits: int = 1
    detector: str = "auto"
    seed: int = 0
    repeat: int = 0
    batch: int = 128

    def sampling(self, reading: Reading) -> Sampling:
        """How a family is sampled in this setting."""
        temperature = reading.temperature if self.temperature is None else self.temperature
        return Sampling(temperature, reading.top_p, self.max_tokens or reading.max_tokens, reading.stop)


@dataclass(frozen=True)
class Told:
    """One item in every cell it could be told in."""

    item: Item
    episodes: Mapping[str, Episode]


def measure(
    engine: Engine,
    items: Sequence[Item],
    setting: Setting,
    *,
    cells: Sequence[Cell] = CELLS,
    tell: Callable[[int, int], None] = lambda done, of: None,
) -> list[Told]:
    """Tell every item in every cell. ``tell(done, of)`` is called after every batch of items.

    Raises UserError for an item of an unknown family.
    """
    donors = _donors(items, setting.seed)
    found: list[Told] = []
    for begin in range(0, len(items), setting.batch):
        part = items[begin : begin + setting.batch]
        scripts = [_script(engine, item, donors.get(item.id), setting, cells) for item in part]
        told = drive(scripts, engine, seed=seed_of("reflection", setting.seed, setting.repeat))
        found += [Told(item, dict(pairs)) for item, pairs in zip(part, told, strict=True)]
        tell(len(found), len(items))
    return found


async def _script(
    engine: Engine, item: Item, donor: Item | None, setting: Setting, cells: Sequence[Cell]
) -> tuple[tuple[str, Episode], ...]:
    """All cells of one item; those about the model's own reasoning follow once it has failed."""
    reading = reading_of(item.family, setting.profile)
    words = {"flawed": item.flawed, "clean": item.clean, "other": donor.flawed if donor else ""}
    chains = {name: put_in("chain", reading.before + text) for name, text in words.items() if text}

    def telling(cell: Cell, chain: Segment | None) -> Any:
        return second_thoughts(
            posed(item, reading, setting), (zlib.crc32(item.id.encode()) >> 1, CELLS.index(cell)), chain=chain,
            trigger=trigger(engine, reading, cell), grade=lambda text: reading.grade(item, text),
            times=setting.waits if cell.name == "flawed/wait" else 1, sampling=setting.sampling(reading),
            reopen=lambda segment: begun(engine, segment, len(segment.text)),
        )  # fmt: skip

    simple = [c for c in cells if c.chain == "none" or c.chain in chains]
    told = await gather(*(telling(cell, chains.get(cell.chain)) for cell in simple))
    pairs = [(cell.name, episode) for cell, episode in zip(simple, told, strict=True)]
    own = dict(pairs).get("solve")
    if own is not None and own.verdicts["rest"].score == 0 and own.verdicts["rest"].answer is not None:
        chain = own_chain(engine, own["rest"], reading)
        again = [cell for cell in cells if cell.chain == "self"]
        pairs += zip([c.name for c in again], await gather(*(telling(c, chain) for c in again)), strict=True)
    return tuple(pairs)


def posed(item: Item, reading: Reading, setting: Setting) -> Task:
    """The question as this model is asked it; its key stays that of the question."""
    words = (reading.ask if setting.frame == "chat" else reading.frame).replace("{question}", item.question)
    return Task(item.task.key, (Message("user", words),), item.gold, item.family)


def trigger(engine: Engine, reading: Reading, cell: Cell) -> Segment | None:
    """The trigger as token ids. The filler gets exactly as many as "Wait," has."""
    if not cell.trigger:
        return None
    text = reading.triggers[cell.trigger]
    dialect: Any = engine.dialect
    tokens = tuple(dialect.encode(text))
    if cell.trigger == "filler":
        length = len(dialect.encode(reading.triggers["wait"]))
        tokens = (tokens * length)[:length]
        text = dialect.decode(tokens)
    return put_in("trigger", text, tokens)


def own_chain(engine: Engine, attempt: Segment, reading: Reading) -> Segment:
    """The model's own reasoning up to where it states its answer, token for token as it was sampled."""
    end = reading.answer_begins(attempt.text)
    kept = begun(engine, attempt, end or len(attempt.text))
    return put_in("chain", kept.text, kept.tokens)


def begun(engine: Engine, segment: Segment, end: int) -> Segment:
    """The longest beginning of a sampled segment, in whole tokens, that does not go beyond ``end`` characters.

    With the length of its text as ``end``, what made it stop (an end token, a stop string) is gone and it can be continued.
    """
    dialect: Any = engine.dialect
    low, high = 0, len(segment.tokens) - (segment.stop == "end" and len(segment.tokens) > 0)
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if len(dialect.decode(segment.tokens[:middle])) <= end else (low, middle - 1)
    logprobs = segment.logprobs[:low] if segment.logprobs is not None else None
    text = dialect.decode(segment.tokens[:low])
    return replace(segment, text=text, tokens=segment.tokens[:low], logprobs=logprobs, stop=None)


def _donors(items: Sequence[Item], seed: int) -> dict[str, Item]:
    """Another question's item for each, the next in a random circle of its family."""
    found: dict[str, Item] = {}
    for family in {item.family for item in items}:
        circle = [item for item in items if item.family == family and item.flawed]
        Random(seed_of("donors", family, seed)).shuffle(circle)
        for i, item in enumerate(circle):
            others = (circle[(i + k) % len(circle)] for k in range(1, len(circle)))
            donor = next((other for other in others if other.question != item.question), None)
            if donor is not None:
                found[item.id] = donor
    return found


# --- numbers ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Column:
    """One cell of one family as columns, item by item: correct, explicit, answered, whether the answer given was kept."""

    keys: list[str]
    ids: list[str]
    correct: list[float]
    explicit: list[float]
    answered: list[float]
    same: list[float]


def columns_of(told: Sequence[Told], detector: str | detectors.Detector = "auto") -> dict[str, Column]:
    """The column of every cell that an item was told in."""
    found = {}
    for cell in CELLS:
        here = [(t.item, t.episodes[cell.name]) for t in told if cell.name in t.episodes]
        if here:
            found[cell.name] = column(here, detector)
    return found


def column(here: Sequence[tuple[Item, Episode]], detector: str | detectors.Detector) -> Column:
    """One cell: its items and their episodes as columns."""
    verdicts = [episode.verdicts["rest"] for _, episode in here]
    return Column(
        keys=[item.task.key for item, _ in here],
        ids=[item.id for item, _ in here],
        correct=[v.score for v in verdicts],
        explicit=[math.nan if flag is None else float(flag) for flag in explicit(here, detector)],
        answered=[float(v.answer is not None) for v in verdicts],
        same=[float(v.why == "same wrong answer") for v in verdicts],
    )


def explicit(
    here: Sequence[tuple[Item, Episode]],
    detector: str | detectors.Detector,
    closed: detectors.Detector = detectors.said_wrong,
) -> list[bool | None]:
    """Which of the rests say that something was wrong; ``auto`` knows nano's closed words, else takes our rules."""
    texts = [episode["rest"].text for _, episode in here]
    if not isinstance(detector, str):
        return detector(texts)
    if detector != "auto":
        return detectors.named(detector)(texts)
    nano = [item.family in NANO for item, _ in here]
    return [exact if small else ours for small, exact, ours in zip(nano, closed(texts), detectors.rules(texts), strict=True)]


def numbers(part: Column) -> dict[str, Estimate]:
    """The metrics of one cell, 95 % intervals clustered by question.

    ``accuracy = explicit_accuracy + implicit_accuracy``; the latter two are joint frequencies, as in the paper.
    """
    both = [c * e for c, e in zip(part.correct, part.explicit, strict=True)]
    silent = [c * (1 - e) for c, e in zip(part.correct, part.explicit, strict=True)]
    named = [c if e == 1 else math.nan for c, e in zip(part.correct, part.explicit, strict=True)]
    unnamed = [c if e == 0 else math.nan for c, e in zip(part.correct, part.explicit, strict=True)]
    return {
        "accuracy": mean(part.correct, part.keys),
        "explicit_rate": mean(part.explicit, part.keys),
        "explicit_accuracy": mean(both, part.keys),
        "implicit_accuracy": mean(silent, part.keys),
        "accuracy_given_explicit": mean(named, part.keys),
        "accuracy_given_silent": mean(unnamed, part.keys),
        "answered": mean(part.answered, part.keys),
        "same_wrong_answer": mean(part.same, part.keys),
    }


def phi(cell: Mapping[str, Estimate]) -> float:
    """The correlation of being right with saying that something was wrong, from its metrics; nan where one never varies."""
    right, said, both = (cell[name].value for name in ("accuracy", "explicit_rate", "explicit_accuracy"))
    spread = right * (1 - right) * said * (1 - said)
    return (both - right * said) / math.sqrt(spread) if spread > 0 else math.nan


def effects(columns: Mapping[str, Column]) -> dict[str, Estimate]:
    """The paired differences of :data:`EFFECTS`, over the items that were told in both cells."""
    found = {}
    for name, (left, right) in EFFECTS.items():
        if left in columns and right in columns:
            other = dict(zip(columns[right].ids, columns[right].correct, strict=True))
            pairs = [
                (score, other[key], question)
                for key, score, question in zip(columns[left].ids, columns[left].correct, columns[left].keys, strict=True)
                if key in other
            ]
            if pairs:
                lefts, rights, keys = zip(*pairs, strict=True)
                found[name] = difference(lefts, rights, keys)
    return found


def flips(told: Sequence[Told], profile: Profile, cell: str = "flawed/wait") -> float:
    """How often a changed answer would be right by chance: each item is dealt changed answers of the others, at random.

    What a model gets that throws away the chain's answer and takes another of those that are about. nan without changed
    answers.
    """
    verdicts = [(t.item, t.episodes[cell].verdicts["rest"]) for t in told if cell in t.episodes]
    changed = [(item, v.answer) for item, v in verdicts if v.answer is not None and v.why != "same wrong answer"]
    if len(changed) < 2:
        return math.nan
    rng, total = Random(0), 0.0
    for family in {item.family for item, _ in changed}:
        reading = reading_of(family, profile)
        mine = [(item, answer) for item, answer in changed if item.family == family]
        for item, _ in mine if len(mine) > 1 else []:
            dealt = [answer for other, answer in rng.choices(mine, k=DEALT) if other is not item]
            total += sum(answer_is(reading, item, answer) for answer in dealt) / max(1, len(dealt))
    return total / len(verdicts)


def answer_is(reading: Reading, item: Item, answer: str) -> bool:
    """Whether an answer is right, without running programs for it (those of other questions are taken as wrong)."""
    return item.family != "cruxeval_i" and reading.right(item, answer)


def decomposition(cells: Mapping[str, Mapping[str, Estimate]]) -> dict[str, float]:
    """What the paper's decomposition predicts for "Wait," from the other two triggers, and how far off it is.

    ``accuracy(Wait) = explicit_rate(Wait) * accuracy(mistake) + (1 - explicit_rate(Wait)) * implicit_accuracy(none)``
    """
    if not {"flawed/none", "flawed/wait", "flawed/mistake"} <= cells.keys():
        return {}
    wait, named, none = (cells[f"flawed/{trigger}"] for trigger in ("wait", "mistake", "none"))
    rate, measured = wait["explicit_rate"].value, wait["accuracy"].value
    predicted = rate * named["accuracy"].value + (1 - rate) * none["implicit_accuracy"].value
    return {"predicted": predicted, "measured": measured, "residual": measured - predicted}


def frontier(told: Sequence[Told], waits: int) -> list[dict[str, float]]:
    """After the k-th trigger: tokens written so far for each item, and how many items have been answered rightly by then."""
    here = [t.episodes["flawed/wait"] for t in told if "flawed/wait" in t.episodes]
    found = []
    for k in range(1, waits + 1):
        names = ["rest", *(f"rest_{i}" for i in range(2, k + 1))]
        tokens = sum(len(e[name].tokens) for e in here for name in names)
        right = sum(any(e.verdicts[name].score == 1 for name in names) for e in here)
        found.append({"waits": k, "tokens": tokens / max(1, len(here)), "solved": right / max(1, len(here))})
    return found


def families(told: Sequence[Told]) -> Iterator[tuple[str, list[Told]]]:
    """The items of each family, and of all together where there is more than one."""
    names = list(dict.fromkeys(t.item.family for t in told))
    for name in names:
        yield name, [t for t in told if t.item.family == name]
    if len(names) > 1:
        yield "all", list(told)


def figures(told: Sequence[Told], columns: Mapping[str, Column], setting: Setting) -> dict[str, Any]:
    """``cells`` (metrics), ``phi``, ``effects``, ``flips``, ``decomposition`` and ``frontier``; estimates as they are."""
    cells = {name: numbers(column) for name, column in columns.items()}
    return {
        "cells": cells,
        "phi": {name: phi(cell) for name, cell in cells.items()},
        "effects": effects(columns),
        "flips": flips(told, setting.profile),
        "decomposition": decomposition(cells),
        "frontier": frontier(told, setting.waits),
    }


def report(told: Sequence[Told], columns: Mapping[str, Column]) -> Report:
    """The question that decides: after a flawed chain, does "Wait," bring back more right answers than a filler as long?"""
    return Report(
        probe="reflection",
        claim='after a flawed chain, "Wait," brings back more right answers than a filler of as many tokens',
        arms={name: mean(column.correct, column.keys) for name, column in columns.items()},
        effect=effects(columns)["words"],
        episodes=tuple(episode for t in told for episode in t.episodes.values()),
    )
