"""Does a model know which entities it knows, and does that decide whether it answers (arXiv 2411.14257)?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from secondthought.probes.base import Probe
from secondthought.probes.entity_knowledge import EntityKnowledge
from secondthought.probes.inner_subjects import knower
from secondthought.reproduce.subjects import OURS, Asserted, OnSubjects, Planted
from secondthought.tasks.entities import entities_of
from secondthought.training.settings import made

PAPER = "arXiv 2411.14257"


@dataclass(frozen=True)
class EntitiesKnown(OnSubjects):
    """Directions in scripted subjects, in nano and in the named models; its options are those of :class:`OnSubjects`, n counts
    entities of each kind.
    """

    name: ClassVar[str] = "entity_knowledge"
    nano: ClassVar[str] = "nano/knower"
    sizes: ClassVar[dict[str, tuple[int, int, int]]] = {"quick": (100, 300, 40), "full": (160, 640, 160)}
    asserted: ClassVar[tuple[Asserted, ...]] = (
        Asserted("direction_exists", "direction_exists",
                 "a direction fitted on other kinds separates unknown from known, beyond length and tokens of the names", PAPER,
                 "latents generalise over four kinds", 0.0, 0.1),
        Asserted("steering_causes_refusal", "steering_causes_refusal", "pushed towards unknown it refuses what it knows", PAPER,
                 "near 100 % of refusals", 0.0, 0.1),
        Asserted("steering_causes_invention", "steering_causes_invention",
        "pushed towards known it invents what it does not know",
                 PAPER, "it does", 0.0, 0.1),
        Asserted("steering_beats_sham", "steering_beats_sham",
        "more of it refuses than under random directions of equal norm", PAPER,
                 "random latents do little", 0.0, 0.1),
        Asserted("sham_does_not", "sham_causes_refusal",
        "random directions of equal norm make it refuse in less than 10 points more",
                 OURS, None, limit=0.1),
    )  # fmt: skip

    def planted(self, n: int) -> Sequence[Planted]:
        """One that knows inside what it knows, and one in which nothing inside shows it."""
        probe = EntityKnowledge(n=n, k=2, hits=1, steered=20, amounts="1", shams=2)
        known = entities_of("", terse=False, n=n)
        inside = {"auroc/held_out_mean": 1.0, "steering_causes_refusal": 1.0, "steering_causes_invention": 1.0}
        nothing = {"auroc/held_out_mean": 0.5, "steering_causes_refusal": 0.0, "sham_causes_refusal": 0.0}
        return (
            Planted("knows inside", probe, knower(known, 0.5, inside=True), {**inside, "sham_causes_refusal": 0.0}),
            Planted("knows by the name", probe, knower(known, 0.5, inside=False), nothing),
        )

    def probe(self, n: int, tasks: str, max_tokens: int, settings: Sequence[str]) -> Probe:
        """The probe as it measures a model."""
        probe: Probe = made(EntityKnowledge, settings, n=n, tasks=tasks, max_tokens=max_tokens)
        return probe


reproduction = EntitiesKnown
