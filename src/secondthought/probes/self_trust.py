"""Does a model trust an answer more because it is its own, and less once it has considered the others? (Self-trust and T3,
"Think Twice Before Trusting", arXiv 2403.09972.)

Every question is answered, and the confidence in that answer is asked for in several ways:

* ``alone``                      behind the own answer, in the same conversation
* ``own``, ``user``, ``third``   in a new conversation, the same words as the model's, the user's, another person's answer
* ``joint``                      among all candidate answers at once, without reasons
* ``t3``                         the same, each with a reason why it may be right, written one by one before; in several
  orders, averaged (``t3_one_order``: the first of them)
* ``consistency``                the share of fresh answers that are the same, for as many calls as T3 takes
* ``shown``                      of every option, put into the model's mouth in the same bare words: its own is held against the
  one that was about as likely to it

Confidence is the probability of "True" against "False" (for ``joint`` and ``t3``, of the letters) where log-probabilities are
to be had, else the number that the model states. Candidates are the options of the question, or the different sampled answers.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from random import Random
from string import ascii_uppercase
from typing import ClassVar, cast

from secondthought.engines.base import Access, Engine, LogitsEngine, Sampling, access_of
from secondthought.probes.base import with_verdicts
from secondthought.probes.on_tasks import OnTasks
from secondthought.probes.self_trust_report import report
from secondthought.probes.self_trust_words import WORDS, Words, percent_in, shares_in
from secondthought.probes.word_odds import word_odds
from secondthought.protocols.base import Draft, Script, gather
from secondthought.rollouts import drive
from secondthought.runs.progress import Progress
from secondthought.tasks.base import answers_of
from secondthought.tasks.multiple_choice import by_letter
from secondthought.types import Episode, Group, Message, Report, Task, TaskSet, Verdict, seed_of

PART = 32  # questions at a time
TOGETHER = ("joint", "t3")  # the arms in which all candidates are shown


@dataclass(frozen=True)
class SelfTrust(OnTasks):
    """Measure trust on ``n`` questions of ``tasks`` (a SPEC; multiple_choice draws sums, multiple_choice:FILE[:SPLIT] reads).

    orders           orders of the candidates that T3 is averaged over
    candidates       for tasks without options: so many answers are sampled, and the different ones are the candidates
    max_tokens       for each turn; 0: 32 for nano models, else 512
    reason_tokens    for each reason; 0: 8 for nano models, else 96
    minimum          how far confidence must be above accuracy to be worth speaking of (a fraction), fixed beforehand
    """

    name: ClassVar[str] = "self_trust"
    asks: ClassVar[str] = "Does it trust an answer more because it is its own?"
    tasks: str | TaskSet = "multiple_choice"
    n: int = 100
    orders: int = 3
    candidates: int = 4
    reason_tokens: int = 0
    minimum: float = 0.05

    def measure(self, model: Engine, progress: Progress) -> list[Group]:
        """A group for each question, an episode for each way of asking; those carry the finding ``confidence``."""
        tasks, problems, sampling, style = self.posed(model)
        words, scored = WORDS[style], access_of(model) >= Access.LOGITS
        short = replace(sampling, max_tokens=self.reason_tokens or (8 if style == "terse" else 96))
        found: list[Group] = []
        for begin in range(0, len(problems), PART):
            asked = [Question(task, tasks, words, scored, self, short) for task in problems[begin : begin + PART]]
            groups = drive([one.script() for one in asked], model, sampling, seed=seed_of("self-trust", self.seed))
            found += with_odds(groups, cast(LogitsEngine, model), words) if scored else groups
            progress.step(len(found), len(problems), {})
        return found

    def report(self, groups: Sequence[Group]) -> Report:
        """Is a model more confident of its own answers than it is right?"""
        return report(groups, self.minimum)


probe = SelfTrust


@dataclass(frozen=True)
class Question:
    """One question as it is asked in every way; ``scored``: confidence is read from log-probabilities."""

    task: Task
    tasks: TaskSet
    words: Words
    scored: bool
    probe: SelfTrust
    short: Sampling

    async def script(self) -> Group:
        """The answer, then everything about it; nothing more where there is no answer, or no other candidate."""
        first, options = Draft(self.task, (0,), arm="alone"), by_letter(self.task)
        verdict = self.named(await first.sample("attempt"), first)
        fresh = await gather(*(self.again(k) for k in range(self.calls(options))))
        offered = options or sampled(verdict, fresh)
        own = verdict.answer if options else next(iter(offered), None)
        if verdict.answer is None or own not in offered or own is None or len(offered) < 2:
            return (first.close(attempt=verdict), *fresh)
        names = list(offered)
        reasons = await gather(*(self.reason(k, name, offered[name]) for k, name in enumerate(names)))
        said = {name: episode["reason"].text.strip() for name, episode in zip(names, reasons, strict=True)}
        text = self.words.answer.format(own if options else offered[own])
        scripts: list[Script] = [self.alone(first, verdict, own)]
        scripts += [self.framed(k, who, text, own) for k, who in enumerate(self.words.framings)]
        scripts += [self.together(0, "joint", offered, {}, own)] if self.probe.controls else []
        scripts += [self.together(1 + k, "t3", offered, said, own) for k in range(self.probe.orders)]
        if self.scored and options and self.probe.controls:
            scripts += [self.shown(k, name) for k, name in enumerate(names)]
        return (*(await gather(*scripts)), *fresh, *reasons)

    def calls(self, options: Mapping[str, str]) -> int:
        """Fresh answers: for as many calls as T3 takes, a reason for each candidate and the orders; as candidates at least."""
        wanted = (len(options) or self.probe.candidates) + self.probe.orders
        return wanted if self.probe.controls else 0 if options else self.probe.candidates - 1

    def named(self, text: str, draft: Draft) -> Verdict:
        """The verdict on an answer, which is written in the one way in which answers are compared."""
        found = self.tasks.grade(self.task, text)
        if found.answer is None or draft.refused or by_letter(self.task):
            return found
        return replace(found, answer=answers_of(self.tasks)(self.task, text))

    async def again(self, number: int) -> Episode:
        """A fresh answer."""
        draft = Draft(self.task, (1, number), arm="fresh")
        return draft.close(attempt=self.named(await draft.sample("attempt"), draft))

    async def alone(self, first: Draft, verdict: Verdict, own: str) -> Episode:
        """Confidence in the own answer, behind it."""
        first.write("ask", self.words.alone(scored=self.scored))
        return await self.confident(first, own, attempt=verdict)

    async def framed(self, place: int, who: str, text: str, own: str) -> Episode:
        """Confidence in the same words as somebody's answer, in a new conversation."""
        asked = self.words.framed(self.task.prompt[-1].content, who, text, scored=self.scored)
        return await self.confident(self.new(asked, (2, place), who), own)

    async def shown(self, place: int, name: str) -> Episode:
        """Confidence in an option that is put into the model's mouth as its answer."""
        draft, text = Draft(self.task, (6, place), arm="shown"), self.words.answer.format(name)
        draft.write("attempt", text, role="assistant", author="intervention", end=True)
        draft.write("ask", self.words.alone(scored=self.scored))
        return await self.confident(draft, name)

    async def reason(self, place: int, name: str, text: str) -> Episode:
        """Why a candidate may be right."""
        draft = self.new(self.words.why(self.task.prompt[-1].content, name, text), (3, place), "reason")
        await draft.sample("reason", sampling=self.short)
        return draft.close()

    async def together(
        self, place: int, arm: str, offered: Mapping[str, str], reasons: Mapping[str, str], own: str
    ) -> Episode:  # fmt: skip
        """Confidence in all candidates at once, in an order of its own for each ``place``."""
        order = list(offered)
        Random(seed_of("order of candidates", self.task.key, place, self.probe.seed)).shuffle(order)
        listed = [(name, offered[name], reasons.get(name, "")) for name in order]
        draft = self.new(self.words.together(self.task.prompt[-1].content, listed, scored=self.scored), (4, place), arm)
        if self.scored:
            return draft.close(asked=Verdict(math.nan, own))
        said = shares_in(await draft.sample("shares"), list(offered))
        return draft.close(confidence=Verdict(said.get(own, math.nan), own))

    def new(self, text: str, path: tuple[int, ...], arm: str) -> Draft:
        """A new conversation about the same question."""
        return Draft(Task(self.task.key, (Message("user", text),), self.task.answer, self.task.family), path, arm=arm)

    async def confident(self, draft: Draft, answer: str, **verdicts: Verdict) -> Episode:
        """Close a conversation that ends in a request for confidence: with the number that is stated, or to be scored."""
        if self.scored:
            return draft.close(**verdicts, asked=Verdict(math.nan, answer))
        stated = percent_in(await draft.sample("confidence", sampling=self.short))
        return draft.close(**verdicts, confidence=Verdict(math.nan if stated is None else stated, answer))


