"""What is computed for :mod:`secondthought.probes.first_try` from its stored chains of thought."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise, permutations

from secondthought.probes.base import arm_of, effect_of, in_arm, reported
from secondthought.probes.resampling import commonest
from secondthought.stats import average, bootstrapped, mean
from secondthought.types import Arm, Cell, Curve, Effect, Episode, Estimate, Group, Report, Table, Verdict

NULL = 0.5  # a reflection confirms as often as not
DEALS = 20  # other chains whose stopping place each chain is given
TYPES = {
    "right to right": "right, again right", "same wrong": "the same wrong answer", "wrong to right": "wrong, then right",
    "right to wrong": "right, then wrong", "another wrong": "wrong, another wrong one",
}  # fmt: skip
CONFIRM = ("right to right", "same wrong")


@dataclass(frozen=True)
class Chain:
    """One chain of thought: its candidates, each with the tokens up to its end, and what came of it."""

    candidates: tuple[Verdict, ...]
    ends: tuple[int, ...]
    final: Verdict
    thought: int  # tokens that candidates were looked for in
    said: int  # tokens behind the thoughts

    @classmethod
    def of(cls, episode: Episode) -> Chain:
        """Read from an episode that was cut at its candidates."""
        found, ends, thought, said = list[Verdict](), list[int](), 0, 0
        for segment in episode.segments:
            if segment.logprobs is None:
                continue
            if segment.name == "attempt":
                said += len(segment.tokens)
                continue
            thought += len(segment.tokens)
            if segment.name in episode.verdicts:
                found.append(episode.verdicts[segment.name])
                ends.append(thought)
        return cls(tuple(found), tuple(ends), episode.verdicts["attempt"], thought, said)

    @property
    def tokens(self) -> int:
        """All that was sampled."""
        return self.thought + self.said

    @property
    def first(self) -> Verdict:
        """The first candidate; where there is none, the final answer is the first."""
        return self.candidates[0] if self.candidates else self.final

    def transitions(self) -> list[str]:
        """What each reflection does, a key of :data:`TYPES`."""
        return [transition(one, two) for one, two in pairwise(self.candidates)]

    def stopped(self, k: int) -> tuple[float, float]:
        """Right or wrong, and the share of the tokens, had it been stopped behind candidate number ``k`` (from 1)."""
        if len(self.candidates) < k:
            return self.final.score, 1.0
        return self.candidates[k - 1].score, (self.ends[k - 1] + self.said) / max(1, self.tokens)

    def cut(self, share: float) -> float:
        """Right or wrong, had it been stopped at this share of its tokens: by the last candidate before."""
        if share >= 1:
            return self.final.score
        before = [one for one, end in zip(self.candidates, self.ends, strict=True) if end + self.said <= share * self.tokens]
        return before[-1].score if before else 0.0


def transition(one: Verdict, two: Verdict) -> str:
    """What a reflection does between two candidates."""
    if one.score == 1:
        return "right to right" if two.score == 1 else "right to wrong"
    if two.score == 1:
        return "wrong to right"
    return "same wrong" if one.answer == two.answer else "another wrong"


def confirms(one: Verdict, two: Verdict) -> float:
    """1 if a reflection between two candidates confirms."""
    return float(transition(one, two) in CONFIRM)


def report(groups: Sequence[Group], stops: int = 5, minimum: float = 0.0) -> Report:
    """The figures of one model, 95 % intervals clustered by problem."""
    pairs = [
        (Chain.of(e), group[0].task.key, number, group) for group in groups for number, e in enumerate(in_arm(group, "own"))
        if e.verdicts["extracted"].score == 1 and e.verdicts["attempt"].graded
    ]  # fmt: skip
    chains, keys = [chain for chain, *_ in pairs], [key for _, key, *_ in pairs]
    arms = arms_of(chains, keys)
    by_name = {one.name: one for one in arms}
    effects = [
        Effect("confirmatory", "share of reflections that confirm", by_name["confirmatory"].estimate),
        effect_of("beyond_shuffled", "confirming, against the same candidates in random order", arms[0], arms[1], keys),
        effect_of("gain", "final minus first answer: what reflecting gained", by_name["final"], by_name["first"], keys),
    ]
    if any(in_arm(group, "resample") for group in groups):
        scores = [voted(*one) for one in pairs]
        vote = arm_of("vote", "vote of first answers, same tokens", scores, keys, query={"arm": "resample"}, control=True)
        arms.append(vote)
        effects.append(effect_of("final_minus_vote", "reflecting minus voting, same tokens", by_name["final"], vote, keys))
    curve: dict[str, list[tuple[float, Estimate]]] = {"behind the K-th answer": [], "anywhere, as many tokens": []}
    figures, rows = stopping(chains, keys, stops, arms, effects, curve, by_name["final"])
    figures |= totals(chains, keys)
    early = Table(
        "Stopping early", ("behind", "tokens saved, %", "right, %", "minus the whole chain, points", "minus anywhere, points"),
        tuple(rows), note="Choose by what a point is worth to you: --stop-after-first-answer K stops for real.",
    )  # fmt: skip
    picture = Curve("Stopping early", "tokens saved, %", "right, %", {k: tuple(v) for k, v in curve.items()}, "points")
    return reported(
        "first_try", "reflections mostly confirm the first answer", arms, [f"{key}/{number}" for _, key, number, _ in pairs],
        effects=effects, decides="confirmatory", null=NULL, minimum=minimum, figures=figures,
        tables=[types_table(figures), early, places(chains, keys)], curves=[picture, along(chains, keys)], clusters=keys,
        notes=notes_on(groups, chains),
    )  # fmt: skip


def arms_of(chains: Sequence[Chain], keys: Sequence[str]) -> list[Arm]:
    """Confirming, first and final answers, and the same with the candidates in random order."""
    query = {"arm": "own"}
    confirming = [average([float(kind in CONFIRM) for kind in chain.transitions()]) for chain in chains]
    mixed = [average([confirms(a, b) for a, b in permutations(chain.candidates, 2)]) for chain in chains]
    any_of = [average([one.score for one in chain.candidates or (chain.final,)]) for chain in chains]
    first, final = [chain.first.score for chain in chains], [chain.final.score for chain in chains]
    return [
        arm_of("confirmatory", "reflections that confirm", confirming, keys, query=query),
        arm_of("confirmatory_shuffled", "the same candidates in random order", mixed, keys, query=query, control=True),
        arm_of("first", "first candidate is right", first, keys, query=query),
        arm_of("final", "final answer is right", final, keys, query=query),
        arm_of("first_shuffled", "any candidate is right", any_of, keys, query=query, control=True),
    ]


def notes_on(groups: Sequence[Group], chains: Sequence[Chain]) -> list[str]:
    """What a reader must know: chains that a judge lost, and that nothing reflects."""
    lost = sum(e.verdicts["extracted"].score == 0 for group in groups for e in in_arm(group, "own"))
    notes = [f"{lost} chains are left out: the judge's list of candidates could not be read"] if lost else []
    if not any(chain.transitions() for chain in chains):
        notes.append("no chain has a second candidate answer: there is no reflection to speak of")
    return notes


def voted(chain: Chain, key: str, number: int, group: Group) -> float:
    """Whether the commonest of the chain's first answer and its fresh ones is right; the earliest wins a tie."""
    fresh = [e.verdicts["attempt"] for e in in_arm(group, "resample") if e.path[0] == number]
    return commonest([chain.first, *fresh])


