"""Labels that a model makes for itself, and what checks them (SECToR; Zhang and Parkes 2023, arXiv 2309.08589).

A round asks for sums that are longer than those before. Each is answered in many ways that ought to agree
(:mod:`secondthought.protocols.simplify_then_guess`), and what they agree on is imitated as an answer at once, without the
chain; the first simplification of each chain is imitated too. Nobody looks at the truth, except to count how many labels are
wrong, and for the arms that are bounds.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from random import Random
from statistics import fmean
from typing import Literal, NamedTuple

from secondthought.engines.base import Engine
from secondthought.models.names import style_of
from secondthought.protocols.base import BoundProtocol
from secondthought.protocols.shown import shown
from secondthought.protocols.simplify_then_guess import Way, simplify_then_guess
from secondthought.runs.progress import Progress
from secondthought.tasks.addition import KINDS, Sum, draw, posed, said, simplified, solution, start_of, styled, sum_of
from secondthought.training.recipe import Collect, Recipe
from secondthought.training.recorded import Recorded, sampled
from secondthought.types import Group, Task, seed_of

FEW = 64
Label = Literal["vote", "chain", "fast", "sampled", "truth"]
Fault = Literal["random", "carry"]


class Labels(NamedTuple):
    """What a round made of one sum: the label (None: refused), the simplification, and whether both orders agree."""

    answer: int | None
    step: str | None
    agree: bool


@dataclass(frozen=True)
class SelfLabels(Collect):
    """Label sums of ``digits`` digits, and again some of the lengths between ``known`` and that.

    label       vote    the majority of the guesses behind ``votes`` simplifications (the paper's simplify-then-guess)
                chain   the guess behind the first simplification
                fast    the answer at once
                sampled the majority of ``votes`` answers at once, sampled at temperature 1 (no chain of thought)
                truth   the right answer (a bound, and the supervised start)
    commute     only where a + b and b + a get the same label; a simplification is kept where both orders agree on it
    oracle      of those only the right ones (a bound)
    lax         so many of the labels that the check refuses are taken all the same: what a checker lets through
    corrupt     so many of the labels that are taken are then spoiled, in the way called ``fault``: one digit is another one
                (random), or all carries are dropped (carry)
    answers     so many answers and simplifications are sampled in a round: the more checks, the fewer sums (of ``truth``, for
                which nothing is sampled, so many answers are given)
    again       so many of the sums are of lengths between ``known`` and ``digits``, labelled anew
    replay      so many examples of ``known`` digits and fewer, for each label, with the right answers of the supervised start
    every       sums of all lengths from ``known`` + 1 to ``digits`` in equal shares (one round, no loop)
    """

    digits: int = 5
    known: int = 4
    label: Label = "vote"
    votes: int = 5
    commute: bool = True
    oracle: bool = False
    lax: float = 0.0
    corrupt: float = 0.0
    fault: Fault = "random"
    answers: int = 10_000
    again: float = 0.4
    replay: float = 0.8
    every: bool = False

    @property
    def calls(self) -> int:
        """How many answers and simplifications one sum takes."""
        per_order = {"vote": 2 * self.votes, "chain": 2, "fast": 1, "sampled": self.votes, "truth": 1}[self.label]
        return per_order * (2 if self.commute else 1)

    def make(self, engine: Engine, recipe: Recipe, progress: Progress) -> list[Group]:
        """A group of answers for each sum."""
        style = style_of(recipe.model)
        problems = self.problems(recipe.seed, style)
        progress.phase(f"labelling {len(problems)} sums of up to {self.digits} digits: {self.label}")
        votes = self.votes if self.label in ("vote", "sampled") else 1
        way: Way = "fast" if self.label in ("fast", "sampled") else "chain"
        protocol: BoundProtocol = partial(
            simplify_then_guess, grade=recipe.tasks.grade, way=way, both=self.commute,
            temperature=1.0 if self.label == "sampled" else 0.0,
        )  # fmt: skip
        if self.label == "truth":  # nothing need be asked
            protocol = partial(shown, grade=recipe.tasks.grade, record=solution)
        return sampled(protocol, problems, votes, engine, recipe, progress, seed=seed_of("labels", recipe.seed, self.digits))

    def problems(self, seed: int, style: str) -> list[Task]:
        """The sums of a round, all of the train split."""
        rng = Random(seed_of("sums", seed, self.digits))
        found = dict[str, Task]()
        for _ in range(max(2, self.answers // self.calls)):
            between = range(self.known + 1, self.digits)
            other = bool(between) and rng.random() < (1 - 1 / (len(between) + 1) if self.every else self.again)
            task = posed(draw(rng, rng.choice(between) if other else self.digits, "train"), "fast", style)
            found.setdefault(task.key, task)
        return list(found.values())

    def figures(self, groups: Sequence[Group]) -> Mapping[str, float]:
        """How many sums were labelled and how many labels are wrong; of the longest sums alone, whose labels decide the next
        round, the same, and the carries of those that were labelled over the carries of all.
        """
        read = [(sum_of(group[0].task), labels_of(group, self)) for group in groups]
        longest = [(whole, one) for whole, one in read if whole.digits == self.digits]
        found = {"agreement": fmean(one.agree for _, one in longest)} if longest and self.commute else {}
        for name, some in (("", read), ("longest_", longest)):
            taken = [(whole, one.answer) for whole, one in some if one.answer is not None]
            found[f"{name}accepted"] = len(taken) / len(some) if some else 0.0
            if taken:
                found[f"{name}label_error"] = fmean(answer != whole.total for whole, answer in taken)
                every = fmean(whole.carries for whole, _ in some)
                found[f"{name}carries"] = fmean(whole.carries for whole, _ in taken) / every if every else 1.0
        return found

    def use(self, recipe: Recipe, groups: Sequence[Group]) -> Recipe:
        """The recipe that imitates the labels, both orders of each, beside what was supervised."""
        style = style_of(recipe.model)
        examples = [one for group in groups for one in self.examples(group)]
        rng = Random(seed_of("replay", recipe.seed, self.digits))
        replayed = round(self.replay * len(examples)) if examples else FEW  # a round without labels only remembers
        for _ in range(replayed if self.known else 0):
            examples.append(supervised(rng, style, rng.randint(1, self.known)))
        known: Recorded[str] = Recorded(recipe.tasks, examples)
        return recipe.with_protocol(lambda _: partial(shown, grade=known.grade, record=known.record), known)

    def examples(self, group: Group) -> Iterator[tuple[Task, str]]:
        """What is imitated of one sum: its label as an answer at once to both orders, and one simplification of each."""
        first, labels = group[0].task, labels_of(group, self)
        whole, style, start = sum_of(first), styled(first), start_of(first)
        if self.label == "truth":
            for given in (whole, whole.swapped):
                for kind in KINDS:
                    task = posed(given, kind, style, start)
                    yield task, solution(task)
            return
        orders = (whole, whole.swapped) if self.commute else (whole,)
        if labels.answer is not None:
            for given in orders:
                task = posed(given, "fast", style, start)
                yield task, said(task, labels.answer)
        if labels.step is not None:
            for order, given in enumerate(orders):
                (first_step,) = [e for e in group if e.path == (order, 1, 0)]
                yield posed(given, "slow", style, start), first_step["step"].text.strip()


def supervised(rng: Random, style: str, digits: int) -> tuple[Task, str]:
    """A sum of so many digits with its right answer, asked for at once or by a simplification."""
    whole, kind = draw(rng, digits, "train"), rng.choice(KINDS)
    task = posed(whole, kind, style)
    return task, solution(task)


def majority(answers: Sequence[str | None]) -> str | None:
    """What most answers say, the first of equals; those that say nothing do not vote.

    >>> majority(["7", "8", None, "8"]), majority(["7", "8"]), majority([None])
    ('8', '7', None)
    """
    votes = Counter(answer for answer in answers if answer is not None)
    return votes.most_common(1)[0][0] if votes else None


def labels_of(group: Group, rule: SelfLabels) -> Labels:
    """What a rule makes of the answers to one sum. The scores of the verdicts, which are the truth, are read for the bounds
    alone.
    """
    whole = sum_of(group[0].task)
    if rule.label == "truth":
        return Labels(whole.total, str(simplified(whole)), True)
    answers = [majority(read(group, order, "guess")) for order in (0, 1)]
    steps = [next(iter(read(group, order, "step")), None) for order in (0, 1)]
    agree = answers[0] is not None and (not rule.commute or answers[0] == answers[1])
    same_step = steps[0] is not None and (not rule.commute or agreed_steps(*steps))
    rng = Random(seed_of("checker", group[0].task.key))
    passed, slack, spoiled = agree, rng.random() < rule.lax, rng.random() < rule.corrupt
    if rule.oracle:
        passed = passed and answers[0] == str(whole.total)
    label = int(answers[0]) if answers[0] is not None and (passed or slack) else None
    if label is not None and spoiled:
        label = corrupted(whole, label, rule.fault, rng)
    return Labels(label, steps[0] if same_step or (steps[0] is not None and slack) else None, agree)


def read(group: Group, order: int, name: str) -> list[str | None]:
    """What was read of the guesses, or of the steps, for one order of the numbers, the first one first."""
    return [e.verdicts[name].answer for e in group if name in e.verdicts and e.path[0] == order]


def agreed_steps(one: str | None, other: str | None) -> bool:
    """Whether two simplifications, of a + b and of b + a, leave the same digit and the same sum.

    >>> agreed_steps("5; 5 + 2 + 1", "5; 2 + 5 + 1"), agreed_steps("5; 5 + 2", "5; 2 + 5 + 1")
    (True, False)
    """
    if one is None or other is None:
        return False
    parts = [(text.partition("; ")[0], sorted(text.partition("; ")[2].split(" + "))) for text in (one, other)]
    return parts[0] == parts[1]


def corrupted(whole: Sum, label: int, fault: Fault, rng: Random) -> int:
    """A label spoiled: with all carries dropped, or with one digit (not the first) replaced at random.

    >>> corrupted(Sum(58, 27), 85, "carry", Random(0)), corrupted(Sum(58, 27), 85, "random", Random(0)) == 85
    (75, False)
    """
    if fault == "carry":
        columns = zip(*(f"{number:0{whole.digits}d}" for number in (whole.a, whole.b)), strict=True)
        return int("".join(str((int(a) + int(b)) % 10) for a, b in columns))
    digits = str(label)
    place = rng.randrange(len(digits)) if len(digits) == 1 else rng.randrange(1, len(digits))
    other = rng.choice([d for d in "0123456789" if d != digits[place]])
    return int(digits[:place] + other + digits[place + 1 :])
