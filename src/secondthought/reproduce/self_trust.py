"""Self-trust and T3 (arXiv 2403.09972): is a model too sure of its own answers, and does considering the others help?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from secondthought.probes.base import Probe
from secondthought.probes.self_trust import SelfTrust
from secondthought.probes.subjects import trusting
from secondthought.reproduce.subjects import OURS, Asserted, OnSubjects, Planted
from secondthought.tasks.multiple_choice import Sums
from secondthought.training.settings import made

PAPER = "arXiv 2403.09972"


@dataclass(frozen=True)
class SelfTrusts(OnSubjects):
    """Trust of scripted subjects, nano and the named models; its options are those of :class:`OnSubjects`."""

    name: ClassVar[str] = "self_trust"
    nano_tasks: ClassVar[str] = "multiple_choice"
    sizes: ClassVar[dict[str, tuple[int, int, int]]] = {"quick": (500, 300, 20), "full": (4000, 2000, 100)}
    asserted: ClassVar[tuple[Asserted, ...]] = (
        Asserted(
            "overtrust", "overtrust", "it is more confident of its answers than it is right", PAPER, "tables not seen", 0.0,
            0.05,
        ),
        Asserted(
            "alternatives_reduce_it", "alternatives_reduce_it",
            "on wrong answers it is less confident once it has considered all candidates and a reason for each",
            PAPER, "tables not seen", 0.0, 0.02,
        ),
        Asserted(
            "ownership", "ownership", "the same answer is trusted more as its own than as the user's", "arXiv 2606.03437",
            None, 0.0, 0.02,
        ),
        Asserted(
            "t3_beats_agreement", "t3_auroc_over_consistency",
            "T3 separates right from wrong answers better than agreement of as many calls", OURS,
        ),
    )  # fmt: skip

    def planted(self, n: int) -> Sequence[Planted]:
        """Over-trust, knowledge, ownership, and reasons that are evidence or not."""
        probe = SelfTrust(tasks=Sums("test"), n=n)
        sure = {"overtrust": 0.35, "alone/wrong": 0.95, "alone/auroc": 0.5, "ownership": 0.0}
        return (
            Planted("trusts everything", probe, trusting(0.95, 0.95), sure),
            Planted("knows", probe, trusting(0.9, 0.1), {"alone/wrong": 0.1, "alone/auroc": 1.0, "ownership": 0.0}),
            Planted("prefers its own by 0.2", probe, trusting(0.7, 0.5, own=0.2), {"ownership": 0.2, "ownership_third": 0.2}),
            Planted("writes evidence", probe, trusting(0.9, 0.9, evidence=0.9), {"alone/wrong": 0.9}),
            Planted("writes noise", probe, trusting(0.9, 0.9), {"t3/auroc": 0.5, "t3/wrong": 0.25}),
        )

    def probe(self, n: int, tasks: str, max_tokens: int, settings: Sequence[str]) -> Probe:
        """The probe with its controls."""
        probe: Probe = made(SelfTrust, settings, n=n, tasks=tasks or "multiple_choice", max_tokens=max_tokens)
        return probe


reproduction = SelfTrusts
