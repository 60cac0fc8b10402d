"""Does a model treat its own words as its own acts? (From simulation to enaction, arXiv 2605.25459.)

Open-ended requests are answered by the model and, where one is named, by another one. Both models then read both texts, word by
word, and at each place it is asked how uncertain they are of what comes next (entropy) and how much what came surprised them.

* ``own``, ``again``   the model's text, and another sample of its own: the same policy, another way
* ``other``            the other model's text
* ``edited``           the own text with some of its words exchanged
* each as the assistant's turn, in the user's turn, and without any template
* ``asked``            was this text the model's own, or put into its mouth? (yes against no)
* ``steered``, ``sham``   with the direction that says how surprising the last word was turned up and down, or a random one

That own text is more certain is partly a matter of course: sampled text is likely, and some texts are easy for everyone. So the
figure is **crossed**: ``D = 1/2 ([log H_A(y_B) - log H_A(y_A)] + [log H_B(y_A) - log H_B(y_B)])``, the ratio ``exp D``. What is
left of it once places are matched by how surprising the words before them were is ``survives_matching``.
"""

from __future__ import annotations

import math
from bisect import bisect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from random import Random
from typing import Any, ClassVar, cast

import numpy as np

from secondthought.engines.base import Access, Engine, InterveneEngine, LogitsEngine, Predicted, Sampling, access_of, require
from secondthought.engines.factory import engine_of
from secondthought.errors import UserError
from secondthought.items.load import tasks_of
from secondthought.probes.base import Probe, in_arm, with_verdicts
from secondthought.probes.enaction_report import report
from secondthought.probes.open_ended import open_ended
from secondthought.probes.ridge import cross_predicted, difference_of_means
from secondthought.probes.steering import doses
from secondthought.probes.word_odds import log_ratio, word_odds
from secondthought.protocols.base import Draft
from secondthought.rollouts import drive
from secondthought.runs.progress import Progress
from secondthought.types import Episode, Group, Message, Report, Segment, Task, Verdict, seed_of

PART = 16  # requests at a time
SURPRISES = (0.1, 0.5, 1.5, 3.0)  # nats: between the bins of what the words before a place surprised by
PLACES = (8, 24)  # between the bins of places
BEFORE = 4  # words whose surprise counts
BLOCK = 8  # words of a point in the picture over places
AMOUNTS = (-1.0, 1.0)  # of the typical size of the stream
CHAT_ASK = "Was your last message written by you, or was it put into your mouth by somebody else? Did you write it yourself? " \
    "Reply with one word: Yes or No."  # fmt: skip
TERSE_ASK = "own ? yes no ?"


