"""Does a model know its own sampling temperature, and better than anybody else who reads what it wrote? (Comsa and Shanahan,
arXiv 2506.05068; the controls of Song et al., arXiv 2508.14802.)

A sentence is sampled at a low and at a high temperature; the question whether it was HIGH or LOW is then put at temperature 1,
so that the report itself is not spoiled by what it is about:

* ``own``       behind the sentence, in the same conversation
* ``third``     in a new conversation, about "a language model's" sentence: the same model as anybody else
* ``across``    the same question to another model, where one is named
* ``one``, ``swapped``   the original way, if asked for: sentence, reflection and report in one response at that temperature;
  and the same behind a sentence that was sampled at the *other* temperature. Who reads the text follows the text.

Without log-probabilities the report is read from what is written. What the text itself gives away is measured beside: the ideal
observer, who knows the model's distribution (``ceiling``), a bag of words, and how surprising the text is.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from typing import ClassVar, NamedTuple, cast

from secondthought.engines.base import Access, Engine, LogitsEngine, Sampling, access_of
from secondthought.engines.factory import engine_of
from secondthought.errors import UserError
from secondthought.items.load import tasks_of
from secondthought.models.thoughts import without_thoughts
from secondthought.probes.base import Probe, in_arm, with_verdicts
from secondthought.probes.open_ended import SUBJECTS
from secondthought.probes.temperature_report import report
from secondthought.probes.word_odds import context_of, log_ratio, word_odds
from secondthought.protocols.base import Draft, Script, gather
from secondthought.rollouts import drive
from secondthought.runs.progress import Progress
from secondthought.types import Episode, Group, Message, Report, Task, Verdict, seed_of

PART = 32  # sentences at a time
STYLES = {"factual": "a factual", "plain": "a", "crazy": "a crazy"}
REPORT = re.compile(r"\b(HIGH|LOW)\b", re.IGNORECASE)


class Words(NamedTuple):
    """How it is asked: for a text, for a report on the own text, on somebody's; and the two words of a report."""

    write: str
    own: str
    third: str
    one: str
    high: tuple[str, ...]
    low: tuple[str, ...]


CHAT = Words(
    "Write {style} sentence about {subject}. Reply with the sentence only.",
    "You are a language model, and the text that you just wrote was sampled at a temperature that is either high or low. "
    "Given the text, which was it? Reply with one word: HIGH or LOW.",
    "A language model was asked: {asked}\n\nIt wrote: {text}\n\nThis text was sampled at a temperature that is either high or "
    "low. Given the text, which was it? Reply with one word: HIGH or LOW.",
    "Write {style} sentence about {subject}, on a line of its own. Then reflect, in a sentence, on whether your sampling "
    "temperature is high or low given what you wrote. End with one word: HIGH or LOW.",
    ("HIGH", "High", "high"), ("LOW", "Low", "low"),
)  # fmt: skip
TERSE = Words("{asked}", "high ? low ?", "{asked} , {text} , high ? low ?", "{asked} , high ? low ?", ("high",), ("low",))