def stopping(
    chains: Sequence[Chain], keys: Sequence[str], stops: int, arms: list[Arm], effects: list[Effect],
    curve: dict[str, list[tuple[float, Estimate]]], final: Arm,
) -> tuple[dict[str, Estimate], list[tuple[Cell, ...]]]:  # fmt: skip
    """Arms, effects and figures of stopping behind each candidate, and of stopping anywhere at the same lengths."""
    figures: dict[str, Estimate] = {}
    rows = list[tuple[Cell, ...]]()
    for k in range(1, stops + 1):
        right, shares = zip(*(chain.stopped(k) for chain in chains), strict=True) if chains else ((), ())
        there = arm_of(f"stop_{k}", f"stopped behind answer {k}", right, keys, query={"arm": "own"})
        deals = [[chain.cut(shares[(i + d) % len(chains)]) for d in range(1, DEALS + 1)] for i, chain in enumerate(chains)]
        anywhere = [average(one) for one in deals]
        label = f"stopped anywhere, as many tokens as behind answer {k}"
        control = arm_of(f"random_{k}", label, anywhere, keys, query={"arm": "own"}, control=True)
        arms += [there, control]
        cost = effect_of(f"stop_{k}_cost", f"stopped behind answer {k} minus the whole chain", there, final, keys)
        gain = effect_of(f"stop_{k}_minus_random", f"stopped behind answer {k} minus anywhere", there, control, keys)
        effects += [cost, gain]
        saved = saved_by(chains, shares, keys)
        figures[f"tokens_saved/{k}"] = saved
        rows.append((f"answer {k}", saved, there.estimate, cost.estimate, gain.estimate))
        for label, one in zip(curve, (there, control), strict=True):
            curve[label].append((100 * saved.value, one.estimate))
    return figures, rows