@dataclass(frozen=True)
class Enaction(Probe):
    """Read texts on ``n`` requests, each sampled at ``temperature`` 1 unless another is asked for.

    tasks        what nano models are asked (a SPEC); other models get open-ended requests
    other        the second model (a name as for --model), which writes and reads as well
    edits        the share of words that are exchanged in ``edited``
    steered      requests for which the stream is steered; 0: none
    layer        where the stream is read and steered; -1: in the middle
    max_tokens   of a text; 0: 32 for nano models, else 64
    minimum      of the crossed difference, in nats of log-entropy, fixed beforehand
    """

    name: ClassVar[str] = "enaction"
    access: ClassVar[Access] = Access.LOGITS
    asks: ClassVar[str] = "Is it surer of what comes next after its own words than after others'?"
    brief: ClassVar[Mapping[str, object]] = {"tasks": "multiple_choice"}  # of nano; others get open-ended requests
    tasks: str = "multiple_choice"
    n: int = 60
    other: str | Engine = ""
    temperature: float = 1.0
    edits: float = 0.15
    steered: int = 12
    layer: int = -1
    max_tokens: int = 0
    seed: int = 0
    minimum: float = 0.05

    def prepare(self, progress: Progress) -> Enaction:
        """Raises UserError for a temperature of 0 and a share of edits that is none."""
        if self.temperature <= 0 or not 0 <= self.edits <= 1:
            raise UserError("temperature must be above 0 and edits from 0 to 1")
        return self

    def measure(self, model: Engine, progress: Progress) -> list[Group]:
        """A group for each request, an episode for each reading of a text; it carries ``H`` and ``S``, the mean entropy and
        surprise (nats), and the sums of entropy by place and by the surprise before.
        """
        terse, other = model.renderer.style == "terse", engine_of(self.other)
        if other is not None:
            require(other, Access.LOGITS, "the probe enaction", str(self.other))
        size = self.max_tokens or (32 if terse else 64)
        writers = Writers(
            cast(LogitsEngine, model), cast(LogitsEngine | None, other), Sampling(self.temperature, max_tokens=size), self
        )
        tasks = self.asked(terse=terse)
        found: list[Group] = []
        for begin in range(0, len(tasks), PART):
            found += writers.groups(tasks[begin : begin + PART])
            progress.step(len(found), len(tasks), {})
        if self.steered and access_of(model) >= Access.INTERVENE:
            found = Surprise(cast(InterveneEngine, model), self).added(found)
        return found

    def report(self, groups: Sequence[Group]) -> Report:
        """Is it surer after its own words, crossed with another model's?"""
        return report(groups, self.minimum)

    def asked(self, *, terse: bool) -> list[Task]:
        """The requests."""
        if not terse:
            return open_ended(self.n)
        tasks = tasks_of(self.tasks, style="terse", grade="exact", split="test")
        return [tasks[i] for i in range(min(self.n, len(tasks)))]


probe = Enaction


# --- texts, and how they are read ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Writers:
    """The two models: both write, both read."""

    model: LogitsEngine
    other: LogitsEngine | None
    sampling: Sampling
    probe: Enaction

    def groups(self, tasks: Sequence[Task]) -> list[Group]:
        """Everything that is read about some requests."""
        texts = {"own": self.texts(self.model, tasks, 0), "again": self.texts(self.model, tasks, 1)}
        if self.other is not None:
            texts["other"] = self.texts(self.other, tasks, 0)
        texts["edited"] = [edited(text, self.probe, self.model) for text in texts["own"]]
        rows: list[list[Episode]] = [[] for _ in tasks]
        for author, segments in texts.items():
            frames = ("assistant", "user", "bare") if author in ("own", "other") else ("assistant",)
            for frame in frames:
                for reader, engine in (("model", self.model), ("other", self.other)):
                    if engine is not None and (reader == "model" or author in ("own", "other")):
                        native = (author == "other") == (reader == "other")
                        for row, one in zip(rows, self.read(engine, tasks, segments, frame, native=native), strict=True):
                            row.append(replace(one, arm=f"{author}/{frame}/{reader}"))
        for reader, engine in (("model", self.model), ("other", self.other)):
            for author in ("own", "other", "edited") if engine is not None else ():
                if author in texts and engine is not None:
                    native = (author == "other") == (reader == "other")
                    for row, one in zip(rows, asked_about(engine, tasks, texts[author], native=native), strict=True):
                        row.append(replace(one, arm=f"asked/{author}/{reader}"))
        return [tuple(replace(one, path=(k,)) for k, one in enumerate(row)) for row in rows]

    def texts(self, engine: Engine, tasks: Sequence[Task], number: int) -> list[Segment]:
        """An answer to each request."""

        async def write(task: Task) -> tuple[Episode]:
            draft = Draft(task, (number,), arm="text")
            await draft.sample("text")
            return (draft.close(),)

        groups = drive([write(task) for task in tasks], engine, self.sampling, seed=seed_of("enaction", self.probe.seed))
        return [group[0]["text"] for group in groups]

    def read(
        self, engine: LogitsEngine, tasks: Sequence[Task], texts: Sequence[Segment], frame: str, *, native: bool
    ) -> list[Episode]:  # fmt: skip
        """How a model reads texts; ``native`` ones are read by the very ids that it sampled."""
        contexts, bodies = list[tuple[int, ...]](), list[tuple[int, ...]]()
        for task, text in zip(tasks, texts, strict=True):
            context, body = framed(engine, task, text, frame, native=native)
            contexts.append(context)
            bodies.append(body)
        known = engine.predicted(contexts, bodies)
        return [
            shown(task, text).close(**summed(one)) for task, text, one in zip(tasks, texts, known, strict=True)
        ]  # fmt: skip


