"""Does a model know which entities it knows, and does that decide whether it answers? (Ferrando et al., arXiv 2411.14257.)

What is known is measured first: every attribute is asked ``k`` times (at temperature 1), and is known with ``hits`` right
answers. An entity is known if ``known_if`` of its attributes are, unknown if none is; the others are left out. They are divided
into train (50 %), validation (10 %) and test (40 %).

**Detection.** At the last token of the name the residual stream is read at several layers. A direction is fitted on train,
a layer chosen on validation, and all that is reported comes from test: the difference of means, a linear probe (ridge), and the
best latent of a sparse autoencoder (the one that separates best in the worst kind, with the null of the largest of all latents
under shuffled labels). *Held-out kinds* are the test: fitted on the other kinds, read on this one. What the length of a name,
its tokens and their frequency would say is measured beside.

**Control.** The direction of a lower layer is added to the stream from the last token of the name to the end of the prompt, in
the prompt alone, by some multiples of the stream's norm: does the model then refuse what it knows, and invent what it does not?
Random directions of equal norm show what any change does.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, NamedTuple, cast

from secondthought.engines.base import Access, Engine, InterveneEngine, Sampling
from secondthought.errors import UserError
from secondthought.probes.base import Probe, with_verdicts
from secondthought.probes.entity_detection import Detected, Known, detect
from secondthought.probes.entity_report import report
from secondthought.probes.steering import doses
from secondthought.probes.word_odds import log_ratio, word_odds
from secondthought.protocols.base import Draft
from secondthought.rollouts import drive
from secondthought.runs.progress import Progress
from secondthought.tasks.entities import SHOTS, Attribute, Entity, answered, entities_of, refused
from secondthought.types import Episode, Group, Message, Report, Task, Verdict, seed_of

PART = 40  # entities at a time
TERSE_SELF, CHAT_SELF = "{name} known ? yes no ?", "Do you know the {kind} {name}? Reply with one word: Yes or No."


@dataclass(frozen=True)
class EntityKnowledge(Probe):
    """Measure up to ``n`` entities of each kind of ``tasks`` (a file; empty: countries, cities, elements, or nano's own names).

    k, hits, known_if   as above; with fewer attributes than ``known_if``, all of them must be known
    layers       at which the stream is read, separated by commas; empty: a quarter, a half and three quarters of the way up
    steer_at     the layer at which it is steered, one of those; -1: the lowest, so that most of the model can act on it
    amounts      multiples of the stream's norm by which it is steered, separated by commas; claims are about the middle one;
                 empty: it is not steered
    steered      test entities of each class that are asked while the model is steered
    shams        random directions of the same norm
    sae          a pretrained sparse autoencoder (a folder, or RELEASE/ID of the hub, by sae-lens) of the stream at the one
                 layer named in ``layers``; empty: one is trained here
    max_tokens   of an answer; 0: 4 for nano models, else 24
    minimum      share of known entities that must be refused under steering to be worth speaking of, fixed beforehand
    """

    name: ClassVar[str] = "entity_knowledge"
    access: ClassVar[Access] = Access.INTERVENE
    asks: ClassVar[str] = "Does it know which entities it knows, and does that decide whether it answers?"
    brief: ClassVar[Mapping[str, object]] = {"tasks": "", "k": 4, "hits": 2, "steered": 10, "amounts": "0.5"}
    tasks: str = ""
    n: int = 160
    k: int = 10
    temperature: float = 1.0
    hits: int = 3
    known_if: int = 2
    layers: str = ""
    steer_at: int = -1
    amounts: str = "0.25,0.5,1"
    steered: int = 40
    shams: int = 3
    sae: str = ""
    max_tokens: int = 0
    seed: int = 0
    minimum: float = 0.1

    def prepare(self, progress: Progress) -> EntityKnowledge:
        """Raises UserError for numbers that are none, and for hits that no k answers can have."""
        numbers(self.amounts, "amounts")
        if any(layer != int(layer) or layer < 0 for layer in numbers(self.layers, "layers")):
            raise UserError(f"layers must be whole numbers from 0, not {self.layers}")
        if not 1 <= self.hits <= self.k:
            raise UserError(f"hits must be from 1 to k = {self.k}, not {self.hits}")
        if self.sae and len(numbers(self.layers, "layers")) != 1:
            raise UserError("a pretrained autoencoder belongs to one layer; name it with --set layers=N")
        return self

    def measure(self, model: Engine, progress: Progress) -> list[Group]:
        """A group for each entity: its answers, one episode ``entity`` with what every detector says, and steered answers."""
        terse = model.renderer.style == "terse"
        inner = cast(InterveneEngine, model)
        entities = entities_of(self.tasks, terse=terse, n=self.n, seed=self.seed)
        sampling = Sampling(self.temperature, max_tokens=self.max_tokens or (4 if terse else 24))
        progress.phase(f"asking for what it knows of {len(entities)} entities")
        answers: list[list[Episode]] = []
        for begin in range(0, len(entities), PART):
            answers += self.answers(model, entities[begin : begin + PART], sampling)
            progress.step(len(answers), len(entities), {})
        known = [self.known(group, len(one.attributes)) for group, one in zip(answers, entities, strict=True)]
        facts = [
            Known(one.kind, one.id, known=flag, split=split_of(one, self.seed))
            for one, flag in zip(entities, known, strict=True)
        ]
        located = [locate(inner, one) for one in entities]
        layers = [int(x) for x in numbers(self.layers, "layers")] or quarters(inner.layers)
        if wrong := [layer for layer in layers if layer >= inner.layers]:
            raise UserError(f"there is no layer {wrong[0]}; this model has 0 to {inner.layers - 1}")
        if self.steer_at >= 0 and self.steer_at not in layers:
            raise UserError(f"steer_at must be one of the layers that are read ({', '.join(map(str, layers))})")
        progress.phase(f"reading the stream at layers {', '.join(map(str, layers))}")
        contexts = [list(one.tokens) for one in located]
        read: list[Any] = []
        for begin in range(0, len(contexts), PART):
            read += inner.hidden(contexts[begin : begin + PART], layers)
            progress.step(len(read), len(contexts), {})
        streams = {layer: [stream[i] for stream in read] for i, layer in enumerate(layers)}
        progress.phase("fitting directions and an autoencoder")
        found = detect(facts, located, streams, sae=self.sae, seed=self.seed)
        groups = [
            (*group, noted(entity, group, fact, found, i))
            for i, (entity, group, fact) in enumerate(zip(entities, answers, facts, strict=True))
        ]
        groups = says(inner, entities, groups, terse=terse)
        if found is not None and self.amounts:
            self.steer(inner, entities, located, facts, found, groups, replace(sampling, temperature=0.0), progress)
        return [tuple(group) for group in groups]

    def report(self, groups: Sequence[Group]) -> Report:
        """Does a direction separate known from unknown in kinds it was not fitted on, beyond what the names give away?"""
        return report(groups, self.minimum)

    def answers(self, model: Engine, entities: Sequence[Entity], sampling: Sampling) -> list[list[Episode]]:
        """``k`` answers to each attribute of each entity."""
        terse = model.renderer.style == "terse"

        async def ask(entity: Entity, place: int, number: int) -> Episode:
            attribute = entity.attributes[place]
            draft = Draft(task_of(entity, attribute, terse=terse), (place, number), arm="answer")
            return draft.close(answer=graded(await draft.sample("answer"), attribute))

        wanted = [(i, p, k) for i, one in enumerate(entities) for p in range(len(one.attributes)) for k in range(self.k)]
        done = drive([ask(entities[i], p, k) for i, p, k in wanted], model, sampling, seed=seed_of("entities", self.seed))
        found: list[list[Episode]] = [[] for _ in entities]
        for (i, _, _), episode in zip(wanted, done, strict=True):
            found[i].append(episode)
        return found

    def known(self, answers: Sequence[Episode], attributes: int) -> bool | None:
        """Whether an entity is known; None for one that is left out."""
        right = [
            sum(one.verdicts["answer"].score for one in answers if one.path[0] == place) >= self.hits
            for place in range(attributes)
        ]
        return True if sum(right) >= min(self.known_if, attributes) else False if not any(right) else None

    def steer(
        self, model: InterveneEngine, entities: Sequence[Entity], located: Sequence[Located], facts: Sequence[Known],
        found: Detected, groups: list[Any], sampling: Sampling, progress: Progress,
    ) -> None:  # fmt: skip
        """Ask test entities while the stream is pushed towards "unknown" (those that are known) or "known" (the others)."""
        terse = model.renderer.style == "terse"
        wanted, layer = numbers(self.amounts, "amounts"), min(found.directions) if self.steer_at < 0 else self.steer_at
        for flag, sign in ((True, 1.0), (False, -1.0)):
            chosen = [i for i, fact in enumerate(facts) if fact.known is flag and fact.split == "test"][: self.steered]
            windows: dict[tuple[int, int], list[int]] = {}
            for i in chosen:
                windows.setdefault((located[i].last, len(located[i].tokens)), []).append(i)
            progress.phase(f"steering at layer {layer}: {len(chosen)} {'known' if flag else 'unknown'} entities")
            done = 0
            for (begin, end), members in windows.items():
                progress.step(done, len(chosen), {})
                done += len(members)
                scripts = [(entities[i], entities[i].attributes[0]) for i in members]

                def ask(arm: str, amount: float, scripts: Any = scripts) -> list[Episode]:
                    async def one(entity: Entity, attribute: Attribute) -> Episode:
                        draft = Draft(task_of(entity, attribute, terse=terse), (99,), arm=arm)
                        said = await draft.sample("answer")
                        return draft.close(answer=graded(said, attribute), amount=Verdict(amount), garbled=garbled(said))

                    return cast(list[Episode], drive([one(*pair) for pair in scripts], model, sampling))

                asked = {("plain", 0.0): ask("plain", 0.0)}
                unit, norm = found.directions[layer]
                asked |= doses(
                    model, layer, unit * (sign * norm), wanted, ask, shams=self.shams, seed=self.seed, begin=begin, end=end
                )
                for episodes in asked.values():
                    for i, episode in zip(members, episodes, strict=True):
                        groups[i] = (*groups[i], episode)


probe = EntityKnowledge


class Located(NamedTuple):
    """The prompt of an entity's first attribute, the place of the last token of its name, and how many tokens that has."""

    tokens: tuple[int, ...]
    last: int
    length: int


def numbers(text: str, name: str) -> list[float]:
    """Numbers between commas. Raises UserError for what is none."""
    try:
        return [float(part) for part in text.split(",") if part.strip()]
    except ValueError as error:
        raise UserError(f"{name} must be numbers separated by commas, not {text!r}") from error


def quarters(layers: int) -> list[int]:
    """A quarter, a half and three quarters of the way up.

    >>> quarters(24), quarters(2)
    ([6, 12, 18], [1])
    """
    return sorted({max(1, round(layers * share)) for share in (0.25, 0.5, 0.75)} & set(range(layers))) or [layers - 1]


def task_of(entity: Entity, attribute: Attribute, *, terse: bool) -> Task:
    """A question about an entity, behind other questions and their answers; all of its questions share a key."""
    task = Task.of(entity.id, answer=list(attribute.answers), family="entities")
    shots = [turn for asked, said in SHOTS for turn in (Message("user", asked), Message("assistant", said))]
    return Task(task.key, (*([] if terse else shots), Message("user", attribute.question)), task.answer, task.family)


def graded(text: str, attribute: Attribute) -> Verdict:
    """Right, wrong, or refused (the answer is None)."""
    if refused(text):
        return Verdict(0.0, None, "refused")
    right = answered(text, attribute.answers)
    return Verdict(float(right), text.strip()[:80] or "-", "right" if right else "wrong")


def garbled(text: str) -> Verdict:
    """1 for a text that has no word, or little but repeated ones.

    >>> garbled("no no no no no no").score, garbled("Lima").score
    (1.0, 0.0)
    """
    words = [word for word in text.lower().split() if any(c.isalnum() for c in word)]
    return Verdict(float(not words or (len(words) >= 5 and len(set(words)) / len(words) < 0.4)))


def split_of(entity: Entity, seed: int) -> str:
    """50 % train, 10 % validation, 40 % test, by a hash."""
    bucket = seed_of("entity split", entity.id, seed) % 10
    return "train" if bucket < 5 else "validation" if bucket < 6 else "test"


def locate(model: InterveneEngine, entity: Entity) -> Located:
    """Where an entity's name ends when it is named last in the prompt of its first attribute, and how many tokens it has.

    Raises UserError for a name that cannot be read back.
    """
    task = task_of(entity, entity.attributes[0], terse=model.renderer.style == "terse")
    (prompt,) = model.renderer.render(task, Draft(task).segments)
    tokens, decode = tuple(prompt.tokens), model.renderer.decode
    begin = next((i for i in reversed(range(len(tokens))) if entity.name in decode(tokens[i:])), None)
    if begin is None:
        raise UserError(f"the name {entity.name!r} could not be found in what the model reads; write it as its question has it")
    last = next(i for i in range(begin, len(tokens)) if entity.name in decode(tokens[begin : i + 1]))
    return Located(tokens, last, last + 1 - begin)


def noted(entity: Entity, answers: Sequence[Episode], fact: Known, found: Detected | None, place: int) -> Episode:
    """The episode that carries what is known of an entity and what every detector says of it."""
    first = answers[0]
    verdicts = {
        "known": Verdict(math.nan if fact.known is None else float(fact.known), fact.split, fact.kind),
        **({} if found is None else {name: Verdict(value) for name, value in found.scores[place].items()}),
    }
    draft = Draft(first.task, (98,), arm="entity")
    return draft.close(**verdicts)


def says(model: InterveneEngine, entities: Sequence[Entity], groups: Sequence[Any], *, terse: bool) -> list[Any]:
    """The same groups with ``says`` on the episode ``entity``: log-odds of yes when asked whether it knows the entity."""
    asked = []
    for one in entities:
        text = (TERSE_SELF if terse else CHAT_SELF).format(kind=one.kind, name=one.name)
        asked.append(Draft(Task.of(text, answer=None, family="entities")).close())
    odds = word_odds(model, asked, [("yes", "no") if terse else ("Yes", "No")] * len(asked))
    return [
        (*group[:-1], with_verdicts(group[-1], "entity", {"says": Verdict(log_ratio(pair))}))
        for group, pair in zip(groups, odds, strict=True)
    ]
