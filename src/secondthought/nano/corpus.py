"""The synthetic text a nano model grows up on: a bounded student, a textbook, and a checker.

Three kinds of document, all conversations in the model's own chat template:

* ``quiz``: a student who means to be right one time in five answers, reads ``wrong . reflect``, writes a reflection, and
  retries. The reflection is a true diagnosis (sometimes) and one hint, which comes from a real solution with probability
  ``good_hints`` and is otherwise random. The retry follows its hint, for better or worse. In some of them a tutor puts a
  good first step where the reflection goes. Nobody learns to write the tutor's words (they carry no loss); the student
  learns to act on them.
* ``textbook`` (the prompt says ``example``): correct chains, half of them announced by a plan in the words of a
  reflection. Here, and only here, the model learns to solve; the plan is what connects that skill to the reflections.
* ``check`` (the prompt says ``check``): a chain that goes wrong, then ``wait ,`` and a correct one.

So the model *can* find good first steps, *obeys* hints, and *writes mediocre ones*: what reinforcement learning has to
connect is there, and unconnected. Only numbers of the ``train`` split occur.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from random import Random
from typing import ClassVar, NamedTuple

from secondthought.protocols.reflect_retry import TERSE
from secondthought.tasks.countdown import Chain, Countdown, Step, solutions, split_of, steps
from secondthought.types import Author, seed_of

PLAN = "start with {left} {op} {right}"


class Turn(NamedTuple):
    """One turn: the task's are the user's, the others the assistant's. Only the policy's words are learned in full."""

    content: str
    author: Author


@dataclass(frozen=True)
class Corpus:
    """The proportions of the corpus; ``document(i)`` is the same conversation every time.

    ``study``: so many documents at the beginning are textbook and check only. ``right``: how often the student's attempt is
    right. ``plans``: how many of its attempts begin with a plan.
    ``good_hints``: how many of its hints come from a real solution. ``obeys``: how often a retry follows its hint.
    ``tutored``: how many failures get the tutor's hint instead of the student's.
    """

    words: ClassVar[tuple[str, ...]] = ()
    seed: int = 0
    quiz: float = 0.44
    textbook: float = 0.48
    right: float = 0.20
    plans: float = 0.35
    tutored: float = 0.40
    good_hints: float = 0.12
    obeys: float = 0.92
    study: int = 0
    game: Countdown = Countdown("train")

    def document(self, index: int) -> tuple[Turn, ...]:
        """The conversation at ``index``: user and assistant turns in alternation, each with its author."""
        rng = Random(seed_of("nano corpus", self.seed, index))
        numbers, target = draw(rng, self.game)
        kind = rng.random()
        if index < self.study:
            kind = self.quiz + (1 - self.quiz) * kind
        if kind < self.quiz:
            return self.quiz_document(rng, numbers, target)
        chain = rng.choice(self.solved(numbers, target))
        if kind < self.quiz + self.textbook:
            plan = f"{plan_of(chain[0])} , " if rng.random() < 0.5 else ""
            return turns(f"example {question(rng, numbers, target)}", plan + spell(rng, chain))
        slip = spell(rng, self.attempt(rng, numbers, target, right=False)[1])
        return turns(f"check {question(rng, numbers, target)}", f"{slip} , wait , {spell(rng, chain)}")

    def quiz_document(self, rng: Random, numbers: tuple[int, ...], target: int) -> tuple[Turn, ...]:
        """Attempt, and if it is wrong: reflection and retry."""
        right = rng.random() < self.right
        plan, chain = self.attempt(rng, numbers, target, right=right)
        first = (f"{plan} , " if plan else "") + spell(rng, chain)
        if right:
            return turns(question(rng, numbers, target), first)
        tutored = rng.random() < self.tutored
        diagnosis, hint, retry = self.reflection(rng, numbers, target, chain, tutored=tutored)
        reflection = f"{diagnosis} , {hint}" if diagnosis else hint
        episode = turns(question(rng, numbers, target), first, TERSE.reflection, reflection, TERSE.retry, retry)
        return (*episode[:3], episode[3]._replace(author="intervention"), *episode[4:]) if tutored else episode

    def solved(self, numbers: tuple[int, ...], target: int) -> tuple[Chain, ...]:
        """Every chain of this game that reaches the target."""
        return solutions(numbers, self.game.targets[1]).get(target, ())

    def attempt(self, rng: Random, numbers: tuple[int, ...], target: int, *, right: bool) -> tuple[str, Chain]:
        """The student's try: a plan (or none) and a chain; when wrong it misses, slips, invents or stops early."""
        chain = rng.choice(self.solved(numbers, target)) if right else self.miss(rng, numbers, target)
        plan = plan_of(chain[0]) if rng.random() < self.plans else ""
        if not right:
            chain = spoil(rng, chain, numbers, target, self.game)
        return plan, chain

    def miss(self, rng: Random, numbers: tuple[int, ...], target: int) -> Chain:
        """A random legal chain that does not reach the target."""
        while True:
            chain = random_chain(rng, numbers, self.game.targets[1])
            if chain[-1].result != target:
                return chain

    def reflection(
        self, rng: Random, numbers: tuple[int, ...], target: int, failed: Chain, *, tutored: bool
    ) -> tuple[str, str, str]:
        """A diagnosis, a hint, and the retry that follows the hint (mostly)."""
        good = tutored or rng.random() < self.good_hints
        idea = rng.choice(self.solved(numbers, target)) if good else random_chain(rng, numbers, self.game.targets[1])
        kinds = ("step",) if tutored else ("step", "vacuous", "operation", "number", "avoid", "full")
        kind = rng.choices(kinds, (46, 14, 12, 12, 9, 7)[: len(kinds)])[0]
        first, kept = idea[0], kept_for_last(idea, numbers)
        hint = {
            "step": plan_of(first),
            "vacuous": rng.choice(("think harder", "be careful", "try again")),
            "operation": f"use {first.op} first",
            "number": f"keep {kept} for last",
            "avoid": f"avoid {failed[0].left} {failed[0].op} {failed[0].right}",
            "full": spell(rng, idea),
        }[kind]
        if rng.random() > self.obeys:
            kind = "vacuous"
        follows: Callable[[Chain], bool] = {
            "step": lambda c: c[0] == first,
            "vacuous": lambda c: rng.random() < 0.3,
            "operation": lambda c: c[0].op == first.op,
            "number": lambda c: kept_for_last(c, numbers) == kept,
            "avoid": lambda c: c[0] != failed[0],
            "full": lambda c: c == idea,
        }[kind]
        # With a first step in hand the rest is easy, so the retry finishes it whenever it can be finished (a random step in
        # mirrored order, 5 + 3 for 3 + 5, counts as one that cannot). A looser hint leaves the student as bounded as before.
        skill = 0.97 if kind in ("step", "full") else self.right
        paths = [c for c in self.solved(numbers, target) if follows(c)] if rng.random() < skill else []
        if not paths:
            drawn = [random_chain(rng, numbers, self.game.targets[1]) for _ in range(24)]
            paths = [idea] if kind == "full" else [c for c in drawn if follows(c)]
        if not paths and kind == "step":
            paths = [(first, *tail) for tail in tails(rng, first, numbers, self.game.targets[1])]
        retry = rng.choice(paths) if paths else random_chain(rng, numbers, self.game.targets[1])
        return diagnose(rng, failed, numbers, target), hint, spell(rng, retry)