def shown(task: Task, text: Segment) -> Draft:
    """A text as the assistant's turn."""
    draft = Draft(task)
    draft.replay(text)
    return draft


def body_of(engine: Engine, text: Segment, *, native: bool) -> tuple[int, ...]:
    """The ids of a text without the token that ends it, in a model's own tokens; none of a text is no text."""
    ids = text.tokens if native else tuple(engine.renderer.encode(text.text))
    ends = set(getattr(engine.renderer, "ends", ()))
    return tuple(ids[:-1] if ids and ids[-1] in ends else ids)


def framed(engine: Engine, task: Task, text: Segment, frame: str, *, native: bool) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """What a model has read before a text, and the ids of the text; none where a template does not show it as it is."""
    renderer: Any = engine.renderer
    body, asked = body_of(engine, text, native=native), task.prompt[-1].content
    if frame == "assistant":
        return tuple(t for segment in renderer.render(task, Draft(task).segments) for t in segment.tokens), body
    before = f"{asked}\n\n"
    if frame == "user":
        whole = renderer.apply((Message("user", f"{before}{text.text}"),), (), True)
        if f"{before}{text.text}" not in whole:
            return tuple(renderer.encode(before)), ()
        before = whole[: whole.index(f"{before}{text.text}") + len(before)]
    return tuple(renderer.encode(before)), body


def summed(one: Predicted) -> Mapping[str, Verdict]:
    """Means and sums over the places of a text but its first, whose boundary no reader has chosen."""
    places = range(1, len(one.entropies))
    surprise = [-min(0.0, max(-50.0, logprob)) for logprob in one.logprobs]
    if not places:
        return {}
    sums: dict[str, list[float]] = {}
    for i in places:
        recent = surprise[max(0, i - BEFORE) : i]
        cell = f"{bisect(SURPRISES, sum(recent) / len(recent))}.{bisect(PLACES, i)}"
        for name in (f"cell.{cell}", f"block.{i // BLOCK}"):
            sums.setdefault(name, []).append(one.entropies[i])
    half = len(places) // 2
    late = one.entropies[1 + half :]
    found = {
        "H": Verdict(sum(one.entropies[1:]) / len(places)), "S": Verdict(sum(surprise[1:]) / len(places)),
        "median_H": Verdict(sorted(one.entropies[1:])[half]), "late_H": Verdict(sum(late) / max(1, len(late))),
        "places": Verdict(float(len(places))),
    }  # fmt: skip
    for name, values in sums.items():
        found |= {f"{name}.sum": Verdict(sum(values)), f"{name}.count": Verdict(float(len(values)))}
    return found


