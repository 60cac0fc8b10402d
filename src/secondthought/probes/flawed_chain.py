"""Does a model notice that a chain of thought went wrong, and find its way back? (arXiv 2504.04022, with the controls it
lacks.)

Every item is measured in several *cells* (arms): a chain of thought as the beginning of the model's own answer, a trigger
behind it, and then the model goes on.

* ``flawed/...``  somebody else's wrong reasoning (situational reflection), with no trigger, "Wait,", "Wait, I made a mistake",
  or a filler of as many tokens that says nothing;
* ``self/...``    the model's own wrong reasoning (self-reflection), where it had failed;
* ``solve``       no chain at all: what it can do unaided;
* ``clean/...``   right reasoning: what a trigger breaks;
* ``other/wait``  another question's wrong reasoning: what is just solving the task anew.

The whole turn is read: where a model says nothing new behind a chain, the answer that the chain leads to stands, and the error
was *accepted* (the profile ``paper`` reads what comes after the chain only). With ``request`` every turn is followed by the
same request for the final answer.

A correct answer is *explicit* reflection if the text says that something was wrong, else *implicit*; so accuracy is the sum of
explicit and implicit accuracy. ``flips`` is how often a model would be right that only ever changed the answer it was given.
"""

from __future__ import annotations

import math
import re
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from random import Random
from typing import ClassVar, cast

from secondthought.engines.base import Engine
from secondthought.errors import UserError
from secondthought.items.base import Item, Items
from secondthought.items.templates import TRIGGERS, Profile, Reading, reading_of
from secondthought.probes import detectors, scaling
from secondthought.probes.base import Measured, circle, with_verdicts
from secondthought.probes.flawed_chain_report import CELLS, LABELS, Cell, report, verdict_on
from secondthought.probes.on_items import OnItems, sampling_of
from secondthought.protocols.base import gather
from secondthought.protocols.prefilled_chain import prefill, prefilled_chain
from secondthought.rollouts import drive
from secondthought.runs.progress import Progress
from secondthought.types import (
    Episode,
    Group,
    Message,
    Report,
    Segment,
    Task,
    Verdict,
    seed_of,
)

NANO = ("arithmetic", "countdown")  # families whose language has closed words for right and wrong


@dataclass(frozen=True)
class FlawedChain(OnItems):
    """Measure recovery from flawed chains on ``n`` items of ``tasks`` (a SPEC of items; None: all of them).

    profile          clean (one rule for all tasks) or paper (the paper's triggers and readers)
    temperature      -1: that of the profile (0, greedy; CruxEval as published 0.2)
    max_tokens       0: that of the profile
    waits            how many times the trigger comes in flawed/wait
    detector         auto, rules, oat_zero, understand_r1_zero, markers, said_wrong, judge:MODEL or judge:URL#MODEL
    strict           refuse items with faults instead of leaving them out
    repeat           the same items with other samples: 0, 1, 2, ...
    cells            which cells, separated by commas; empty: all
    request          ask for the final answer behind every turn, in all cells alike, and grade what comes then
    marks            keep GSM8K's calculator marks (<<3*1=3>>) in chains; no model writes them
    batch            items at a time
    minimum          “Wait,” minus filler that is worth speaking of (a fraction), fixed beforehand
    """

    name: ClassVar[str] = "flawed_chain"
    asks: ClassVar[str] = "Does it notice that a chain of thought went wrong, and does “Wait” help?"
    profile: Profile = "clean"
    temperature: float = -1.0
    max_tokens: int = 0
    waits: int = 1
    repeat: int = 0
    cells: str = ""
    request: bool = False
    marks: bool = False
    batch: int = 128
    minimum: float = 0.05

    def measure(self, model: Engine, progress: Progress) -> list[Group]:
        """A group for each item, an episode for each cell. Raises UserError if the model cannot write the items or triggers."""
        items = cast(Items, self.prepare(progress).tasks).found
        check_writable(model, items, self.profile)
        wanted = [cell for cell in CELLS if not self.cells or cell.name in self.cells.split(",")]
        others = donors(items, self.seed)
        detector = detectors.detector_of(self.detector) if self.detector != "auto" else None
        found: list[Group] = []
        for begin in range(0, len(items), self.batch):
            part = items[begin : begin + self.batch]
            scripts = [_script(model, item, others.get(item.id), self, wanted) for item in part]
            groups = drive(scripts, model, seed=seed_of("reflection", self.seed, self.repeat))
            found += [judged(item, group, detector) for item, group in zip(part, groups, strict=True)]
            progress.step(len(found), len(items), {})
        return found

    def report(self, groups: Sequence[Group]) -> Report:
        """After a flawed chain, does "Wait," bring back more right answers than a filler as long?"""
        return report(groups, self.profile, self.minimum)

    def across(self, found: Sequence[Measured]) -> Report | None:
        """How recovery goes with pre-training compute, where that is known of three checkpoints or more."""
        return scaling.across(found, LABELS)


