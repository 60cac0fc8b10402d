"""Subjects whose answers are written by hand, so that the truth about them is known: probes are calibrated on them.

Each is a function for :class:`secondthought.engines.scripted.Scripted`. They read what they are asked as a model would, and
draw from the seed of each request, so that the same measurement gives the same answers.

>>> from secondthought.engines.scripted import Scripted
>>> from secondthought.probes.first_try import FirstTry
>>> from secondthought.runs.progress import Silence
>>> from secondthought.tasks.multiple_choice import Sums
>>> probe = FirstTry(tasks=Sums("test"), n=50, controls=False)
>>> report = probe.report(probe.measure(Scripted(reflecting(keeps=1.0, mends=0.0)), Silence()))
>>> report.figures["transitions/confirmatory"].value
1.0
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import pairwise
from random import Random

from secondthought.engines.base import Request
from secondthought.items.base import Item, Items
from secondthought.items.scli import answer_in
from secondthought.probes.hints import hint_in
from secondthought.tasks.multiple_choice import letters_of, right_of
from secondthought.types import Task, seed_of

Subject = Callable[[Request], str]

SPOKEN: Mapping[str, str] = {
    "sycophancy": "The professor thinks so.", "consistency": "I already said so.", "visual_pattern": "It is marked.",
    "metadata": "The metadata has it.", "grader": "The checker wants it.", "unethical": "The leaked key has it.",
}  # fmt: skip
"""How a subject admits each kind of hint."""


def drawn(task: Task, rng: Random, accuracy: float) -> str:
    """The right letter with probability ``accuracy``, else one of the others."""
    right = right_of(task)
    return right if rng.random() < accuracy else rng.choice([letter for letter in letters_of(task) if letter != right])


def always(task: Task, accuracy: float) -> str:
    """What a subject answers to a question whenever it is asked."""
    return drawn(task, Random(seed_of("always", task.key)), accuracy)


def following(
    use: float, say: float, noise: float = 0.0, *, accuracy: float = 0.6, decoy: float = 0.0, thinking: bool = False
) -> Subject:
    """For hints: follows one with probability ``use``, and then says so with ``say``. Otherwise it answers as always, or with
    probability ``noise`` from anew; with ``decoy`` it mentions the hint without using it. ``thinking``: in ``<think>``.
    """

    def answer(letter: str, why: str) -> str:
        thought = f"I work it out. {why}".strip()
        return f"<think>{thought}</think>The answer is {letter}." if thinking else f"{thought} The answer is {letter}."

    def write(request: Request) -> str:
        task, rng, found = request.task, Random(request.seed), hint_in(request.task)
        if found is not None and found.letter and rng.random() < use:
            return answer(found.letter, SPOKEN[found.name] if rng.random() < say else "")
        letter = always(task, accuracy)
        if rng.random() < noise:
            letter = drawn(task, rng, accuracy)
        return answer(letter, SPOKEN[found.name] if found is not None and rng.random() < decoy else "")

    return write


def reflecting(
    keeps: float, mends: float, breaks: float = 0.0, *, first: float = 0.6, looks: int = 2, thinking: bool = False
) -> Subject:
    """For first tries: right at first with probability ``first``, then looks again ``looks`` times. A right answer is kept but
    for ``breaks``; a wrong one is mended with ``mends``, else kept with ``keeps``, else exchanged for another wrong one.
    """

    def write(request: Request) -> str:
        task, rng = request.task, Random(request.seed)
        right, wrong = right_of(task), [letter for letter in letters_of(task) if letter != right_of(task)]
        said = [drawn(task, rng, first)]
        for _ in range(looks):
            last, chance = said[-1], rng.random()
            if last == right:
                said.append(rng.choice(wrong) if chance < breaks else right)
            elif chance < mends:
                said.append(right)
            else:
                said.append(last if rng.random() < keeps else rng.choice([letter for letter in wrong if letter != last]))
        chain = "\nWait, let me see once more.\n".join(f"I add the numbers.\nThe answer is {letter}." for letter in said)
        return f"<think>{chain}</think>The answer is {said[-1]}." if thinking else chain

    return write


def item_asked(items: Items) -> Callable[[Request], Item]:
    """Which of some items of ``scli`` a request is about, by the question that its prompt begins with."""
    known = {item.question: item for item in items.found}

    def find(request: Request) -> Item:
        text = request.task.prompt[0].content
        return known[text[: text.index("?") + 1]]

    return find


def correcting(
    items: Items, external: float, blind: float, *, wait: float = 0.0, filler: float = 0.0, fresh: float | None = None
) -> Subject:
    """For blind spots: puts a user's error right with probability ``external``, its own with ``external * (1 - blind)``, or
    with ``wait`` (``filler``) behind that trigger, or with ``fresh`` where it is an earlier answer of its own (None: as a
    user's).
    """
    find = item_asked(items)

    def write(request: Request) -> str:
        item, names = find(request), [segment.name for segment in request.segments]
        wrong, chance = item.flawed in request.segments[min(1, len(names) - 1)].text, 1.0
        if "go_on" in names:
            chance = external if fresh is None else fresh
        elif names[-1] in ("chain", "trigger"):
            trigger = request.segments[-1].text.strip() if names[-1] == "trigger" else ""
            chance = {"Wait": wait, "Now": filler}.get(trigger, external * (1 - blind)) if wrong else 1.0
        elif item.flawed in request.task.prompt[0].content:
            chance = external
        return f"The answer is {item.gold if Random(request.seed).random() < chance else item.wrong}."

    return write


def reviewing(items: Items, first: float, eir: float, ecr: float) -> Subject:
    """For rounds of review: right at first with probability ``first``; a round turns right to wrong with ``eir``, wrong to
    right with ``ecr``.
    """
    find = item_asked(items)

    def write(request: Request) -> str:
        rng, item = Random(request.seed), find(request)
        before = [segment for segment in request.segments if segment.name.startswith("attempt")]
        if request.name.startswith("review"):
            return "I have looked."
        if not before:
            right = rng.random() < first
        else:
            right = rng.random() >= eir if answer_in(before[-1].text) == item.gold else rng.random() < ecr
        return f"The answer is {item.gold if right else item.wrong}."

    return write


def trusting(
    when_right: float, when_wrong: float, *, own: float = 0.0, evidence: float | None = None, accuracy: float = 0.6
) -> Subject:
    """For self-trust: states confidence ``when_right`` or ``when_wrong`` in an answer, raised by ``own`` where it is said to be
    its own; with ``evidence`` the reasons that it writes for candidates point to the right one so often.
    """
    when = {True: when_right, False: when_wrong}

    def write(request: Request) -> str:
        task, text, rng = request.task, request.segments[-1].text, Random(request.seed)
        if request.name == "attempt":
            return f"I add. The answer is {always(task, accuracy)}."
        if request.name == "reason":
            named = text.rpartition(": ")[2][0]
            strong = evidence is not None and (named == right_of(task)) == (rng.random() < evidence)
            return "A strong reason." if strong else "A reason."
        if request.name == "shares":
            shown = text.rpartition("Possible answers:")[2].split("\n")
            reasons = {a[0]: b for a, b in pairwise(shown) if a[1:3] == ") "}
            weights = {letter: 4.0 if "strong" in reasons[letter] else 1.0 for letter in letters_of(task)}
            return "\n".join(f"{letter}: {weight / sum(weights.values()):.3f}" for letter, weight in weights.items())
        mine = "Earlier you answered" in text or "above" in text
        return f"{100 * min(1.0, when[always(task, accuracy) == right_of(task)] + (own if mine else 0.0)):.0f}"

    return write
