"""Does a model know its sampling temperature (arXiv 2506.05068), better than other readers of its text (2508.14802)?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from secondthought.engines.scripted import Scripted
from secondthought.probes.base import Probe
from secondthought.probes.inner_subjects import aware, thermometer
from secondthought.probes.temperature import Temperature
from secondthought.reproduce.subjects import OURS, Asserted, OnSubjects, Planted, in_a_circle
from secondthought.training.settings import made

CONTROL = "arXiv 2508.14802"


@dataclass(frozen=True)
class Temperatures(OnSubjects):
    """Reports of scripted subjects, nano and the named models, each read by the next one too; its options are those of
    :class:`OnSubjects`, n counts pairs of texts.
    """

    name: ClassVar[str] = "temperature"
    nano_settings: ClassVar[tuple[str, ...]] = ("other=nano/zero-20",)
    sizes: ClassVar[dict[str, tuple[int, int, int]]] = {"quick": (180, 180, 18), "full": (1000, 1000, 90)}
    asserted: ClassVar[tuple[Asserted, ...]] = (
        Asserted(
            "no_self_advantage", "self_advantage", "its own report is no better (by 5 points) than the best other reader",
            CONTROL,
            "none; accuracies 0.47-0.55", limit=0.05, scripted="reads its text",
        ),
        Asserted("style_moves_it", "style_effect", "HIGH is likelier of crazy texts at the same temperature", CONTROL,
        "it does",
                 0.0, 0.05, scripted="reads the style"),
        Asserted("text_carries_it", "below_ceiling", "the ideal observer is better than its own report", OURS, None, 0.0, 0.05),
        Asserted("reports_heat", "own_above_chance", "its own report is right more often than chance", "arXiv 2506.05068",
                 "right in the examples shown", 0.0, 0.05),
    )  # fmt: skip

    def planted(self, n: int) -> Sequence[Planted]:
        """Reads its text, reads the style, reads nothing, and one that knows more than the text shows."""
        probe = Temperature(n=n, max_tokens=8)
        whole = Temperature(n=n, max_tokens=8, one_response=True)
        return (
            Planted("reads its text", probe, thermometer("text"), {"self_advantage": 0.0, "below_ceiling": 0.0}),
            Planted("reads the style", probe, thermometer("style"), {"own_above_chance": 0.0, "style_effect": 0.995}),
            Planted("reads nothing", probe, thermometer("nothing"), {"own_above_chance": 0.0}),
            Planted("knows its temperature", whole, Scripted(aware), {"own_minus_third": 0.5, "follows_state": 0.5}),
        )

    def probe(self, n: int, tasks: str, max_tokens: int, settings: Sequence[str]) -> Probe:
        """The probe as it measures a model."""
        probe: Probe = made(Temperature, settings, n=n, max_tokens=max_tokens, **({"tasks": tasks} if tasks else {}))
        return probe

    def parts(self, names: Sequence[str]) -> list[tuple[str, Sequence[str], list[str]]]:
        """The next model reads what each one writes."""
        return in_a_circle(names)


reproduction = Temperatures