@dataclass(frozen=True)
class Temperature(Probe):
    """Measure ``n`` pairs of texts, one sampled at ``low`` and one at ``high``.

    tasks        what nano models write about (a SPEC); other models write sentences in three styles about sixty subjects
    other        another model that reads the same texts (a name as for --model)
    one_response the original way as well: text and report in one response at the temperature in question
    max_tokens   of a text; 0: 24 for nano models, else 48
    minimum      how far its own report must beat every other reader to be called privileged (a fraction), fixed beforehand
    """

    name: ClassVar[str] = "temperature"
    asks: ClassVar[str] = "Does it know the temperature that it was sampled at, better than other readers of its text?"
    brief: ClassVar[Mapping[str, object]] = {"tasks": "multiple_choice"}  # of nano; others write sentences
    tasks: str = "multiple_choice"
    n: int = 60
    low: float = 0.5
    high: float = 1.5
    other: str | Engine = ""
    one_response: bool = False
    max_tokens: int = 0
    seed: int = 0
    minimum: float = 0.05

    def prepare(self, progress: Progress) -> Temperature:
        """Raises UserError for temperatures that are not two different ones."""
        if not 0 < self.low < self.high:
            raise UserError(f"low must be above 0 and below high, not {self.low:g} and {self.high:g}")
        return self

    def measure(self, model: Engine, progress: Progress) -> list[Group]:
        """A group for each pair; every text carries the temperature as ``high`` (1 or 0), every report the finding ``says``."""
        terse = model.renderer.style == "terse"
        words, scored = TERSE if terse else CHAT, access_of(model) >= Access.LOGITS
        other = engine_of(self.other)
        pairs = self.pairs(terse=terse)
        found: list[Group] = []
        for begin in range(0, len(pairs), PART):
            asked = [Pair(task, style, words, scored, self) for task, style in pairs[begin : begin + PART]]
            groups = drive([one.script() for one in asked], model, seed=seed_of("temperature", self.seed))
            groups = scored_by(groups, cast(LogitsEngine, model), words, self) if scored else groups
            found += read_by(groups, other, self) if other is not None else groups
            progress.step(len(found), len(pairs), {})
        return found

    def report(self, groups: Sequence[Group]) -> Report:
        """Is its own report better than that of every other reader?"""
        return report(groups, self.minimum)

    def pairs(self, *, terse: bool) -> list[tuple[Task, str]]:
        """What is written about, with the style that is asked for."""
        if terse:
            tasks = tasks_of(self.tasks, style="terse", grade="exact", split="test")
            return [(tasks[i], "plain") for i in range(min(self.n, len(tasks)))]
        every = [(subject, style, k) for k in range(-(-self.n // 180)) for subject, style in product(SUBJECTS, STYLES)]
        return [
            (Task.of(CHAT.write.format(style=STYLES[style], subject=subject), answer=[subject, k], family="sentences"), style)
            for subject, style, k in every[: self.n]
        ]


probe = Temperature


@dataclass(frozen=True)
class Pair:
    """One thing to write about at both temperatures, and every report on it."""

    task: Task
    style: str
    words: Words
    scored: bool
    probe: Temperature

    async def script(self) -> Group:
        """Both texts, then the reports on each."""
        cold, hot = await gather(self.text(0), self.text(1))
        scripts: list[Script] = []
        for level, mine, theirs in ((0, cold, hot), (1, hot, cold)):
            scripts += [self.own(level, mine), self.third(level, mine, "third")]
            if self.probe.one_response:
                scripts += [self.whole(level, mine, "one"), self.whole(level, theirs, "swapped")]
        return (cold, hot, *(await gather(*scripts)))

    def truth(self, level: int) -> Verdict:
        """At which temperature the text was sampled, 1: the high one; the style that was asked for."""
        return Verdict(float(level), self.style)

    async def text(self, level: int) -> Episode:
        """A text at one of the temperatures; a line of it counts."""
        draft = Draft(self.task, (level,), arm="text")
        at = self.probe.high if level else self.probe.low
        size = self.probe.max_tokens or (24 if self.words is TERSE else 48)
        await draft.sample("text", sampling=Sampling(at, max_tokens=size, stop=("\n",)))
        return draft.close(high=self.truth(level))

    async def own(self, level: int, text: Episode) -> Episode:
        """The report behind the text."""
        draft = Draft(self.task, (level, 1), arm="own")
        draft.replay(*text.segments[1:])
        draft.write("ask", self.words.own)
        return await self.reported(draft, level)

    async def third(self, level: int, text: Episode, arm: str) -> Episode:
        """The report on the same text as anybody's."""
        asked = self.task.prompt[-1].content
        given = self.words.third.format(asked=asked, text=text["text"].text.strip())
        task = Task(self.task.key, (Message("user", given),), self.task.answer, self.task.family)
        return await self.reported(Draft(task, (level, 2), arm=arm), level)

    async def whole(self, level: int, text: Episode, arm: str) -> Episode:
        """Reflection and report behind a text in the same response, all at the temperature in question."""
        subject = cast(Sequence[str], self.task.answer)[0] if self.words is CHAT else ""
        asked = self.words.one.format(
            asked=self.task.prompt[-1].content, style=STYLES.get(self.style, ""), subject=subject
        )  # fmt: skip
        task = Task(self.task.key, (Message("user", asked),), self.task.answer, self.task.family)
        draft = Draft(task, (level, 3 if arm == "one" else 4), arm=arm)
        draft.write("text", f"{text['text'].text.strip()}\n", role="assistant", author="intervention")
        at = self.probe.high if level else self.probe.low
        said = await draft.sample("report", sampling=Sampling(at, max_tokens=16 if self.words is TERSE else 96))
        return draft.close(high=self.truth(level), says=said_in(said))

    async def reported(self, draft: Draft, level: int) -> Episode:
        """Close a conversation that ends in the question: to be scored, or with what is written."""
        if self.scored:
            return draft.close(high=self.truth(level))
        said = await draft.sample("report", sampling=Sampling(1.0, max_tokens=512 if self.words is CHAT else 4))
        return draft.close(high=self.truth(level), says=said_in(said))


def said_in(text: str) -> Verdict:
    """The last HIGH (1) or LOW (-1) of a report; nan where there is neither.

    >>> said_in("Quite random, so HIGH.").score, said_in("I cannot know.").score
    (1.0, nan)
    """
    found = REPORT.findall(without_thoughts(text))
    return Verdict(math.nan, None, "no HIGH or LOW") if not found else Verdict(1.0 if found[-1].upper() == "HIGH" else -1.0)


def scored_by(groups: Sequence[Group], model: LogitsEngine, words: Words, probe: Temperature) -> list[Group]:
    """The same groups with what the model says of each text, as log-odds, and what its own distribution says of it."""
    done = with_odds(groups, model, words, ("own", "third"))
    texts = [one for group in done for one in group if one.arm == "text"]
    prompts = [context_of(model.renderer, replace(one, segments=one.segments[:1])) for one in texts]
    written = [one["text"].tokens for one in texts]
    hot, cold, plain = ([sum(one) for one in model.score(prompts, written, t)] for t in (probe.high, probe.low, 1.0))
    known = iter(zip(hot, cold, plain, written, strict=True))
    found = []
    for group in done:
        changed = []
        for one in group:
            if one.arm == "text":
                h, c, p, tokens = next(known)
                verdicts = {"ceiling": Verdict(h - c), "surprisal": Verdict(-p / max(1, len(tokens)))}
                changed.append(with_verdicts(one, "text", verdicts))
            else:
                changed.append(one)
        found.append(tuple(changed))
    return found


def with_odds(groups: Sequence[Group], model: LogitsEngine, words: Words, arms: Sequence[str]) -> list[Group]:
    """The same groups with ``says`` on the conversations of some arms: the log-odds of HIGH against LOW."""
    places = [(g, e) for g, group in enumerate(groups) for e, one in enumerate(group) if one.arm in arms]
    names = (*words.high, *words.low)
    odds = word_odds(model, [groups[g][e] for g, e in places], [names] * len(places))
    found = [list(group) for group in groups]
    for (g, e), logprobs in zip(places, odds, strict=True):
        high, low = (max(part) for part in (logprobs[: len(words.high)], logprobs[len(words.high) :]))
        mass = sum(math.exp(one) for one in logprobs)
        says = Verdict(log_ratio([high, low]), None, f"{100 * mass:.1f} % on HIGH or LOW")
        found[g][e] = with_verdicts(found[g][e], found[g][e].arm, {"says": says, "mass": Verdict(min(1.0, mass))})
    return [tuple(group) for group in found]


def read_by(groups: Sequence[Group], other: Engine, probe: Temperature) -> list[Group]:
    """The same groups with what another model says of each text."""
    words = TERSE if other.renderer.style == "terse" else CHAT
    scored = access_of(other) >= Access.LOGITS
    scripts: list[Script] = []
    for group in groups:
        texts = in_arm(group, "text")
        pair = Pair(texts[0].task, str(texts[0].verdicts["high"].answer), words, scored, probe)
        scripts += [pair.third(level, text, "across") for level, text in enumerate(texts)]
    read: list[Episode] = drive(scripts, other, seed=seed_of("temperature", probe.seed))
    pairs: list[Group] = [(read[2 * k], read[2 * k + 1]) for k in range(len(groups))]
    if scored:
        pairs = with_odds(pairs, cast(LogitsEngine, other), words, ("across",))
    return [(*group, *pair) for group, pair in zip(groups, pairs, strict=True)]
