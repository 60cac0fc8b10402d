"""Can a model judge answers in pairs: is it right, does it stay with its judgement, and does it favour the first or its own?

The model answers each problem several times and judges every pair of its answers in both orders. A judge that is consistent may
still be wrong, so the hidden truth (how good an answer is) stands beside every figure. With ``other`` the answers of a second
model are judged beside its own, where both are equally good and about equally long: whose does it prefer then?
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import combinations
from typing import ClassVar

from secondthought.engines.base import Engine
from secondthought.engines.factory import engine_for
from secondthought.probes.base import arm_of, effect_of, reported, units_of
from secondthought.probes.on_tasks import OnTasks, Posed
from secondthought.protocols.answer import answer
from secondthought.protocols.base import Draft, gather
from secondthought.protocols.self_examining import ACTOR, JUDGE, self_examining
from secondthought.rollouts import drive, rollout
from secondthought.runs.progress import Progress
from secondthought.tasks.rivals import quality_of, read_choice, rivals
from secondthought.types import Episode, Group, Report, Task, Verdict

PART = 64
OWN = "own or other"
WINDOW = (0.8, 1.25)  # lengths in words that count as equal


@dataclass(frozen=True)
class JudgeProbe(OnTasks):
    """Judge all pairs of ``samples`` answers to each of ``n`` problems, each pair once in each order.

    tasks, grade     the problems; for your own, how answers are graded: exact, number, math, regex:PATTERN, module:function
    temperature      at which answers and judgements are sampled
    other            a second model, whose answers are judged beside the model's own (empty: none)
    minimum          judgements that are right, above one half, worth speaking of (a fraction); fixed beforehand
    """

    name: ClassVar[str] = "judge"
    n: int = 200
    samples: int = 4
    other: str = ""
    minimum: float = 0.05

    def measure(self, model: Engine, progress: Progress) -> list[Group]:
        """A group for each problem: its answers, the judgements of all pairs, and those of own against other answers."""
        posed = self.posed(model)
        tasks, problems, sampling, style = posed
        protocol = partial(
            self_examining, grade=tasks.grade, quality=quality_of(tasks), pose=partial(rivals, style=style),
            choice=read_choice, judgements=2,
        )  # fmt: skip
        second, found = engine_for(self.other) if self.other else None, list[Group]()
        for begin in range(0, len(problems), PART):
            part = problems[begin : begin + PART]
            groups = rollout(protocol, part, self.samples, model, sampling, seed=self.seed)
            if second is not None:
                others = rollout(partial(answer, grade=tasks.grade), part, 1, second, sampling, seed=self.seed)
                groups = self.beside(groups, others, model, posed)
            found += groups
            progress.step(len(found), len(problems), {})
        return found

    def beside(self, groups: Sequence[Group], others: Sequence[Group], model: Engine, posed: Posed) -> list[Group]:
        """The groups with judgements of the model's first answer against another model's, in both orders."""
        quality = quality_of(posed.tasks)

        async def judged(task: Task, own: str, other: str, k: int) -> Episode:
            shown = (own, other) if k == 0 else (other, own)
            draft = Draft(rivals(task, *shown, posed.style), (0, 0, k), arm=OWN)
            chosen = read_choice(await draft.sample("judgement"))
            worth = [quality(task, text) for text in (own, other)]
            if chosen is None or worth[0] != worth[1] or not like(own, other):
                why = "unparsable" if chosen is None else "not equally good" if worth[0] != worth[1] else "not equally long"
                return draft.close(own=Verdict(math.nan, None, why))
            return draft.close(own=Verdict(float((chosen == 1) == (k == 0)), str(chosen)))

        async def both(group: Group, other: Group) -> Group:
            own = next(e for e in group if e.arm == ACTOR)
            texts = (own["response"].text, other[0]["attempt"].text)
            extra = await gather(*(judged(own.task, *texts, k) for k in (0, 1)))
            return (*group, *extra)

        return drive((both(*pair) for pair in zip(groups, others, strict=True)), model, posed.sampling, seed=self.seed)

    def report(self, groups: Sequence[Group]) -> Report:
        """Are more than half of the judgements right?"""
        return report(groups, self.minimum)


probe = JudgeProbe


def like(one: str, other: str) -> bool:
    """Whether two texts are about equally long."""
    low, high = WINDOW
    return low <= (len(one.split()) or 1) / (len(other.split()) or 1) <= high


# --- what a group shows ----------------------------------------------------------------------------------------------


def winners(group: Group) -> dict[tuple[int, int], list[int | None]]:
    """For each pair who was chosen, in both orders."""
    found: dict[tuple[int, int], list[int | None]] = {}
    for e in group:
        if e.arm == JUDGE:
            said = e.verdicts["judgement"].answer
            found.setdefault((e.path[0], e.path[1]), []).append(int(said) if said is not None else None)
    return found


def consistent(group: Group) -> float:
    """The share of pairs with the same winner in both orders; what cannot be read agrees with nothing."""
    pairs = [said for said in winners(group).values() if len(said) > 1]
    return _share(said[0] is not None and len(set(said)) == 1 for said in pairs)


def first_chosen(group: Group) -> float:
    """The share of readable judgements that name the answer that was shown first."""
    read = [(e.path, int(said)) for e in group if e.arm == JUDGE and (said := e.verdicts["judgement"].answer) is not None]
    return _share(winner == (path[1] if path[2] % 2 else path[0]) for path, winner in read)


def cyclic(group: Group) -> float:
    """The share of triples, of those whose three pairs were judged consistently, in which each answer beats another."""
    sure = {pair: said[0] for pair, said in winners(group).items() if said[0] is not None and len(set(said)) == 1}
    members = sorted({place for pair in sure for place in pair})
    triples = [
        {sure[pair] for pair in combinations(three, 2)} for three in combinations(members, 3)
        if all(pair in sure for pair in combinations(three, 2))
    ]  # fmt: skip
    return _share(len(won) == 3 for won in triples)


def chosen_quality(group: Group) -> float:
    """The quality of the answer that wins most judgements, the mean over those that win as many."""
    worth = {e.path[0]: e.verdicts["quality"].score for e in group if e.arm == ACTOR}
    wins = dict.fromkeys(worth, 0)
    for said in winners(group).values():
        for winner in said:
            if winner is not None:
                wins[winner] += 1
    best = max(wins.values())
    kept = [worth[place] for place, count in wins.items() if count == best]
    return sum(kept) / len(kept)


def _share(hits: Iterable[bool]) -> float:
    known = [float(hit) for hit in hits]
    return sum(known) / len(known) if known else math.nan


def _mean(group: Group, arm: str, name: str) -> float:
    known = [s for e in group if e.arm == arm and name in e.verdicts and not math.isnan(s := e.verdicts[name].score)]
    return sum(known) / len(known) if known else math.nan


def report(groups: Sequence[Group], minimum: float) -> Report:
    """What the judgements of some groups show."""
    keys = units_of(groups)
    measured = {
        "accuracy": ("judgements that name the better answer", [_mean(g, JUDGE, "judgement") for g in groups]),
        "consistent": ("pairs with the same winner in both orders", [consistent(g) for g in groups]),
        "first": ("judgements that name the first answer shown", [first_chosen(g) for g in groups]),
        "cyclic": ("triples that go round", [cyclic(g) for g in groups]),
        "read": ("judgements that can be read", [_readable(g) for g in groups]),
        "right": ("answers that are right", [_mean(g, ACTOR, "response") for g in groups]),
        "quality": ("quality of answers", [_mean(g, ACTOR, "quality") for g in groups]),
        "chosen": ("quality of the answer that wins", [chosen_quality(g) for g in groups]),
        "best": ("quality of the best answer", [_best(g) for g in groups]),
    }
    if any(e.arm == OWN for g in groups for e in g):
        measured["own"] = ("equally good answers: its own is chosen", [_mean(g, OWN, "own") for g in groups])
    controls = ("read", "right", "best")
    arms = [arm_of(name, label, scores, keys, query={}, control=name in controls) for name, (label, scores) in measured.items()]
    by_name = {arm.name: arm for arm in arms}
    effect = effect_of("worth", "quality: the winner minus any", by_name["chosen"], by_name["quality"], keys)
    return reported(
        "judge", "more than half of its judgements of pairs name the better answer", arms, keys, effects=[effect], null=0.5,
        minimum=minimum,
    )  # fmt: skip


def _readable(group: Group) -> float:
    return _share(e.verdicts["judgement"].answer is not None for e in group if e.arm == JUDGE)


def _best(group: Group) -> float:
    return max((e.verdicts["quality"].score for e in group if e.arm == ACTOR), default=math.nan)