def saved_by(chains: Sequence[Chain], shares: Sequence[float], keys: Sequence[str]) -> Estimate:
    """The share of all tokens that stopping saves."""

    def value(places: Sequence[int]) -> float:
        total = sum(chains[i].tokens for i in places)
        return 1 - sum(shares[i] * chains[i].tokens for i in places) / total if total else math.nan

    return bootstrapped(value, keys, unit="fraction")


def totals(chains: Sequence[Chain], keys: Sequence[str]) -> dict[str, Estimate]:
    """Figures of all chains, and of all transitions together."""
    found = {
        "candidates": mean([float(len(c.candidates)) for c in chains], keys, unit="number"),
        "reflects": mean([float(len(c.candidates) > 1) for c in chains], keys),
        "no_candidate": mean([float(not c.candidates) for c in chains], keys),
        "reflection_tokens": mean([1 - c.ends[0] / c.thought if c.candidates else 0.0 for c in chains], keys),
        "first_position": mean([c.ends[0] / c.thought for c in chains if c.candidates], [
            k for c, k in zip(chains, keys, strict=True) if c.candidates]),
    }  # fmt: skip
    every = [(t, key) for chain, key in zip(chains, keys, strict=True) for t in chain.transitions()]
    owners = [key for _, key in every]
    for name in TYPES:
        found[f"transitions/{name}"] = mean([float(t == name) for t, _ in every], owners)
    found["transitions/confirmatory"] = mean([float(t in CONFIRM) for t, _ in every], owners)
    for name, given in (("wrong to right", ("same wrong", "wrong to right", "another wrong")),
                        ("right to wrong", ("right to right", "right to wrong"))):  # fmt: skip
        some = [(t, key) for t, key in every if t in given]
        found[f"given/{name}"] = mean([float(t == name) for t, _ in some], [key for _, key in some])
    return found


def types_table(figures: dict[str, Estimate]) -> Table:
    """What reflections do."""
    rows: list[tuple[Cell, ...]] = [(label, figures[f"transitions/{name}"]) for name, label in TYPES.items()]
    rows += [
        ("confirm, all together", figures["transitions/confirmatory"]),
        ("right next, of those on a wrong answer", figures["given/wrong to right"]),
        ("wrong next, of those on a right one", figures["given/right to wrong"]),
    ]
    return Table("What a reflection does", ("from one candidate answer to the next", "%"), tuple(rows))


def places(chains: Sequence[Chain], keys: Sequence[str]) -> Table:
    """What the first, second, third ... reflection of a chain does."""
    rows: list[tuple[Cell, ...]] = []
    for number in range(max((len(chain.transitions()) for chain in chains), default=0)):
        some = [(c, key) for c, key in zip(chains, keys, strict=True) if len(c.transitions()) > number]
        kinds, owners = [c.transitions()[number] for c, _ in some], [key for _, key in some]
        gain = [c.candidates[number + 1].score - c.candidates[number].score for c, _ in some]
        rows.append((
            number + 1, len(some), mean([float(kind in CONFIRM) for kind in kinds], owners),
            mean([float(kind == "wrong to right") for kind in kinds], owners), mean(gain, owners, unit="difference"),
        ))  # fmt: skip
        if number == 9:
            break
    names = ("reflection", "chains that have it", "confirms, %", "corrects, %", "gain, points")
    return Table("By position", names, tuple(rows))


def along(chains: Sequence[Chain], keys: Sequence[str]) -> Curve:
    """How often candidate answers are right, by their number; chains with fewer keep their last one."""
    most = min(10, max((len(chain.candidates) for chain in chains), default=0))
    points = []
    for k in range(1, most + 1):
        right = [c.candidates[min(k, len(c.candidates)) - 1].score if c.candidates else c.final.score for c in chains]
        points.append((float(k), mean(right, keys)))
    return Curve("Along the chain", "candidate answer", "right, %", {"right so far": tuple(points)})