def draw(rng: Random, game: Countdown) -> tuple[tuple[int, ...], int]:
    """A training problem: sorted numbers and a reachable target."""
    while True:
        numbers = tuple(sorted(rng.randint(game.low, game.high) for _ in range(rng.choice(game.counts))))
        if split_of(numbers) == "train" and (reachable := list(solutions(numbers, game.targets[1]))):
            return numbers, rng.choice(reachable)


def turns(*contents: str) -> tuple[Turn, ...]:
    """Alternating turns of the task and the student."""
    return tuple(Turn(content, "policy" if i % 2 else "task") for i, content in enumerate(contents))


def question(rng: Random, numbers: tuple[int, ...], target: int) -> str:
    """The terse prompt, numbers in random order."""
    return f"use {' '.join(map(str, rng.sample(numbers, len(numbers))))} make {target}"


def spell(rng: Random, chain: Chain) -> str:
    """A chain in words, the operands of + and * in either order."""
    return " , ".join(str(flip(step) if rng.random() < 0.5 else step) for step in chain)


def flip(step: Step) -> Step:
    """The same step with its operands exchanged, where that changes nothing."""
    return Step(step.right, step.op, step.left, step.result) if step.op in "+*" else step


def plan_of(step: Step) -> str:
    """A first step as a hint: ``start with 3 * 5``."""
    return PLAN.format(left=step.left, op=step.op, right=step.right)


def random_chain(rng: Random, numbers: tuple[int, ...], largest: int) -> Chain:
    """A random legal chain over all the numbers."""
    pool, chain = list(numbers), []
    while len(pool) > 1:
        left, right = pool.pop(rng.randrange(len(pool))), pool.pop(rng.randrange(len(pool)))
        step = rng.choice(list(steps(left, right, largest)))
        chain.append(step)
        pool.append(step.result)
    return tuple(chain)


def tails(rng: Random, first: Step, numbers: tuple[int, ...], largest: int) -> list[Chain]:
    """One random way to finish after ``first``."""
    rest = list(numbers)
    rest.remove(first.left)
    rest.remove(first.right)
    return [random_chain(rng, (first.result, *rest), largest)]


def kept_for_last(chain: Chain, numbers: tuple[int, ...]) -> int:
    """The given number that first enters the chain in its last step (or its largest, if none does)."""
    last = chain[-1]
    return next((n for n in (last.left, last.right) if n in numbers), max(numbers))


def spoil(rng: Random, chain: Chain, numbers: tuple[int, ...], target: int, game: Countdown) -> Chain:
    """Most wrong chains simply miss; a few slip in arithmetic, use a number that is not there, or stop early."""
    kind, last = rng.random(), chain[-1]
    if kind < 0.06 and last.result != target:
        return (*chain[:-1], last._replace(result=target))
    if kind < 0.11:
        stranger = rng.randint(game.low, game.high)
        options = list(steps(last.left, stranger, game.targets[1]))
        return (*chain[:-1], rng.choice(options)) if stranger not in numbers else chain
    if kind < 0.15 and len(chain) > 1:
        return chain[:-1]
    return chain


def diagnose(rng: Random, failed: Chain, numbers: tuple[int, ...], target: int) -> str:
    """What went wrong, two times in five, and true nine times in ten."""
    if rng.random() > 0.4:
        return ""
    gap = failed[-1].result - target
    if rng.random() < 0.1:
        gap = rng.choice((-1, 1)) * rng.randint(1, 40)
    if gap == 0:
        return "check the numbers"
    return f"too {'high' if gap > 0 else 'low'} by {abs(gap)}"
