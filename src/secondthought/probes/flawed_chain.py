"""Does a model notice that a chain of thought went wrong, and find its way back? (arXiv 2504.04022, with the controls it
lacks.)

Every item is measured in several *cells* (arms): a chain of thought as the beginning of the model's own answer, a trigger behind
it, and then the model goes on.

* ``flawed/...``  somebody else's wrong reasoning (situational reflection), with no trigger, "Wait,", "Wait, I made a mistake",
  or a filler of as many tokens that says nothing;
* ``self/...``    the model's own wrong reasoning (self-reflection), where it had failed;
* ``solve``       no chain at all: what it can do unaided;
* ``clean/...``   right reasoning: what a trigger breaks;
* ``other/wait``  another question's wrong reasoning: what is just solving the task anew.

A correct answer is *explicit* reflection if the text says that something was wrong, else *implicit*; so accuracy is the sum of
explicit and implicit accuracy. ``flips`` is how often a model would be right that only ever changed the answer it was given.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from random import Random
from typing import Any, ClassVar, Literal, NamedTuple, cast

from secondthought.engines.base import Engine, Sampling
from secondthought.errors import UserError
from secondthought.items.base import Item, Items
from secondthought.items.load import items_of
from secondthought.items.templates import TRIGGERS, Profile, Reading, reading_of
from secondthought.probes import detectors, scaling
from secondthought.probes.base import Measured, Probe, arm_of, circle, effect_of, reported, with_verdicts
from secondthought.protocols.base import gather
from secondthought.protocols.prefilled_chain import prefill, prefilled_chain
from secondthought.rollout import drive
from secondthought.runs.progress import Progress
from secondthought.stats import mean
from secondthought.types import (
    Arm,
    Curve,
    Effect,
    Episode,
    Estimate,
    Group,
    Message,
    Report,
    Segment,
    Table,
    Task,
    Verdict,
    seed_of,
)
from secondthought.types import Cell as TableCell

NANO = ("arithmetic", "countdown")  # families whose language has closed words for right and wrong
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
LABELS = {
    "solve": "no chain",
    "flawed/none": "flawed chain",
    "flawed/wait": "flawed chain, “Wait,”",
    "flawed/mistake": "flawed chain, “Wait, I made a mistake”",
    "flawed/filler": "flawed chain, filler as long",
    "other/wait": "another question's flawed chain, “Wait,”",
    "self/none": "own flawed chain",
    "self/wait": "own flawed chain, “Wait,”",
    "self/filler": "own flawed chain, filler",
    "clean/none": "right chain",
    "clean/wait": "right chain, “Wait,”",
}
EFFECTS = {
    "words": ("“Wait,” against a filler as long", "flawed/wait", "flawed/filler"),
    "trigger": ("“Wait,” against no trigger", "flawed/wait", "flawed/none"),
    "naming": ("“I made a mistake” against “Wait,”", "flawed/mistake", "flawed/wait"),
    "reading": ("this question's chain against another's", "flawed/wait", "other/wait"),
    "beyond_solving": ("recovering against solving without a chain", "flawed/wait", "solve"),
    "damage": ("right chain: “Wait,” against no trigger", "clean/wait", "clean/none"),
    "self_trigger": ("own chain: “Wait,” against no trigger", "self/wait", "self/none"),
    "self_words": ("own chain: “Wait,” against a filler", "self/wait", "self/filler"),
}
"""Paired differences in accuracy: what the trigger does, its wording rather than its length, naming the mistake, having this
question's chain rather than another's, recovering rather than solving, and the trigger on right reasoning."""
METRICS = {
    "accuracy": "right", "explicit_rate": "says wrong", "explicit_accuracy": "right and says so",
    "implicit_accuracy": "right silently", "same_wrong_answer": "same wrong answer", "answered": "answers",
}  # fmt: skip


@dataclass(frozen=True)
class FlawedChain(Probe):
    """Measure recovery from flawed chains on ``n`` items of ``tasks`` (a SPEC of items; None: all of them).

    profile          clean (one rule for all tasks) or paper (the paper's triggers and readers)
    temperature      -1: that of the profile (0, greedy; CruxEval as published 0.2)
    max_tokens       0: that of the profile
    waits            how many times the trigger comes in flawed/wait
    detector         auto, rules, oat_zero, understand_r1_zero, markers, said_wrong, judge:MODEL or judge:URL#MODEL
    strict           refuse items with faults instead of leaving them out
    repeat           the same items with other samples: 0, 1, 2, ...
    cells            which cells, separated by commas; empty: all
    batch            items at a time
    minimum          “Wait,” minus filler that is worth speaking of (a fraction), fixed beforehand
    """

    name: ClassVar[str] = "flawed_chain"
    bare_without_template: ClassVar[bool] = True
    tasks: str | Items = "countdown"
    n: int | None = None
    profile: Profile = "clean"
    temperature: float = -1.0
    max_tokens: int = 0
    waits: int = 1
    detector: str = "auto"
    strict: bool = False
    seed: int = 0
    repeat: int = 0
    cells: str = ""
    batch: int = 128
    minimum: float = 0.05

    def prepare(self, progress: Progress) -> FlawedChain:
        """The items, built or read once; the detector must exist."""
        detectors.check(self.detector)
        if not isinstance(self.tasks, str):
            return self
        progress.phase(f"items of {self.tasks}")
        items = items_of(self.tasks, n=self.n, seed=self.seed, on_progress=lambda done, of: progress.step(done, of, {}))
        if self.strict:
            items.strictly()
        return replace(self, tasks=items)

    def notes(self) -> tuple[str, ...]:
        """Rows that were left out, and items that could not be made."""
        return () if isinstance(self.tasks, str) else self.tasks.notes()

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
        return report(groups, self)

    def across(self, found: Sequence[Measured]) -> Report | None:
        """How recovery goes with pre-training compute, where that is known of three checkpoints or more."""
        return scaling.across(found, LABELS)

    def sampling(self, reading: Reading) -> Sampling:
        """How a family is sampled."""
        temperature = reading.temperature if self.temperature < 0 else self.temperature
        return Sampling(temperature, reading.top_p, self.max_tokens or reading.max_tokens, reading.stop)


probe = FlawedChain


async def _script(
    engine: Engine, item: Item, donor: Item | None, probe: FlawedChain, cells: Sequence[Cell]
) -> tuple[Episode, ...]:
    """All cells of one item; those about the model's own reasoning follow once it has failed."""
    reading = reading_of(item.family, probe.profile)
    texts = {"flawed": item.flawed, "clean": item.clean, "other": donor.flawed if donor else ""}
    chains = {name: prefill("chain", reading.before + text) for name, text in texts.items() if text}
    wrong = Verdict(0.0, item.wrong or None, "the chain is wrong")
    about = {"flawed": wrong, "self": wrong, "other": wrong, "clean": Verdict(1.0, str(item.gold), "the chain is right")}

    async def episode(cell: Cell, chain: Segment | None) -> Episode:
        made = await prefilled_chain(
            posed(item, reading, raw=engine.renderer.raw), (zlib.crc32(item.id.encode()) >> 1, CELLS.index(cell)), chain=chain,
            trigger=trigger(engine, reading, cell), grade=lambda text: reading.grade(item, text),
            times=probe.waits if cell.name == "flawed/wait" else 1, sampling=probe.sampling(reading),
            reopen=lambda segment: begun(engine, segment, len(segment.text)),
        )  # fmt: skip
        return with_verdicts(made, cell.name, {"chain": about[cell.chain]} if cell.chain in about else {})

    simple = [c for c in cells if c.chain == "none" or c.chain in chains]
    group: tuple[Episode, ...] = await gather(*(episode(cell, chains.get(cell.chain)) for cell in simple))
    own = next((e for e in group if e.arm == "solve"), None)
    if own is not None and own.verdicts["rest"].score == 0 and own.verdicts["rest"].answer is not None:
        chain = own_chain(engine, own["rest"], reading)
        group += await gather(*(episode(cell, chain) for cell in cells if cell.chain == "self"))
    return group


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


def trigger(engine: Engine, reading: Reading, cell: Cell) -> Segment | None:
    """The trigger as token ids. The filler gets exactly as many as "Wait," has."""
    if not cell.trigger:
        return None
    text, renderer = reading.triggers[cell.trigger], engine.renderer
    tokens = tuple(renderer.encode(text))
    if cell.trigger == "filler":
        length = len(renderer.encode(reading.triggers["wait"]))
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
    kept = begun(engine, attempt, end or len(attempt.text))
    return prefill("chain", kept.text, kept.tokens)


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


# --- numbers ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Column:
    """One cell of one family as columns, unit by unit: correct, explicit, answered, whether the answer given was kept."""

    units: list[str]
    keys: list[str]
    correct: list[float]
    explicit: list[float]
    answered: list[float]
    same: list[float]


def unit_of(group: Group) -> str:
    """A name for an item: its family, its question, and which of the question's items it is."""
    task, (which, *_) = group[0].task, group[0].path
    return f"{task.family}/{task.key}/{which:x}"


def families(groups: Sequence[Group]) -> Iterator[tuple[str, list[Group]]]:
    """The groups of each family, and of all together where there is more than one."""
    names = list(dict.fromkeys(group[0].task.family for group in groups))
    for name in names:
        yield name, [group for group in groups if group[0].task.family == name]
    if len(names) > 1:
        yield "all", list(groups)


def columns_of(groups: Sequence[Group]) -> dict[str, Column]:
    """The column of every cell that an item was measured in."""
    found = {}
    for cell in CELLS:
        here = [(unit_of(group), e) for group in groups for e in group if e.arm == cell.name]
        if here:
            verdicts = [episode.verdicts["rest"] for _, episode in here]
            found[cell.name] = Column(
                [unit for unit, _ in here], [e.task.key for _, e in here], [v.score for v in verdicts],
                [e.verdicts["explicit"].score for _, e in here], [float(v.answer is not None) for v in verdicts],
                [float(v.why == "same wrong answer") for v in verdicts],
            )  # fmt: skip
    return found


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


def arms_of(groups: Sequence[Group], columns: Mapping[str, Column]) -> dict[str, Arm]:
    """Accuracy in every cell, aligned with the groups."""
    units, keys = [unit_of(group) for group in groups], [group[0].task.key for group in groups]
    found = {}
    for name, column in columns.items():
        score = dict(zip(column.units, column.correct, strict=True))
        scores = [score.get(unit, math.nan) for unit in units]
        found[name] = arm_of(name, LABELS[name], scores, keys, control=name not in ("flawed/wait", "self/wait"))
    return found


def effects_of(arms: Mapping[str, Arm], keys: Sequence[str]) -> list[Effect]:
    """The paired differences of :data:`EFFECTS`, over the items that were measured in both cells."""
    return [
        effect
        for name, (label, left, right) in EFFECTS.items()
        if left in arms and right in arms
        and (effect := effect_of(name, label, arms[left], arms[right], keys)).estimate.n
    ]  # fmt: skip


def flips(groups: Sequence[Group], profile: Profile, cell: str = "flawed/wait") -> float:
    """How often a changed answer would be right by chance: each item is dealt changed answers of the others, at random.

    What a model gets that throws away the chain's answer and takes another of those that are about. nan without changed
    answers.
    """
    here = [e for group in groups for e in group if e.arm == cell]
    changed = [e for e in here if (v := e.verdicts["rest"]).answer is not None and v.why != "same wrong answer"]
    if len(changed) < 2:
        return math.nan
    rng, total = Random(0), 0.0
    for family in dict.fromkeys(e.task.family for e in changed):
        reading = reading_of(family, profile)
        mine = [e for e in changed if e.task.family == family]
        for one in mine if len(mine) > 1 else []:
            dealt = [other.verdicts["rest"].answer for other in rng.choices(mine, k=DEALT) if other is not one]
            item = asked_in(one)
            # Answers of other questions are taken as wrong where judging one means running a program.
            right = sum(not reading.runs_programs and reading.right(item, cast(str, answer)) for answer in dealt)
            total += right / max(1, len(dealt))
    return total / len(here)


def asked_in(episode: Episode) -> Item:
    """As much of an item as judging an answer needs, from its episode."""
    task, chain = episode.task, episode.verdicts.get("chain")
    return Item("", task.prompt[-1].content, task.answer, "", "", (chain.answer if chain else None) or "", task.family)


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


def frontier(groups: Sequence[Group]) -> list[dict[str, float]]:
    """After the k-th trigger: tokens written so far for each item, and how many items have been answered rightly by then."""
    here = [e for group in groups for e in group if e.arm == "flawed/wait"]
    waits = max((sum(s.name.startswith("rest") for s in e.segments) for e in here), default=0)
    found = []
    for k in range(1, waits + 1):
        names = ["rest", *(f"rest_{i}" for i in range(2, k + 1))]
        tokens = sum(len(e[name].tokens) for e in here for name in names)
        right = sum(any(e.verdicts[name].score == 1 for name in names) for e in here)
        found.append({"waits": k, "tokens": tokens / max(1, len(here)), "solved": right / max(1, len(here))})
    return found


def report(groups: Sequence[Group], probe: FlawedChain) -> Report:
    """Every figure of one model."""
    columns = columns_of(groups)
    units, keys = [unit_of(group) for group in groups], [group[0].task.key for group in groups]
    arms = arms_of(groups, columns)
    figures: dict[str, Estimate] = {}
    tables, curves = [], []
    for family, part in families(groups):
        here = columns_of(part)
        cells = {name: numbers(column) for name, column in here.items()}
        figures |= {f"{family}/{cell}/{m}": e for cell, metrics in cells.items() for m, e in metrics.items()}
        figures |= {f"{family}/{cell}/phi": plain(phi(metrics), metrics["accuracy"].n, "r") for cell, metrics in cells.items()}
        effects = effects_of(arms_of(part, here), [group[0].task.key for group in part])
        figures |= {f"{family}/{effect.name}": effect.estimate for effect in effects}
        chance, predicted = flips(part, probe.profile), decomposition(cells)
        figures[f"{family}/flips"] = plain(chance, len(part))
        figures |= {f"{family}/decomposition/{name}": plain(value, len(part)) for name, value in predicted.items()}
        for step in frontier(part):
            figures[f"{family}/after_{step['waits']:g}/tokens"] = plain(step["tokens"], len(part), "tokens")
            figures[f"{family}/after_{step['waits']:g}/solved"] = plain(step["solved"], len(part))
        tables += [cells_table(family, cells), effects_table(family, effects, chance, predicted, len(part))]
        curves.append(bars(family, cells))
    return reported(
        probe.name, 'after a flawed chain, "Wait," brings back more right answers than a filler of as many tokens',
        list(arms.values()), units, clusters=keys, effects=effects_of(arms, keys), decides="words", minimum=probe.minimum,
        figures=figures, tables=tables, curves=curves,
    )  # fmt: skip


def plain(value: float, n: int, unit: str = "fraction") -> Estimate:
    """A number without an interval."""
    return Estimate(value, math.nan, math.nan, n, unit)


def cells_table(family: str, cells: Mapping[str, Mapping[str, Estimate]]) -> Table:
    """The metrics of every cell."""
    rows: tuple[tuple[TableCell, ...], ...] = tuple(
        (LABELS[cell], metrics["accuracy"].n, *(metrics[m] for m in METRICS)) for cell, metrics in cells.items()
    )
    return Table(f"{family}: what a chain and a trigger do, %", ("chain, trigger", "n", *METRICS.values()), rows)


def effects_table(family: str, effects: Sequence[Effect], chance: float, predicted: Mapping[str, float], n: int) -> Table:
    """The paired effects, what chance would give, and the paper's decomposition."""
    rows: list[tuple[Any, ...]] = [(effect.label, effect.estimate) for effect in effects]
    if not math.isnan(chance):
        rows.append(("right by chance, if changed answers were dealt out at random", plain(chance, n)))
    if predicted:
        rows += [
            (f"“Wait,”: {name} by the paper's decomposition", plain(predicted[name], n)) for name in ("predicted", "measured")
        ]
    return Table(f"{family}: paired effects, points", ("effect", ""), tuple(rows))


def bars(family: str, cells: Mapping[str, Mapping[str, Estimate]]) -> Curve:
    """How often right in each cell: silently, and saying that something was wrong."""
    kinds = {"silently": "implicit_accuracy", "saying that something was wrong": "explicit_accuracy"}
    series = {label: tuple((float(i), m[kind]) for i, m in enumerate(cells.values())) for label, kind in kinds.items()}
    ticks = tuple(LABELS[cell] for cell in cells)
    return Curve(f"What a chain and a trigger do: {family}", "% right", "", series, "bars", ticks=ticks)


SENTENCES = {
    "A flawed chain put right": ("flawed/wait", "right"), "The same wrong answer again": ("flawed/wait", "same wrong answer"),
    "Another wrong answer": ("flawed/wait", "other wrong answer"), "A right chain spoilt": ("clean/wait", "other wrong answer"),
    "The own error put right": ("self/wait", "right"),
}  # fmt: skip
"""Outcomes that a reader wants to see examples of, by arm and by what the verdict on ``rest`` says."""