probe = FlawedChain


async def _script(
    engine: Engine, item: Item, donor: Item | None, probe: FlawedChain, cells: Sequence[Cell]
) -> tuple[Episode, ...]:
    """All cells of one item; those about the model's own reasoning follow once it has failed."""
    reading = reading_of(item.family, probe.profile)
    raw = engine.renderer.raw or engine.renderer.style == "terse"
    shown = str if probe.marks else reading.shown
    texts = {"flawed": item.flawed, "clean": item.clean, "other": donor.flawed if donor else ""}
    before = reading.before if raw else ""
    chains = {name: prefill("chain", before + shown(text)) for name, text in texts.items() if text}
    wrong = Verdict(0.0, item.wrong or None, "the chain is wrong")
    about = {"flawed": wrong, "self": wrong, "clean": Verdict(1.0, str(item.gold), "the chain is right")}
    about["other"] = Verdict(0.0, (donor.wrong if donor else "") or None, "the chain is of another question")

    async def episode(cell: Cell, chain: Segment | None) -> Episode:
        def grade(text: str) -> Verdict:
            if chain is None or probe.profile == "paper":
                return reading.grade(item, text)
            return reading.grade_turn(item, chain.text, text, about[cell.chain])

        made = await prefilled_chain(
            posed(item, reading, raw=engine.renderer.raw), (zlib.crc32(item.id.encode()) >> 1, CELLS.index(cell)), chain=chain,
            trigger=trigger(engine, reading.triggers, cell.trigger), grade=grade,
            times=probe.waits if cell.name == "flawed/wait" else 1,
            sampling=sampling_of(reading, probe.temperature, probe.max_tokens),
            reopen=lambda segment: begun(engine, segment, len(segment.text)),
            request=request_of(engine) if probe.request else None,
        )  # fmt: skip
        return with_verdicts(made, cell.name, {"chain": about[cell.chain]} if cell.chain in about else {})

    simple = [c for c in cells if c.chain == "none" or c.chain in chains]
    group: tuple[Episode, ...] = await gather(*(episode(cell, chains.get(cell.chain)) for cell in simple))
    own = next((e for e in group if e.arm == "solve"), None)
    if own is not None and verdict_on(own).score == 0 and verdict_on(own).answer is not None:
        about["self"] = replace(wrong, answer=verdict_on(own).answer)
        chain = own_chain(engine, own["rest"], reading)
        group += await gather(*(episode(cell, chain) for cell in cells if cell.chain == "self"))
    return group


def request_of(engine: Engine) -> Segment:
    """What asks for the final answer behind a turn: a turn of the user, or, where there are none, words that begin it."""
    if engine.renderer.raw or engine.renderer.style == "terse":
        return prefill("request", "\nThe final answer is")
    return Segment("request", "task", "user", "What is your final answer? Reply with the answer alone.")


def judged(item: Item, group: Group, detector: detectors.Detector | None) -> Group:
    """The same group with the finding ``explicit`` on every episode: whether the text says that something was wrong."""
    flags = explicit([item.family] * len(group), [e["rest"].text for e in group], detector)
    return tuple(with_verdicts(e, e.arm, {"explicit": finding(flag)}) for e, flag in zip(group, flags, strict=True))


def finding(flag: bool | None) -> Verdict:
    """A detector's answer as a verdict; ungraded where it could not say."""
    return Verdict(math.nan if flag is None else float(flag))


def explicit(
    families: Sequence[str], texts: Sequence[str], detector: detectors.Detector | None,
    closed: detectors.Detector = detectors.said_wrong,
) -> list[bool | None]:  # fmt: skip
    """Which texts say that something was wrong; without a detector, nano's closed words or our rules."""
    if detector is not None:
        return detector(texts)
    exact, ours = closed(texts), detectors.rules(texts)
    return [one if family in NANO else other for family, one, other in zip(families, exact, ours, strict=True)]


