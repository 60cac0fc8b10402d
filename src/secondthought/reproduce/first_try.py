"""First Try Matters (arXiv 2510.08308): do reflections confirm, and what does stopping behind the first answer cost?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from secondthought.probes.base import Probe
from secondthought.probes.first_try import FirstTry
from secondthought.probes.subjects import reflecting
from secondthought.reproduce.subjects import OURS, Asserted, OnSubjects, Planted
from secondthought.tasks.multiple_choice import Sums
from secondthought.training.settings import made

PAPER = "arXiv 2510.08308"


@dataclass(frozen=True)
class FirstTries(OnSubjects):
    """Candidate answers of scripted subjects, nano and the named models; its options are those of :class:`OnSubjects`."""

    name: ClassVar[str] = "first_try"
    nano_tasks: ClassVar[str] = "multiple_choice"
    asserted: ClassVar[tuple[Asserted, ...]] = (
        Asserted(
            "mostly_confirmatory", "confirmatory", "reflections mostly confirm the first answer",
            f"{PAPER}, section 4", "more than 90 % (one of 8 models 87.6)", 0.5, 0.3,
        ),
        Asserted(
            "early_stop_saves", "stop_1_minus_random",
            "stopped behind its first answer it is right more often than stopped anywhere, for as many tokens",
            f"{PAPER}, without this control", "-24.5 % of tokens at -2.9 points", 0.0, 0.02,
        ),
        Asserted(
            "reflecting_beats_voting", "final_minus_vote", "reflecting beats a vote of first answers for the same tokens", OURS,
        ),
    )  # fmt: skip

    def planted(self, n: int) -> Sequence[Planted]:
        """One who always confirms, one who mends half, one who flips at random."""
        tasks = Sums("test")

        def one(label: str, keeps: float, mends: float, breaks: float, first: float, truths: dict[str, float]) -> Planted:
            write = reflecting(keeps, mends, breaks, first=first)
            return Planted(label, FirstTry(tasks=tasks, n=n, controls=False), write, truths)

        return (
            one("always confirms", 1.0, 0.0, 0.0, 0.6, {"transitions/confirmatory": 1.0, "first": 0.6, "final": 0.6}),
            one(
                "mends half", 1.0, 0.5, 0.0, 0.6,
                {"given/wrong to right": 0.5, "transitions/confirmatory": 0.85, "first": 0.6, "final": 0.9},
            ),
            one("flips at random", 0.25, 0.25, 0.75, 0.25, {"transitions/confirmatory": 0.203, "given/right to wrong": 0.75}),
        )  # fmt: skip

    def probe(self, n: int, tasks: str, max_tokens: int, settings: Sequence[str]) -> Probe:
        """The probe with its controls."""
        probe: Probe = made(FirstTry, settings, n=n, tasks=tasks or "multiple_choice", max_tokens=max_tokens)
        return probe


reproduction = FirstTries