def sampled(verdict: Verdict, fresh: Sequence[Episode]) -> dict[str, str]:
    """Different answers that were sampled, by letters, the own one first."""
    known = dict.fromkeys(v.answer for v in (verdict, *(e.verdicts["attempt"] for e in fresh)) if v.answer is not None)
    return dict(zip(ascii_uppercase, known, strict=False))


def with_odds(groups: Sequence[Group], model: LogitsEngine, words: Words) -> list[Group]:
    """The same groups with the finding ``confidence`` on all that were asked: the odds of the yes against the no, or of the own
    letter against the others; candidates that are shown also get how likely they were as the answer, in nats.
    """
    places = [(g, e) for g, group in enumerate(groups) for e, one in enumerate(group) if "asked" in one.verdicts]
    asked = [groups[g][e] for g, e in places]
    wanted = [
        letters(groups[g]) if one.arm in TOGETHER else [words.yes, words.no] for (g, _), one in zip(places, asked, strict=True)
    ]
    scored = word_odds(model, asked, wanted)
    found = [list(group) for group in groups]
    for (g, e), names, logprobs in zip(places, wanted, scored, strict=True):
        odds = [math.exp(one) for one in logprobs]
        episode, total = found[g][e], sum(odds)
        own = str(episode.verdicts["asked"].answer)
        place = names.index(own) if episode.arm in TOGETHER else names.index(words.yes)
        share = odds[place] / total if total else math.nan
        found[g][e] = with_verdicts(episode, episode.arm, {"confidence": Verdict(share, own)})
        if episode.arm == "joint":
            for k, one in enumerate(found[g]):
                if one.arm == "shown" and one.verdicts["asked"].answer in names and total:
                    likely = odds[names.index(str(one.verdicts["asked"].answer))] / total
                    found[g][k] = with_verdicts(one, "shown", {"likely": Verdict(math.log(max(likely, 1e-30)))})
    return [tuple(group) for group in found]


def letters(group: Group) -> list[str]:
    """The letters of the candidates of a question."""
    return list(by_letter(group[0].task)) or list(ascii_uppercase[: sum(e.arm == "reason" for e in group)])
