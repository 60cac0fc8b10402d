"""Does a model see an error in its own words that it sees in a user's? And does looking again help when nobody says what is
wrong? (Self-Correction Bench, arXiv 2507.02778; Huang et al., arXiv 2310.01798; with the controls that they lack.)

The same wrong sentence stands in different places:

* ``external``         behind the question, in the user's turn; the model answers
* ``internal``         as the beginning of the model's own answer, which it goes on with; ``internal/wait``, ``internal/but``:
                       with a trigger behind it, ``internal/filler``: with as many tokens that say nothing
* ``fresh_turn``       as a whole earlier answer of the model, which is then asked to go on: its own, but a fresh turn
* ``clean/none``, ``clean/wait``     a right sentence as its own: what a trigger breaks
* ``solve``            no sentence at all

The *blind spot* is ``1 - internal / external``, in rates of right answers. ``fresh_turn`` says how much of it is the place and
not the author.

Apart from that every question is answered, reviewed and improved (``review``: 1, 3, 5 calls), and answered anew as often
(``vote``). ``EIR`` is how often a round turns right to wrong, ``ECR`` wrong to right; a round gains only if
``ECR / EIR > acc / (1 - acc)`` (arXiv 2604.22273).
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar, cast

from secondthought.engines.base import Engine, Sampling, continues
from secondthought.errors import UserError
from secondthought.items.base import Item, Items
from secondthought.items.load import items_of
from secondthought.items.templates import Reading, reading_of
from secondthought.probes.blind_spot_report import report
from secondthought.probes.flawed_chain import check_writable, posed
from secondthought.probes.flawed_chain import trigger as trigger_of
from secondthought.probes.on_items import OnItems, sampling_of
from secondthought.protocols.base import Draft, Script, gather
from secondthought.protocols.review import CHAT, TERSE, review
from secondthought.rollouts import drive
from secondthought.runs.progress import Progress
from secondthought.types import Episode, Group, Report, Task, Verdict, seed_of

PART = 64  # items at a time
TRIGGERS = {"wait": " Wait", "but": " But", "filler": " Now"}
TERSE_TRIGGERS = {"wait": ", wait ,", "but": ", but ,", "filler": ", then ,"}
GO_ON = {"chat": "Please go on.", "terse": "then"}


@dataclass(frozen=True)
class BlindSpot(OnItems):
    """Measure ``n`` items of ``tasks`` (a SPEC of items; empty: scli, or arithmetic for nano models).

    rounds           rounds of review and improvement; 0: none
    committed        whether the wrong sentence also states its answer ("The answer is 43.")
    triggers         which of wait and but, separated by commas; the filler is always there
    temperature      -1: that of the items' family (0, greedy)
    max_tokens       for each turn; 0: that of the family
    strict           refuse items with faults instead of leaving them out
    minimum          how many points external must be ahead of internal to be worth speaking of (a fraction), fixed beforehand
    """

    name: ClassVar[str] = "blind_spot"
    asks: ClassVar[str] = "Does it see an error in its own words that it sees in a user's, and does reviewing help?"
    bare_without_template: ClassVar[bool] = False
    tasks: str | Items = ""
    n: int | None = 200
    rounds: int = 2
    committed: bool = False
    triggers: str = "wait,but"
    temperature: float = -1.0
    max_tokens: int = 0
    controls: bool = True
    minimum: float = 0.05

    def prepare(self, progress: Progress) -> BlindSpot:
        """The items, where they are named. Raises UserError for triggers that do not exist."""
        for name in self.wanted():
            if name not in TRIGGERS:
                raise UserError(f"there is no trigger {name!r}; choose from wait, but")
        return self if self.tasks == "" else super().prepare(progress)

    def wanted(self) -> list[str]:
        """The triggers."""
        return [*(name for name in self.triggers.split(",") if name), "filler"]

    def measure(self, model: Engine, progress: Progress) -> list[Group]:
        """A group for each item, an episode for each place that the sentence stands in, and the rounds and votes."""
        terse = model.renderer.style == "terse"
        tasks = self.tasks if self.tasks != "" else items_of("arithmetic" if terse else "scli", n=self.n, seed=self.seed)
        items = cast(Items, replace(self, tasks=tasks).prepare(progress).tasks).found
        check_writable(model, items, "clean")
        found: list[Group] = []
        for begin in range(0, len(items), PART):
            part = items[begin : begin + PART]
            found += drive([self.script(item, model, terse) for item in part], model, seed=seed_of("blind spot", self.seed))
            progress.step(len(found), len(items), {})
        return found

    def report(self, groups: Sequence[Group]) -> Report:
        """Is an error put right more often when it stands in the user's turn?"""
        return report(groups, self.minimum)

    async def script(self, item: Item, model: Engine, terse: bool) -> Group:
        """Everything that is asked about one item."""
        asked = Asked.of(item, model, terse, self)
        scripts: list[Script] = []
        if item.flawed:
            scripts += [asked.turn(arm) for arm in ("solve", "external", "fresh_turn")]
        if continues(model) and item.flawed:
            scripts += [asked.own("internal", "wrong"), *(asked.own("internal", "wrong", name) for name in self.wanted())]
            if item.clean and self.controls:
                scripts += [asked.own("clean", "right"), asked.own("clean", "right", "wait")]
        if self.rounds:
            scripts += [asked.reviewed(self.rounds), *(asked.fresh(k) for k in range(2 * self.rounds) if self.controls)]
        group: Group = await gather(*scripts)
        return group