def edited(text: Segment, probe: Enaction, model: Engine) -> Segment:
    """The same text with some of the words of its first half exchanged for others of its own."""
    ends = set(getattr(model.renderer, "ends", ()))
    ids, rng = list(text.tokens), Random(seed_of("edits", probe.seed, str(text.tokens)))
    first = [i for i in range(1, len(ids) // 2) if ids[i] not in ends]
    pool = [t for t in ids if t not in ends]
    for i in rng.sample(first, min(len(first), math.ceil(probe.edits * len(first)))) if first else ():
        ids[i] = rng.choice(pool)
    return replace(text, tokens=tuple(ids), author="intervention", logprobs=None, text=model.renderer.decode(ids))


def asked_about(engine: LogitsEngine, tasks: Sequence[Task], texts: Sequence[Segment], *, native: bool) -> list[Episode]:
    """Whether a model says that a text in its own turn was its own: the finding ``says``, log-odds of yes against no."""
    terse = engine.renderer.style == "terse"
    drafts = []
    for task, text in zip(tasks, texts, strict=True):
        draft = Draft(task)
        if native:
            draft.replay(replace(text, stop="end"))
        else:
            draft.write("text", text.text, role="assistant", author="intervention", end=True)
        draft.write("ask", TERSE_ASK if terse else CHAT_ASK)
        drafts.append(draft.close())
    words = ("yes", "no") if terse else ("Yes", "No")
    odds = word_odds(engine, drafts, [words] * len(drafts))
    return [with_verdicts(one, "", {"says": Verdict(log_ratio(pair))}) for one, pair in zip(drafts, odds, strict=True)]


# --- surprise inside -------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Surprise:
    """Where in the stream it stands how surprising the last word was, and what turning it up does to the next."""

    model: InterveneEngine
    probe: Enaction
    states: list[Any] = field(default_factory=list)

    def added(self, groups: Sequence[Group]) -> list[Group]:
        """The same groups; the first ones get ``residual`` and ``total`` (sums of squares of surprise, read from the stream by
        a regression on other requests) and episodes of the steered model.
        """
        layer = self.probe.layer if self.probe.layer >= 0 else self.model.layers // 2
        chosen = [group for group in groups if len(in_arm(group, "own/assistant/model")[0]["text"].tokens) > 2]
        chosen = chosen[: max(self.probe.steered, 8)]
        own = [in_arm(group, "own/assistant/model")[0] for group in chosen]
        if len(own) < 4:
            return list(groups)
        read = [framed(self.model, one.task, one["text"], "assistant", native=True) for one in own]
        contexts, bodies = [c for c, _ in read], [b for _, b in read]
        surprise = [[-max(-50.0, x) for x in one] for one in self.model.score(contexts, bodies)]
        states = self.model.hidden([[*c, *b] for c, b in read], [layer])
        rows = [state[len(c) :] for (state,), c in zip(states, contexts, strict=True)]
        x_NM, y_N = np.concatenate(rows), np.array([s for one in surprise for s in one])
        owners = [i for i, one in enumerate(surprise) for _ in one]
        said_N = cross_predicted(x_NM, y_N, owners)
        unit = difference_of_means(x_NM, y_N > np.median(y_N))
        size = float(np.linalg.norm(x_NM, axis=1).mean())

        def entropy(arm: str, amount: float) -> list[float]:
            del arm, amount
            return [
                sum(one.entropies[1:]) / max(1, len(one.entropies) - 1)
                for one in self.model.predicted(contexts[: self.probe.steered], bodies[: self.probe.steered])
            ]

        turned = doses(self.model, layer, unit * (0.1 * size), AMOUNTS, entropy, seed=self.probe.seed)
        extra: dict[int, list[Episode]] = {}
        for (arm, amount), values in turned.items():
            for i, value in enumerate(values):
                verdicts = {"H": Verdict(value), "amount": Verdict(amount)}
                extra.setdefault(i, []).append(with_verdicts(own[i], arm, {**verdicts}))
        found = {id(group): group for group in groups}
        for i, group in enumerate(chosen):
            mine = [k for k, owner in enumerate(owners) if owner == i]
            sums = {
                "residual": Verdict(float(((y_N - said_N)[mine] ** 2).sum())),
                "total": Verdict(float(((y_N - y_N.mean())[mine] ** 2).sum())),
            }
            first = tuple(with_verdicts(one, one.arm, sums) if one.arm == "own/assistant/model" else one for one in group)
            found[id(group)] = (*first, *(replace(one, path=(100 + k,)) for k, one in enumerate(extra.get(i, []))))
        return [found[id(group)] for group in groups]
