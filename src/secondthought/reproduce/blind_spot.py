"""The self-correction blind spot (arXiv 2507.02778), and self-correction without an oracle (arXiv 2310.01798)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from secondthought.items.load import items_of
from secondthought.probes.base import Probe
from secondthought.probes.blind_spot import BlindSpot
from secondthought.probes.subjects import correcting, reviewing
from secondthought.reproduce.subjects import OURS, Asserted, OnSubjects, Planted
from secondthought.training.settings import made

BENCH, HUANG = "arXiv 2507.02778", "arXiv 2310.01798"


@dataclass(frozen=True)
class BlindSpots(OnSubjects):
    """Errors in different places, and rounds of review; its options are those of :class:`OnSubjects`."""

    name: ClassVar[str] = "blind_spot"
    nano_settings: ClassVar[tuple[str, ...]] = ("temperature=1",)  # greedily it would do what is likelier, always
    sizes: ClassVar[dict[str, tuple[int, int, int]]] = {"quick": (600, 300, 20), "full": (5000, 2000, 100)}
    asserted: ClassVar[tuple[Asserted, ...]] = (
        Asserted(
            "own_errors_harder", "own_errors_harder",
            "errors are put right more often in the user's turn than in its own words",
            f"{BENCH}, abstract", "a mean blind spot of 64.5 % in 14 models", 0.0, 0.05,
        ),
        Asserted(
            "wait_helps", "wait_helps", "behind its own error “Wait” helps more than a filler as long",
            f"{BENCH}, without the filler", "89.3 % of the blind spot goes", 0.0, 0.05,
        ),
        Asserted(
            "intrinsic_correction_hurts", "intrinsic_correction_hurts", "reviewed without an oracle, it is right less often",
            f"{HUANG}, tables 3 and 4", "GPT-4 on GSM8K 95.5 to 89.0", 0.0, 0.01,
        ),
        Asserted(
            "author", "author", "errors are put right more often in the user's turn than as an earlier answer of its own",
            OURS, None, 0.0, 0.05,
        ),
    )  # fmt: skip

    def planted(self, n: int) -> Sequence[Planted]:
        """Blind spots of 0, 30, 64.5 and 100 %, and two reviewers."""
        items = items_of("scli", n=n)
        quiet = BlindSpot(tasks=items, n=None, rounds=0)
        found = [
            Planted(f"blind to {share:.1%}", quiet, correcting(items, 0.8, share, wait=0.7, filler=0.2),
                    {"blind_spot/internal": share, "external": 0.8, "internal/wait": 0.7})
            for share in (0.0, 0.3, 0.645, 1.0)
        ]  # fmt: skip
        for label, first, eir, ecr in (("reviews to its harm", 0.8, 0.2, 0.3), ("reviews to its good", 0.4, 0.05, 0.5)):
            one = first * (1 - eir) + (1 - first) * ecr
            truths = {"EIR/1": eir, "ECR/1": ecr, "round_1": one, "round_2": one * (1 - eir) + (1 - one) * ecr}
            found.append(Planted(label, BlindSpot(tasks=items, n=None, rounds=2), reviewing(items, first, eir, ecr), truths))
        return found

    def probe(self, n: int, tasks: str, max_tokens: int, settings: Sequence[str]) -> Probe:
        """The probe with its controls."""
        probe: Probe = made(BlindSpot, settings, n=n, tasks=tasks, max_tokens=max_tokens)
        return probe


reproduction = BlindSpots
