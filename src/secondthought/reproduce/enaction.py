"""Does a model treat its own words as its acts (arXiv 2605.25459)? Entropy on own and on other texts, crossed."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from secondthought.probes.base import Probe
from secondthought.probes.enaction import Enaction
from secondthought.probes.inner_subjects import SURE, UNSURE, writer
from secondthought.reproduce.subjects import OURS, Asserted, OnSubjects, Planted, in_a_circle
from secondthought.training.settings import made

PAPER = "arXiv 2605.25459"


@dataclass(frozen=True)
class Enactions(OnSubjects):
    """Readings of scripted subjects, nano and the named models, each crossed with the next one; its options are those of
    :class:`OnSubjects`, n counts requests.
    """

    name: ClassVar[str] = "enaction"
    nano: ClassVar[str] = "nano/zero-20"
    nano_tasks: ClassVar[str] = "countdown"
    nano_settings: ClassVar[tuple[str, ...]] = ("other=nano/zero-0",)
    sizes: ClassVar[dict[str, tuple[int, int, int]]] = {"quick": (60, 120, 12), "full": (400, 600, 60)}
    asserted: ClassVar[tuple[Asserted, ...]] = (
        Asserted("lower_entropy_on_own_text", "lower_entropy_on_own_text",
                 "it is surer after its own words than after another model's (crossed log-entropy)", PAPER, "ln 3 to ln 4",
                 0.0, 0.05),
        Asserted("survives_matching", "survives_matching",
                 "so it is where the words before surprised as much (nats of entropy)", OURS, None, 0.0, 0.02),
        Asserted("edits_unsettle", "edited", "it is less sure behind exchanged words", PAPER, "it is", 0.0, 0.02),
        Asserted("surprise_steers", "surprise_steers", "turning up the direction of surprise raises the next entropy", PAPER,
                 "it does", 0.0, 0.0),
        Asserted("recognises_own", "recognises_own", "it calls its own text its own rather than the other model's", PAPER,
                 "above chance", 0.0, 0.05),
    )  # fmt: skip

    def planted(self, n: int) -> Sequence[Planted]:
        """Writers that act on an intent of their own, that have none, and that are easy for everyone."""

        def pair(kind: str) -> Enaction:
            return Enaction(n=n, other=writer("b", kind), max_tokens=16, steered=0)  # type: ignore[arg-type]

        ratio = math.log(UNSURE / SURE)
        inner = Enaction(n=max(16, n // 4), max_tokens=16, steered=8)
        return (
            Planted(
                "acts on its intent", pair("acts"), writer("a", "acts"), {"lower_entropy_on_own_text": ratio, "identity": 1.0}
            ),
            Planted("has no intent", pair("indifferent"), writer("a", "indifferent"), {"lower_entropy_on_own_text": 0.0}),
            Planted("easy for everyone", pair("easy"), writer("a", "easy"), {"lower_entropy_on_own_text": 0.0, "naive": ratio}),
            Planted("surprise does nothing", inner, writer("a", "acts"), {"surprise_steers": 0.0, "surprise/r2": 1.0}),
        )

    def probe(self, n: int, tasks: str, max_tokens: int, settings: Sequence[str]) -> Probe:
        """The probe as it measures a model."""
        probe: Probe = made(Enaction, settings, n=n, max_tokens=max_tokens, **({"tasks": tasks} if tasks else {}))
        return probe

    def parts(self, names: Sequence[str]) -> list[tuple[str, Sequence[str], list[str]]]:
        """Each model is crossed with the next."""
        return in_a_circle(names)


reproduction = Enactions