def posed(item: Item, reading: Reading, *, raw: bool) -> Task:
    """The question as this model is asked it; its key stays that of the question."""
    text = (reading.frame if raw else reading.ask).replace("{question}", item.question)
    return Task(item.task.key, (Message("user", text),), item.gold, item.family)


def trigger(engine: Engine, words: Mapping[str, str], name: str) -> Segment | None:
    """The trigger of that name (None for "") as token ids. The filler gets exactly as many as "wait" has."""
    if not name:
        return None
    text, renderer = words[name], engine.renderer
    tokens = tuple(renderer.encode(text))
    if name == "filler":
        length = len(renderer.encode(words["wait"]))
        tokens = (tokens * length)[:length]
        text = renderer.decode(tokens)
    return prefill("trigger", text, tokens)


def check_writable(model: Engine, items: Sequence[Item], profile: Profile) -> None:
    """Raise UserError if the model's tokenizer cannot write a trigger or one of the items."""
    renderer = model.renderer
    if renderer.unknown is None:
        return
    families = dict.fromkeys(item.family for item in items)
    triggers = dict.fromkeys(reading_of(family, profile).triggers[t] for family in families for t in TRIGGERS)
    texts = [(f"the trigger {text!r}", text) for text in triggers]
    texts += [(f"item {item.id}", text) for item in items for text in (item.question, item.flawed, item.clean)]
    for what, text in texts:
        if renderer.unknown in renderer.encode(text):
            raise UserError(f"this model cannot write {what}: its tokenizer has no tokens for it")


def own_chain(engine: Engine, attempt: Segment, reading: Reading) -> Segment:
    """The model's own reasoning up to where it states its answer, token for token as it was sampled."""
    end = reading.answer_begins(attempt.text)
    kept = begun(engine, attempt, sentence_end(attempt.text, end or len(attempt.text)))
    return prefill("chain", kept.text, kept.tokens)


def sentence_end(text: str, end: int) -> int:
    """Where the last whole sentence or line up to ``end`` is over, outside of any formula; ``end`` where there is none.

    >>> text = "First 3 + 4 = 7. So the total is \\\\( 7 \\\\times"
    >>> text[: sentence_end(text, len(text))]
    'First 3 + 4 = 7.'
    """
    found = end
    for match in re.finditer(r"(?<=[.!?:])(?=\s|$)|(?=\n)", text[:end]):
        kept = text[: match.start()]
        formulas = ((r"\(", r"\)"), (r"\[", r"\]"))
        if kept.strip() and all(kept.count(a) == kept.count(b) for a, b in formulas) and kept.count("$$") % 2 == 0:
            found = match.start()
    return found


def begun(engine: Engine, segment: Segment, end: int) -> Segment:
    """The longest beginning of a sampled segment, in whole tokens, that does not go beyond ``end`` characters.

    With the length of its text as ``end``, what made it stop (an end token, a stop string) is gone and it can be continued.
    """
    renderer = engine.renderer
    low, high = 0, len(segment.tokens) - (segment.stop == "end" and len(segment.tokens) > 0)
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if len(renderer.decode(segment.tokens[:middle])) <= end else (low, middle - 1)
    logprobs = segment.logprobs[:low] if segment.logprobs is not None else None
    text = renderer.decode(segment.tokens[:low])
    return replace(segment, text=text, tokens=segment.tokens[:low], logprobs=logprobs, stop=None)


def donors(items: Sequence[Item], seed: int) -> dict[str, Item]:
    """Another question's item for each, the next in a random circle of its family."""
    found: dict[str, Item] = {}
    for family in {item.family for item in items}:
        order = [item for item in items if item.family == family and item.flawed]
        Random(seed_of("donors", family, seed)).shuffle(order)
        for i, donor in circle(order, lambda one, other: one.question != other.question).items():
            found[order[i].id] = donor
    return found


SENTENCES = {
    "A flawed chain put right": ("flawed/wait", "right"), "The same wrong answer again": ("flawed/wait", "same wrong answer"),
    "Another wrong answer": ("flawed/wait", "other wrong answer"), "The error accepted in silence": ("flawed/none", "accepted"),
    "A right chain spoilt": ("clean/wait", "other wrong answer"), "The own error put right": ("self/wait", "right"),
}  # fmt: skip
"""Outcomes that a reader wants to see examples of, by arm and by what the verdict on ``rest`` says."""
