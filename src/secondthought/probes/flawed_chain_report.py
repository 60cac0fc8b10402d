"""What is computed for :mod:`secondthought.probes.flawed_chain`: its cells, their metrics, and the effects between them."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from random import Random
from typing import Any, Literal, NamedTuple, cast

from secondthought.items.base import Item
from secondthought.items.templates import ACCEPTED, Profile, reading_of
from secondthought.probes.base import arm_of, effect_of, reported
from secondthought.stats import mean
from secondthought.types import CUT_OFF, Arm, Curve, Effect, Episode, Estimate, Group, Report, Table, Verdict
from secondthought.types import Cell as TableCell

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
    "cut_off": "cut off",
}  # fmt: skip
OUTCOMES = {
    "accepted": "accepts it", "restated": "says it again", "to_right": "changes to right", "to_wrong": "changes to wrong",
    "none": "no answer",
}  # fmt: skip
"""What a turn makes of the answer that its chain leads to."""


@dataclass(frozen=True)
class Column:
    """One cell of one family as columns, unit by unit: correct, explicit, answered, whether the answer given was kept."""

    units: list[str]
    keys: list[str]
    correct: list[float]
    explicit: list[float]
    answered: list[float]
    same: list[float]
    cut: list[float]
    outcome: list[str]


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


def verdict_on(episode: Episode) -> Verdict:
    """The verdict on the answer: what was said to the request for it, where there was one."""
    return episode.verdicts.get("final") or episode.verdicts["rest"]


def outcome_of(episode: Episode) -> str:
    """What the turn makes of its chain's answer, a key of :data:`OUTCOMES`; empty without a chain."""
    found, chain = verdict_on(episode), episode.verdicts.get("chain")
    if chain is None:
        return ""
    if found.answer is None:
        return "none"
    if found.why == ACCEPTED:
        return "accepted"
    if found.score == 1:
        return "restated" if chain.score == 1 else "to_right"
    return "restated" if found.why == "same wrong answer" else "to_wrong"


def columns_of(groups: Sequence[Group]) -> dict[str, Column]:
    """The column of every cell that an item was measured in."""
    found = {}
    for cell in CELLS:
        here = [(unit_of(group), e) for group in groups for e in group if e.arm == cell.name]
        if here:
            verdicts = [verdict_on(episode) for _, episode in here]
            found[cell.name] = Column(
                [unit for unit, _ in here], [e.task.key for _, e in here], [v.score for v in verdicts],
                [e.verdicts["explicit"].score for _, e in here], [float(v.answer is not None) for v in verdicts],
                [float(v.why == "same wrong answer" or (v.why == ACCEPTED and not v.score)) for v in verdicts],
                [float(v.why == CUT_OFF.why) for v in verdicts], [outcome_of(e) for _, e in here],
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
        "cut_off": mean(part.cut, part.keys),
        **{
            f"outcome/{name}": mean([float(one == name) for one in part.outcome], part.keys)
            for name in OUTCOMES
            if any(part.outcome)
        },
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
    changed = [e for e in here if outcome_of(e) in ("to_right", "to_wrong")]
    if len(changed) < 2:
        return math.nan
    rng, total = Random(0), 0.0
    for family in dict.fromkeys(e.task.family for e in changed):
        reading = reading_of(family, profile)
        mine = [e for e in changed if e.task.family == family]
        for one in mine if len(mine) > 1 else []:
            dealt = [verdict_on(other).answer for other in rng.choices(mine, k=DEALT) if other is not one]
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


def report(groups: Sequence[Group], profile: Profile, minimum: float) -> Report:
    """Every figure of one model; ``profile`` says how answers are judged, ``minimum`` which effect counts."""
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
        chance, predicted = flips(part, profile), decomposition(cells)
        figures[f"{family}/flips"] = plain(chance, len(part))
        figures |= {f"{family}/decomposition/{name}": plain(value, len(part)) for name, value in predicted.items()}
        for step in frontier(part):
            figures[f"{family}/after_{step['waits']:g}/tokens"] = plain(step["tokens"], len(part), "tokens")
            figures[f"{family}/after_{step['waits']:g}/solved"] = plain(step["solved"], len(part))
        tables += [
            cells_table(family, cells),
            outcomes_table(family, cells),
            effects_table(family, effects, chance, predicted, len(part)),
        ]
        curves.append(bars(family, cells))
    return reported(
        "flawed_chain", 'after a flawed chain, "Wait," brings back more right answers than a filler of as many tokens',
        list(arms.values()), units, clusters=keys, effects=effects_of(arms, keys), decides="words", minimum=minimum,
        figures=figures, tables=tables, curves=curves, notes=cut_off(groups),
    )  # fmt: skip


def cut_off(groups: Sequence[Group]) -> tuple[str, ...]:
    """A note on turns that were over before they stated an answer, where there are any."""
    turns = [verdict_on(episode) for group in groups for episode in group]
    cut = sum(verdict.why == CUT_OFF.why for verdict in turns)
    if not cut:
        return ()
    return (f"{100 * cut / len(turns):.1f} % of the turns were cut off at the token limit before they stated an answer",)


def plain(value: float, n: int, unit: str = "fraction") -> Estimate:
    """A number without an interval."""
    return Estimate(value, math.nan, math.nan, n, unit)


def cells_table(family: str, cells: Mapping[str, Mapping[str, Estimate]]) -> Table:
    """The metrics of every cell."""
    rows: tuple[tuple[TableCell, ...], ...] = tuple(
        (LABELS[cell], metrics["accuracy"].n, *(metrics[m] for m in METRICS)) for cell, metrics in cells.items()
    )
    return Table(f"{family}: what a chain and a trigger do, %", ("chain, trigger", "n", *METRICS.values()), rows)


def outcomes_table(family: str, cells: Mapping[str, Mapping[str, Estimate]]) -> Table:
    """What becomes of the answer that the chain leads to."""
    rows: tuple[tuple[TableCell, ...], ...] = tuple(
        (LABELS[cell], metrics["accuracy"].n, *(metrics[f"outcome/{name}"] for name in OUTCOMES))
        for cell, metrics in cells.items() if "outcome/none" in metrics
    )  # fmt: skip
    return Table(f"{family}: what becomes of the chain's answer, %", ("chain, trigger", "n", *OUTCOMES.values()), rows)


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