probe = BlindSpot


@dataclass(frozen=True)
class Asked:
    """One item as a model is asked about it: its question, the wrong and the right sentence, and how answers are read."""

    item: Item
    model: Engine
    terse: bool
    task: Task
    reading: Reading
    sampling: Sampling
    words: Mapping[str, str]

    @classmethod
    def of(cls, item: Item, model: Engine, terse: bool, probe: BlindSpot) -> Asked:
        """The item as the probe asks about it."""
        reading = reading_of(item.family, "clean")
        words = {"wrong": item.flawed, "right": item.clean}
        if probe.committed and not terse:
            words = {"wrong": f"{item.flawed} The answer is {item.wrong}.", "right": f"{item.clean} The answer is {item.gold}."}
        sampling = sampling_of(reading, probe.temperature, probe.max_tokens)
        return cls(item, model, terse, posed(item, reading, raw=False), reading, sampling, words)

    def draft(self, arm: str, task: Task | None = None) -> Draft:
        """An episode of an arm; its place among the arms of an item is a hash of its name."""
        path = (zlib.crc32(self.item.id.encode()) >> 1, zlib.crc32(arm.encode()) >> 1)
        return Draft(task or self.task, path, arm=arm)

    def stands(self, kind: str) -> Verdict:
        """What a sentence leads to if nothing else is said."""
        return Verdict(0.0, self.item.wrong, "the sentence is wrong") if kind == "wrong" else Verdict(1.0, str(self.item.gold))

    async def own(self, place: str, kind: str, trigger: str = "") -> Episode:
        """A sentence as the beginning of the model's own answer, with a trigger behind it."""
        arm = f"{place}/{trigger or 'none'}" if trigger or place == "clean" else place
        draft = self.draft(arm)
        draft.write("chain", self.words[kind], role="assistant", author="intervention")
        words = TERSE_TRIGGERS if self.terse else TRIGGERS
        draft.replay(*(part for part in (trigger_of(self.model, words, trigger),) if part is not None))
        rest = await draft.sample("rest", sampling=self.sampling)
        return draft.close(rest=self.reading.grade_turn(self.item, self.words[kind], rest, self.stands(kind)))

    async def turn(self, arm: str) -> Episode:
        """The question alone, with the wrong sentence behind it, or with the sentence as an earlier answer."""
        given = f"{self.item.question} {self.words['wrong']}" if arm == "external" else self.item.question
        text = self.reading.ask.replace("{question}", given)
        draft = self.draft(arm, replace(self.task, prompt=(self.task.prompt[0]._replace(content=text),)))
        if arm != "fresh_turn":
            return draft.close(rest=self.reading.grade(self.item, await draft.sample("rest", sampling=self.sampling)))
        draft.write("chain", self.words["wrong"], role="assistant", author="intervention", end=True)
        draft.write("go_on", GO_ON["terse" if self.terse else "chat"])
        rest = await draft.sample("rest", sampling=self.sampling)
        return draft.close(rest=self.reading.grade_turn(self.item, self.words["wrong"], rest, self.stands("wrong")))

    async def reviewed(self, rounds: int) -> Episode:
        """An answer, reviewed and improved."""
        words = TERSE if self.terse else CHAT
        return await review(self.draft("review"), grade=self.grade, words=words, rounds=rounds, sampling=self.sampling)

    async def fresh(self, number: int) -> Episode:
        """An answer for the vote, at a temperature."""
        draft = self.draft("vote").fork(number)
        warm = replace(self.sampling, temperature=self.sampling.temperature or 1.0)
        return draft.close(attempt=self.grade(self.task, await draft.sample("attempt", sampling=warm)))

    def grade(self, _: Task, text: str) -> Verdict:
        """An answer of its own."""
        return self.reading.grade(self.item, text)
